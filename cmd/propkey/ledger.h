/* What the resource verbs remember on this machine: names in use, with the fingerprint of the KEK
 * under each. The ledger helps, it is not needed: without one the verbs warn and go on. */
#ifndef PROP_CMD_PROPKEY_LEDGER_H
#define PROP_CMD_PROPKEY_LEDGER_H

#include "cmd/cli/cli.h"
#include "keys/resource_id.h"
#include "store/ledger.h"
#include "util/secret.h"

/* Open and lock; NULL after a warning when that fails. */
struct prop_ledger *propkey_ledger_open(struct prop_cli *cli);

/* Fingerprint of a value that is a KEK, "" for anything else. */
void propkey_fingerprint(const struct prop_secret *value, char out[17]);

/* Refuses to put `value` under a name that the ledger knows with another KEK: what was encrypted
 * with that one could never be read again. PROP_E_EXISTS (id "key-in-use"). NULL is fine. */
int propkey_ledger_check(struct prop_ledger *l, const char *url, const char *path,
                         const char *fingerprint, struct prop_err *err);

#endif
