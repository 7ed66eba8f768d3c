/* Trees from the engine's parser are at most a few hundred nodes deep (engine/src/guard.rs), so
 * that walking them may call itself. */
#include "policy/outline.h"

#include <ctype.h>
#include <string.h>

#define FOLLOW_MAX 12 /* names of names of names */

struct walk {
    prop_outline_fn fn;
    void *ctx;
    struct prop_outline_at at;
};

static void walk_node(struct walk *w, const json_t *node);

bool prop_outline_is(const json_t *node, const char *kind)
{
    return strcmp(prop_outline_text(node, "kind"), kind) == 0;
}

const char *prop_outline_text(const json_t *node, const char *member)
{
    const char *s = json_string_value(json_object_get(node, member));
    return s != NULL ? s : "";
}

size_t prop_outline_line(const json_t *node)
{
    return (size_t)json_integer_value(json_object_get(node, "line"));
}

bool prop_outline_slice(const json_t *node, const char *text, size_t len, const char **ret,
                        size_t *ret_len)
{
    const json_t *at = json_object_get(node, "at");
    size_t start = (size_t)json_integer_value(json_array_get(at, 0));
    size_t end = (size_t)json_integer_value(json_array_get(at, 1));
    if (json_array_size(at) != 2 || start > end || end > len)
        return false;
    /* The parser's positions do not tell where an object with several members begins, */
    const json_t *key = json_array_get(json_array_get(json_object_get(node, "fields"), 0), 0);
    if (key != NULL) {
        start = (size_t)json_integer_value(json_array_get(json_object_get(key, "at"), 0));
        start = start < len ? start : len;
        while (start > 0 && text[start] != '{')
            start--;
    }
    /* and leave the quotes of a string out. */
    if (key == NULL && start > 0 && (text[start - 1] == '"' || text[start - 1] == '`'))
        start--;
    if (end < len && key == NULL && (text[end] == '"' || text[end] == '`'))
        end++;
    *ret = text + start;
    *ret_len = end - start;
    return true;
}

static void walk_list(struct walk *w, const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        if (json_is_array(one))
            walk_list(w, one); /* the pairs of an object */
        else
            walk_node(w, one);
    }
}

static void walk_statement(struct walk *w, const json_t *stmt)
{
    const json_t *outer = w->at.stmt;
    bool negated = w->at.negated;
    bool inner = w->at.inner;

    if (outer == NULL)
        w->at.stmt = stmt;
    if (prop_outline_is(stmt, "not"))
        w->at.negated = !w->at.negated;
    w->fn(w->ctx, stmt, &w->at);
    walk_node(w, json_object_get(stmt, "expr"));
    walk_node(w, json_object_get(stmt, "key"));
    walk_node(w, json_object_get(stmt, "value"));
    walk_node(w, json_object_get(stmt, "in"));
    walk_list(w, json_object_get(stmt, "with"));
    w->at.inner = true;
    walk_list(w, json_object_get(stmt, "body"));
    w->at.stmt = outer;
    w->at.negated = negated;
    w->at.inner = inner;
}

static void walk_node(struct walk *w, const json_t *node)
{
    static const char *const statements[] = { "expr", "not", "some", "some-in", "every" };

    if (!json_is_object(node))
        return;
    for (size_t i = 0; i < PROP_ARRAY_LEN(statements); i++) {
        if (prop_outline_is(node, statements[i])) {
            walk_statement(w, node);
            return;
        }
    }
    w->fn(w->ctx, node, &w->at);
    walk_node(w, json_object_get(node, "base"));
    walk_list(w, json_object_get(node, "path"));
    walk_list(w, json_object_get(node, "items"));
    walk_list(w, json_object_get(node, "fields"));
    walk_list(w, json_object_get(node, "args"));
    bool inner = w->at.inner;
    w->at.inner = true;
    walk_list(w, json_object_get(node, "term"));
    walk_list(w, json_object_get(node, "body"));
    w->at.inner = inner;
}

void prop_outline_rule(const json_t *rule, prop_outline_fn fn, void *ctx)
{
    struct walk w = { fn, ctx, { rule, NULL, false, false } };
    size_t i;
    json_t *body;

    walk_list(&w, json_object_get(rule, "path"));
    walk_list(&w, json_object_get(rule, "args"));
    walk_node(&w, json_object_get(rule, "key"));
    walk_node(&w, json_object_get(rule, "value"));
    json_array_foreach(json_object_get(rule, "bodies"), i, body) {
        walk_node(&w, json_object_get(body, "value"));
        walk_list(&w, json_object_get(body, "stmts"));
    }
}

