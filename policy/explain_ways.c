/* The bodies of rules and functions as lists of conditions, and how many of them are met. */
#include "policy/explain_internal.h"

#include "policy/outline.h"

#include <string.h>

#define WAYS_MAX 200 /* bodies looked at in one level */

void prop_why_drop_ways(struct prop_why *w)
{
    for (size_t i = 0; i < w->n_ways; i++) {
        json_decref(w->ways[i].args);
        prop_free(w->ways[i].params);
    }
    prop_free(w->ways);
    w->ways = NULL;
    w->n_ways = 0;
}

char *prop_why_slice(const struct prop_why *w, const json_t *first, const json_t *last)
{
    const char *a = NULL;
    const char *b = NULL;
    size_t na = 0;
    size_t nb = 0;
    if (!prop_outline_slice(first, w->text, w->len, &a, &na) ||
        !prop_outline_slice(last, w->text, w->len, &b, &nb) || b + nb < a)
        return prop_strdup("");
    return prop_strndup(a, (size_t)(b + nb - a));
}

static bool value_decides(const json_t *value)
{
    return value != NULL && !json_is_null(value) &&
           !(prop_outline_is(value, "const") && !json_is_false(json_object_get(value, "value")));
}

static int add_way(struct prop_why *w, const json_t *rule, const json_t *body, const json_t *args,
                   struct prop_err *err)
{
    const json_t *value = json_object_get(body, "value");
    if (body == NULL || (!json_is_true(json_object_get(body, "else")) && !json_is_object(value)))
        value = json_object_get(rule, "value");
    struct prop_way *more = prop_realloc_array(w->ways, w->n_ways + 1, sizeof *more);
    if (more == NULL)
        return prop_err_nomem(err);
    w->ways = more;
    struct prop_way *way = &more[w->n_ways++];
    *way = (struct prop_way){ .rule = rule, .stmts = json_object_get(body, "stmts"),
                         .value = value_decides(value) ? value : NULL };
    way->n_stmts = json_array_size(way->stmts);
    way->steps = way->n_stmts + (way->value != NULL);
    if (args != NULL) {
        const json_t *params = json_object_get(rule, "args");
        size_t n = json_array_size(params);
        way->args = json_deep_copy(args);
        way->params =
            n > 0 ? prop_why_slice(w, json_array_get(params, 0), json_array_get(params, n - 1))
                  : prop_strdup("");
        if (way->args == NULL || way->params == NULL)
            return prop_err_nomem(err);
    }
    return 0;
}

/* Does the rule's text name the resource, or none at all? Only asked where rules are very many. */
static bool concerns(const struct prop_why *w, const json_t *rule)
{
    const char *text = NULL;
    size_t len = 0;
    const char *tag = w->path != NULL ? strrchr(w->path, '/') : NULL;
    return tag == NULL || !prop_outline_slice(rule, w->text, w->len, &text, &len) ||
           memmem(text, len, tag + 1, strlen(tag + 1)) != NULL;
}

int prop_why_add_ways(struct prop_why *w, const struct prop_why_item *item, size_t *left,
                      struct prop_err *err)
{
    const json_t *rules = json_object_get(w->outline, "rules");
    bool many = json_array_size(rules) > WAYS_MAX;
    size_t i;
    json_t *rule;
    int rc = 0;

    json_array_foreach(rules, i, rule) {
        const json_t *bodies = json_object_get(rule, "bodies");
        bool function = prop_outline_is(rule, "function");
        size_t b;
        json_t *body;
        if (strcmp(prop_outline_text(rule, "name"), item->name) != 0 ||
            prop_outline_is(rule, "default") || function != (item->args != NULL))
            continue;
        if (w->n_ways >= WAYS_MAX || (many && !concerns(w, rule))) {
            *left += 1;
            continue;
        }
        if (json_array_size(bodies) == 0)
            rc = add_way(w, rule, NULL, item->args, err);
        json_array_foreach(bodies, b, body)
            if (rc == 0)
                rc = add_way(w, rule, body, item->args, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- first round: how far does each way come? ------------------------------------------------- */

char *prop_why_beginning(const struct prop_why *w, const struct prop_way *way, size_t n)
{
    if (n == 0)
        return prop_strdup("");
    prop_auto_free char *text =
        prop_why_slice(w, json_array_get(way->stmts, 0), json_array_get(way->stmts, n - 1));
    return text != NULL ? prop_asprintf("%s\n", text) : NULL;
}

int prop_why_question(struct prop_why *w, const struct prop_way *way, size_t conditions,
                      const char *value, size_t *ret, struct prop_err *err)
{
    prop_auto_free char *text = prop_why_beginning(w, way, conditions);
    prop_auto_free char *expr = NULL;
    if (text == NULL)
        return prop_err_nomem(err);
    if (value == NULL)
        expr = prop_asprintf("[true |\n%s]", text);
    else
        expr = prop_asprintf("[prop_v |\n%sprop_v := %s\n]", text, value);
    if (expr == NULL)
        return prop_err_nomem(err);
    return prop_probes_add(&w->probes, expr, way->params, way->args, ret, err);
}

static bool holds(const json_t *answer)
{
    size_t i;
    json_t *v;
    json_array_foreach(answer, i, v)
        if (!json_is_false(v))
            return true;
    return false;
}

/* A condition that cannot be asked without a later one counts as met if that one is. */
static void note_how_far(struct prop_why *w)
{
    for (size_t i = 0; i < w->n_ways; i++) {
        struct prop_way *way = &w->ways[i];
        way->failed = 0;
        for (size_t k = way->steps; k > 0 && way->failed == 0; k--)
            if (holds(prop_probes_answer(&w->probes, way->first + k - 1)))
                way->failed = k;
    }
}

int prop_why_how_far(struct prop_why *w, struct prop_err *err)
{
    int rc = 0;
    prop_probes_clear(&w->probes);
    for (size_t i = 0; rc == 0 && i < w->n_ways; i++) {
        struct prop_way *way = &w->ways[i];
        for (size_t k = 0; rc == 0 && k < way->steps; k++) {
            size_t number = 0;
            prop_auto_free char *value =
                k == way->n_stmts ? prop_why_slice(w, way->value, way->value) : NULL;
            if (k == way->n_stmts && value == NULL)
                return prop_err_nomem(err);
            rc = prop_why_question(w, way, k < way->n_stmts ? k + 1 : k, value, &number, err);
            if (k == 0)
                way->first = number;
        }
    }
    if (rc == 0)
        rc = prop_probes_run(&w->probes, err);
    if (rc == 0)
        note_how_far(w);
    return rc;
}
