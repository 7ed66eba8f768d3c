/* propkey: keys, the key broker's admin API, policies. */
#include "cmd/propkey/verbs.h"

#include "crypto/random.h"
#include "http/http.h"

static const struct prop_verb *const verbs[] = {
    &propkey_verb_gen,
    &propkey_verb_admin_keygen,
    &propkey_verb_admin_token,
    &propkey_verb_set,
    &propkey_verb_get,
    &propkey_verb_delete,
    &propkey_verb_attest,
    &propkey_verb_policy_build,
    &propkey_verb_policy_set,
    &propkey_verb_policy_preset,
    &propkey_verb_policy_get,
    NULL,
};

static const char *(*const libraries[])(void) = { prop_crypto_version, prop_http_version, NULL };

static const struct prop_tool tool = {
    .name = "propkey",
    .summary = "keys, and what a key broker hands out to whom",
    .verbs = verbs,
    .libraries = libraries,
};

int main(int argc, char **argv)
{
    return prop_cli_main(&tool, argc, argv);
}
