/* A rule as the comparison sees it (compare.c): a box whose sides are kind of evidence, tier,
 * conditions and the three parts of a name. Private to the comparison. */
#ifndef PROP_POLICY_BOX_H
#define PROP_POLICY_BOX_H

#include "policy/pattern.h"
#include "policy/tee.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

enum prop_policy_box_tier { PROP_BOX_ANY, PROP_BOX_WARNING, PROP_BOX_AFFIRMING };

struct prop_policy_box {
    const json_t *rule;
    const struct prop_policy_tee *tee; /* NULL = any real hardware */
    enum prop_policy_box_tier tier;
    bool migratable;                   /* a guest that may be migrated counts too */
    bool empty;                        /* takes its values from a measurement that is not there */
    struct prop_policy_part parts[3];
    json_t *conditions;                /* made when first needed */
};

struct prop_policy_boxes {
    struct prop_policy_box *all;
    size_t n;
    json_t *same;  /* text of each rule without what changes nothing */
    json_t *exact; /* numbers of the boxes, by their names, when those have no star */
    json_t *first; /* of the others, by the first part when that has no star */
    json_t *wild;  /* of the rest */
};

/* The rules (normal form, borrowed) as boxes, in their order. Release also after a failure. */
int prop_policy_boxes_make(const json_t *rules, struct prop_policy_boxes *b, struct prop_err *err);
void prop_policy_boxes_release(struct prop_policy_boxes *b);
int prop_policy_box_conditions(struct prop_policy_box *b, struct prop_err *err);
/* Is this very rule, whatever its comment, among them? Negative when memory is out. */
int prop_policy_boxes_have(const struct prop_policy_boxes *b, const struct prop_policy_box *a,
                           bool *ret, struct prop_err *err);

/* Numbers of the boxes that may have a name in common with `a`, ascending, into room for all of
 * them. */
int prop_policy_boxes_near(const struct prop_policy_boxes *b, const struct prop_policy_box *a,
                           size_t *ret, size_t *ret_n, struct prop_err *err);
/* Apart from conditions: may `b` take the guest of `a` that is worst for it, with some name? */
bool prop_policy_box_may_meet(const struct prop_policy_box *a, const struct prop_policy_box *b);
/* The condition of the list that speaks of the same claim, or NULL. */
const json_t *prop_policy_box_same(const json_t *conditions, const json_t *wanted);
/* Does condition `b` take the guest that is worst for it among those `a` takes? Lists are only
 * asked whether they have a value in common. */
bool prop_policy_box_takes_worst(const json_t *b, const json_t *a);
/* The value of the trust vector that stands for those a condition takes. */
json_int_t prop_policy_box_vector_value(const json_t *condition);

#endif
