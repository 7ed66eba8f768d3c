/* Level by level: the rule that was asked about, then the rules and functions that its failing
 * conditions stand on, and so on. Each level is two rounds of questions: how many ways there are to
 * meet each beginning of the conditions, then what stands in the first that cannot be met. */
#include "policy/explain_internal.h"

#include "policy/outline.h"

#include <string.h>

#define LEVELS 8 /* rules that stand on rules */

static void drop_items(struct prop_why_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        prop_free(items[i].name);
        json_decref(items[i].args);
    }
    prop_free(items);
}

/* The name under which an item's reports are kept. */
char *prop_why_key(const char *name, const json_t *args)
{
    prop_auto_free char *text = args != NULL ? prop_json_compact(args) : prop_strdup("");
    return text != NULL ? prop_asprintf("%s%s", name, text) : NULL;
}

/* Take `args` over. Each item is looked into once. */
int prop_why_want(struct prop_why *w, const char *name, json_t *args, struct prop_err *err)
{
    prop_auto_json json_t *mine = args;
    prop_auto_free char *key = prop_why_key(name, mine);
    if (key == NULL)
        return prop_err_nomem(err);
    if (json_object_get(w->reports, key) != NULL)
        return 0;
    struct prop_why_item *more = prop_realloc_array(w->next, w->n_next + 1, sizeof *more);
    if (more == NULL)
        return prop_err_nomem(err);
    w->next = more;
    more[w->n_next] = (struct prop_why_item){ prop_strdup(name), NULL };
    if (more[w->n_next].name == NULL)
        return prop_err_nomem(err);
    more[w->n_next++].args = PROP_TAKE(mine);
    return json_object_set_new(w->reports, key, json_array()) == 0 ? 0 : prop_err_nomem(err);
}

json_t *prop_why_condition(const struct prop_why *w, const json_t *node, bool good)
{
    prop_auto_free char *text = prop_why_slice(w, node, node);
    if (text == NULL)
        return NULL;
    return json_pack("{s:I, s:s, s:b}", "line", (json_int_t)prop_outline_line(node), "text", text,
                     "holds", good);
}

