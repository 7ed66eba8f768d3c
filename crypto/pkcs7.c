/* EnvelopedData in ocicrypt's encoding. Go's library wrote the GCM parameters as
 * 10 13 { 30 11 { 84 0c nonce, 02 01 10 } }: a universal tag 16 without the "constructed" bit
 * around a sequence whose octet string has a context tag, and everybody has to follow it. */
#include "crypto/pkcs7.h"

#include "crypto/cipher.h"
#include "crypto/random.h"
#include "util/limits.h"

#include <string.h>

#define GCM_TAG 16

enum tag {
    TAG_INTEGER = 0x02,
    TAG_OCTETS = 0x04,
    TAG_OID = 0x06,
    TAG_ODD_SEQUENCE = 0x10,
    TAG_SEQUENCE = 0x30,
    TAG_SET = 0x31,
    TAG_CONTEXT_0 = 0x80,
    TAG_CONTEXT_4 = 0x84,
    TAG_EXPLICIT_0 = 0xa0
};

static const uint8_t oid_enveloped[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03 };
static const uint8_t oid_data[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01 };
static const uint8_t oid_rsa[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01 };
static const uint8_t oid_gcm128[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x06 };
static const uint8_t oid_gcm256[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e };

/* --- reading --- */

/* What is left of a run of elements. */
struct der {
    const uint8_t *at, *end;
};

/* A length in the shortest definite form (X.690 section 10.1). */
static bool read_length(struct der *d, size_t *ret)
{
    if (d->at == d->end)
        return false;
    size_t n = *d->at++;
    if (n >= 0x80) {
        size_t bytes = n & 0x7f;
        if (bytes == 0 || bytes > 4 || (size_t)(d->end - d->at) < bytes || *d->at == 0)
            return false;
        for (n = 0; bytes > 0; bytes--)
            n = n << 8 | *d->at++;
        if (n < 0x80)
            return false;
    }
    *ret = n;
    return n <= (size_t)(d->end - d->at);
}

/* The next element: its tag and what is in it; `ret_whole` (may be NULL) with its header. */
static bool next(struct der *d, uint8_t *ret_tag, struct der *ret, struct der *ret_whole)
{
    const uint8_t *start = d->at;
    size_t len = 0;
    if (d->at == d->end || (*d->at & 0x1f) == 0x1f) /* no tag numbers of several bytes are used */
        return false;
    uint8_t tag = *d->at++;
    if (!read_length(d, &len))
        return false;
    *ret = (struct der){ d->at, d->at + len };
    d->at += len;
    if (ret_whole)
        *ret_whole = (struct der){ start, d->at };
    *ret_tag = tag;
    return true;
}

static bool take(struct der *d, uint8_t want, struct der *ret)
{
    uint8_t tag = 0;
    return next(d, &tag, ret, NULL) && tag == want;
}

static bool take_whole(struct der *d, uint8_t want, struct der *ret_whole)
{
    struct der content;
    uint8_t tag = 0;
    return next(d, &tag, &content, ret_whole) && tag == want;
}

static size_t left(const struct der *d)
{
    return (size_t)(d->end - d->at);
}

static bool is_bytes(const struct der *d, const uint8_t *bytes, size_t len)
{
    return left(d) == len && memcmp(d->at, bytes, len) == 0;
}

static int bad(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-pkcs7", "PKCS#7 message: %s", what);
}

/* RecipientInfo of RFC 2315 section 10.2; what is of another kind stays without names or key. */
static bool read_recipient(struct der info, struct prop_pkcs7_recipient *r)
{
    struct der version, who, issuer, serial, alg, oid, key;
    uint8_t tag = 0;
    if (!take(&info, TAG_INTEGER, &version) || !next(&info, &tag, &who, NULL))
        return false;
    if (tag != TAG_SEQUENCE)
        return true; /* named by key identifier */
    if (!take_whole(&who, TAG_SEQUENCE, &issuer) || !take_whole(&who, TAG_INTEGER, &serial) ||
        left(&who) != 0 || !take(&info, TAG_SEQUENCE, &alg) || !take(&alg, TAG_OID, &oid) ||
        !take(&info, TAG_OCTETS, &key) || left(&info) != 0)
        return false;
    r->issuer = issuer.at;
    r->issuer_len = left(&issuer);
    r->serial = serial.at;
    r->serial_len = left(&serial);
    if (is_bytes(&oid, oid_rsa, sizeof(oid_rsa))) {
        r->key = key.at;
        r->key_len = left(&key);
    }
    return true;
}

