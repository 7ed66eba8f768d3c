/* Boxes and their index, and the sides along which one value stands for all (compare.c). */
#include "policy/box.h"

#include "policy/conditions.h"

#include <stdlib.h>
#include <string.h>

void prop_policy_boxes_release(struct prop_policy_boxes *b)
{
    for (size_t i = 0; i < b->n; i++)
        json_decref(b->all[i].conditions);
    prop_free(b->all);
    json_decref(b->same);
    json_decref(b->exact);
    json_decref(b->first);
    json_decref(b->wild);
}

/* A rule without what does not change whom it lets in; owned text. */
static char *essence(const json_t *rule)
{
    prop_auto_json json_t *copy = json_copy((json_t *)(uintptr_t)rule);
    if (copy == NULL)
        return NULL;
    (void)json_object_del(copy, "comment");
    (void)json_object_del(copy, "allow_any_guest");
    return prop_json_compact(copy);
}

static void box_of(const json_t *rule, struct prop_policy_box *b)
{
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    const char *tier = json_string_value(json_object_get(rule, "tier"));
    b->rule = rule;
    b->tee = tee != NULL ? prop_policy_tee_find(tee) : NULL;
    b->tier = tier == NULL ? PROP_BOX_ANY : strcmp(tier, "warning") == 0 ? PROP_BOX_WARNING : PROP_BOX_AFFIRMING;
    b->migratable = json_object_get(rule, "migration") != NULL;
    b->empty = json_object_get(rule, "measured") != NULL;
    prop_policy_pattern_parts(json_string_value(json_object_get(rule, "resource")), b->parts);
}

/* What a box is found by, owned: its name, else the first part of it, else nothing. */
static int find_key(const struct prop_policy_box *a, char **ret_name, char **ret_first,
                    struct prop_err *err)
{
    const struct prop_policy_part *p = a->parts;
    prop_auto_free char *first = NULL;
    if (!p[0].star) {
        first = prop_strndup(p[0].before, p[0].n_before);
        if (first == NULL)
            return prop_err_nomem(err);
    }
    if (!p[0].star && !p[1].star && !p[2].star) {
        *ret_name = prop_strdup(json_string_value(json_object_get(a->rule, "resource")));
        if (*ret_name == NULL)
            return prop_err_nomem(err);
    }
    *ret_first = PROP_TAKE(first);
    return 0;
}

static int index_box(struct prop_policy_boxes *b, size_t i, struct prop_err *err)
{
    prop_auto_free char *name = NULL;
    prop_auto_free char *first = NULL;
    int rc = find_key(&b->all[i], &name, &first, err);
    if (rc != 0)
        return rc;
    json_t *list = b->wild;
    if (first != NULL) {
        json_t *table = name != NULL ? b->exact : b->first;
        const char *key = name != NULL ? name : first;
        list = json_object_get(table, key);
        if (list == NULL && json_object_set_new(table, key, list = json_array()) != 0)
            return prop_err_nomem(err);
    }
    return json_array_append_new(list, json_integer((json_int_t)i)) == 0 ? 0 : prop_err_nomem(err);
}

static size_t take_numbers(const json_t *list, size_t *ret, size_t n)
{
    size_t i;
    json_t *v;
    json_array_foreach (list, i, v)
        ret[n++] = (size_t)json_integer_value(v);
    return n;
}

