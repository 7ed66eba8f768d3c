/* All questions go into one text, which is parsed once. Where the engine does not take it (a
 * condition that cannot stand without a later one, say), each is asked alone. */
#include "policy/explain_probe.h"

#include "engine/rego.h"
#include "policy/outline.h"
#include "util/limits.h"

#include <ctype.h>
#include <string.h>

#define MODULE_BYTES (256u << 10) /* the engine takes 1 MiB and 20 000 lines at a time */
#define MODULE_LINES 8000
#define ARGS_DEPTH 6              /* the parser's work doubles with each level */

static bool is_plain(const char *path)
{
    for (; *path != '\0'; path++)
        if (!isalnum((unsigned char)*path) && *path != '_' && *path != '.')
            return false;
    return true;
}

static int make_head(const json_t *outline, char **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    size_t i;
    json_t *import;
    int rc = prop_buf_printf(&out, err, "package %s\nimport rego.v1\n",
                             prop_outline_text(outline, "package"));
    json_array_foreach(json_object_get(outline, "imports"), i, import) {
        const char *path = prop_outline_text(import, "path");
        const char *as = prop_outline_text(import, "as");
        bool wanted = (strncmp(path, "input", 5) == 0 || strncmp(path, "data", 4) == 0) &&
                      is_plain(path);
        if (rc == 0 && wanted)
            rc = prop_buf_printf(&out, err, "import %s%s%s\n", path, *as ? " as " : "", as);
    }
    if (rc == 0 && (*ret = prop_buf_take(&out, NULL)) == NULL)
        rc = prop_err_nomem(err);
    return rc;
}

int prop_probes_init(struct prop_probes *p, struct prop_policy_judge *j, struct prop_err *err)
{
    const json_t *outline = NULL;
    *p = (struct prop_probes){ .judge = j, .parts = json_array(), .answers = json_array() };
    int rc = p->parts == NULL || p->answers == NULL ? prop_err_nomem(err) : 0;
    if (rc == 0)
        rc = prop_policy_judge_outline(j, &outline, err);
    return rc == 0 ? make_head(outline, &p->head, err) : rc;
}

void prop_probes_release(struct prop_probes *p)
{
    prop_free(p->head);
    json_decref(p->parts);
    json_decref(p->answers);
}

void prop_probes_clear(struct prop_probes *p)
{
    json_array_clear(p->parts);
    json_array_clear(p->answers);
}

static size_t depth_of(const json_t *v)
{
    size_t deepest = 0;
    size_t i;
    const char *key;
    json_t *one;
    if (json_is_array(v)) {
        json_array_foreach(v, i, one)
            deepest = depth_of(one) > deepest ? depth_of(one) : deepest;
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, key, one)
            deepest = depth_of(one) > deepest ? depth_of(one) : deepest;
    } else {
        return 0;
    }
    return deepest + 1;
}

static int add_text(const char *text, size_t len, void *out)
{
    return prop_buf_add(out, text, len, NULL);
}

/* Arguments as Rego: JSON, a value per line, because lines must not be long. */
static int put_args(struct prop_buf *out, const json_t *args, struct prop_err *err)
{
    size_t i;
    json_t *one;
    int rc = prop_buf_puts(out, "(", err);
    json_array_foreach(args, i, one) {
        if (rc == 0 && i > 0)
            rc = prop_buf_puts(out, ",\n", err);
        if (rc == 0 &&
            json_dump_callback(one, add_text, out, JSON_ENCODE_ANY | JSON_INDENT(1)) != 0)
            rc = prop_err_set(err, PROP_E_LIMIT, "an argument is too long");
    }
    return rc == 0 ? prop_buf_puts(out, ")\n", err) : rc;
}

