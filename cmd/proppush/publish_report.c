#include "cmd/proppush/publish_report.h"

#include "cmd/proppush/actions.h"
#include "util/text.h"

#include <stdio.h>

void proppush_tell_step(void *ctx, const char *text)
{
    prop_cli_note(ctx, "%s", text);
}

void proppush_tell_warning(void *ctx, const char *text)
{
    prop_cli_warn(ctx, "%s", text);
    proppush_actions_warning("proppush publish", text);
}

static void line(FILE *out, const json_t *doc, const char *key, const char *label)
{
    const char *text = json_string_value(json_object_get(doc, key));
    if (text != NULL)
        (void)fprintf(out, "%-9s %s\n", label, text);
}

void proppush_print_published(const json_t *doc, void *stream)
{
    FILE *out = stream;
    size_t i;
    json_t *step;
    line(out, doc, "reference", "image");
    line(out, doc, "digest", "digest");
    line(out, doc, "kid", "key");
    line(out, doc, "kek_file", "kek file");
    if (json_is_true(json_object_get(doc, "insecure")))
        (void)fprintf(out, "%-9s %s\n", "insecure", "sample evidence may have the key");
    if (json_is_true(json_object_get(doc, "unchanged")))
        (void)fprintf(out, "%-9s %s\n", "unchanged", "the same module is published already");
    if (json_is_true(json_object_get(doc, "resumed")))
        (void)fprintf(out, "%-9s %s\n", "resumed", "an unfinished run was finished");
    if (json_is_true(json_object_get(doc, "dry_run")))
        json_array_foreach (json_object_get(doc, "steps"), i, step)
            line(out, step, "text", i == 0 ? "would" : "");
    line(out, doc, "run", "run");
}

static void print_list(FILE *out, const json_t *list, const char *label)
{
    size_t i;
    json_t *text;
    json_array_foreach (list, i, text)
        (void)fprintf(out, "%-9s %s\n", i == 0 ? label : "", json_string_value(text));
}

void proppush_print_taken_back(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%-9s %lld of %s is over\n", "run",
                  (long long)json_integer_value(json_object_get(doc, "run")),
                  json_string_value(json_object_get(doc, "reference")));
    print_list(stream, json_object_get(doc, "taken_back"), "undone");
    print_list(stream, json_object_get(doc, "left"), "left");
}

void proppush_print_runs(const json_t *doc, void *stream)
{
    const json_t *runs = json_object_get(doc, "runs");
    size_t i;
    json_t *run;
    if (json_array_size(runs) == 0)
        (void)fputs("no publish was left unfinished\n", stream);
    json_array_foreach (runs, i, run) {
        char when[21];
        const char *last = json_string_value(json_object_get(run, "last"));
        prop_rfc3339((time_t)json_integer_value(json_object_get(run, "time")), when);
        (void)fprintf(stream, "%lld  %s  %-8s %-8s %s\n",
                      (long long)json_integer_value(json_object_get(run, "run")), when,
                      json_is_true(json_object_get(run, "running")) ? "running" : "stopped",
                      last != NULL ? last : "-", json_string_value(json_object_get(run, "target")));
    }
}
