/* Rego policies, evaluated by the engine Trustee uses (regorus 0.11, Rego v1). */
#ifndef PROP_ENGINE_REGO_H
#define PROP_ENGINE_REGO_H

#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

struct prop_rego;

/* Parse a policy. `name` appears in parser errors ("" as Trustee does).
 * Fails: PROP_E_INPUT (id "rego-syntax"); err->message is cut to one line, ret_detail (may be NULL)
 * receives the parser's own multi-line text, owned by the caller. */
int prop_rego_new(const char *name, const char *text, size_t len, struct prop_rego **ret,
                  char **ret_detail, struct prop_err *err);
/* query_reference_value(name) answers from this callback: JSON text (prop_alloc'ed) or NULL = null.
 * Optional; without it the function is undefined. */
int prop_rego_set_reference(struct prop_rego *r, char *(*lookup)(void *ctx, const char *name),
                            void *ctx, struct prop_err *err);
/* Replace `data` (an object) and `input`. Borrowed during the call. */
int prop_rego_set_data(struct prop_rego *r, const json_t *data, struct prop_err *err);
int prop_rego_set_input(struct prop_rego *r, const json_t *input, struct prop_err *err);
/* Value of one rule, e.g. "data.policy.allow"; *ret is NULL when it is undefined. Owned.
 * Fails: PROP_E_INPUT (id "rego-eval") run-time error. */
int prop_rego_eval_rule(struct prop_rego *r, const char *rule, json_t **ret, struct prop_err *err);
/* The package and the rule names of the policy: {"package":"data.policy","rules":["allow",...]}. */
int prop_rego_describe(struct prop_rego *r, json_t **ret, struct prop_err *err);
void prop_rego_free(struct prop_rego *r);
PROP_DEFINE_AUTO(struct prop_rego *, prop_rego_free)
#define prop_auto_rego __attribute__((cleanup(prop_rego_free_p)))

#endif
