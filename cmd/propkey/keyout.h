/* Writing a key pair: both files or none, the private half 0600. */
#ifndef PROP_CMD_PROPKEY_KEYOUT_H
#define PROP_CMD_PROPKEY_KEYOUT_H

#include "crypto/pkey.h"
#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

#include <stdbool.h>

enum propkey_form { PROPKEY_PEM, PROPKEY_JWK };

/* `path` gets the private key, `path`.pub the public one. ret_doc receives {"file","public_file",
 * "type","thumbprint"}, owned by the caller.
 * Fails: PROP_E_EXISTS unless `force`; then and on every other failure neither file was touched. */
int propkey_write_pair(const struct prop_pkey *key, const char *path, enum propkey_form form,
                       bool force, json_t **ret_doc, struct prop_err *err);

/* The text of one half: PKCS#8 or SubjectPublicKeyInfo PEM, or a JWK (with this kid; NULL = its
 * thumbprint) and a newline. Owned by the caller. */
int propkey_key_text(const struct prop_pkey *key, enum propkey_form form, bool private_half,
                     const char *kid, struct prop_secret **ret, struct prop_err *err);

/* "raw" or "base64" of a KEK, as it goes to disk: 32 bytes, or 44 characters with nothing behind
 * them (some readers take the file as it is). PROP_E_USAGE (id "bad-option-value") other words. */
int propkey_kek_bytes(const struct prop_secret *kek, const char *format, struct prop_secret **ret,
                      struct prop_err *err);

/* "--<option> '<got>' is not known", with the choices as hint. Returns PROP_E_USAGE. */
int propkey_bad_choice(const char *option, const char *got, const char *choices,
                       struct prop_err *err);

/* A file's name as a JSON string, made printable where it is not UTF-8; NULL when memory is out. */
json_t *propkey_name(const char *path);

/* "rsa", "p256", "p384", "p521", "ed25519". */
const char *propkey_type_name(enum prop_pkey_type type);

#endif