int prop_probes_add(struct prop_probes *p, const char *expr, const char *params,
                    const json_t *args, size_t *ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    size_t n = p->serial++;
    int rc = 0;

    if (args == NULL) {
        rc = prop_buf_printf(&out, err, "prop_probe_%zu := %s\n", n, expr);
    } else if (depth_of(args) <= ARGS_DEPTH) {
        rc = prop_buf_printf(&out, err,
                             "prop_inside_%zu(%s) := %s\nprop_probe_%zu := prop_inside_%zu", n,
                             params, expr, n, n);
        if (rc == 0)
            rc = put_args(&out, args, err);
    }
    if (rc != 0)
        return rc;
    json_t *part = json_pack("{s:I, s:s#}", "n", (json_int_t)n, "text", prop_buf_str(&out),
                             (int)out.len);
    if (part == NULL || json_array_append_new(p->parts, part) != 0)
        return prop_err_nomem(err);
    *ret = json_array_size(p->parts) - 1;
    return 0;
}

static struct prop_rego *extend(const struct prop_probes *p, const struct prop_buf *module)
{
    struct prop_rego *more = NULL;
    if (prop_rego_extend(prop_policy_judge_engine(p->judge), prop_buf_str(module), module->len,
                         &more, NULL) != 0)
        return NULL;
    return more;
}

/* Is there an answer? Only "out of memory" is an error of ours. */
static int ask(struct prop_rego *rego, const json_t *outline, const json_t *part, json_t **ret)
{
    struct prop_err local = PROP_ERR_INIT;
    prop_auto_free char *rule =
        prop_asprintf("data.%s.prop_probe_%lld", prop_outline_text(outline, "package"),
                      (long long)json_integer_value(json_object_get(part, "n")));
    return rule != NULL ? prop_rego_eval_rule(rego, rule, ret, &local) : PROP_E_NOMEM;
}

static int ask_alone(struct prop_probes *p, const json_t *outline, const json_t *part, json_t **ret,
                     struct prop_err *err)
{
    prop_auto_buf struct prop_buf module = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = prop_buf_puts(&module, p->head, err);
    if (rc == 0)
        rc = prop_buf_puts(&module, prop_outline_text(part, "text"), err);
    if (rc != 0)
        return rc;
    prop_auto_rego struct prop_rego *rego = extend(p, &module);
    return rego == NULL || ask(rego, outline, part, ret) != PROP_E_NOMEM ? 0 : prop_err_nomem(err);
}

static int ask_some(struct prop_probes *p, const json_t *outline, struct prop_rego *rego,
                    size_t first, size_t end, struct prop_err *err)
{
    bool together = rego != NULL;
    for (size_t i = first; i < end; i++) {
        const json_t *part = json_array_get(p->parts, i);
        json_t *answer = NULL;
        int rc = together ? ask(rego, outline, part, &answer) : -1;
        if (rc != 0) {
            together = together && i > first; /* the first tells whether the text is taken at all */
            rc = *prop_outline_text(part, "text") ? ask_alone(p, outline, part, &answer, err) : 0;
            if (rc != 0)
                return rc;
        }
        if (json_array_append_new(p->answers, answer != NULL ? answer : json_null()) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        n++;
    return n;
}

int prop_probes_run(struct prop_probes *p, struct prop_err *err)
{
    const json_t *outline = NULL;
    size_t first = 0;
    size_t total = json_array_size(p->parts);
    int rc = prop_policy_judge_outline(p->judge, &outline, err);

    while (rc == 0 && first < total) {
        prop_auto_buf struct prop_buf module = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        size_t end = first;
        size_t lines = 0;
        rc = prop_buf_puts(&module, p->head, err);
        while (rc == 0 && end < total && module.len < MODULE_BYTES && lines < MODULE_LINES) {
            const char *text = prop_outline_text(json_array_get(p->parts, end), "text");
            rc = prop_buf_puts(&module, text, err);
            lines += count_lines(text);
            end++;
        }
        if (rc != 0)
            return rc;
        prop_auto_rego struct prop_rego *rego = extend(p, &module);
        rc = ask_some(p, outline, rego, first, end, err);
        first = end;
    }
    return rc;
}

const json_t *prop_probes_answer(const struct prop_probes *p, size_t number)
{
    const json_t *v = json_array_get(p->answers, number);
    return json_is_null(v) ? NULL : v;
}
