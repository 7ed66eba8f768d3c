/* The key management and content algorithms of JWE that are accepted: two tables, a row each. */
#ifndef PROP_JOSE_JWE_ALG_H
#define PROP_JOSE_JWE_ALG_H

#include "crypto/pkey.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>

enum prop_jwe_use {
    PROP_JWE_WRITE = 1,      /* may be written */
    PROP_JWE_READ = 2,       /* may be read */
    PROP_JWE_DEFAULT = 4,    /* written when no alg is asked for */
    PROP_JWE_WRITE_ASKED = 8 /* written only where the caller's flags allow the weak one */
};

struct prop_jwe_alg {
    const char *name;
    bool ec;               /* for EC keys; else for RSA keys */
    unsigned use;          /* enum prop_jwe_use */
    enum prop_rsa_pad pad; /* RSA rows */
    size_t kek_bytes;      /* ECDH rows: 16, 24, 32 */
    /* Encrypt `cek` to `pub`; what the reader needs (epk) is added to `header`. */
    int (*wrap)(const struct prop_jwe_alg *alg, const struct prop_pkey *pub,
                const struct prop_secret *cek, json_t *header, struct prop_buf *out,
                struct prop_err *err);
    /* Decrypt the content key with `priv`. PROP_E_VERIFY when it does not open. */
    int (*unwrap)(const struct prop_jwe_alg *alg, const struct prop_pkey *priv,
                  const json_t *header, const struct prop_buf *encrypted,
                  struct prop_secret **ret_cek, struct prop_err *err);
};

struct prop_jwe_enc {
    const char *name;
    size_t key_bytes;
};

/* NULL when the name is in no row. */
const struct prop_jwe_alg *prop_jwe_alg_find(const char *name);
/* The row that is written for a key when nothing is asked for; NULL for Ed25519. */
const struct prop_jwe_alg *prop_jwe_alg_default(const struct prop_pkey *key);
const struct prop_jwe_enc *prop_jwe_enc_find(const char *name);
/* The key is of the kind the row works with. */
bool prop_jwe_alg_fits(const struct prop_jwe_alg *alg, const struct prop_pkey *key);

#endif
