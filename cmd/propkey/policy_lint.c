/* propkey policy lint: what is wrong with a policy before anybody depends on it. */
#include "cmd/propkey/lint_report.h"
#include "cmd/propkey/policy_report.h"
#include "cmd/propkey/verbs.h"

#include "policy/lint.h"

static const struct prop_opt options[] = {
    PROPKEY_LINT_OPTIONS,
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    prop_auto_json json_t *paths = NULL;
    struct prop_lint_options o = { .published = NULL };
    int rc = propkey_published(&paths, err);
    o.published = paths;
    return rc == 0 ? propkey_lint_files(cli, opts, prop_policy_lint, &o, err) : rc;
}

const struct prop_verb propkey_verb_policy_lint = {
    "policy lint",
    "FILE...",
    "find what is wrong with policies",
    "Each FILE is a policy document or Rego. Found are, among others: rules that let anybody in, "
    "sample\n"
    "evidence or debugged guests let in (by asking the policy with made-up guests), claims that "
    "no\n"
    "verifier gives, comparisons that never hold, rules that change nothing, resources that were "
    "not\n"
    "published from here, functions that key brokers lack, other dialects of Rego, base64.\n"
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
