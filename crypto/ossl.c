#include "crypto/ossl.h"

#include <openssl/err.h>

int prop_ossl_error(struct prop_err *err, const char *what)
{
    unsigned long e = ERR_get_error();
    ERR_clear_error();
    if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
        return prop_err_nomem(err);
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    return prop_err_set(err, PROP_E_BUG, "%s: %s", what, reason ? reason : "OpenSSL failed");
}

const EVP_MD *prop_ossl_md(enum prop_hash_alg alg)
{
    switch (alg) {
    case PROP_SHA1: return EVP_sha1();
    case PROP_SHA256: return EVP_sha256();
    case PROP_SHA384: return EVP_sha384();
    case PROP_SHA512: return EVP_sha512();
    }
    return NULL;
}