static int ascending(const void *a, const void *b)
{
    const size_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int prop_policy_boxes_near(const struct prop_policy_boxes *b, const struct prop_policy_box *a,
                           size_t *ret, size_t *ret_n, struct prop_err *err)
{
    prop_auto_free char *name = NULL;
    prop_auto_free char *first = NULL;
    size_t n = 0;
    int rc = find_key(a, &name, &first, err);
    if (rc != 0)
        return rc;
    if (name != NULL) {
        n = take_numbers(json_object_get(b->exact, name), ret, n);
        n = take_numbers(json_object_get(b->first, first), ret, n);
        n = take_numbers(b->wild, ret, n);
        qsort(ret, n, sizeof *ret, ascending);
    } else {
        for (size_t i = 0; i < b->n; i++)
            if (!b->all[i].empty)
                ret[n++] = i;
    }
    *ret_n = n;
    return 0;
}

int prop_policy_boxes_make(const json_t *rules, struct prop_policy_boxes *b, struct prop_err *err)
{
    size_t n = json_array_size(rules);
    b->all = prop_realloc_array(NULL, n, sizeof *b->all);
    b->same = json_object();
    b->exact = json_object();
    b->first = json_object();
    b->wild = json_array();
    if (b->all == NULL || b->same == NULL || b->exact == NULL || b->first == NULL || b->wild == NULL)
        return prop_err_nomem(err);
    memset(b->all, 0, n * sizeof *b->all);
    for (size_t i = 0; i < n; i++) {
        box_of(json_array_get(rules, i), &b->all[i]);
        b->n = i + 1;
        if (b->all[i].empty)
            continue;
        prop_auto_free char *text = essence(b->all[i].rule);
        if (text == NULL || json_object_set_new(b->same, text, json_true()) != 0)
            return prop_err_nomem(err);
        int rc = index_box(b, i, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int prop_policy_box_conditions(struct prop_policy_box *b, struct prop_err *err)
{
    return b->conditions != NULL ? 0 : prop_policy_conditions(b->rule, &b->conditions, err);
}

/* --- sides along which one value stands for all ------------------------------------------------- */

const json_t *prop_policy_box_same(const json_t *conditions, const json_t *wanted)
{
    size_t i;
    json_t *c;
    json_array_foreach (conditions, i, c)
        if (prop_policy_condition_same(c, wanted))
            return c;
    return NULL;
}

/* The value of the trust vector that stands for those a condition takes. */
json_int_t prop_policy_box_vector_value(const json_t *c)
{
    enum { middle = 4 }; /* affirming, and no value that a reference value stands for */
    json_int_t least = json_integer_value(json_object_get(c, "least"));
    json_int_t most = json_integer_value(json_object_get(c, "most"));
    return least <= middle && middle <= most ? middle : least;
}

/* Does condition `b` take the guest that is worst for it among those `a` takes? Lists are only
 * asked whether they have a value in common. */
bool prop_policy_box_takes_worst(const json_t *b, const json_t *a)
{
    size_t i;
    json_t *v;
    const json_t *images = json_object_get(a, "images"), *values = json_object_get(a, "in");
    if (images != NULL)
        return prop_policy_condition_implied(b, a);
    if (values != NULL) {
        json_array_foreach (values, i, v)
            if (prop_policy_list_has(json_object_get(b, "in"), v))
                return true;
        return false;
    }
    json_int_t worst = json_object_get(a, "most") != NULL
                           ? prop_policy_box_vector_value(a)
                           : json_integer_value(json_object_get(a, "least"));
    const json_t *most = json_object_get(b, "most");
    return worst >= json_integer_value(json_object_get(b, "least")) &&
           (most == NULL || worst <= json_integer_value(most));
}

bool prop_policy_box_may_meet(const struct prop_policy_box *a, const struct prop_policy_box *b)
{
    /* Without a tee: evidence that no other rule can name. Sample evidence is no hardware. */
    if (b->tee != a->tee && (b->tee != NULL || (a->tee != NULL && a->tee->sample)))
        return false;
    if (b->tier > a->tier || (a->migratable && !b->migratable))
        return false;
    for (size_t i = 0; i < 3; i++)
        if (!prop_policy_part_meets(&a->parts[i], &b->parts[i]))
            return false;
    return true;
}

int prop_policy_boxes_have(const struct prop_policy_boxes *b, const struct prop_policy_box *a,
                           bool *ret, struct prop_err *err)
{
    prop_auto_free char *text = essence(a->rule);
    if (text == NULL)
        return prop_err_nomem(err);
    *ret = json_object_get(b->same, text) != NULL;
    return 0;
}
