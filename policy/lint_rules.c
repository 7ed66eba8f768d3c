/* What single rules say: values that are no decision, bodies that do not look at the guest, bodies
 * that are there twice. */
#include "policy/lint_internal.h"

#include "util/buf.h"
#include "util/limits.h"

#include <stdlib.h>
#include <string.h>

#define COMPARED_MAX 600 /* bodies whose conditions are compared with each other */
#define PARTS_MAX 64     /* conditions of one body */

/* --- values ----------------------------------------------------------------------------------- */

static void check_value(struct prop_lint *l, const json_t *node, size_t line)
{
    const json_t *value = json_object_get(node, "value");
    if (!prop_outline_is(node, "const") || json_is_boolean(value))
        return;
    prop_auto_free char *text = prop_json_compact(value);
    prop_lint_add(l, line, PROP_LINT_ERROR, "allow-type",
                  "allow is %s: anything but true and false is a denial", text ? text : "?");
}

static void check_default(struct prop_lint *l, const json_t *rule)
{
    const char *text = NULL;
    size_t len = 0;
    const json_t *value = json_object_get(json_object_get(rule, "value"), "value");
    if (json_is_true(value))
        prop_lint_add(l, prop_outline_line(rule), PROP_LINT_ERROR, "default-allow",
                      "the default lets everybody have everything");
    else
        check_value(l, json_object_get(rule, "value"), prop_outline_line(rule));
    if (prop_outline_slice(rule, l->text, l->len, &text, &len) &&
        memmem(text, len, ":=", 2) == NULL)
        prop_lint_add(l, prop_outline_line(rule), PROP_LINT_WARNING, "old-assignment",
                      "'default allow =' is how Rego was written before v1: write ':='");
}

static bool check_kind(struct prop_lint *l, const json_t *rule)
{
    if (prop_outline_is(rule, "complete"))
        return true;
    prop_lint_add(l, prop_outline_line(rule), PROP_LINT_ERROR, "allow-type",
                  "allow is a %s here, which is never true", prop_outline_text(rule, "kind"));
    return false;
}

/* --- does a body look at the guest? ----------------------------------------------------------- */

struct looks {
    const json_t *with_input; /* names of rules that look at the input: a set */
    const char *root;
    bool found;
};

static void look(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct looks *s = ctx;
    const char *of = prop_outline_text(node, "of");
    const char *name = prop_outline_text(node, "name");
    (void)at;
    if (prop_outline_is(node, "ref") && strcmp(of, s->root) == 0)
        s->found = true;
    if (((prop_outline_is(node, "ref") && strcmp(of, "rule") == 0) ||
         prop_outline_is(node, "call")) &&
        json_object_get(s->with_input, name) != NULL)
        s->found = true;
    /* A function that is not there lets nobody in. */
    if (prop_outline_is(node, "call") && (json_is_null(json_object_get(node, "is")) ||
                                          strcmp(name, "query_reference_value") == 0))
        s->found = true;
}

/* Names of the rules that look at `root`, by themselves or through others. */
static json_t *rules_that_look(const struct prop_lint *l, const char *root)
{
    const json_t *rules = json_object_get(l->outline, "rules");
    json_t *names = json_object();
    size_t before = 0;
    size_t i;
    size_t k;
    json_t *rule;
    json_t *used;
    json_array_foreach(rules, i, rule) {
        struct looks s = { NULL, root, false };
        prop_outline_rule(rule, look, &s);
        if (s.found)
            (void)json_object_set_new(names, prop_outline_text(rule, "name"), json_true());
    }
    do {
        before = json_object_size(names);
        json_array_foreach(rules, i, rule)
            json_array_foreach(json_object_get(rule, "uses"), k, used)
                if (json_object_get(names, json_string_value(used)) != NULL)
                    (void)json_object_set_new(names, prop_outline_text(rule, "name"), json_true());
    } while (json_object_size(names) > before);
    return names;
}

