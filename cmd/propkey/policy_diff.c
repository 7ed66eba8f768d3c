/* propkey policy diff: which decisions change from one policy to another. */
#include "cmd/propkey/policy_report.h"
#include "cmd/propkey/verbs.h"

#include "policy/cases.h"
#include "policy/diff.h"
#include "policy/example.h"
#include "util/file.h"
#include "util/limits.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TOKEN_BYTES (4u << 20)
#define SHOWN_MAX 60 /* lines, without -v */

struct policy_diff_opts {
    struct prop_strs tokens, resources;
    const char *server;
};

static const struct prop_opt options[] = {
    { "token", 't', PROP_OPT_LIST, "FILE", "a guest to ask about: EAR body or JWT (else all kinds)",
      offsetof(struct policy_diff_opts, tokens), NULL, NULL, false },
    { "tokens", 0, PROP_OPT_LIST, "FILE", "the same", offsetof(struct policy_diff_opts, tokens),
      NULL, NULL, true },
    { "resource", 'r', PROP_OPT_LIST, "PATH",
      "a resource to ask for (else those the policies name)",
      offsetof(struct policy_diff_opts, resources), NULL, NULL, false },
    { "resources", 0, PROP_OPT_LIST, "PATH", "the same",
      offsetof(struct policy_diff_opts, resources), NULL, NULL, true },
    { "server", 0, PROP_OPT_STRING, "AGE", "ask as 'current' servers do or as those up to 'v0.16'",
      offsetof(struct policy_diff_opts, server), NULL, "current", false },
    PROP_OPT_END
};

static int read_tokens(const struct prop_strs *files, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *all = json_object();
    if (all == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < files->n; i++) {
        prop_auto_buf struct prop_buf text = PROP_BUF_INIT(TOKEN_BYTES);
        json_t *token = NULL;
        int rc = prop_file_read(files->items[i], &text, err);
        if (rc == 0)
            rc = prop_cases_token(prop_buf_str(&text), text.len, files->items[i], &token, err);
        if (rc != 0)
            return rc;
        if (json_object_set_new(all, files->items[i], token) != 0)
            return prop_err_nomem(err);
    }
    *ret = files->n > 0 ? PROP_TAKE(all) : NULL;
    return 0;
}

static int read_resources(const struct prop_strs *paths, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *all = json_array();
    if (all == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < paths->n; i++) {
        const char *path = NULL;
        int rc = propkey_policy_path(paths->items[i], false, &path, err);
        if (rc != 0)
            return rc;
        if (json_array_append_new(all, json_string(path)) != 0)
            return prop_err_nomem(err);
    }
    *ret = paths->n > 0 ? PROP_TAKE(all) : NULL;
    return 0;
}

static void print_examples(const json_t *documents, void *stream)
{
    size_t i;
    json_t *one;
    if (documents == NULL)
        return;
    (void)fprintf(stream, "documents, compared exactly: %s%s%s%s\n",
                  json_is_true(json_object_get(documents, "same")) ? "the same" : "",
                  json_is_true(json_object_get(documents, "wider")) ? "wider" : "",
                  json_is_true(json_object_get(documents, "wider")) &&
                          json_is_true(json_object_get(documents, "narrower")) ? " and " : "",
                  json_is_true(json_object_get(documents, "narrower")) ? "narrower" : "");
    json_array_foreach(json_object_get(documents, "examples"), i, one) {
        prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        if (prop_policy_example_say(one, &text, NULL) == 0)
            (void)fprintf(stream, "  %s: %s\n", json_string_value(json_object_get(one, "change")),
                          prop_buf_str(&text));
    }
}

static void print(const json_t *doc, void *stream)
{
    const json_t *list = json_object_get(doc, "differences");
    size_t most = (size_t)json_integer_value(json_object_get(doc, "shown"));
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        if (i == most)
            break;
        (void)fprintf(stream, "%s -> %s: %s: %s\n", json_string_value(json_object_get(one, "old")),
                      json_string_value(json_object_get(one, "new")),
                      json_string_value(json_object_get(one, "resource")),
                      json_string_value(json_object_get(one, "guest")));
    }
    if (json_array_size(list) > most)
        (void)fprintf(stream, "and %zu more (-v tells)\n", json_array_size(list) - most);
    print_examples(json_object_get(doc, "documents"), stream);
    (void)fprintf(stream, "%lld questions, %zu answers differ\n",
                  (long long)json_integer_value(json_object_get(doc, "asked")),
                  json_array_size(list));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct policy_diff_opts *o = opts;
    struct prop_diff_options d = { .guests = NULL };
    prop_auto_policy_judge struct prop_policy_judge *before = NULL;
    prop_auto_policy_judge struct prop_policy_judge *after = NULL;
    prop_auto_json json_t *tokens = NULL;
    prop_auto_json json_t *resources = NULL;
    prop_auto_json json_t *published = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc = propkey_policy_server(o->server, &d.old_server, err);

    if (rc == 0)
        rc = read_tokens(&o->tokens, &tokens, err);
    if (rc == 0)
        rc = read_resources(&o->resources, &resources, err);
    if (rc == 0)
        rc = propkey_published(&published, err);
    if (rc == 0)
        rc = prop_policy_judge_load(prop_cli_arg(cli, 0), &before, err);
    if (rc == 0)
        rc = prop_policy_judge_load(prop_cli_arg(cli, 1), &after, err);
    d.guests = tokens;
    d.resources = resources;
    d.published = published;
    if (rc == 0)
        rc = prop_policy_diff(before, after, &d, &doc, err);
    if (rc != 0)
        return rc;
    bool same = json_is_true(json_object_get(doc, "same"));
    json_int_t shown = prop_cli_verbose(cli) || prop_cli_json(cli) ? INT32_MAX : SHOWN_MAX;
    if (!prop_cli_json(cli) && json_object_set_new(doc, "shown", json_integer(shown)) != 0)
        return prop_err_nomem(err);
    rc = prop_cli_result(cli, doc, print, err);
    prop_cli_set_status(cli, same ? 0 : 1);
    return rc;
}

const struct prop_verb propkey_verb_policy_diff = {
    "policy diff",
    "OLD NEW",
    "which decisions change from one policy to another",
    "OLD and NEW are policy documents or Rego. Both are asked about every guest and resource that\n"
    "differ; without --token about guests of every kind, tier and measurement the policies name, "
    "open\n"
    "to their host or not, and without --resource for the resources they name or that were "
    "published\n"
    "from here. Two documents are compared exactly as well.\n"
    "\n"
    "Exit status: 0 nothing changes, 1 something does.",
    options,
    sizeof(struct policy_diff_opts),
    2,
    2,
    run
};
