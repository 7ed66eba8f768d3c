/* Does one policy document let in more than another? */
#ifndef PROP_POLICY_COMPARE_H
#define PROP_POLICY_COMPARE_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

enum prop_policy_change {
    PROP_POLICY_SAME = 0,
    PROP_POLICY_WIDER = 1,    /* somebody gets something who did not before */
    PROP_POLICY_NARROWER = 2  /* or the other way round; both bits may be set */
};
/* Compare two lists of rules in normal form, exactly: not rule by rule, but by what all rules of a
 * list let in together. ret_examples (may be NULL) receives an array, owned, of one example for
 * each difference found (at most 20): {"change":"wider"|"narrower","resource","guest":{...},
 * "rule": number from 1 in the list that lets it in}.
 *
 * The guest: {"tee","status","migratable" (snp only), "claims": conditions of policy/conditions.h
 * with one value each}; a claim that is not listed is absent, or any value no rule names.
 * prop_policy_token_for_guest makes a token of it. Exact means: over the tokens of one guest each
 * with one kind of evidence, claims taken as independent of each other.
 * Rules with `measured` in them let nobody in.
 * Fails: PROP_E_LIMIT (id "policy-too-large-to-compare"): ask the user then, as for foreign Rego. */
int prop_policy_compare(const json_t *before, const json_t *after, unsigned *ret_change,
                        json_t **ret_examples, struct prop_err *err);

#endif
