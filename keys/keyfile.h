/* Key files: what people have on disk, read into one of our key objects. */
#ifndef PROP_KEYS_KEYFILE_H
#define PROP_KEYS_KEYFILE_H

#include "crypto/pkey.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>

/* Public key to encrypt with, from PEM, DER, certificate or JWK file; none that says it is for
 * signatures (PROP_E_UNSUPPORTED, id "jwk-use": by a JWK's use or key_ops). ret_kid (may be NULL) receives the JWK's kid
 * or NULL, ret_alg its alg or NULL; both owned by the caller (prop_free). */
int prop_keyfile_public(const char *path, struct prop_pkey **ret, char **ret_kid, char **ret_alg,
                        struct prop_err *err);

/* Private key from PEM, DER or JWK file; the file must not be readable by others. `password` may be
 * NULL. ret_kid as above. */
int prop_keyfile_private(const char *path, const struct prop_secret *password,
                         struct prop_pkey **ret, char **ret_kid, struct prop_err *err);

/* skopeo's `KEYFILE[:file=PW|:fd=N]`: splits the password source off and reads it.
 * `:pass=` and bare passwords are refused (PROP_E_USAGE: secrets never come in argv). */
int prop_keyfile_private_spec(const char *spec, struct prop_pkey **ret, char **ret_kid,
                              struct prop_err *err);

/* Whatever key a file holds: a KEK, or a private or public key (spec as above; read once, so pipes
 * work). A private key must not be readable by others. `ret` is zeroed by the caller. */
struct prop_keyfile_any {
    struct prop_secret *kek;   /* or */
    struct prop_pkey *key;
    char *kid;                 /* of a JWK, or NULL */
    bool is_text;              /* a JWK, or a KEK in base64 */
};
int prop_keyfile_any(const char *spec, struct prop_keyfile_any *ret, struct prop_err *err);
void prop_keyfile_any_release(struct prop_keyfile_any *k);
#define prop_auto_keyfile_any __attribute__((cleanup(prop_keyfile_any_release)))

/* A KEK: 32 raw bytes, or white space around the base64 text of 32 bytes (propeller.md 2.3).
 * Fails: PROP_E_INPUT (id "kek-length") anything else. */
int prop_kek_from_bytes(const struct prop_secret *bytes, const char *what,
                        struct prop_secret **ret_kek, struct prop_err *err);
int prop_kek_read(const char *path, struct prop_secret **ret_kek, struct prop_err *err);

/* First 16 hex digits of SHA-256("propkey kek fingerprint" || KEK): names a KEK without telling
 * it. */
int prop_kek_fingerprint(const struct prop_secret *kek, char out[17], struct prop_err *err);

#endif
