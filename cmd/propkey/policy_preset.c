/* propkey policy preset: one of our ready policies. Naming one says that it is meant. */
#include "cmd/propkey/policy_upload.h"
#include "cmd/propkey/verbs.h"

#include "policy/document.h"

#include <string.h>

static const struct prop_opt options[] = {
    PROPKEY_POLICY_OPTIONS,
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct propkey_policy_opts *o = opts;
    const char *name = prop_cli_arg(cli, 0);
    const char *rego = prop_policy_preset(name);
    if (!rego) {
        prop_err_set_id(err, PROP_E_USAGE, "unknown-preset", "there is no policy '%s'", name);
        return prop_err_hint(err, "one of: allow-all, deny-all, affirming, default");
    }
    if (strcmp(name, "allow-all") == 0)
        prop_cli_warn(cli, "allow-all hands every key to everybody who attests, with sample "
                           "evidence too");
    return propkey_policy_upload(cli, o, name, rego, strlen(rego), true, err);
}

const struct prop_verb propkey_verb_policy_preset = {
    "policy preset", "NAME", "upload a ready policy: allow-all, deny-all, affirming or default",
    "  allow-all   everybody who attests, sample evidence too: for tests\n"
    "  deny-all    nobody\n"
    "  affirming   guests whose every part was found affirming\n"
    "  default     as a fresh key broker: any real TEE, no sample evidence",
    options, sizeof(struct propkey_policy_opts), 1, 1, run
};
