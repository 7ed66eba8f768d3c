/* JSON Web Encryption (RFC 7516, RFC 7518 section 4 and 5): flattened, general and compact forms.
 *
 * Key management: RSA-OAEP, RSA-OAEP-256, ECDH-ES+A256KW (also A128KW, A192KW on reading), and
 * RSA1_5 for encryption only (the development KBS serves it, kbs.md 2.6). Content: A256GCM (also
 * A128GCM, A192GCM on reading). Everything else is refused by name. A plaintext is handed out only
 * after the tag held. Readers tolerate the redundant top-level `encrypted_key` of go-jose
 * (ocicrypt.md 5.1) and unknown members; `crit` and `zip` are refused.
 */
#ifndef PROP_JOSE_JWE_H
#define PROP_JOSE_JWE_H

#include "crypto/pkey.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

enum prop_jwe_flags {
    PROP_JWE_FLATTENED = 0,
    PROP_JWE_COMPACT = 1,
    PROP_JWE_ALLOW_RSA1_5 = 2
};

/* Encrypt `plaintext` to one public key, A256GCM. `alg` NULL: RSA-OAEP for RSA keys,
 * ECDH-ES+A256KW for EC keys. `kid` may be NULL. The protected header is
 * {"alg","enc","epk"?,"kid"?} in that order, epk as {"crv","kty","x","y"} (kbs.md 2.6).
 * Fails: PROP_E_UNSUPPORTED alg does not fit the key or is not in the list. */
int prop_jwe_encrypt(const struct prop_secret *plaintext, const struct prop_pkey *recipient,
                     const char *alg, const char *kid, unsigned flags, struct prop_buf *out,
                     struct prop_err *err);

/* As above for several recipients in one general-form object (RFC 7516 section 7.2.1). */
int prop_jwe_encrypt_general(const struct prop_secret *plaintext,
                             const struct prop_pkey *const *recipients, size_t n,
                             struct prop_buf *out, struct prop_err *err);

/* Decrypt with one private key; every recipient of the object is tried.
 * Fails: PROP_E_INPUT not a JWE; PROP_E_UNSUPPORTED alg, enc, crit, zip;
 *        PROP_E_VERIFY (id "jwe-no-key") no recipient opens with this key, or the tag is wrong. */
int prop_jwe_decrypt(const char *jwe, size_t len, const struct prop_pkey *key,
                     struct prop_secret **ret, struct prop_err *err);

/* What an object says of itself without a key: an array of {"alg","enc","kid"?,"epk_crv"?}, one per
 * recipient. Owned by the caller. */
int prop_jwe_describe(const char *jwe, size_t len, json_t **ret, struct prop_err *err);

#endif