void prop_outline_statement(const json_t *rule, const json_t *stmt, prop_outline_fn fn, void *ctx)
{
    struct walk w = { fn, ctx, { rule, NULL, false, false } };
    walk_node(&w, stmt);
}

/* --- what a reference leads to ---------------------------------------------------------------- */

/* The collection or value that a variable of a rule stands for. */
struct search {
    const char *name;
    const json_t *found;
    bool element; /* of the collection that was found */
};

static void look(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct search *s = ctx;
    (void)at;
    if (s->found != NULL)
        return;
    if (prop_outline_is(node, "op") && strcmp(prop_outline_text(node, "op"), ":=") == 0) {
        const json_t *left = json_array_get(json_object_get(node, "args"), 0);
        if (strcmp(prop_outline_text(left, "name"), s->name) == 0)
            s->found = json_array_get(json_object_get(node, "args"), 1);
    } else if (prop_outline_is(node, "some-in") || prop_outline_is(node, "every")) {
        const json_t *value = json_object_get(node, "value");
        const char *name = json_is_string(value) ? json_string_value(value)
                                                 : prop_outline_text(value, "name");
        if (strcmp(name, s->name) == 0) {
            s->found = json_object_get(node, "in");
            s->element = true;
        }
    }
}

/* The one value that a rule of that name can have, when it has no conditions or only one of them
 * names a reference ("cpu := input.submods.cpu0" and a variant for older servers: the first). */
static const json_t *rule_value(const json_t *outline, const char *name)
{
    size_t i;
    json_t *rule;
    json_array_foreach(json_object_get(outline, "rules"), i, rule) {
        const json_t *value = json_object_get(rule, "value");
        if (strcmp(prop_outline_text(rule, "name"), name) == 0 &&
            prop_outline_is(rule, "complete") && prop_outline_is(value, "ref"))
            return value;
    }
    return NULL;
}

/* Append the steps of `ref`. */
static int add_steps(json_t *path, const json_t *ref)
{
    size_t i;
    json_t *step;
    json_array_foreach(json_object_get(ref, "path"), i,
                       step) if (json_array_append_new(path, json_is_object(step)
                                                                 ? json_null()
                                                                 : json_incref(step)) !=
                                 0) return -1;
    return 0;
}

static int resolve(const json_t *outline, const json_t *rule, const json_t *ref, json_t *path,
                   unsigned depth)
{
    const char *of = prop_outline_text(ref, "of");
    const char *name = prop_outline_text(ref, "name");
    const json_t *target = NULL;
    struct search s = { name, NULL, false };

    if (depth > FOLLOW_MAX || !prop_outline_is(ref, "ref"))
        return -1;
    if (strcmp(of, "input") == 0 || strcmp(of, "data") == 0)
        return json_array_append_new(path, json_string(of)) == 0 ? add_steps(path, ref) : -1;
    if (strcmp(of, "rule") == 0) {
        target = rule_value(outline, name);
        rule = NULL;
    } else if (rule != NULL) {
        prop_outline_rule(rule, look, &s);
        target = s.found;
    }
    if (target == NULL || resolve(outline, rule, target, path, depth + 1) != 0)
        return -1;
    if (s.element && json_array_append_new(path, json_null()) != 0)
        return -1;
    return add_steps(path, ref);
}

json_t *prop_outline_resolve(const json_t *outline, const json_t *rule, const json_t *ref)
{
    json_t *path = json_array();
    if (path != NULL && resolve(outline, rule, ref, path, 0) != 0) {
        json_decref(path);
        return NULL;
    }
    return path;
}

static bool is_word(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s != '\0'; s++)
        if (!isalnum((unsigned char)*s) && *s != '_')
            return false;
    return true;
}

int prop_outline_spell(const json_t *path, struct prop_buf *out, struct prop_err *err)
{
    size_t i;
    json_t *step;
    int rc = 0;
    json_array_foreach(path, i, step) {
        if (json_is_string(step) && (i == 0 || is_word(json_string_value(step)))) {
            rc = prop_buf_printf(out, err, "%s%s", i > 0 ? "." : "", json_string_value(step));
        } else if (json_is_null(step)) {
            rc = prop_buf_puts(out, "[_]", err);
        } else {
            prop_auto_free char *text = prop_json_compact(step);
            rc = text != NULL ? prop_buf_printf(out, err, "[%s]", text) : prop_err_nomem(err);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}