static int start_report(struct prop_why *w, struct prop_way *way, json_t *list,
                        struct prop_err *err)
{
    const char *comment = json_string_value(json_object_get(way->rule, "comment"));
    way->report = json_pack("{s:s, s:I, s:s*, s:b, s:I, s:[]}", "rule",
                            prop_outline_text(way->rule, "name"), "line",
                            (json_int_t)prop_outline_line(way->rule), "comment", comment, "holds",
                            way->failed == way->steps, "of", (json_int_t)way->steps, "conditions");
    if (way->report == NULL || json_array_append_new(list, way->report) != 0)
        return prop_err_nomem(err);
    json_t *conditions = json_object_get(way->report, "conditions");
    if (way->args != NULL && json_object_set(way->report, "args", way->args) != 0)
        return prop_err_nomem(err);
    for (size_t k = 0; k < way->failed; k++) {
        const json_t *node = k < way->n_stmts ? json_array_get(way->stmts, k) : way->value;
        if (json_array_append_new(conditions, prop_why_condition(w, node, true)) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* One level: all items of `items`. */
static int look_into(struct prop_why *w, struct prop_why_item *items, size_t n, size_t *left,
                     struct prop_err *err)
{
    int rc = 0;
    size_t *ends = prop_realloc_array(NULL, n, sizeof *ends);
    prop_auto_free void *free_ends = ends;
    if (ends == NULL)
        return prop_err_nomem(err);
    prop_why_drop_ways(w);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = prop_why_add_ways(w, &items[i], left, err);
        ends[i] = w->n_ways;
    }
    if (rc == 0)
        rc = prop_why_how_far(w, err);
    for (size_t i = 0, at = 0; rc == 0 && i < n; i++) {
        prop_auto_free char *key = prop_why_key(items[i].name, items[i].args);
        json_t *list = key != NULL ? json_object_get(w->reports, key) : NULL;
        if (list == NULL)
            return prop_err_nomem(err);
        for (; rc == 0 && at < ends[i]; at++)
            rc = start_report(w, &w->ways[at], list, err);
    }
    return rc == 0 ? prop_why_values(w, err) : rc;
}

/* --- putting it together ---------------------------------------------------------------------- */

static size_t reached(const json_t *report)
{
    return json_array_size(json_object_get(report, "conditions"));
}

/* Those that came furthest first, otherwise in the policy's order. */
static json_t *sorted(const json_t *list)
{
    json_t *out = json_array();
    size_t most = 0;
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
        most = reached(one) > most ? reached(one) : most;
    for (size_t k = most + 1; out != NULL && k-- > 0;)
        json_array_foreach(list, i, one)
            if (reached(one) == k && json_array_append(out, one) != 0) {
                json_decref(out);
                return NULL;
            }
    return out;
}

static int nest(struct prop_why *w, json_t *report, struct prop_err *err);

/* Replace the names of a condition's "because" by the reports that matter: how a rule under a "not"
 * came true, else why none of a rule's ways did. A rule is told about once. */
static int nest_condition(struct prop_why *w, json_t *condition, struct prop_err *err)
{
    prop_auto_json json_t *names = json_incref(json_object_get(condition, "because"));
    bool want_true = json_is_true(json_object_get(condition, "not"));
    json_t *out = json_array();
    size_t i;
    json_t *name;
    int rc = 0;

    if (out == NULL || json_object_set_new(condition, "because", out) != 0)
        return prop_err_nomem(err);
    (void)json_object_del(condition, "not");
    json_array_foreach(names, i, name) {
        prop_auto_json json_t *list =
            json_incref(json_object_get(w->reports, json_string_value(name)));
        bool any = false;
        size_t k;
        json_t *one;
        (void)json_object_del(w->reports, json_string_value(name));
        json_array_foreach(list, k, one)
            any = any || json_is_true(json_object_get(one, "holds"));
        if (any != want_true)
            continue;
        json_array_foreach(list, k, one) {
            if (json_is_true(json_object_get(one, "holds")) != want_true)
                continue;
            if (json_array_append(out, one) != 0)
                return prop_err_nomem(err);
            rc = nest(w, one, err);
            if (rc != 0)
                return rc;
        }
    }
    if (json_array_size(out) == 0)
        (void)json_object_del(condition, "because");
    return 0;
}

static int nest(struct prop_why *w, json_t *report, struct prop_err *err)
{
    json_t *last = NULL;
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(report, "conditions"), i, one)
        if (json_is_false(json_object_get(one, "holds")))
            last = one;
    return last != NULL ? nest_condition(w, last, err) : 0;
}

static int collect(struct prop_why *w, const char *rule, size_t most, json_t **ret, size_t *left,
                   struct prop_err *err)
{
    prop_auto_json json_t *ways = json_incref(json_object_get(w->reports, rule));
    prop_auto_json json_t *list = sorted(ways);
    int rc = 0;
    size_t i;
    json_t *one;
    if (list == NULL)
        return prop_err_nomem(err);
    (void)json_object_del(w->reports, rule);
    while (most > 0 && json_array_size(list) > most) {
        (void)json_array_remove(list, json_array_size(list) - 1);
        *left += 1;
    }
    json_array_foreach(list, i, one)
        if (rc == 0)
            rc = nest(w, one, err);
    if (rc == 0)
        *ret = PROP_TAKE(list);
    return rc;
}

static int look(struct prop_why *w, const char *rule, size_t *left, struct prop_err *err)
{
    size_t ignored = 0;
    int rc = prop_why_want(w, rule, NULL, err);
    for (unsigned level = 0; rc == 0 && w->n_next > 0 && level < LEVELS; level++) {
        struct prop_why_item *items = w->next;
        size_t n = w->n_next;
        w->next = NULL;
        w->n_next = 0;
        rc = look_into(w, items, n, level == 0 ? left : &ignored, err);
        drop_items(items, n);
    }
    return rc;
}

int prop_policy_explain(struct prop_policy_judge *j, const char *rule, const char *path,
                        size_t most, json_t **ret, size_t *ret_left, struct prop_err *err)
{
    struct prop_why w = { .judge = j, .path = path, .reports = json_object() };
    size_t left = 0;
    int rc = w.reports == NULL ? prop_err_nomem(err) : 0;

    w.text = prop_policy_judge_rego(j, &w.len);
    if (rc == 0)
        rc = prop_probes_init(&w.probes, j, err);
    if (rc == 0)
        rc = prop_policy_judge_outline(j, &w.outline, err);
    if (rc == 0)
        rc = look(&w, rule, &left, err);
    if (rc == 0)
        rc = collect(&w, rule, most, ret, &left, err);
    if (rc == 0 && ret_left != NULL)
        *ret_left = left;
    prop_why_drop_ways(&w);
    drop_items(w.next, w.n_next);
    prop_probes_release(&w.probes);
    json_decref(w.reports);
    return rc;
}
