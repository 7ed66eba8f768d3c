/* One rule of a policy document: who may have which resources.
 *
 * A rule in normal form is a JSON object with, in this order, the members that apply:
 *
 *     resource          "repo/type/tag"; a part may hold one "*", which stands for any characters
 *     tee               "snp", "tdx", ... or "sample"
 *     tier              "affirming", or "warning" (affirming or warning)
 *     executables, hardware, configuration   "affirming": that claim of the trust vector
 *     measurement       list of lower-case hex, any of them (tdx: mr_td)
 *     rtmr_0 ... rtmr_3 tdx; list of lower-case hex, any of them
 *     measured          true or a name: pins to be filled from measurement files (measured.h)
 *     reference_values  list of names of the shipped attestation policy (policy/tee.h)
 *     min_tcb           snp; object of bootloader, tee, snp, microcode: not less than
 *     tcb_status        tdx; list of words, any of them
 *     init_data         list of "sha256:HEX" or "sha384:HEX", any of them
 *     init_data_claims  object, nested by name; each value in it must be there and equal
 *     container_images  list of "sha256:HEX": every image of the guest, at least one
 *     migration         "allowed": an snp guest that may be migrated counts too
 *     allow_any_guest   true: every guest on real hardware, whatever runs in it
 *     comment           goes into the built policy
 *
 * Evidence of real hardware is what each rule asks for, except one with tee = "sample"; an snp or
 * tdx guest that may be debugged never counts, whatever the rule says (debug = "never" may be
 * written, and is not part of the normal form), and where other evidence tells is not known; an snp
 * guest that may be migrated counts only where the rule says so.
 */
#ifndef PROP_POLICY_RULE_H
#define PROP_POLICY_RULE_H

#include "policy/tee.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Which member of a rule is at fault, for line numbers; empty texts when it is the rule as such. */
struct prop_policy_spot {
    char member[64];
    char inner[64];   /* a member of it, when that is an object */
    size_t item;      /* from 1: an element of it, when that is a list; 0 = none */
};

/* Check a rule object as people write it and give its normal form (owned by the caller). `what`
 * names it ("rule 3"). spot (may be NULL) tells where a refused rule is wrong.
 * Fails: PROP_E_INPUT (id "bad-rule"), also for unknown keys and rules that let everybody in. */
int prop_policy_rule_normal(const json_t *rule, const char *what, struct prop_policy_spot *spot,
                            json_t **ret, struct prop_err *err);

/* Does a rule (its members in normal form) say which guests it means: by tier, launch measurement,
 * or the verifier's word on what runs there? Otherwise it needs allow_any_guest. */
bool prop_policy_rule_is_narrow(const json_t *rule);
/* Does the rule's resource pattern fit "repo/type/tag"? */
bool prop_policy_rule_fits(const json_t *rule, const char *path);

/* Every member a rule may have, as written by people; ends with NULL. */
const char *const *prop_policy_rule_members(void);

#endif
