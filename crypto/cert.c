/* Reading certificates with OpenSSL: name, serial number, public key. */
#include "crypto/cert.h"

#include "crypto/ossl.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

struct prop_cert {
    struct prop_pkey *key;
    unsigned char *issuer, *serial; /* OpenSSL's memory */
    size_t issuer_len, serial_len;
    const char *remark;
};

static const char begin[] = "-----BEGIN";

/* NULL when there is none; OpenSSL's queue is left empty. */
static X509 *read_x509(const void *data, size_t len)
{
    X509 *cert = NULL;
    if (len == 0 || len > INT_MAX)
        return NULL;
    if (memmem(data, len, begin, strlen(begin))) {
        BIO *bio = BIO_new_mem_buf(data, (int)len);
        cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
    } else {
        const unsigned char *p = data;
        cert = d2i_X509(NULL, &p, (long)len);
        if (cert && p != (const unsigned char *)data + len) {
            X509_free(cert);
            cert = NULL;
        }
    }
    ERR_clear_error();
    return cert;
}

bool prop_cert_is(const void *data, size_t len)
{
    X509 *cert = read_x509(data, len);
    X509_free(cert);
    return cert != NULL;
}

/* OpenSSL gives the length as an int, negative on failure. */
static int take_der(int len, size_t *ret, struct prop_err *err)
{
    if (len <= 0)
        return prop_ossl_error(err, "certificate");
    *ret = (size_t)len;
    return 0;
}

static const char *remark_on(X509 *x)
{
    if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
        return "the certificate has expired";
    if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
        return "the certificate is not valid yet";
    if (!(X509_get_key_usage(x) & KU_KEY_ENCIPHERMENT)) /* all bits without the extension */
        return "the certificate's key usage is not to receive keys (keyEncipherment)";
    return NULL;
}

static int fill(X509 *x, struct prop_cert *c, const char *what, struct prop_err *err)
{
    EVP_PKEY *evp = X509_get_pubkey(x);
    if (!evp) {
        ERR_clear_error();
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-type",
                               "%s: the certificate's key is of no known kind", what);
    }
    c->remark = remark_on(x);
    int rc = prop_pkey_wrap(evp, false, what, &c->key, err);
    if (rc == 0)
        rc = take_der(i2d_X509_NAME(X509_get_issuer_name(x), &c->issuer), &c->issuer_len, err);
    if (rc == 0)
        rc = take_der(i2d_ASN1_INTEGER(X509_get_serialNumber(x), &c->serial), &c->serial_len, err);
    return rc;
}

int prop_cert_load(const void *data, size_t len, const char *what, struct prop_cert **ret,
                   struct prop_err *err)
{
    X509 *x = read_x509(data, len);
    if (!x)
        return prop_err_set_id(err, PROP_E_INPUT, "not-a-certificate",
                               "%s holds no certificate (PEM or DER)", what);
    struct prop_cert *c = prop_zalloc(sizeof(*c));
    int rc = c ? fill(x, c, what, err) : prop_err_nomem(err);
    X509_free(x);
    if (rc != 0) {
        prop_cert_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void prop_cert_free(struct prop_cert *c)
{
    if (!c)
        return;
    prop_pkey_free(c->key);
    OPENSSL_free(c->issuer);
    OPENSSL_free(c->serial);
    prop_free(c);
}

const struct prop_pkey *prop_cert_key(const struct prop_cert *c)
{
    return c->key;
}

const char *prop_cert_remark(const struct prop_cert *c)
{
    return c->remark;
}

const uint8_t *prop_cert_issuer(const struct prop_cert *c, size_t *ret_len)
{
    *ret_len = c->issuer_len;
    return c->issuer;
}

const uint8_t *prop_cert_serial(const struct prop_cert *c, size_t *ret_len)
{
    *ret_len = c->serial_len;
    return c->serial;
}

const char *prop_cert_name_text(const uint8_t *name, size_t len, char *out, size_t size)
{
    const unsigned char *p = name;
    X509_NAME *x = len <= LONG_MAX ? d2i_X509_NAME(NULL, &p, (long)len) : NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    long n = 0;
    if (x && bio && X509_NAME_print_ex(bio, x, 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_get_mem_data(bio, &text);
    (void)snprintf(out, size, "%.*s", n > 0 ? (int)(n < INT_MAX ? n : INT_MAX) : 1,
                   n > 0 ? text : "?");
    BIO_free(bio);
    X509_NAME_free(x);
    ERR_clear_error();
    return out;
}
