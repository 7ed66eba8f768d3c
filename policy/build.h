/* Rego from a policy document, and decisions of a Rego policy. */
#ifndef PROP_POLICY_BUILD_H
#define PROP_POLICY_BUILD_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_policy_doc;

/* Readable Rego v1 that current and older servers accept (string and array resource-path, cpu0 and
 * cpu). Equal documents give equal bytes. Fails: PROP_E_LIMIT over PROP_LIMIT_POLICY. */
int prop_policy_build(const struct prop_policy_doc *d, struct prop_buf *out, struct prop_err *err);

/* Would this policy let evidence in? `token` is an EAR body, path "repo/type/tag". Evaluates the
 * Rego with the engine, with `data` as the current KBS gives it; undefined and non-boolean are no.
 * Fails: PROP_E_INPUT (id "rego-syntax", "rego-eval"), PROP_E_UNSUPPORTED (id "no-engine"). */
int prop_policy_decide(const char *rego, size_t len, const json_t *token, const char *path,
                       bool *ret_allow, struct prop_err *err);

#endif
