/* What a rule asks of a guest beyond kind of evidence, tier, debug and migration, in one shape for
 * the builder, the comparison and made-up tokens. */
#ifndef PROP_POLICY_CONDITIONS_H
#define PROP_POLICY_CONDITIONS_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

/* The conditions of a rule in normal form, an array, owned; each is one of
 *
 *     {"path":[...],"in":[values]}       claim at that path of the annotated evidence is one of them
 *     {"path":[...],"least":n}           that claim is a number, not less
 *     {"claim":name,"least":n,"most":m}  value of the trust vector
 *     {"images":[digests]}               every image of the guest is among them; there is one
 *
 * No two have the same path or claim. */
int prop_policy_conditions(const json_t *rule, json_t **ret, struct prop_err *err);

/* Is a value equal to this one in the list? */
bool prop_policy_list_has(const json_t *list, const json_t *v);
/* Does every guest that meets condition `b` meet `a`? */
bool prop_policy_condition_implied(const json_t *a, const json_t *b);
/* Do both speak of the same claim? */
bool prop_policy_condition_same(const json_t *a, const json_t *b);

/* Does rule `a` (normal form) let in all that `b` does? Exact for these two; what several rules let
 * in together is prop_policy_compare's question. */
bool prop_policy_rule_covers(const json_t *a, const json_t *b);

#endif