static int read_recipients(struct der set, struct prop_pkcs7 *p, struct prop_err *err)
{
    struct der info, count = set;
    uint8_t tag = 0;
    size_t n = 0;
    while (left(&count) > 0) {
        if (!next(&count, &tag, &info, NULL))
            return bad(err, "malformed recipients");
        n++;
    }
    if (n > PROP_LIMIT_RECIPIENTS)
        return prop_err_set(err, PROP_E_LIMIT, "PKCS#7 message with %zu recipients, at most %d "
                            "are read", n, PROP_LIMIT_RECIPIENTS);
    p->recipients = prop_realloc_array(NULL, n, sizeof(*p->recipients));
    if (!p->recipients)
        return prop_err_nomem(err);
    memset(p->recipients, 0, n * sizeof(*p->recipients));
    while (next(&set, &tag, &info, NULL)) {
        if (tag == TAG_SEQUENCE && !read_recipient(info, &p->recipients[p->n]))
            return bad(err, "malformed recipient");
        p->n++;
    }
    return 0;
}

/* The nonce in the odd parameters described above. */
static bool read_gcm(struct der params, const uint8_t **ret_nonce)
{
    static const uint8_t tag_bytes[] = { GCM_TAG };
    struct der odd, seq, nonce, icv;
    if (!take(&params, TAG_ODD_SEQUENCE, &odd) || left(&params) != 0 ||
        !take(&odd, TAG_SEQUENCE, &seq) || left(&odd) != 0 || !take(&seq, TAG_CONTEXT_4, &nonce) ||
        left(&nonce) != PROP_PKCS7_NONCE || !take(&seq, TAG_INTEGER, &icv) || left(&seq) != 0 ||
        !is_bytes(&icv, tag_bytes, sizeof(tag_bytes)))
        return false;
    *ret_nonce = nonce.at;
    return true;
}

static bool read_cipher(struct der alg, struct prop_pkcs7 *p)
{
    struct der oid;
    if (!take(&alg, TAG_OID, &oid))
        return false;
    if (is_bytes(&oid, oid_gcm128, sizeof(oid_gcm128))) {
        p->enc = "A128GCM";
        p->key_bytes = 16;
    } else if (is_bytes(&oid, oid_gcm256, sizeof(oid_gcm256))) {
        p->enc = "A256GCM";
        p->key_bytes = 32;
    }
    return !p->enc || read_gcm(alg, &p->nonce);
}

