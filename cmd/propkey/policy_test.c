/* propkey policy test: what a policy would decide, against what it should, and why. */
#include "cmd/propkey/policy_report.h"
#include "cmd/propkey/verbs.h"

#include "kbsd/defaults.h"
#include "policy/cases.h"
#include "policy/explain.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define WAYS_SHOWN 5 /* of a rule, without -v */
#define TOKEN_BYTES (4u << 20)

struct policy_test_opts {
    const char *explain, *resource, *plugin, *server;
};

static const struct prop_opt options[] = {
    { "explain", 'e', PROP_OPT_STRING, "TOKEN", "answer for this token alone: EAR body or JWT",
      offsetof(struct policy_test_opts, explain), NULL, NULL, false },
    { "resource", 'r', PROP_OPT_STRING, "PATH", "with --explain: the resource asked for",
      offsetof(struct policy_test_opts, resource), NULL, NULL, false },
    { "plugin", 0, PROP_OPT_STRING, "NAME", "with --explain: the plugin asked",
      offsetof(struct policy_test_opts, plugin), NULL, "resource", false },
    { "server", 0, PROP_OPT_STRING, "AGE",
      "ask as 'current' servers do or as those up to 'v0.16' (cases may say it themselves)",
      offsetof(struct policy_test_opts, server), NULL, NULL, false },
    PROP_OPT_END
};

int propkey_policy_server(const char *age, bool *ret_old, struct prop_err *err)
{
    static const char *const old[] = {
        "v0.16", "0.16", "v0.15", "v0.14", "v0.13", "v0.12", "v0.11"
    };
    *ret_old = false;
    if (age == NULL || strcmp(age, "current") == 0 || strcmp(age, "v0.17") == 0)
        return 0;
    for (size_t i = 0; i < PROP_ARRAY_LEN(old); i++)
        *ret_old = *ret_old || strcmp(age, old[i]) == 0;
    if (*ret_old)
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "bad-server", "--server '%s' is not known", age);
    return prop_err_hint(err, "'current' (v0.17 and later), or 'v0.16' for all before");
}

int propkey_policy_path(const char *path, bool any, const char **ret, struct prop_err *err)
{
    unsigned slashes = 0;
    if (prop_starts_with(path, "kbs:///"))
        path += strlen("kbs:///");
    for (const char *p = path; *p != '\0'; p++)
        slashes += *p == '/';
    if (*path == '\0' || (!any && slashes != 2)) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-resource", "'%s' is no resource", path);
        return prop_err_hint(err, "repository/type/tag, such as default/key/addition");
    }
    *ret = path;
    return 0;
}

/* --- one question ----------------------------------------------------------------------------- */

static void print_answer(const json_t *doc, void *stream)
{
    const json_t *left = json_object_get(doc, "left");
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    (void)fprintf(stream, "%s: %s\n", json_string_value(json_object_get(doc, "decision")),
                  json_string_value(json_object_get(doc, "reason")));
    if (prop_policy_explain_text(json_object_get(doc, "why"), 2, &out, NULL) == 0)
        (void)fputs(prop_buf_str(&out), stream);
    if (left != NULL)
        (void)fprintf(stream, "  and %lld more (-v tells)\n", (long long)json_integer_value(left));
}

static int answer(struct prop_cli *cli, const struct policy_test_opts *o, struct prop_err *err)
{
    prop_auto_policy_judge struct prop_policy_judge *j = NULL;
    struct prop_policy_question q = { .plugin = o->plugin };
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(TOKEN_BYTES);
    prop_auto_json json_t *token = NULL;
    prop_auto_json json_t *value = NULL;
    prop_auto_json json_t *doc = NULL;
    bool allow = false;
    int rc = propkey_policy_path(o->resource, strcmp(o->plugin, "resource") != 0, &q.path, err);
    if (rc == 0)
        rc = prop_policy_judge_load(prop_cli_arg(cli, 0), &j, err);
    if (rc == 0)
        rc = propkey_policy_server(o->server, &q.old_server, err);
    if (rc == 0)
        rc = prop_file_read(o->explain, &text, err);
    if (rc == 0)
        rc = prop_cases_token(prop_buf_str(&text), text.len, o->explain, &token, err);
    q.token = token;
    if (rc == 0)
        rc = prop_policy_judge_ask(j, &q, &allow, &value, err);
    if (rc != 0)
        return rc;
    doc = json_pack("{s:s, s:s, s:s}", "policy", prop_cli_arg(cli, 0), "resource", q.path,
                    "decision", allow ? "allow" : "deny");
    if (doc == NULL)
        return prop_err_nomem(err);
    rc = prop_cases_explain(j, q.path, allow, value, prop_cli_verbose(cli) ? 0 : WAYS_SHOWN, doc,
                            err);
    if (rc == 0)
        rc = prop_cli_result(cli, doc, print_answer, err);
    prop_cli_set_status(cli, allow ? 0 : 1);
    return rc;
}

