/* From checked evidence to one submodule of an EAR token: policy, trust vector, status, extensions
 * (kbs.md 4.2). */
#ifndef PROP_KBSD_APPRAISE_H
#define PROP_KBSD_APPRAISE_H

#include "kbsd/state.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

/* Appraise `annotated` (borrowed) under the policy of its class; *ret is owned by the caller.
 * *ret_crash is set when the real server would die here (a policy names a claim that does not
 * exist): the connection is then closed without an answer.
 * Fails: PROP_E_INPUT the policy failed, or gave no vector, or extensions that clash. */
int prop_kbsd_appraise(struct prop_kbsd *k, enum prop_kbsd_class class, json_t *annotated,
                       json_t **ret, bool *ret_crash, struct prop_err *err);

/* Tier of one value of the vector: 0 none, 1 affirming, 2 warning, 3 contraindicated
 * (draft-ietf-rats-ar4si section 2.3.2). */
int prop_kbsd_tier(int value);

#endif
