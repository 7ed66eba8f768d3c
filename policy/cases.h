/* Running test cases against a policy. */
#ifndef PROP_POLICY_CASES_H
#define PROP_POLICY_CASES_H

#include "policy/attestation.h"
#include "policy/cases_file.h"
#include "policy/judge.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_cases_options {
    const char *shipped;   /* text of the attestation policy that "default" names */
    bool explain_all;      /* reasons also for cases that came out as expected */
    size_t most;           /* ways of a rule that are told about; 0 = all */
};

/* Run the cases of a file (prop_cases_read). *ret, owned, has an object for each, in order:
 *
 *     {"name","line"?,"resource","server","expect","got":"allow"|"deny"|"error","ok",
 *      "reason","why"?,"left"?}
 *
 * or, of an attestation policy, {"name","line"?,"ok","got":{as prop_attestation_appraise},
 * "differences":[texts],"why"?}.
 * Fails: PROP_E_INPUT (id "bad-cases") what a case names cannot be read as that. */
int prop_cases_decide(struct prop_policy_judge *j, const char *file, const json_t *cases,
                      const struct prop_cases_options *o, json_t **ret, struct prop_err *err);
int prop_cases_appraise(struct prop_attestation *a, const char *file, const json_t *cases,
                        const struct prop_cases_options *o, json_t **ret, struct prop_err *err);

/* A token from text: an EAR body, alone or as "payload" or "claims" of a decoded token; the JWT
 * around one (its signature is not looked at); or a key broker's answer {"token": JWT}. `what`
 * names it. Owned by the caller. */
int prop_cases_token(const char *text, size_t len, const char *what, json_t **ret,
                     struct prop_err *err);

/* Why the question, put last, was answered as it was: members "reason" and, if wanted, "why" and
 * "left" for `result`. */
int prop_cases_explain(struct prop_policy_judge *j, const char *path, bool allow,
                       const json_t *value, size_t most, json_t *result, struct prop_err *err);

#endif
