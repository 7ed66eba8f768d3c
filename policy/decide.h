/* What a policy, whoever wrote it, decides. */
#ifndef PROP_POLICY_DECIDE_H
#define PROP_POLICY_DECIDE_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Would this policy let evidence in? `token` is an EAR body, path "repo/type/tag". Evaluates the
 * Rego with the engine, with `data` as the current KBS gives it; undefined and non-boolean are no.
 * Fails: PROP_E_INPUT (id "rego-syntax", "rego-eval"), PROP_E_UNSUPPORTED (id "no-engine"). */
int prop_policy_decide(const char *rego, size_t len, const json_t *token, const char *path,
                       bool *ret_allow, struct prop_err *err);

#endif
