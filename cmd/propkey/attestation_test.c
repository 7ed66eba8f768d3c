/* propkey attestation-policy test: which trust vector evidence would get, against what it should.
 */
#include "cmd/propkey/policy_report.h"
#include "cmd/propkey/verbs.h"

#include "kbsd/defaults.h"
#include "policy/attestation.h"
#include "policy/cases.h"
#include "policy/explain.h"
#include "util/file.h"
#include "util/limits.h"

#include <stdio.h>
#include <string.h>

#define WAYS_SHOWN 5 /* of a rule, without -v */

static const struct prop_opt options[] = { PROP_OPT_END };

static void print_got(const json_t *got, void *stream)
{
    const char *name;
    json_t *v;
    const json_t *reason = json_object_get(got, "reason");
    if (reason != NULL) {
        (void)fprintf(stream, "%s: %s", json_string_value(json_object_get(got, "outcome")),
                      json_string_value(reason));
        return;
    }
    (void)fprintf(stream, "%s:", json_string_value(json_object_get(got, "status")));
    json_object_foreach(json_object_get(got, "vector"), name, v)
        if (json_integer_value(v) != 0)
            (void)fprintf(stream, " %s %lld (%s)", name, (long long)json_integer_value(v),
                          prop_trust_tier(json_integer_value(v)));
}

static void print(const json_t *doc, void *stream)
{
    size_t i;
    size_t k;
    json_t *one;
    json_t *text;
    json_array_foreach(json_object_get(doc, "results"), i, one) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
        if (json_is_true(json_object_get(one, "ok")) && json_object_get(one, "why") == NULL)
            continue;
        propkey_print_case(one, stream);
        (void)fputs(": ", stream);
        print_got(json_object_get(one, "got"), stream);
        (void)fputs("\n", stream);
        json_array_foreach(json_object_get(one, "differences"), k, text)
            (void)fprintf(stream, "      %s\n", json_string_value(text));
        if (prop_policy_explain_text(json_object_get(one, "why"), 6, &out, NULL) == 0)
            (void)fputs(prop_buf_str(&out), stream);
    }
    propkey_print_summary(doc, stream);
}

static int load(const char *name, struct prop_attestation **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = strcmp(name, "default") == 0
                 ? prop_buf_puts(&text, prop_kbsd_default_cpu_policy, err)
                 : prop_file_read(name, &text, err);
    return rc == 0 ? prop_attestation_new(name, prop_buf_str(&text), text.len, ret, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct prop_cases_options c = { .shipped = prop_kbsd_default_cpu_policy,
                                    .explain_all = prop_cli_verbose(cli),
                                    .most = prop_cli_verbose(cli) ? 0 : WAYS_SHOWN };
    prop_auto_attestation struct prop_attestation *a = NULL;
    prop_auto_json json_t *results = json_array();
    int rc = results != NULL ? load(prop_cli_arg(cli, 0), &a, err) : prop_err_nomem(err);
    (void)opts;
    for (int i = 1; rc == 0 && i < prop_cli_argc(cli); i++) {
        const char *file = prop_cli_arg(cli, i);
        prop_auto_json json_t *cases = NULL;
        prop_auto_json json_t *mine = NULL;
        rc = prop_cases_read(file, PROP_CASES_APPRAISAL, &cases, err);
        if (rc == 0)
            rc = prop_cases_appraise(a, file, cases, &c, &mine, err);
        if (rc == 0)
            rc = propkey_add_results(results, file, mine, err);
    }
    return rc == 0 ? propkey_give_results(cli, results, print, err) : rc;
}

const struct prop_verb propkey_verb_attestation_test = {
    "attestation-policy test", "POLICY CASES...", "ask an attestation policy what it would say",
    "POLICY is Rego, or 'default' for the policy that servers come with (in our words). CASES are\n"
    "files, TOML or JSON, with the claims of a verifier, reference values, and the status, trust\n"
    "vector or outcome to expect; docs/policy-cases.schema.json has the form.\n"
    "\n"
    "Exit status: 0 all as expected, 1 not, 3 something is malformed.",
    options, 0, 2, -1, run
};
