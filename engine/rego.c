/* Rego through regorus: JSON goes in and out as text, the parser's words stay as they are. */
#include "engine/rego.h"

#include "engine/ffi.h"

#include <stdio.h>
#include <string.h>

struct prop_rego {
    struct prop_ffi_rego *ffi;
};

/* What went wrong on the other side, in one line: parsers there answer with several. */
static int fail(struct prop_err *err, int status, const char *id, const char *what,
                const char *text)
{
    if (status == PROP_FFI_PANIC)
        return prop_err_set(err, PROP_E_BUG, "%s: the engine stopped: %s", what, text);
    const char *line = strstr(text, "error: ");
    line = line ? line + strlen("error: ") : text;
    return prop_err_set_id(err, PROP_E_INPUT, id, "%s: %.*s", what, (int)strcspn(line, "\n"), line);
}

/* "--> :2:11" of the parser's text as "line 2, column 11"; empty when there is none. */
static const char *position(const char *text, char *out, size_t size)
{
    unsigned line = 0;
    unsigned column = 0;
    const char *arrow = strstr(text, "--> ");
    const char *end = arrow ? arrow + strcspn(arrow, "\n") : NULL;
    const char *colon = NULL;

    out[0] = 0;
    /* the name before the numbers may hold colons itself: take the last two */
    for (const char *p = arrow; p && p < end; p++)
        if (*p == ':' && sscanf(p, ":%u:%u", &line, &column) == 2)
            colon = p;
    if (colon && sscanf(colon, ":%u:%u", &line, &column) == 2)
        (void)snprintf(out, size, "line %u, column %u: ", line, column);
    return out;
}

static int fail_syntax(struct prop_err *err, int status, const char *name, const char *text)
{
    char where[64];
    char what[256];

    (void)snprintf(what, sizeof what, "policy%s%.100s%s", *name ? " '" : "", name,
                   *name ? "'" : "");
    if (status == PROP_FFI_PANIC)
        return fail(err, status, "rego-syntax", what, text);
    const char *line = strstr(text, "error: ");
    line = line ? line + strlen("error: ") : text;
    return prop_err_set_id(err, PROP_E_INPUT,
                           status == PROP_FFI_CIRCLE ? "rego-recursion" : "rego-syntax",
                           "%s: %s%.*s", what, position(text, where, sizeof where),
                           (int)strcspn(line, "\n"), line);
}

int prop_rego_new(const char *name, const char *text, size_t len, struct prop_rego **ret,
                  char **ret_detail, struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    struct prop_ffi_rego *ffi = NULL;
    struct prop_rego *r = prop_zalloc(sizeof *r);

    if (!r)
        return prop_err_nomem(err);
    int status = prop_ffi_rego_new(name, strlen(name), text, len, &ffi, &answer);
    if (status == PROP_FFI_OK) {
        r->ffi = ffi;
        *ret = r;
        return 0;
    }
    prop_free(r);
    if (ret_detail) {
        char *copy = prop_strdup(answer);
        if (!copy)
            return prop_err_nomem(err);
        *ret_detail = copy;
    }
    return fail_syntax(err, status, name, answer);
}

static void release_reference(char *text)
{
    prop_free(text);
}

int prop_rego_set_reference(struct prop_rego *r, char *(*lookup)(void *ctx, const char *name),
                            void *ctx, struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    int status = prop_ffi_rego_set_reference(r->ffi, lookup, release_reference, ctx, &answer);

    return status == PROP_FFI_OK ? 0 : fail(err, status, "rego-eval", "reference values", answer);
}

typedef int (*set_fn)(struct prop_ffi_rego *r, const char *json, size_t len, char **ret_text);

static int set_json(struct prop_rego *r, set_fn set, const char *what, const json_t *v,
                    struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    prop_auto_free char *text = prop_json_compact(v);

    if (!text)
        return prop_err_nomem(err);
    int status = set(r->ffi, text, strlen(text), &answer);
    return status == PROP_FFI_OK ? 0 : fail(err, status, "rego-eval", what, answer);
}

int prop_rego_set_data(struct prop_rego *r, const json_t *data, struct prop_err *err)
{
    return set_json(r, prop_ffi_rego_set_data, "policy data", data, err);
}

int prop_rego_set_input(struct prop_rego *r, const json_t *input, struct prop_err *err)
{
    return set_json(r, prop_ffi_rego_set_input, "policy input", input, err);
}

/* A rule's value may be any JSON, a bare string too, and may hold NUL. */
static int parse_answer(const char *answer, json_t **ret, struct prop_err *err)
{
    json_error_t e;
    json_t *v = json_loads(answer, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);

    if (!v)
        return prop_err_set_id(err, PROP_E_INPUT, "rego-eval", "the policy's answer: %s", e.text);
    *ret = v;
    return 0;
}

int prop_rego_eval_rule(struct prop_rego *r, const char *rule, json_t **ret, struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    int status = prop_ffi_rego_eval(r->ffi, rule, strlen(rule), &answer);

    if (status == PROP_FFI_OK)
        return parse_answer(answer, ret, err);
    if (status == PROP_FFI_UNDEFINED) {
        *ret = NULL;
        return 0;
    }
    char what[256];
    (void)snprintf(what, sizeof what, "rule '%.200s'", rule);
    return fail(err, status, "rego-eval", what, answer);
}

int prop_rego_describe(struct prop_rego *r, json_t **ret, struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    int status = prop_ffi_rego_describe(r->ffi, &answer);

    return status == PROP_FFI_OK ? parse_answer(answer, ret, err)
                                 : fail(err, status, "rego-eval", "the policy", answer);
}

int prop_rego_outline(struct prop_rego *r, json_t **ret, struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    int status = prop_ffi_rego_outline(r->ffi, &answer);

    return status == PROP_FFI_OK ? parse_answer(answer, ret, err)
                                 : fail(err, status, "rego-eval", "the policy", answer);
}

int prop_rego_extend(const struct prop_rego *r, const char *text, size_t len,
                     struct prop_rego **ret, struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    struct prop_rego *more = prop_zalloc(sizeof *more);

    if (!more)
        return prop_err_nomem(err);
    int status = prop_ffi_rego_extend(r->ffi, text, len, &more->ffi, &answer);
    if (status == PROP_FFI_OK) {
        *ret = more;
        return 0;
    }
    prop_free(more);
    return fail_syntax(err, status, "", answer);
}

void prop_rego_free(struct prop_rego *r)
{
    if (!r)
        return;
    prop_ffi_rego_free(r->ffi);
    prop_free(r);
}
