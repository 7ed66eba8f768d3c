/* propkey: keys, the key broker's admin API, policies. */
#include "cmd/propkey/kbs_client.h"
#include "cmd/propkey/verbs.h"

#include "crypto/random.h"
#include "http/http.h"

#include <string.h>

static const struct prop_verb *const verbs[] = {
    &propkey_verb_gen,
    &propkey_verb_convert,
    &propkey_verb_rotate,
    &propkey_verb_revoke,
    &propkey_verb_backup,
    &propkey_verb_restore,
    &propkey_verb_admin_keygen,
    &propkey_verb_admin_token,
    &propkey_verb_set,
    &propkey_verb_get,
    &propkey_verb_delete,
    &propkey_verb_list,
    &propkey_verb_attest,
    &propkey_verb_token,
    &propkey_verb_policy_build,
    &propkey_verb_policy_set,
    &propkey_verb_policy_preset,
    &propkey_verb_policy_get,
    &propkey_verb_policy_add,
    &propkey_verb_policy_remove,
    &propkey_verb_policy_history,
    &propkey_verb_policy_rollback,
    &propkey_verb_policy_schema,
    &propkey_verb_policy_test,
    &propkey_verb_policy_lint,
    &propkey_verb_policy_diff,
    &propkey_verb_attestation_lint,
    &propkey_verb_attestation_test,
    &propkey_verb_attestation_policy_set,
    &propkey_verb_reference_value_set,
    &propkey_verb_reference_value_get,
    &propkey_verb_reference_value_import,
    &propkey_verb_doctor,
    NULL,
};

static const char *(*const libraries[])(void) = { prop_crypto_version, prop_http_version, NULL };

static const struct prop_tool tool = {
    .name = "propkey",
    .summary = "keys, and what a key broker hands out to whom",
    .verbs = verbs,
    .libraries = libraries,
};

/* Named kbs-client (a symbolic link does), or asked as "propkey kbs-client ...". */
static bool is_kbs_client(const char *word)
{
    const char *slash = strrchr(word, '/');
    return strcmp(slash ? slash + 1 : word, "kbs-client") == 0;
}

int main(int argc, char **argv)
{
    if (argc > 0 && is_kbs_client(argv[0]))
        return propkey_kbs_client_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "kbs-client") == 0)
        return propkey_kbs_client_main(argc - 1, argv + 1);
    return prop_cli_main(&tool, argc, argv);
}
