/* Findings of a linter, as lines and as JSON. */
#include "cmd/propkey/lint_report.h"

#include "util/file.h"
#include "util/limits.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

static bool ignored(const struct propkey_lint_opts *o, const json_t *finding)
{
    const char *rule = json_string_value(json_object_get(finding, "rule"));
    for (size_t i = 0; i < o->ignore.n; i++)
        if (strcmp(o->ignore.items[i], rule) == 0)
            return true;
    return false;
}

static bool is(const json_t *finding, const char *severity)
{
    const char *s = json_string_value(json_object_get(finding, "severity"));
    return s != NULL && strcmp(s, severity) == 0;
}

static void print(const json_t *doc, void *stream)
{
    char name[1024];
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(doc, "findings"), i, one) {
        const char *file = json_string_value(json_object_get(one, "file"));
        json_int_t line = json_integer_value(json_object_get(one, "line"));
        (void)fprintf(stream, "%s:%lld: %s: %s: %s\n",
                      prop_printable(file, strlen(file), name, sizeof name), (long long)line,
                      json_string_value(json_object_get(one, "severity")),
                      json_string_value(json_object_get(one, "rule")),
                      json_string_value(json_object_get(one, "message")));
    }
}

static int lint_one(const char *file, const struct propkey_lint_opts *o, propkey_lint_fn lint,
                    const struct prop_lint_options *options, json_t *all, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_json json_t *findings = NULL;
    size_t i;
    json_t *one;
    int rc = prop_file_read(file, &text, err);
    if (rc == 0)
        rc = lint(file, prop_buf_str(&text), text.len, options, &findings, err);
    if (rc != 0)
        return rc;
    json_array_foreach(findings, i, one) {
        if (ignored(o, one))
            continue;
        prop_auto_json json_t *line = json_pack("{s:s}", "file", file);
        if (line == NULL || json_object_update(line, one) != 0 || json_array_append(all, line) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

int propkey_lint_files(struct prop_cli *cli, const struct propkey_lint_opts *o,
                       propkey_lint_fn lint, const struct prop_lint_options *options,
                       struct prop_err *err)
{
    prop_auto_json json_t *all = json_array();
    size_t errors = 0;
    size_t warnings = 0;
    size_t i;
    json_t *one;
    int rc = all != NULL ? 0 : prop_err_nomem(err);
    for (int k = 0; rc == 0 && k < prop_cli_argc(cli); k++)
        rc = lint_one(prop_cli_arg(cli, k), o, lint, options, all, err);
    if (rc != 0)
        return rc;
    json_array_foreach(all, i, one) {
        errors += is(one, "error");
        warnings += is(one, "warning");
    }
    prop_auto_json json_t *doc = json_pack("{s:O, s:I, s:I}", "findings", all, "errors",
                                           (json_int_t)errors, "warnings", (json_int_t)warnings);
    if (doc == NULL)
        return prop_err_nomem(err);
    rc = prop_cli_result(cli, doc, print, err);
    if (rc == 0)
        prop_cli_note(cli, "%d files, %zu errors, %zu warnings", prop_cli_argc(cli), errors,
                      warnings);
    prop_cli_set_status(cli, errors > 0 || (o->strict && warnings > 0) ? 1 : 0);
    return rc;
}
