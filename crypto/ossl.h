/* Inside crypto/ only: how a failure of OpenSSL becomes one of ours. */
#ifndef PROP_CRYPTO_OSSL_H
#define PROP_CRYPTO_OSSL_H

#include "crypto/pkey.h"
#include "util/err.h"

#include <openssl/evp.h>

/* PROP_E_BUG with OpenSSL's first reason, for calls that cannot fail on good arguments; clears
 * OpenSSL's queue. PROP_E_NOMEM when that was the reason. */
int prop_ossl_error(struct prop_err *err, const char *what);

/* The name of a digest for EVP, or NULL. */
const EVP_MD *prop_ossl_md(enum prop_hash_alg alg);

/* A key object around an EVP_PKEY, which it takes over (freed on failure too). Only the types of
 * enum prop_pkey_type pass; `what` names the source. */
int prop_pkey_wrap(EVP_PKEY *pkey, bool is_private, const char *what, struct prop_pkey **ret,
                   struct prop_err *err);
EVP_PKEY *prop_pkey_evp(const struct prop_pkey *k);

#endif
