/* propkey attestation-policy lint: what is wrong with the policy that appraises evidence. */
#include "cmd/propkey/lint_report.h"
#include "cmd/propkey/verbs.h"

#include "policy/reference.h"

static const struct prop_opt options[] = {
    PROPKEY_LINT_OPTIONS,
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    prop_auto_json json_t *shapes = prop_policy_reference_shapes();
    struct prop_lint_options o = { .shapes = shapes, .notes = prop_cli_verbose(cli) };
    if (shapes == NULL)
        return prop_err_nomem(err);
    return propkey_lint_files(cli, opts, prop_attestation_lint, &o, err);
}

const struct prop_verb propkey_verb_attestation_lint = {
    "attestation-policy lint",
    "FILE...",
    "find what is wrong with attestation policies",
    "Found are, among others: names that are no trust claims (the real server dies on them), "
    "values\n"
    "that are out of range, claims that no verifier gives, reference values that are asked for "
    "under\n"
    "other names than the shipped policy's or in a shape that never matches, malformed "
    "extensions.\n"
    "\n"
    "Lines are FILE:LINE: SEVERITY: RULE: MESSAGE. Exit status: 0 nothing or warnings, 1 errors; "
    "with\n"
    "--strict warnings count as errors.",
    options,
    sizeof(struct propkey_lint_opts),
    1,
    -1,
    run
};
