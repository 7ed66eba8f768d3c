/* What stands in the condition that fails: values of its references, what the input does not have,
 * and which rules and functions to look into next. */
#include "policy/explain_internal.h"

#include "policy/outline.h"
#include "util/limits.h"

#include <string.h>

#define VALUES_MAX 12 /* references of one condition */

struct seen {
    const json_t *refs[VALUES_MAX];
    size_t n;
    const json_t *calls[VALUES_MAX];
    size_t n_calls;
    const json_t *skip; /* what a statement gives names to */
    size_t every;       /* number of the question about the elements of an "every" */
};

static void see(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct seen *s = ctx;
    if (at->inner)
        return;
    if (prop_outline_is(node, "op") && strcmp(prop_outline_text(node, "op"), ":=") == 0)
        s->skip = json_array_get(json_object_get(node, "args"), 0);
    bool call = prop_outline_is(node, "call");
    if (call && strcmp(prop_outline_text(node, "is"), "policy") == 0 && s->n_calls < VALUES_MAX)
        s->calls[s->n_calls++] = node;
    if (call && node == json_object_get(at->stmt, "expr"))
        return; /* its value is what the condition is about */
    if ((!call && !prop_outline_is(node, "ref")) || node == s->skip || s->n == VALUES_MAX)
        return;
    if (strcmp(prop_outline_text(node, "of"), "local") == 0 && prop_outline_is(at->stmt, "some-in"))
        return;
    s->refs[s->n++] = node;
}

/* The condition that fails: a statement, or the rule's value. */
static const json_t *failing(const struct prop_way *way)
{
    return way->failed < way->n_stmts ? json_array_get(way->stmts, way->failed) : way->value;
}

/* What the policy's input has at a path: NULL, with *ret_depth steps that are there. */
static const json_t *follow(const json_t *token, const json_t *path, size_t *ret_depth)
{
    const json_t *at = token;
    size_t i;
    for (i = 1; i < json_array_size(path); i++) {
        const json_t *step = json_array_get(path, i);
        const json_t *next = NULL;
        if (json_is_string(step))
            next = json_object_get(at, json_string_value(step));
        else if (json_is_integer(step) && json_integer_value(step) >= 0)
            next = json_array_get(at, (size_t)json_integer_value(step));
        if (next == NULL)
            break;
        at = next;
    }
    *ret_depth = i;
    return i == json_array_size(path) ? at : NULL;
}

