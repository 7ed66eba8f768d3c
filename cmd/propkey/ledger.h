/* What the resource verbs remember on this machine: names in use, with the fingerprint of the KEK
 * under each. Where no ledger can be kept (no home, a folder that cannot be written) the verbs warn and
 * go on; one that is there and cannot be used stops them, since it may know what they would destroy. */
#ifndef PROP_CMD_PROPKEY_LEDGER_H
#define PROP_CMD_PROPKEY_LEDGER_H

#include "cmd/cli/cli.h"
#include "keys/resource_id.h"
#include "store/ledger.h"
#include "util/secret.h"

/* Open and lock, with a word when others are waited for. *ret is NULL after a warning where there can
 * be none. Fails: PROP_E_IO (id "ledger-busy"), PROP_E_INPUT (id "ledger-damaged"), PROP_E_DENIED (id
 * "ledger-mode"), PROP_E_UNSUPPORTED (id "ledger-version"), PROP_E_INTERRUPTED. */
int propkey_ledger_open(struct prop_cli *cli, struct prop_ledger **ret, struct prop_err *err);

/* Fingerprint of a value that is a KEK, "" for anything else. */
void propkey_fingerprint(const struct prop_secret *value, char out[17]);

/* Refuses to put `value` under a name that the ledger knows with another KEK: what was encrypted
 * with that one could never be read again. PROP_E_EXISTS (id "key-in-use"). NULL is fine. */
int propkey_ledger_check(struct prop_ledger *l, const char *url, const char *path,
                         const char *fingerprint, struct prop_err *err);

#endif