static bool never(const json_t *stmt)
{
    const json_t *e = json_object_get(stmt, "expr");
    return prop_outline_is(stmt, "expr") && prop_outline_is(e, "const") &&
           json_is_false(json_object_get(e, "value"));
}

static bool body_looks(const json_t *rule, const json_t *body, const json_t *value,
                       const json_t *names, const char *root)
{
    struct looks s = { names, root, false };
    size_t i;
    json_t *stmt;
    json_array_foreach(json_object_get(body, "stmts"), i, stmt) {
        prop_outline_statement(rule, stmt, look, &s);
        if (never(stmt))
            return true;
    }
    if (json_is_object(value))
        prop_outline_statement(rule, value, look, &s);
    return s.found;
}

static void check_condition(struct prop_lint *l, const json_t *rule, const json_t *body,
                            const json_t *input, const json_t *data)
{
    const json_t *value = json_object_get(body, "value");
    size_t line = body != NULL ? prop_outline_line(body) : prop_outline_line(rule);
    if (!json_is_object(value) && !json_is_true(json_object_get(body, "else")))
        value = json_object_get(rule, "value");
    check_value(l, value, line);
    if (prop_outline_is(value, "const") && !json_is_true(json_object_get(value, "value")))
        return;
    if (body_looks(rule, body, value, input, "input"))
        return;
    if (body_looks(rule, body, value, data, "data"))
        prop_lint_add(l, line, PROP_LINT_ERROR, "always-true",
                      "this rule never looks at the guest: whoever attested as anything is let in, "
                      "sample evidence too");
    else
        prop_lint_add(l, line, PROP_LINT_ERROR, "always-true",
                      "this rule has no condition on input or data: everybody gets everything");
}

/* --- bodies that are there twice -------------------------------------------------------------- */

struct body {
    size_t line;
    char *parts[PARTS_MAX]; /* the conditions, sorted, without layout; the value too */
    size_t n;
};

