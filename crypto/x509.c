/* Making certificates with OpenSSL's X.509 calls. */
#include "crypto/x509.h"

#include "crypto/ossl.h"
#include "crypto/random.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#define DAY_S 86400L

static void x509_free_p(X509 **x)
{
    X509_free(*x);
}
#define auto_x509 __attribute__((cleanup(x509_free_p)))

static void bio_free_p(BIO **b)
{
    BIO_free_all(*b);
}
#define auto_bio __attribute__((cleanup(bio_free_p)))

static int add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value,
                         struct prop_err *err)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);

    if (ext == NULL || X509_add_ext(cert, ext, -1) != 1) {
        X509_EXTENSION_free(ext);
        return prop_ossl_error(err, "certificate extension");
    }
    X509_EXTENSION_free(ext);
    return 0;
}

/* Serial number, dates, subject, public key: what CA and leaf have in common. */
static int fill(X509 *cert, const struct prop_pkey *key, const char *common_name, unsigned days,
                struct prop_err *err)
{
    unsigned char serial[16];
    X509_NAME *name = X509_get_subject_name(cert);

    if (days > (unsigned)(LONG_MAX / DAY_S > INT_MAX ? INT_MAX : LONG_MAX / DAY_S))
        return prop_err_set(err, PROP_E_USAGE, "certificate lifetime of %u days", days);
    prop_random(serial, sizeof(serial));
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive (RFC 5280 4.1.2.2) */
    BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
    bool ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    ok = ok && X509_set_version(cert, X509_VERSION_3) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S) != NULL &&
         X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, NULL) != NULL &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                    (const unsigned char *)common_name, -1, -1, 0) == 1 &&
         X509_set_pubkey(cert, prop_pkey_evp(key)) == 1;
    return ok ? 0 : prop_ossl_error(err, "certificate");
}

static int write_pem(X509 *cert, struct prop_buf *out, struct prop_err *err)
{
    auto_bio BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;

    if (bio == NULL || PEM_write_bio_X509(bio, cert) != 1)
        return prop_ossl_error(err, "certificate");
    long len = BIO_get_mem_data(bio, &data);
    return prop_buf_add(out, data, (size_t)len, err);
}

static int sign(X509 *cert, const struct prop_pkey *key, struct prop_buf *out,
                struct prop_err *err)
{
    if (X509_sign(cert, prop_pkey_evp(key), EVP_sha256()) == 0)
        return prop_ossl_error(err, "sign certificate");
    return write_pem(cert, out, err);
}

int prop_x509_make_ca(const struct prop_pkey *key, const char *common_name, unsigned days,
                      struct prop_buf *out, struct prop_err *err)
{
    auto_x509 X509 *cert = X509_new();
    X509V3_CTX ctx;

    if (cert == NULL)
        return prop_err_nomem(err);
    int rc = fill(cert, key, common_name, days, err);
    if (rc == 0 && X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1)
        rc = prop_ossl_error(err, "certificate");
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_basic_constraints, "critical,CA:TRUE,pathlen:0", err);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_key_usage, "critical,keyCertSign,cRLSign", err);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_subject_key_identifier, "hash", err);
    return rc == 0 ? sign(cert, key, out, err) : rc;
}

/* One name as an IP address when it reads as one, else as a host name. */
static GENERAL_NAME *general_name(const char *text)
{
    unsigned char addr[16];
    int len = inet_pton(AF_INET, text, addr) == 1 ? 4 : inet_pton(AF_INET6, text, addr) == 1 ? 16
                                                                                             : 0;
    ASN1_STRING *value = len != 0 ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();

    if (value == NULL || name == NULL ||
        ASN1_STRING_set(value, len != 0 ? (const void *)addr : text,
                        len != 0 ? len : (int)strlen(text)) != 1) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, len != 0 ? GEN_IPADD : GEN_DNS, value);
    return name;
}

static int add_names(X509 *cert, const char *const *names, size_t n, struct prop_err *err)
{
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    bool ok = list != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        GENERAL_NAME *name = general_name(names[i]);
        ok = name != NULL && sk_GENERAL_NAME_push(list, name) > 0;
        if (!ok)
            GENERAL_NAME_free(name);
    }
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1;
    sk_GENERAL_NAME_pop_free(list, GENERAL_NAME_free);
    return ok ? 0 : prop_ossl_error(err, "certificate names");
}

static int read_ca(const struct prop_pkey *key, const void *pem, size_t len, X509 **ret,
                   struct prop_err *err)
{
    auto_bio BIO *bio = len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    auto_x509 X509 *ca = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    if (ca == NULL) {
        (void)prop_ossl_error(NULL, "CA certificate");
        return prop_err_set(err, PROP_E_INPUT, "CA certificate is not a PEM certificate");
    }
    if (X509_check_private_key(ca, prop_pkey_evp(key)) != 1) {
        (void)prop_ossl_error(NULL, "CA certificate");
        return prop_err_set_id(err, PROP_E_INPUT, "ca-mismatch",
                               "CA certificate and CA key do not belong together");
    }
    *ret = PROP_TAKE(ca);
    return 0;
}

int prop_x509_make_leaf(const struct prop_pkey *ca_key, const void *ca_pem, size_t ca_pem_len,
                        const struct prop_pkey *key, const char *const *names, size_t n_names,
                        unsigned days, struct prop_buf *out, struct prop_err *err)
{
    auto_x509 X509 *cert = X509_new();
    auto_x509 X509 *ca = NULL;
    X509V3_CTX ctx;

    if (cert == NULL)
        return prop_err_nomem(err);
    int rc = read_ca(ca_key, ca_pem, ca_pem_len, &ca, err);
    if (rc == 0)
        rc = fill(cert, key, n_names > 0 ? names[0] : "server", days, err);
    if (rc == 0 && X509_set_issuer_name(cert, X509_get_subject_name(ca)) != 1)
        rc = prop_ossl_error(err, "certificate");
    X509V3_set_ctx(&ctx, ca, cert, NULL, NULL, 0);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_basic_constraints, "critical,CA:FALSE", err);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_key_usage, "critical,digitalSignature", err);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_ext_key_usage, "serverAuth", err);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_subject_key_identifier, "hash", err);
    if (rc == 0)
        rc = add_extension(cert, &ctx, NID_authority_key_identifier, "keyid", err);
    if (rc == 0)
        rc = add_names(cert, names, n_names, err);
    return rc == 0 ? sign(cert, ca_key, out, err) : rc;
}
