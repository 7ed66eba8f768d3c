/* Chains with OpenSSL's X509_verify_cert. */
#include "crypto/trust.h"

#include "crypto/ossl.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

/* 112 bits: no RSA below 2048, no signature over MD5 or SHA-1. Outside TLS, OpenSSL asks for
 * nothing unless told. */
enum { AUTH_LEVEL = 2 };

struct check {
    X509_STORE *store;
    STACK_OF(X509) *chain;
    X509_STORE_CTX *ctx;
};

static void check_release(struct check *c)
{
    X509_STORE_CTX_free(c->ctx);
    sk_X509_pop_free(c->chain, X509_free);
    X509_STORE_free(c->store);
    ERR_clear_error();
}
#define auto_check __attribute__((cleanup(check_release)))

/* Every certificate of the PEM text into the store; nothing else may be asked of the file. */
static int load_roots(X509_STORE *store, const void *pem, size_t len, struct prop_err *err)
{
    size_t found = 0;
    BIO *bio = len <= INT_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    X509 *cert;
    bool ok = bio != NULL;

    while (ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        ok = X509_STORE_add_cert(store, cert) == 1;
        X509_free(cert);
        found++;
    }
    BIO_free_all(bio);
    ERR_clear_error();
    if (!ok)
        return prop_err_nomem(err);
    if (found == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate",
                               "there is no PEM certificate to trust");
    return 0;
}

static int load_chain(STACK_OF(X509) *stack, const struct prop_buf *chain, size_t n,
                      const char *what, struct prop_err *err)
{
    if (n == 0 || n > PROP_TRUST_CHAIN_MAX)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate", "%s has %zu certificates",
                               what, n);
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = chain[i].data;
        X509 *cert = chain[i].len <= LONG_MAX ? d2i_X509(NULL, &p, (long)chain[i].len) : NULL;
        if (cert == NULL || p != chain[i].data + chain[i].len) {
            X509_free(cert);
            return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate",
                                   "%s: certificate %zu is none", what, i + 1);
        }
        if (sk_X509_push(stack, cert) == 0) {
            X509_free(cert);
            return prop_err_nomem(err);
        }
    }
    return 0;
}

static int verify(struct check *c, const char *what, struct prop_err *err)
{
    if (X509_STORE_CTX_init(c->ctx, c->store, sk_X509_value(c->chain, 0), c->chain) != 1)
        return prop_ossl_error(err, what);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(c->ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
    if (X509_verify_cert(c->ctx) == 1)
        return 0;
    int why = X509_STORE_CTX_get_error(c->ctx);
    return prop_err_set_id(err, PROP_E_VERIFY, "untrusted-chain",
                           "%s does not lead to a trusted certificate: %s", what,
                           X509_verify_cert_error_string(why));
}

/* A key that is there to encrypt, say, signs nothing; one whose use is not stated may. */
static int check_use(X509 *leaf, const char *what, struct prop_err *err)
{
    return (X509_get_key_usage(leaf) & X509v3_KU_DIGITAL_SIGNATURE) != 0
             ? 0
             : prop_err_set_id(err, PROP_E_VERIFY, "untrusted-chain",
                               "%s: the leaf's key is not there to sign", what);
}

int prop_trust_check_chain(const struct prop_buf *chain, size_t n, const void *roots_pem,
                           size_t roots_len, const char *what, struct prop_pkey **ret_leaf,
                           struct prop_err *err)
{
    auto_check struct check c = { X509_STORE_new(), sk_X509_new_null(), X509_STORE_CTX_new() };
    int rc = c.store != NULL && c.chain != NULL && c.ctx != NULL ? 0 : prop_err_nomem(err);

    if (rc == 0)
        rc = load_roots(c.store, roots_pem, roots_len, err);
    if (rc == 0)
        rc = load_chain(c.chain, chain, n, what, err);
    if (rc == 0)
        rc = verify(&c, what, err);
    if (rc == 0)
        rc = check_use(sk_X509_value(c.chain, 0), what, err);
    if (rc != 0)
        return rc;
    EVP_PKEY *key = X509_get_pubkey(sk_X509_value(c.chain, 0));
    if (key == NULL)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate",
                               "%s: the leaf has no usable key", what);
    return prop_pkey_wrap(key, false, what, ret_leaf, err);
}