static int by_text(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

/* The node's text with blanks together. */
static char *plain(const struct prop_lint *l, const json_t *node)
{
    const char *text = NULL;
    size_t len = 0;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    bool blank = false;
    if (!prop_outline_slice(node, l->text, l->len, &text, &len))
        return NULL;
    for (size_t i = 0; i < len; i++) {
        bool space = strchr(" \t\r\n", text[i]) != NULL;
        if (!space || !blank)
            if (prop_buf_add(&out, space ? " " : text + i, 1, NULL) != 0)
                return NULL;
        blank = space;
    }
    return prop_buf_take(&out, NULL);
}

/* A condition's text; of a comparison for equality the same whichever side comes first. */
static char *condition(const struct prop_lint *l, const json_t *stmt)
{
    const json_t *e = json_object_get(stmt, "expr");
    const json_t *args = json_object_get(e, "args");
    if (!prop_outline_is(stmt, "expr") || !prop_outline_is(e, "op") || json_array_size(args) != 2 ||
        strcmp(prop_outline_text(e, "op"), "==") != 0)
        return plain(l, stmt);
    prop_auto_free char *a = plain(l, json_array_get(args, 0));
    prop_auto_free char *b = plain(l, json_array_get(args, 1));
    if (a == NULL || b == NULL)
        return NULL;
    bool turn = strcmp(a, b) > 0;
    return prop_asprintf("%s == %s", turn ? b : a, turn ? a : b);
}

static bool read_body(const struct prop_lint *l, const json_t *rule, struct body *b)
{
    const json_t *bodies = json_object_get(rule, "bodies");
    const json_t *stmts = json_object_get(json_array_get(bodies, 0), "stmts");
    size_t i;
    json_t *stmt;
    b->n = 0;
    b->line = prop_outline_line(rule);
    if (json_array_size(bodies) != 1 || json_array_size(stmts) > PARTS_MAX)
        return false;
    json_array_foreach(stmts, i, stmt) {
        b->parts[b->n] = condition(l, stmt);
        if (b->parts[b->n] == NULL)
            return false;
        b->n++;
    }
    if (json_is_object(json_object_get(rule, "value")) && b->n < PARTS_MAX) {
        b->parts[b->n] = plain(l, json_object_get(rule, "value"));
        if (b->parts[b->n] == NULL)
            return false;
        b->n++;
    }
    qsort(b->parts, b->n, sizeof b->parts[0], by_text);
    return b->n > 0;
}

/* Are all conditions of `few` among those of `many`? */
static bool within(const struct body *few, const struct body *many)
{
    size_t k = 0;
    for (size_t i = 0; i < few->n; i++, k++) {
        while (k < many->n && strcmp(many->parts[k], few->parts[i]) < 0)
            k++;
        if (k == many->n || strcmp(many->parts[k], few->parts[i]) != 0)
            return false;
    }
    return true;
}

static void compare(struct prop_lint *l, const struct body *a, const struct body *b)
{
    bool ab = within(a, b);
    bool ba = within(b, a);
    if (ab && ba)
        prop_lint_add(l, b->line, PROP_LINT_WARNING, "duplicate-rule",
                      "the same conditions as the rule in line %zu", a->line);
    else if (ab)
        prop_lint_add(
            l, b->line, PROP_LINT_WARNING, "shadowed-rule",
            "changes nothing: the rule in line %zu lets in the same with fewer conditions",
            a->line);
    else if (ba)
        prop_lint_add(
            l, a->line, PROP_LINT_WARNING, "shadowed-rule",
            "changes nothing: the rule in line %zu lets in the same with fewer conditions",
            b->line);
}

static void check_twice(struct prop_lint *l)
{
    struct body *all = prop_realloc_array(NULL, COMPARED_MAX, sizeof *all);
    size_t n = 0;
    size_t i;
    json_t *rule;
    if (all == NULL) {
        prop_lint_nomem(l);
        return;
    }
    json_array_foreach(json_object_get(l->outline, "rules"), i, rule) {
        if (n == COMPARED_MAX)
            break;
        if (strcmp(prop_outline_text(rule, "name"), "allow") != 0 ||
            !prop_outline_is(rule, "complete"))
            continue;
        if (read_body(l, rule, &all[n])) {
            n++;
            continue;
        }
        for (size_t k = 0; k < all[n].n; k++)
            prop_free(all[n].parts[k]);
    }
    for (i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            compare(l, &all[i], &all[k]);
    for (i = 0; i < n; i++)
        for (size_t k = 0; k < all[i].n; k++)
            prop_free(all[i].parts[k]);
    prop_free(all);
}

void prop_lint_rules(struct prop_lint *l)
{
    prop_auto_json json_t *input = rules_that_look(l, "input");
    prop_auto_json json_t *data = rules_that_look(l, "data");
    bool has_default = false;
    bool has_rule = false;
    size_t i;
    size_t k;
    json_t *rule;
    json_t *body;

    if (input == NULL || data == NULL) {
        prop_lint_nomem(l);
        return;
    }
    json_array_foreach(json_object_get(l->outline, "rules"), i, rule) {
        if (strcmp(prop_outline_text(rule, "name"), "allow") != 0)
            continue;
        has_rule = true;
        if (prop_outline_is(rule, "default")) {
            has_default = true;
            check_default(l, rule);
            continue;
        }
        if (!check_kind(l, rule))
            continue;
        if (json_array_size(json_object_get(rule, "bodies")) == 0)
            check_condition(l, rule, NULL, input, data);
        json_array_foreach(json_object_get(rule, "bodies"), k, body)
            check_condition(l, rule, body, input, data);
    }
    if (has_rule && !has_default)
        prop_lint_add(l, 0, PROP_LINT_WARNING, "no-default",
                      "without 'default allow := false' a denial is counted as an error by key "
                      "brokers");
    check_twice(l);
}
