/* Key objects: making, loading, writing. Using them is pkey_ops.c, their numbers pkey_numbers.c. */
#include "crypto/pkey.h"

#include "crypto/ossl.h"

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <limits.h>
#include <string.h>

struct prop_pkey {
    EVP_PKEY *evp;
    enum prop_pkey_type type;
    bool is_private;
};

static const struct { const char *name; enum prop_pkey_type type; } curves[] = {
    { "prime256v1", PROP_PKEY_P256 }, { "P-256", PROP_PKEY_P256 },
    { "secp384r1", PROP_PKEY_P384 },  { "P-384", PROP_PKEY_P384 },
    { "secp521r1", PROP_PKEY_P521 },  { "P-521", PROP_PKEY_P521 },
};

static int type_of(EVP_PKEY *evp, enum prop_pkey_type *ret)
{
    switch (EVP_PKEY_get_base_id(evp)) {
    case EVP_PKEY_RSA:
        *ret = PROP_PKEY_RSA;
        return 0;
    case EVP_PKEY_ED25519:
        *ret = PROP_PKEY_ED25519;
        return 0;
    case EVP_PKEY_EC: {
        char group[64];
        size_t n;
        if (EVP_PKEY_get_group_name(evp, group, sizeof group, &n) != 1)
            return -1;
        for (size_t i = 0; i < PROP_ARRAY_LEN(curves); i++)
            if (strcmp(group, curves[i].name) == 0) {
                *ret = curves[i].type;
                return 0;
            }
        return -1;
    }
    default:
        return -1;
    }
}

int prop_pkey_wrap(EVP_PKEY *pkey, bool is_private, const char *what, struct prop_pkey **ret,
                   struct prop_err *err)
{
    enum prop_pkey_type type = PROP_PKEY_RSA;
    int rc = 0;
    if (type_of(pkey, &type))
        rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-type",
                             "%s: a %s key of this kind is not supported (RSA, P-256, P-384, P-521, "
                             "Ed25519 are)", what, EVP_PKEY_get0_type_name(pkey));
    else if (type == PROP_PKEY_RSA &&
             (EVP_PKEY_get_bits(pkey) < 2048 || EVP_PKEY_get_bits(pkey) > 16384))
        rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-size",
                             "%s: an RSA key of %d bits is not accepted (2048 to 16384 are)", what,
                             EVP_PKEY_get_bits(pkey));
    struct prop_pkey *k = rc ? NULL : prop_zalloc(sizeof *k);
    if (!k) {
        EVP_PKEY_free(pkey);
        return rc ? rc : prop_err_nomem(err);
    }
    *k = (struct prop_pkey){ pkey, type, is_private };
    *ret = k;
    return 0;
}

EVP_PKEY *prop_pkey_evp(const struct prop_pkey *k)
{
    return k->evp;
}

int prop_pkey_generate(enum prop_pkey_type type, unsigned rsa_bits, struct prop_pkey **ret,
                       struct prop_err *err)
{
    if (type == PROP_PKEY_RSA && (rsa_bits < 2048 || rsa_bits > 8192))
        return prop_err_set_id(err, PROP_E_USAGE, "key-size",
                               "RSA keys are made with 2048 to 8192 bits, not %u", rsa_bits);
    EVP_PKEY *evp = NULL;
    switch (type) {
    case PROP_PKEY_RSA: evp = EVP_RSA_gen(rsa_bits); break;
    case PROP_PKEY_P256: evp = EVP_EC_gen("P-256"); break;
    case PROP_PKEY_P384: evp = EVP_EC_gen("P-384"); break;
    case PROP_PKEY_P521: evp = EVP_EC_gen("P-521"); break;
    case PROP_PKEY_ED25519: evp = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); break;
    }
    if (!evp)
        return prop_ossl_error(err, "make a key");
    return prop_pkey_wrap(evp, true, "new key", ret, err);
}

static EVP_PKEY *public_from_certificate(const void *data, size_t len)
{
    EVP_PKEY *evp = NULL;
    X509 *cert = NULL;
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    if (bio) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!cert && BIO_reset(bio) == 1)
            cert = d2i_X509_bio(bio, NULL);
    }
    if (cert)
        evp = X509_get_pubkey(cert);
    X509_free(cert);
    BIO_free(bio);
    return evp;
}

/* DER ends where its outer length says: bytes behind it are refused (text around PEM is not). */
static EVP_PKEY *refuse_trailing(EVP_PKEY *evp, const unsigned char *start, size_t left)
{
    if (!evp || *start != 0x30 || left == 0)
        return evp;
    EVP_PKEY_free(evp);
    return NULL;
}

int prop_pkey_load_public(const void *data, size_t len, const char *what, struct prop_pkey **ret,
                          struct prop_err *err)
{
    EVP_PKEY *evp = NULL;
    const unsigned char *p = data;
    size_t left = len;
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&evp, NULL, NULL, NULL,
                                                         EVP_PKEY_PUBLIC_KEY, NULL, NULL);
    if (!ctx)
        return prop_ossl_error(err, "read a public key");
    if (len > INT_MAX || OSSL_DECODER_from_data(ctx, &p, &left) != 1)
        evp = len > INT_MAX ? NULL : public_from_certificate(data, len);
    else
        evp = refuse_trailing(evp, data, left);
    OSSL_DECODER_CTX_free(ctx);
    ERR_clear_error();
    if (evp)
        return prop_pkey_wrap(evp, false, what, ret, err);
    return prop_err_set_id(err, PROP_E_INPUT, "not-a-public-key",
                           "%s holds no public key (PEM or DER, or a certificate)", what);
}

/* What the decoder is told when it wants a passphrase, and that it did want one. It never prompts. */
struct passphrase {
    const struct prop_secret *text; /* NULL: there is none */
    bool asked;
};