/* [0], which holds the bytes themselves or octet strings with them, as writers have it. */
static int read_data(struct der *d, struct prop_pkcs7 *p, struct prop_err *err)
{
    struct der content, piece;
    uint8_t tag = 0;
    if (!next(d, &tag, &content, NULL) || left(d) != 0 ||
        (tag != TAG_CONTEXT_0 && tag != TAG_EXPLICIT_0))
        return bad(err, "no encrypted content");
    if (tag == TAG_CONTEXT_0)
        return prop_buf_add(&p->data, content.at, left(&content), err);
    while (left(&content) > 0) {
        if (!take(&content, TAG_OCTETS, &piece))
            return bad(err, "malformed encrypted content");
        int rc = prop_buf_add(&p->data, piece.at, left(&piece), err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_content(struct der info, struct prop_pkcs7 *p, struct prop_err *err)
{
    struct der type, alg;
    if (!take(&info, TAG_OID, &type) || !take(&info, TAG_SEQUENCE, &alg))
        return bad(err, "malformed content");
    if (!read_cipher(alg, p))
        return bad(err, "malformed cipher parameters");
    return read_data(&info, p, err);
}

static int parse(struct der all, struct prop_pkcs7 *p, struct prop_err *err)
{
    struct der outer, oid, wrapper, body, version, set, info;
    if (!take(&all, TAG_SEQUENCE, &outer) || left(&all) != 0 || !take(&outer, TAG_OID, &oid) ||
        !is_bytes(&oid, oid_enveloped, sizeof(oid_enveloped)) ||
        !take(&outer, TAG_EXPLICIT_0, &wrapper) || left(&outer) != 0 ||
        !take(&wrapper, TAG_SEQUENCE, &body) || left(&wrapper) != 0 ||
        !take(&body, TAG_INTEGER, &version) || !take(&body, TAG_SET, &set) ||
        !take(&body, TAG_SEQUENCE, &info) || left(&body) != 0)
        return bad(err, "not an EnvelopedData");
    int rc = read_recipients(set, p, err);
    return rc != 0 ? rc : read_content(info, p, err);
}

int prop_pkcs7_parse(const void *der, size_t len, struct prop_pkcs7 *ret, struct prop_err *err)
{
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    const uint8_t *at = der;
    int rc = parse((struct der){ at, at + len }, &p, err);
    if (rc != 0)
        return rc;
    *ret = p;
    p = (struct prop_pkcs7)PROP_PKCS7_INIT;
    return 0;
}

void prop_pkcs7_release(struct prop_pkcs7 *p)
{
    prop_free(p->recipients);
    prop_buf_release(&p->data);
    p->recipients = NULL;
    p->n = 0;
}

/* --- opening --- */

static bool is_for(const struct prop_pkcs7_recipient *r, const struct prop_cert *cert)
{
    size_t issuer_len = 0, serial_len = 0;
    const uint8_t *issuer = prop_cert_issuer(cert, &issuer_len);
    const uint8_t *serial = prop_cert_serial(cert, &serial_len);
    return r->issuer && r->issuer_len == issuer_len && r->serial_len == serial_len &&
           memcmp(r->issuer, issuer, issuer_len) == 0 && memcmp(r->serial, serial, serial_len) == 0;
}

static const struct prop_pkcs7_recipient *find(const struct prop_pkcs7 *p,
                                               const struct prop_cert *cert)
{
    for (size_t i = 0; i < p->n; i++)
        if (is_for(&p->recipients[i], cert))
            return &p->recipients[i];
    return NULL;
}

bool prop_pkcs7_names(const struct prop_pkcs7 *p, const struct prop_cert *cert)
{
    return find(p, cert) != NULL;
}

static int no_key(struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_VERIFY, "pkcs7-no-key",
                           "the PKCS#7 message does not open with this certificate and key");
}

int prop_pkcs7_open(const struct prop_pkcs7 *p, const struct prop_cert *cert,
                    const struct prop_pkey *key, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *cek = NULL;
    const struct prop_pkcs7_recipient *r = find(p, cert);
    if (!r || !prop_pkey_same_public(prop_cert_key(cert), key))
        return no_key(err);
    if (!r->key || !p->enc)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "pkcs7-cipher",
                               "the PKCS#7 message uses a cipher that is not read here");
    if (p->data.len < GCM_TAG)
        return bad(err, "encrypted content without a tag");
    size_t len = p->data.len - GCM_TAG;
    int rc = prop_rsa_decrypt_or_random(key, r->key, r->key_len, p->key_bytes, &cek, err);
    if (rc == 0)
        rc = prop_gcm_open(cek, p->nonce, PROP_PKCS7_NONCE, NULL, 0, p->data.data, len,
                           p->data.data + len, ret, err);
    return rc == PROP_E_VERIFY ? no_key(err) : rc;
}

/* --- writing --- */

static int put_header(struct prop_buf *out, uint8_t tag, size_t len, struct prop_err *err)
{
    uint8_t h[6] = { tag };
    size_t n = 1;
    if (len < 0x80) {
        h[n++] = (uint8_t)len;
    } else {
        size_t bytes = len > 0xffff ? 3 : len > 0xff ? 2 : 1;
        h[n++] = (uint8_t)(0x80 | bytes);
        for (; bytes > 0; bytes--)
            h[n++] = (uint8_t)(len >> (8 * (bytes - 1)));
    }
    return prop_buf_add(out, h, n, err);
}

static int put(struct prop_buf *out, uint8_t tag, const void *data, size_t len,
               struct prop_err *err)
{
    int rc = put_header(out, tag, len, err);
    return rc != 0 ? rc : prop_buf_add(out, data, len, err);
}

static int put_buf(struct prop_buf *out, uint8_t tag, const struct prop_buf *in,
                   struct prop_err *err)
{
    return put(out, tag, in->data, in->len, err);
}

#define PART PROP_BUF_INIT(PROP_LIMIT_ANNOTATION)
static const uint8_t zero[] = { 0 };

/* SET of one RecipientInfo with the wrapped key. */
static int put_recipient(struct prop_buf *out, const struct prop_cert *cert,
                         const struct prop_secret *cek, struct prop_err *err)
{
    prop_auto_buf struct prop_buf who = PART, alg = PART, key = PART, info = PART, set = PART;
    size_t issuer_len = 0, serial_len = 0;
    const uint8_t *issuer = prop_cert_issuer(cert, &issuer_len);
    const uint8_t *serial = prop_cert_serial(cert, &serial_len);
    int rc;
    if ((rc = prop_rsa_encrypt(prop_cert_key(cert), PROP_RSA_PKCS1_V15, cek, &key, err)) != 0 ||
        (rc = prop_buf_add(&who, issuer, issuer_len, err)) != 0 ||
        (rc = prop_buf_add(&who, serial, serial_len, err)) != 0 ||
        (rc = put(&alg, TAG_OID, oid_rsa, sizeof(oid_rsa), err)) != 0 ||
        (rc = put(&info, TAG_INTEGER, zero, sizeof(zero), err)) != 0 ||
        (rc = put_buf(&info, TAG_SEQUENCE, &who, err)) != 0 ||
        (rc = put_buf(&info, TAG_SEQUENCE, &alg, err)) != 0 ||
        (rc = put_buf(&info, TAG_OCTETS, &key, err)) != 0 ||
        (rc = put_buf(&set, TAG_SEQUENCE, &info, err)) != 0)
        return rc;
    return put_buf(out, TAG_SET, &set, err);
}

static int put_cipher(struct prop_buf *out, const uint8_t nonce[PROP_PKCS7_NONCE],
                      struct prop_err *err)
{
    static const uint8_t icv[] = { GCM_TAG };
    prop_auto_buf struct prop_buf seq = PART, odd = PART, alg = PART;
    int rc;
    if ((rc = put(&seq, TAG_CONTEXT_4, nonce, PROP_PKCS7_NONCE, err)) != 0 ||
        (rc = put(&seq, TAG_INTEGER, icv, sizeof(icv), err)) != 0 ||
        (rc = put_buf(&odd, TAG_SEQUENCE, &seq, err)) != 0 ||
        (rc = put(&alg, TAG_OID, oid_gcm128, sizeof(oid_gcm128), err)) != 0 ||
        (rc = put_buf(&alg, TAG_ODD_SEQUENCE, &odd, err)) != 0)
        return rc;
    return put_buf(out, TAG_SEQUENCE, &alg, err);
}

static int put_content(struct prop_buf *out, const struct prop_secret *plaintext,
                       const struct prop_secret *cek, struct prop_err *err)
{
    prop_auto_buf struct prop_buf info = PART, sealed = PART, octets = PART;
    uint8_t nonce[PROP_PKCS7_NONCE];
    size_t len = prop_secret_len(plaintext);
    int rc;
    prop_random(nonce, sizeof(nonce));
    if ((rc = prop_buf_reserve(&sealed, len + GCM_TAG, err)) != 0 ||
        (rc = prop_gcm_seal(cek, nonce, sizeof(nonce), NULL, 0, prop_secret_data(plaintext), len,
                            sealed.data, sealed.data + len, err)) != 0)
        return rc;
    sealed.len = len + GCM_TAG;
    if ((rc = put(&info, TAG_OID, oid_data, sizeof(oid_data), err)) != 0 ||
        (rc = put_cipher(&info, nonce, err)) != 0 ||
        (rc = put_buf(&octets, TAG_OCTETS, &sealed, err)) != 0 ||
        (rc = put_buf(&info, TAG_EXPLICIT_0, &octets, err)) != 0)
        return rc;
    return put_buf(out, TAG_SEQUENCE, &info, err);
}

int prop_pkcs7_seal(const struct prop_secret *plaintext, const struct prop_cert *cert,
                    struct prop_buf *out, struct prop_err *err)
{
    prop_auto_buf struct prop_buf body = PART, seq = PART, outer = PART;
    prop_auto_secret struct prop_secret *cek = NULL;
    int rc;
    if (prop_pkey_get_type(prop_cert_key(cert)) != PROP_PKEY_RSA)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "recipient-key",
                               "PKCS#7 recipients need a certificate with an RSA key");
    if ((rc = prop_random_secret(16, &cek, err)) != 0 ||
        (rc = put(&body, TAG_INTEGER, zero, sizeof(zero), err)) != 0 ||
        (rc = put_recipient(&body, cert, cek, err)) != 0 ||
        (rc = put_content(&body, plaintext, cek, err)) != 0 ||
        (rc = put_buf(&seq, TAG_SEQUENCE, &body, err)) != 0 ||
        (rc = put(&outer, TAG_OID, oid_enveloped, sizeof(oid_enveloped), err)) != 0 ||
        (rc = put_buf(&outer, TAG_EXPLICIT_0, &seq, err)) != 0)
        return rc;
    return put_buf(out, TAG_SEQUENCE, &outer, err);
}
