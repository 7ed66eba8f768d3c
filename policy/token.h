/* EAR bodies made up for asking a policy what it would do; no verifier ever saw them. */
#ifndef PROP_POLICY_TOKEN_H
#define PROP_POLICY_TOKEN_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

/* A token of a guest that `rule` (normal form) means: its tee (snp when it names none), its tier,
 * and the least that its conditions ask for (the first of each list). Owned by the caller. */
int prop_policy_token_for_rule(const json_t *rule, json_t **ret, struct prop_err *err);
/* Sample evidence with this "ear.status". Owned by the caller. */
int prop_policy_token_sample(const char *status, json_t **ret, struct prop_err *err);
/* A guest of this tee and "ear.status" with a measurement (hex; NULL = none); `debug` tells that
 * it may be debugged. Evidence that is not in policy/tee.h has no claims. Owned by the caller. */
int prop_policy_token_new(const char *tee, const char *status, const char *measurement, bool debug,
                          json_t **ret, struct prop_err *err);

/* Put claims into a made-up token that meet one condition (policy/conditions.h). */
int prop_policy_token_meet(json_t *token, const json_t *condition, struct prop_err *err);

#endif