/* --- cases ------------------------------------------------------------------------------------ */

static void print_cases(const json_t *doc, void *stream)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(doc, "results"), i, one) {
        bool ok = json_is_true(json_object_get(one, "ok"));
        const char *reason = json_string_value(json_object_get(one, "reason"));
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
        if (ok && reason == NULL)
            continue;
        propkey_print_case(one, stream);
        (void)fprintf(stream, ": %s", json_string_value(json_object_get(one, "got")));
        if (!ok)
            (void)fprintf(stream, ", expected %s",
                          json_string_value(json_object_get(one, "expect")));
        (void)fprintf(stream, " (%s)\n      %s\n",
                      json_string_value(json_object_get(one, "resource")), reason);
        if (prop_policy_explain_text(json_object_get(one, "why"), 6, &out, NULL) == 0)
            (void)fputs(prop_buf_str(&out), stream);
    }
    propkey_print_summary(doc, stream);
}

static int run_cases(struct prop_policy_judge *j, const char *file, const char *server,
                     const struct prop_cases_options *o, json_t *results, struct prop_err *err)
{
    prop_auto_json json_t *cases = NULL;
    prop_auto_json json_t *mine = NULL;
    size_t i;
    json_t *one;
    int rc = prop_cases_read(file, PROP_CASES_DECISION, &cases, err);
    json_array_foreach(cases, i, one)
        if (server != NULL && json_object_get(one, "server") == NULL &&
            json_object_set_new(one, "server", json_string(server)) != 0)
            return prop_err_nomem(err);
    if (rc == 0)
        rc = prop_cases_decide(j, file, cases, o, &mine, err);
    return rc == 0 ? propkey_add_results(results, file, mine, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct policy_test_opts *o = opts;
    struct prop_cases_options c = { .shipped = prop_kbsd_default_cpu_policy,
                                    .explain_all = prop_cli_verbose(cli),
                                    .most = prop_cli_verbose(cli) ? 0 : WAYS_SHOWN };
    prop_auto_policy_judge struct prop_policy_judge *j = NULL;
    prop_auto_json json_t *results = json_array();
    bool old = false;

    if (results == NULL)
        return prop_err_nomem(err);
    if ((o->explain != NULL) != (o->resource != NULL) ||
        (o->explain != NULL) != (prop_cli_argc(cli) == 1)) {
        prop_err_set_id(err, PROP_E_USAGE, "usage",
                        "give case files, or --explain TOKEN and --resource PATH");
        return PROP_E_USAGE;
    }
    if (o->explain != NULL)
        return answer(cli, o, err);
    int rc = propkey_policy_server(o->server, &old, err);
    if (rc == 0)
        rc = prop_policy_judge_load(prop_cli_arg(cli, 0), &j, err);
    for (int i = 1; rc == 0 && i < prop_cli_argc(cli); i++)
        rc = run_cases(j, prop_cli_arg(cli, i),
                       o->server != NULL ? old ? "v0.16" : "current" : NULL, &c, results, err);
    return rc == 0 ? propkey_give_results(cli, results, print_cases, err) : rc;
}

const struct prop_verb propkey_verb_policy_test = {
    "policy test",
    "POLICY CASES...",
    "ask a policy what it would decide, and why",
    "POLICY is a policy document or Rego. CASES are files, TOML or JSON, with guests (a token, or\n"
    "evidence to make one from), resources, and \"allow\" or \"deny\"; "
    "docs/policy-cases.schema.json\n"
    "has the form, examples/policies/ examples. For each case that comes out otherwise the rules "
    "are\n"
    "told, condition by condition; with -v for all.\n"
    "\n"
    "    propkey policy test policy.toml policy.cases.toml\n"
    "    propkey policy test policy.rego --explain token.json --resource default/key/addition\n"
    "\n"
    "Exit status: 0 all as expected (--explain: allowed), 1 not, 3 something is malformed.",
    options,
    sizeof(struct policy_test_opts),
    1,
    -1,
    run
};
