/* The ledger, as propkey's verbs see it. */
#include "cmd/propkey/ledger.h"

#include "keys/keyfile.h"

#include <string.h>

struct prop_ledger *propkey_ledger_open(struct prop_cli *cli)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = NULL;
    int rc = prop_ledger_open(NULL, &l, &err);
    if (rc == 0)
        rc = prop_ledger_lock(l, &err);
    if (rc == 0)
        return l;
    prop_ledger_close(l);
    prop_cli_warn(cli, "this machine's ledger cannot be used: %s", err.message);
    return NULL;
}

void propkey_fingerprint(const struct prop_secret *value, char out[17])
{
    prop_auto_secret struct prop_secret *kek = NULL;
    if (prop_kek_from_bytes(value, "value", &kek, NULL) < 0 ||
        prop_kek_fingerprint(kek, out, NULL) < 0)
        out[0] = 0;
}

int propkey_ledger_check(struct prop_ledger *l, const char *url, const char *path,
                         const char *fingerprint, struct prop_err *err)
{
    char known[17] = { 0 };
    if (!l || prop_ledger_find_key(l, url, path, known, NULL) < 0 || !known[0] ||
        strcmp(known, fingerprint) == 0) /* "" is no KEK: no image needs it */
        return 0;
    prop_err_set_id(err, PROP_E_EXISTS, "key-in-use",
                    "'%s' holds another key (fingerprint %s)", path, known);
    return prop_err_hint(err, "images encrypted with that key die with it: choose another name, or "
                              "--replace-key");
}
