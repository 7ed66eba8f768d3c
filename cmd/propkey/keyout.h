/* Writing a key pair: both files or none, the private half 0600. */
#ifndef PROP_CMD_PROPKEY_KEYOUT_H
#define PROP_CMD_PROPKEY_KEYOUT_H

#include "crypto/pkey.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

enum propkey_form { PROPKEY_PEM, PROPKEY_JWK };

/* `path` gets the private key, `path`.pub the public one. ret_doc receives {"file","public_file",
 * "type","thumbprint"}, owned by the caller.
 * Fails: PROP_E_EXISTS unless `force`; then and on every other failure neither file was touched. */
int propkey_write_pair(const struct prop_pkey *key, const char *path, enum propkey_form form,
                       bool force, json_t **ret_doc, struct prop_err *err);

/* A file's name as a JSON string, made printable where it is not UTF-8; NULL when memory is out. */
json_t *propkey_name(const char *path);

/* "rsa", "p256", "p384", "p521", "ed25519". */
const char *propkey_type_name(enum prop_pkey_type type);

#endif
