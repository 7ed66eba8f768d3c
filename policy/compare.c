/* Is what one list of rules lets in part of what another does? A rule of the first is a box: kind of
 * evidence, tier, conditions, three parts of a name. The question is whether the boxes of the other
 * list cover it together. Along most sides one value stands for all: the one that the fewest rules
 * take (a claim nobody names, the lowest number allowed, the lower tier), so only rules that take it
 * matter. What is left are lists of several values, and the names, where finitely many words stand
 * for all (witness.c): those are tried in turn, and a combination that no rule takes is the example
 * that is asked for. */
#include "policy/compare.h"

#include "policy/box.h"
#include "policy/conditions.h"
#include "policy/witness.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { examples_max = 10 /* each way */, sides_max = 24 };
static const uint64_t work_max = 10 * 1000 * 1000;
/* Evidence that no rule can name: it stands for every kind that has no name of its own here. */
static const char other_tee[] = "hygondcu";

/* --- sides with several values ------------------------------------------------------------------ */

/* One list against the other. */
struct pass {
    const char *change;
    struct prop_policy_boxes *list, *others;
    uint64_t *work;      /* steps left */
    json_t *examples;
    size_t left;         /* examples that are still wanted */
    bool beyond;
};

struct search {
    struct prop_policy_box *a;
    struct prop_policy_boxes *others;
    size_t n_sides;               /* three parts, then lists */
    const json_t *lists[sides_max];
    char *words[3];               /* chosen so far, owned */
    const json_t *values[sides_max];
    uint64_t *work;
    bool found;
};

static int spend(struct search *s, size_t amount, struct prop_err *err)
{
    if (*s->work < amount)
        return prop_err_set_id(err, PROP_E_LIMIT, "policy-too-large-to-compare",
                               "the policies are too large to be compared exactly");
    *s->work -= amount;
    return 0;
}

static int search_side(struct search *s, size_t side, const size_t *alive, size_t n,
                       struct prop_err *err);

static bool word_taken(const struct prop_policy_box *b, size_t side, const char *word)
{
    return prop_policy_part_fits(&b->parts[side], word, strlen(word));
}

static bool value_taken(const struct prop_policy_box *b, const json_t *list, const json_t *value)
{
    const json_t *c = prop_policy_box_same(b->conditions, list);
    return c == NULL || prop_policy_list_has(json_object_get(c, "in"), value);
}

/* Is `a` part of `b`? Both ascend. */
static bool part_of(const size_t *a, size_t n_a, const size_t *b, size_t n_b)
{
    size_t k = 0;
    for (size_t i = 0; i < n_a; i++, k++) {
        while (k < n_b && b[k] < a[i])
            k++;
        if (k == n_b || b[k] != a[i])
            return false;
    }
    return true;
}

/* What is left of the rules when a side has a certain value. */
struct option {
    const char *word;
    const json_t *value;
    size_t *alive, n;
};

static void options_release(struct option *o, size_t n)
{
    for (size_t i = 0; i < n; i++)
        prop_free(o[i].alive);
    prop_free(o);
}

static int fill_option(struct search *s, size_t side, const size_t *alive, size_t n,
                       struct option *o, struct prop_err *err)
{
    o->alive = prop_realloc_array(NULL, n, sizeof *o->alive);
    o->n = 0;
    if (o->alive == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const struct prop_policy_box *b = &s->others->all[alive[i]];
        if (side < 3 ? word_taken(b, side, o->word) : value_taken(b, s->lists[side], o->value))
            o->alive[o->n++] = alive[i];
    }
    return 0;
}

static int by_size(const void *a, const void *b)
{
    const struct option *x = a, *y = b;
    return (x->n > y->n) - (x->n < y->n);
}

/* Go on with each option, fewest rules first; one that leaves all another does adds nothing. */
static int try_options(struct search *s, size_t side, struct option *o, size_t n,
                       struct prop_err *err)
{
    int rc = 0;
    qsort(o, n, sizeof *o, by_size);
    for (size_t i = 0; rc == 0 && !s->found && i < n; i++) {
        bool known = false;
        for (size_t k = 0; !known && k < i; k++) {
            rc = spend(s, o[i].n + 1, err);
            if (rc != 0)
                return rc;
            known = part_of(o[k].alive, o[k].n, o[i].alive, o[i].n);
        }
        if (known)
            continue;
        if (side < 3) {
            prop_free(s->words[side]);
            s->words[side] = prop_strdup(o[i].word);
            if (s->words[side] == NULL)
                return prop_err_nomem(err);
        } else {
            s->values[side] = o[i].value;
        }
        rc = search_side(s, side + 1, o[i].alive, o[i].n, err);
    }
    return rc;
}