/* "input.submods has no 'cpu0'" for a reference into the input that leads nowhere. */
static int say_missing(struct prop_why *w, const struct prop_way *way, const json_t *ref,
                       json_t *value, struct prop_err *err)
{
    prop_auto_json json_t *path = prop_outline_resolve(w->outline, way->rule, ref);
    prop_auto_json json_t *root = NULL;
    size_t depth = 0;

    if (path == NULL)
        return 0;
    const char *of = json_string_value(json_array_get(path, 0));
    if (prop_policy_judge_asked(w->judge, strcmp(of, "data") == 0, &root) != 0)
        return prop_err_nomem(err);
    if (follow(root, path, &depth) != NULL || !json_is_string(json_array_get(path, depth)))
        return 0;
    prop_auto_json json_t *there = json_array();
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    for (size_t i = 0; there != NULL && i < depth; i++)
        if (json_array_append(there, json_array_get(path, i)) != 0)
            return prop_err_nomem(err);
    int rc = prop_outline_spell(there, &out, err);
    if (rc == 0)
        rc = prop_buf_printf(&out, err, " has no '%s'",
                             json_string_value(json_array_get(path, depth)));
    if (rc == 0 && json_object_set_new(value, "missing", json_string(prop_buf_str(&out))) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

/* The elements for which the body of an "every" does not hold. */
static int ask_every(struct prop_why *w, struct prop_way *way, size_t *ret, struct prop_err *err)
{
    const json_t *every = failing(way);
    const json_t *body = json_object_get(every, "body");
    const char *key = prop_outline_text(every, "key");
    const char *value = prop_outline_text(every, "value");
    const char *comma = *key != '\0' ? ", " : "";
    size_t n = json_array_size(body);
    if (n == 0)
        return 0;
    prop_auto_free char *before = prop_why_beginning(w, way, way->failed);
    prop_auto_free char *domain =
        prop_why_slice(w, json_object_get(every, "in"), json_object_get(every, "in"));
    prop_auto_free char *text =
        prop_why_slice(w, json_array_get(body, 0), json_array_get(body, n - 1));
    prop_auto_free char *expr =
        before != NULL && domain != NULL && text != NULL
            ? prop_asprintf("[prop_v |\n%ssome %s%s%s in %s\ncount([true |\n%s\n]) == 0\n"
                            "prop_v := %s%s%s%s%s\n]",
                            before, key, comma, value, domain, text, *key ? "[" : "", key, comma,
                            value, *key ? "]" : "")
            : NULL;
    if (expr == NULL)
        return prop_err_nomem(err);
    return prop_probes_add(&w->probes, expr, way->params, way->args, ret, err);
}

static int ask_values(struct prop_why *w, struct prop_way *way, struct seen *s, size_t *first,
                      struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n + s->n_calls; i++) {
        const json_t *node = i < s->n ? s->refs[i] : s->calls[i - s->n];
        const json_t *args = json_object_get(node, "args");
        size_t n = json_array_size(args);
        size_t number = 0;
        prop_auto_free char *text =
            i < s->n ? prop_why_slice(w, node, node)
            : n > 0  ? prop_why_slice(w, json_array_get(args, 0), json_array_get(args, n - 1))
                     : prop_strdup("");
        prop_auto_free char *value =
            text != NULL ? prop_asprintf(i < s->n ? "%s" : "[%s]", text) : NULL;
        if (value == NULL)
            return prop_err_nomem(err);
        rc = prop_why_question(w, way, way->failed < way->n_stmts ? way->failed : way->n_stmts,
                               value, &number, err);
        if (i == 0)
            *first = number;
    }
    if (rc == 0 && prop_outline_is(failing(way), "every")) {
        s->every = json_array_size(w->probes.parts);
        rc = ask_every(w, way, &s->every, err);
    }
    return rc;
}

static int put_every(const struct prop_way *way, const json_t *answer, json_t *values,
                     struct prop_err *err)
{
    const char *key = prop_outline_text(failing(way), "key");
    prop_auto_free char *text =
        prop_asprintf("the first of %zu that fail (%s%s%s)", json_array_size(answer), key,
                      *key != '\0' ? ", " : "", prop_outline_text(failing(way), "value"));
    if (json_array_size(answer) == 0)
        return 0;
    json_t *value = text != NULL ? json_pack("{s:s, s:O}", "text", text, "value",
                                             json_array_get(answer, 0)) : NULL;
    return value != NULL && json_array_append_new(values, value) == 0 ? 0 : prop_err_nomem(err);
}

static int put_value(struct prop_why *w, struct prop_way *way, const json_t *ref,
                     const json_t *answer, json_t *values, struct prop_err *err)
{
    prop_auto_free char *text = prop_why_slice(w, ref, ref);
    prop_auto_json json_t *value = text != NULL ? json_pack("{s:s}", "text", text) : NULL;
    int rc = 0;
    size_t i;
    json_t *one;
    if (value == NULL)
        return prop_err_nomem(err);
    json_array_foreach(values, i, one)
        if (strcmp(prop_outline_text(one, "text"), text) == 0)
            return 0;
    if (json_array_size(answer) > 0)
        rc = json_object_set(value, "value", json_array_get(answer, 0));
    else if (strcmp(prop_outline_text(ref, "of"), "local") != 0 ||
             json_array_size(json_object_get(ref, "path")) > 0)
        rc = say_missing(w, way, ref, value, err);
    else
        return 0; /* a name that gets its value here */
    if (rc == 0 && json_array_append(values, value) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

/* The rules that a reference may mean: "a", and "a.b" where a rule is called so. */
static int want_rules(struct prop_why *w, const json_t *ref, json_t *names, struct prop_err *err)
{
    const json_t *path = json_object_get(ref, "path");
    prop_auto_free char *name = prop_strdup(prop_outline_text(ref, "name"));
    for (size_t i = 0; name != NULL; i++) {
        size_t k;
        json_t *rule;
        bool known = false;
        json_array_foreach(json_object_get(w->outline, "rules"), k, rule)
            known = known || strcmp(prop_outline_text(rule, "name"), name) == 0;
        if (known && json_array_append_new(names, json_string(name)) != 0)
            break;
        int rc = known ? prop_why_want(w, name, NULL, err) : 0;
        const char *step = json_string_value(json_array_get(path, i));
        if (rc != 0 || step == NULL)
            return rc;
        char *longer = prop_asprintf("%s.%s", name, step);
        prop_free(name);
        name = longer;
    }
    return prop_err_nomem(err);
}

/* The rules and functions that the failing condition stands on: names into "because" for now. */
static int put_because(struct prop_why *w, const struct seen *s, size_t first, json_t *names,
                       struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        if (strcmp(prop_outline_text(s->refs[i], "of"), "rule") == 0)
            rc = want_rules(w, s->refs[i], names, err);
    }
    for (size_t i = 0; rc == 0 && i < s->n_calls; i++) {
        const json_t *answer = prop_probes_answer(&w->probes, first + s->n + i);
        const json_t *args = json_array_get(answer, 0);
        const char *name = prop_outline_text(s->calls[i], "name");
        if (args == NULL)
            continue;
        prop_auto_free char *key = prop_why_key(name, args);
        if (key == NULL || json_array_append_new(names, json_string(key)) != 0)
            return prop_err_nomem(err);
        rc = prop_why_want(w, name, json_deep_copy(args), err);
    }
    return rc;
}

static int report_failure(struct prop_why *w, struct prop_way *way, const struct seen *s,
                          size_t first, struct prop_err *err)
{
    json_t *list = json_object_get(way->report, "conditions");
    json_t *node = prop_why_condition(w, failing(way), false);
    json_t *values = json_array();
    json_t *names = json_array();
    int rc = 0;
    if (node == NULL || json_array_append_new(list, node) != 0 || values == NULL || names == NULL ||
        json_object_set_new(node, "values", values) != 0 ||
        json_object_set_new(node, "because", names) != 0)
        return prop_err_nomem(err);
    if (prop_outline_is(failing(way), "not") && json_object_set_new(node, "not", json_true()) != 0)
        return prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < s->n; i++)
        rc = put_value(w, way, s->refs[i], prop_probes_answer(&w->probes, first + i), values, err);
    if (rc == 0 && prop_outline_is(failing(way), "every"))
        rc = put_every(way, prop_probes_answer(&w->probes, s->every), values, err);
    return rc == 0 ? put_because(w, s, first, names, err) : rc;
}

int prop_why_values(struct prop_why *w, struct prop_err *err)
{
    int rc = 0;
    struct seen *seen = prop_realloc_array(NULL, w->n_ways, sizeof *seen);
    size_t *first = prop_realloc_array(NULL, w->n_ways, sizeof *first);
    prop_auto_free void *free_seen = seen;
    prop_auto_free void *free_first = first;
    if (seen == NULL || first == NULL)
        return prop_err_nomem(err);
    prop_probes_clear(&w->probes);
    for (size_t i = 0; rc == 0 && i < w->n_ways; i++) {
        struct prop_way *way = &w->ways[i];
        seen[i] = (struct seen){ .n = 0 };
        first[i] = 0;
        if (way->failed == way->steps)
            continue;
        prop_outline_statement(way->rule, failing(way), see, &seen[i]);
        rc = ask_values(w, way, &seen[i], &first[i], err);
    }
    if (rc == 0)
        rc = prop_probes_run(&w->probes, err);
    for (size_t i = 0; rc == 0 && i < w->n_ways; i++)
        if (w->ways[i].failed < w->ways[i].steps)
            rc = report_failure(w, &w->ways[i], &seen[i], first[i], err);
    return rc;
}