static int give_passphrase(char *buf, int size, int rwflag, void *arg)
{
    struct passphrase *p = arg;
    (void)rwflag;
    p->asked = true;
    if (!p->text || size < 0 || prop_secret_len(p->text) > (size_t)size)
        return -1;
    memcpy(buf, prop_secret_data(p->text), prop_secret_len(p->text));
    return (int)prop_secret_len(p->text);
}

/* The decoder stops at the first PEM block that is no key: a curve's parameters, which `openssl ecparam
 * -genkey` writes in front, or a certificate in one file with its key. Returns how many bytes to
 * leave out. */
static size_t in_front_of_key(const struct prop_secret *data)
{
    static const char begin[] = "-----BEGIN ", key[] = "PRIVATE KEY-----";
    const uint8_t *p = prop_secret_data(data), *at = p, *end = p + prop_secret_len(data);
    while ((at = memmem(at, (size_t)(end - at), begin, strlen(begin))) != NULL) {
        const uint8_t *name = at + strlen(begin);
        const uint8_t *eol = memchr(name, '\n', (size_t)(end - name));
        size_t line = (size_t)((eol ? eol : end) - name);
        if (memmem(name, line, key, strlen(key)))
            return (size_t)(at - p);
        at = name;
    }
    return 0;
}

static int decode_private(const struct prop_secret *data, struct passphrase *pass, EVP_PKEY **ret,
                          struct prop_err *err)
{
    EVP_PKEY *evp = NULL;
    size_t skip = in_front_of_key(data);
    const unsigned char *start = prop_secret_data(data) + skip, *p = start;
    size_t left = prop_secret_len(data) - skip;
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&evp, NULL, NULL, NULL, EVP_PKEY_KEYPAIR, NULL, NULL);
    if (!ctx || OSSL_DECODER_CTX_set_pem_password_cb(ctx, give_passphrase, pass) != 1) {
        OSSL_DECODER_CTX_free(ctx);
        return prop_ossl_error(err, "read a private key");
    }
    if (OSSL_DECODER_from_data(ctx, &p, &left) != 1)
        evp = NULL;
    OSSL_DECODER_CTX_free(ctx);
    ERR_clear_error();
    *ret = refuse_trailing(evp, start, left);
    return 0;
}

int prop_pkey_load_private(const struct prop_secret *data, const struct prop_secret *password,
                           const char *what, struct prop_pkey **ret, struct prop_err *err)
{
    struct passphrase pass = { password, false };
    EVP_PKEY *evp = NULL;
    int rc = decode_private(data, &pass, &evp, err);
    if (rc)
        return rc;
    if (evp)
        return prop_pkey_wrap(evp, true, what, ret, err);
    if (pass.asked) {
        rc = prop_err_set_id(err, PROP_E_AUTH, "passphrase", "%s is encrypted and %s", what,
                             password ? "the passphrase does not open it" : "no passphrase is given");
        (void)prop_err_hint(err, "name the passphrase's file: KEYFILE:file=PASSFILE");
        return rc;
    }
    return prop_err_set_id(err, PROP_E_INPUT, "not-a-private-key",
                           "%s holds no private key (PKCS#8, PKCS#1 or SEC1, PEM or DER)", what);
}

enum prop_pkey_type prop_pkey_get_type(const struct prop_pkey *k)
{
    return k->type;
}

bool prop_pkey_is_private(const struct prop_pkey *k)
{
    return k->is_private;
}

unsigned prop_pkey_bits(const struct prop_pkey *k)
{
    return k->type == PROP_PKEY_ED25519 ? 256 : (unsigned)EVP_PKEY_get_bits(k->evp);
}

bool prop_pkey_same_public(const struct prop_pkey *a, const struct prop_pkey *b)
{
    bool same = EVP_PKEY_eq(a->evp, b->evp) == 1;
    ERR_clear_error();
    return same;
}

void prop_pkey_free(struct prop_pkey *k)
{
    if (!k)
        return;
    EVP_PKEY_free(k->evp);
    prop_free(k);
}

int prop_pkey_private_pem(const struct prop_pkey *k, struct prop_secret **ret, struct prop_err *err)
{
    if (!k->is_private)
        return prop_err_set(err, PROP_E_BUG, "no private half to write");
    BIO *bio = BIO_new(BIO_s_secmem());
    char *text = NULL;
    int rc;
    if (!bio || PEM_write_bio_PrivateKey(bio, k->evp, NULL, NULL, 0, NULL, NULL) != 1) {
        rc = prop_ossl_error(err, "write a private key");
    } else {
        long n = BIO_get_mem_data(bio, &text);
        rc = prop_secret_copy(text, (size_t)n, ret, err);
        prop_wipe(text, (size_t)n);
    }
    BIO_free(bio);
    return rc;
}

static int collect(BIO *bio, int ok, struct prop_buf *out, struct prop_err *err)
{
    char *text = NULL;
    long n = ok == 1 ? BIO_get_mem_data(bio, &text) : -1;
    return n < 0 ? prop_ossl_error(err, "write a public key") : prop_buf_add(out, text, (size_t)n, err);
}

int prop_pkey_public_pem(const struct prop_pkey *k, struct prop_buf *out, struct prop_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = collect(bio, bio ? PEM_write_bio_PUBKEY(bio, k->evp) : 0, out, err);
    BIO_free(bio);
    return rc;
}

int prop_pkey_public_der(const struct prop_pkey *k, struct prop_buf *out, struct prop_err *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = collect(bio, bio ? i2d_PUBKEY_bio(bio, k->evp) : 0, out, err);
    BIO_free(bio);
    return rc;
}
