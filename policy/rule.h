/* One rule of a policy document: who may have which resources.
 *
 * A rule in normal form is a JSON object with, in this order, the members that apply:
 *
 *     resource         "repo/type/tag"; a part may hold one "*", which stands for any characters
 *     tee              "snp", "tdx", ... or "sample"
 *     tier             "affirming", or "warning" (affirming or warning)
 *     measurement      list of lower-case hex, any of them
 *     allow_any_guest  true: every guest on real hardware, whatever runs in it
 *     comment          goes into the built policy
 *
 * Evidence of real hardware is what each rule asks for, except one with tee = "sample"; a guest
 * that may be debugged never counts, whatever the rule says.
 */
#ifndef PROP_POLICY_RULE_H
#define PROP_POLICY_RULE_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* A kind of evidence and where the verifier puts what it is pinned by (attestation.md 4.2). */
struct prop_policy_tee {
    const char *name;                 /* as in the evidence's claims */
    const char *const *measurement;   /* path of the launch measurement below `name`; NULL = none */
    const char *const *debug;         /* path of the claim that tells a debugged guest; NULL = none */
    bool sample;                      /* anybody can make it */
};
/* NULL for a name that is not known; the table ends with a NULL name. */
const struct prop_policy_tee *prop_policy_tee_find(const char *name);
const struct prop_policy_tee *prop_policy_tee_table(void);

/* Check a rule object as people write it and give its normal form (owned by the caller). `what`
 * names it ("rule 3 of 'policy.toml'").
 * Fails: PROP_E_INPUT (id "bad-rule"), also for unknown keys and rules that let everybody in. */
int prop_policy_rule_normal(const json_t *rule, const char *what, json_t **ret,
                            struct prop_err *err);

/* Does rule `a` (normal form) let in all that `b` does, judged member by member? */
bool prop_policy_rule_covers(const json_t *a, const json_t *b);
/* Does the rule's resource pattern fit "repo/type/tag"? */
bool prop_policy_rule_fits(const json_t *rule, const char *path);

#endif
