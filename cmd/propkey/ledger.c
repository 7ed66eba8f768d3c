/* The ledger, as propkey's verbs see it. */
#include "cmd/propkey/ledger.h"

#include "keys/keyfile.h"

#include <string.h>

static void tell_wait(void *ctx, const char *holder)
{
    prop_cli_warn(ctx, "this machine's ledger is held by %s: waiting for it",
                  holder != NULL ? holder : "another process");
}

int propkey_ledger_open(struct prop_cli *cli, struct prop_ledger **ret, struct prop_err *err)
{
    struct prop_err why = PROP_ERR_INIT;
    prop_auto_ledger struct prop_ledger *l = NULL;
    int rc = prop_ledger_open(NULL, &l, &why);
    prop_ledger_on_wait(l, tell_wait, cli);
    if (rc == 0)
        rc = prop_ledger_lock(l, &why);
    if (rc == PROP_E_IO && strcmp(prop_err_id(&why), "ledger-busy") != 0) {
        prop_cli_warn(cli, "this machine's ledger cannot be used: %s", why.message);
        return 0;
    }
    if (rc == 0)
        *ret = PROP_TAKE(l);
    else if (err != NULL)
        *err = why;
    return rc;
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