static int search_words(struct search *s, size_t side, const size_t *alive, size_t n,
                        struct prop_err *err)
{
    struct prop_policy_words words = { NULL, 0, 0 };
    const struct prop_policy_part **parts = prop_realloc_array(NULL, n, sizeof *parts);
    if (parts == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        parts[i] = &s->others->all[alive[i]].parts[side];
    int rc = prop_policy_witness(&s->a->parts[side], parts, n, &words, err);
    prop_free(parts);
    struct option *o = prop_realloc_array(NULL, words.n, sizeof *o);
    size_t made = 0;
    if (rc == 0 && o == NULL)
        rc = prop_err_nomem(err);
    for (; rc == 0 && made < words.n; made++) {
        o[made] = (struct option){ words.words[made], NULL, NULL, 0 };
        rc = spend(s, n + 1, err);
        if (rc == 0)
            rc = fill_option(s, side, alive, n, &o[made], err);
    }
    if (rc == 0)
        rc = try_options(s, side, o, made, err);
    options_release(o, made);
    prop_policy_words_release(&words);
    return rc;
}

static int search_values(struct search *s, size_t side, const size_t *alive, size_t n,
                         struct prop_err *err)
{
    const json_t *values = json_object_get(s->lists[side], "in");
    size_t count = json_array_size(values), made = 0;
    struct option *o = prop_realloc_array(NULL, count, sizeof *o);
    int rc = o == NULL ? prop_err_nomem(err) : 0;
    for (; rc == 0 && made < count; made++) {
        o[made] = (struct option){ NULL, json_array_get(values, made), NULL, 0 };
        rc = spend(s, n * (1 + count / 4), err);
        if (rc == 0)
            rc = fill_option(s, side, alive, n, &o[made], err);
    }
    if (rc == 0)
        rc = try_options(s, side, o, made, err);
    options_release(o, made);
    return rc;
}

/* Is there a way to choose the sides from `side` on that none of the rules `alive` takes? */
static int search_side(struct search *s, size_t side, const size_t *alive, size_t n,
                       struct prop_err *err)
{
    if (side == s->n_sides) {
        s->found = n == 0;
        return 0;
    }
    return side < 3 ? search_words(s, side, alive, n, err) : search_values(s, side, alive, n, err);
}

/* --- one rule against the other list ------------------------------------------------------------- */

/* Does `b` take the worst guest of `a`, apart from lists of several values? */
static int is_alive(struct search *s, struct prop_policy_box *b, bool *ret, struct prop_err *err)
{
    size_t i;
    json_t *c;
    *ret = false;
    int rc = spend(s, 1, err);
    if (rc != 0 || !prop_policy_box_may_meet(s->a, b))
        return rc;
    rc = prop_policy_box_conditions(b, err);
    if (rc != 0)
        return rc;
    *ret = true;
    json_array_foreach (b->conditions, i, c) {
        const json_t *mine = prop_policy_box_same(s->a->conditions, c);
        *ret = *ret && mine != NULL && prop_policy_box_takes_worst(c, mine);
        rc = spend(s, 1 + json_array_size(json_object_get(c, "in")) / 4, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Numbers of the rules that take the worst of `a`, ascending. */
static int candidates(struct search *s, size_t *ret, size_t *ret_n, struct prop_err *err)
{
    size_t near = 0, n = 0;
    int rc = prop_policy_boxes_near(s->others, s->a, ret, &near, err);
    for (size_t i = 0; rc == 0 && i < near; i++) {
        bool alive = false;
        rc = is_alive(s, &s->others->all[ret[i]], &alive, err);
        if (rc == 0 && alive)
            ret[n++] = ret[i];
    }
    if (rc == 0)
        *ret_n = n;
    return rc;
}

/* The guest that was found: `a`'s conditions with one value each. */
static json_t *guest_claims(const struct search *s)
{
    prop_auto_json json_t *out = json_array();
    size_t i;
    json_t *c;
    json_array_foreach (s->a->conditions, i, c) {
        json_t *values = json_object_get(c, "in"), *claim = json_object_get(c, "claim");
        json_t *one = c;
        const json_t *v = json_array_get(values, 0);
        for (size_t k = 3; k < s->n_sides; k++)
            if (s->lists[k] == c && s->values[k] != NULL)
                v = s->values[k];
        if (values != NULL)
            one = json_pack("{s:O, s:[O]}", "path", json_object_get(c, "path"), "in", v);
        else if (claim != NULL)
            one = json_pack("{s:O, s:I, s:I}", "claim", claim, "least", prop_policy_box_vector_value(c), "most",
                            prop_policy_box_vector_value(c));
        else
            json_incref(one);
        if (out == NULL || json_array_append_new(out, one) != 0)
            return NULL;
    }
    return PROP_TAKE(out);
}

static int add_example(const struct search *s, struct pass *p, size_t number, struct prop_err *err)
{
    static const char *const statuses[] = { "contraindicated", "warning", "affirming" };
    if (p->left == 0)
        return 0;
    prop_auto_free char *resource =
        prop_asprintf("%s/%s/%s", s->words[0], s->words[1], s->words[2]);
    prop_auto_json json_t *claims = guest_claims(s);
    prop_auto_json json_t *guest =
        json_pack("{s:s, s:s}", "tee", s->a->tee != NULL ? s->a->tee->name : other_tee, "status",
                  statuses[s->a->tier]);
    if (resource == NULL || claims == NULL || guest == NULL ||
        (s->a->migratable && json_object_set_new(guest, "migratable", json_true()) != 0) ||
        json_object_set(guest, "claims", claims) != 0)
        return prop_err_nomem(err);
    json_t *example = json_pack("{s:s, s:s, s:O, s:I}", "change", p->change, "resource", resource,
                                "guest", guest, "rule", (json_int_t)number);
    p->left--;
    return json_array_append_new(p->examples, example) == 0 ? 0 : prop_err_nomem(err);
}

/* The sides that have several values. */
static void set_sides(struct search *s)
{
    size_t i;
    json_t *c;
    s->n_sides = 3;
    json_array_foreach (s->a->conditions, i, c)
        if (json_array_size(json_object_get(c, "in")) > 1 && s->n_sides < sides_max)
            s->lists[s->n_sides++] = c;
}

static int check_box(struct pass *p, size_t i, struct prop_err *err)
{
    struct search s = { .a = &p->list->all[i], .others = p->others, .work = p->work };
    prop_auto_free size_t *alive = prop_realloc_array(NULL, p->others->n, sizeof *alive);
    bool same = false;
    size_t n = 0;
    if (alive == NULL)
        return prop_err_nomem(err);
    int rc = prop_policy_boxes_have(p->others, s.a, &same, err);
    if (rc != 0 || same)
        return rc;
    rc = prop_policy_box_conditions(s.a, err);
    if (rc == 0) {
        set_sides(&s);
        rc = candidates(&s, alive, &n, err);
    }
    if (rc == 0)
        rc = search_side(&s, 0, alive, n, err);
    if (rc == 0 && s.found) {
        p->beyond = true;
        rc = add_example(&s, p, i + 1, err);
    }
    for (size_t k = 0; k < 3; k++)
        prop_free(s.words[k]);
    return rc;
}

/* Does any rule of the list let in what the others do not? */
static int check_list(struct pass *p, struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->list->n; i++)
        if (!p->list->all[i].empty)
            rc = check_box(p, i, err);
    return rc;
}

int prop_policy_compare(const json_t *before, const json_t *after, unsigned *ret_change,
                        json_t **ret_examples, struct prop_err *err)
{
    struct prop_policy_boxes old = { NULL, 0, NULL, NULL, NULL, NULL }, new = old;
    prop_auto_json json_t *examples = json_array();
    uint64_t work = work_max;
    struct pass wider = { "wider", &new, &old, &work, examples, examples_max, false };
    struct pass narrower = { "narrower", &old, &new, &work, examples, examples_max, false };
    int rc = examples != NULL ? prop_policy_boxes_make(before, &old, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_policy_boxes_make(after, &new, err);
    if (rc == 0)
        rc = check_list(&wider, err);
    if (rc == 0)
        rc = check_list(&narrower, err);
    prop_policy_boxes_release(&old);
    prop_policy_boxes_release(&new);
    if (rc != 0)
        return rc;
    *ret_change = (wider.beyond ? PROP_POLICY_WIDER : 0u) |
                  (narrower.beyond ? PROP_POLICY_NARROWER : 0u);
    if (ret_examples != NULL)
        *ret_examples = PROP_TAKE(examples);
    return 0;
}
