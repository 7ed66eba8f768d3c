/* Results of test cases, and what they are about. */
#include "cmd/propkey/policy_report.h"

#include "store/ledger.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

int propkey_add_results(json_t *results, const char *file, json_t *mine, struct prop_err *err)
{
    size_t i;
    json_t *one;
    json_array_foreach(mine, i, one)
        if (json_object_set_new(one, "file", json_string(file)) != 0 ||
            json_array_append(results, one) != 0)
            return prop_err_nomem(err);
    return 0;
}

int propkey_give_results(struct prop_cli *cli, const json_t *results,
                         void (*human)(const json_t *doc, void *stream), struct prop_err *err)
{
    size_t passed = 0;
    size_t n = json_array_size(results);
    size_t i;
    json_t *one;
    json_array_foreach(results, i, one)
        passed += json_is_true(json_object_get(one, "ok"));
    prop_auto_json json_t *doc =
        json_pack("{s:s, s:I, s:I, s:I, s:O}", "policy", prop_cli_arg(cli, 0), "cases",
                  (json_int_t)n, "passed", (json_int_t)passed, "failed", (json_int_t)(n - passed),
                  "results", results);
    if (doc == NULL)
        return prop_err_nomem(err);
    int rc = prop_cli_result(cli, doc, human, err);
    prop_cli_set_status(cli, passed == n ? 0 : 1);
    return rc;
}

void propkey_print_case(const json_t *result, void *stream)
{
    char name[512];
    const char *text = json_string_value(json_object_get(result, "name"));
    const json_t *line = json_object_get(result, "line");
    (void)fprintf(stream, "%s %s", json_is_true(json_object_get(result, "ok")) ? "ok   " : "FAIL ",
                  json_string_value(json_object_get(result, "file")));
    if (line != NULL)
        (void)fprintf(stream, ":%lld", (long long)json_integer_value(line));
    (void)fprintf(stream, ": %s", prop_printable(text, strlen(text), name, sizeof name));
}

void propkey_print_summary(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%lld cases, %lld as expected, %lld not\n",
                  (long long)json_integer_value(json_object_get(doc, "cases")),
                  (long long)json_integer_value(json_object_get(doc, "passed")),
                  (long long)json_integer_value(json_object_get(doc, "failed")));
}

int propkey_published(json_t **ret, struct prop_err *err)
{
    prop_auto_ledger struct prop_ledger *ledger = NULL;
    prop_auto_json json_t *keys = NULL;
    prop_auto_json json_t *paths = NULL;
    size_t i;
    json_t *one;
    int rc = prop_ledger_open_existing(NULL, &ledger, err);
    if (rc != 0 || ledger == NULL)
        return rc;
    rc = prop_ledger_keys(ledger, NULL, &keys, err);
    if (rc != 0 || json_array_size(keys) == 0)
        return rc;
    paths = json_array();
    if (paths == NULL)
        return prop_err_nomem(err);
    json_array_foreach(keys, i, one)
        if (json_array_append(paths, json_object_get(one, "path")) != 0)
            return prop_err_nomem(err);
    *ret = PROP_TAKE(paths);
    return 0;
}
