/* Rego policies, evaluated by the engine Trustee uses (regorus 0.11, Rego v1). */
#ifndef PROP_ENGINE_REGO_H
#define PROP_ENGINE_REGO_H

#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

struct prop_rego;

/* Parse a policy. `name` appears in parser errors ("" as Trustee does).
 *
 * Texts that would end the process are refused before: brackets inside each other that the parser
 * takes for ever with, chains of operators or rules that need more stack than there is, and rules
 * or functions that need themselves. A question that is put to the policy ends after 5 s, looked at
 * between statements: what one call of a builtin takes, and how much memory, is not bounded (nor is
 * it in a key broker), so policies of strangers belong into a process of their own.
 * Fails: PROP_E_INPUT (id "rego-syntax", "rego-recursion"); err->message is cut to one line,
 * ret_detail (may be NULL) receives the parser's own multi-line text, owned by the caller. */
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
/* The whole policy as data: {"package","line","v1","imports":[...],"rules":[{"name","kind","line",
 * "at","comment","args","key","value","uses","bodies":[{"line","at","else","value","stmts"}]}]};
 * "at" counts bytes of the text. engine/src/outline.rs has the kinds of nodes. Owned. */
int prop_rego_outline(struct prop_rego *r, json_t **ret, struct prop_err *err);
/* A copy of the policy, its data, input and reference values, with the rules of one more text of
 * the same package (with a package line of its own): asks about parts of a policy. */
int prop_rego_extend(const struct prop_rego *r, const char *text, size_t len,
                     struct prop_rego **ret, struct prop_err *err);
void prop_rego_free(struct prop_rego *r);
PROP_DEFINE_AUTO(struct prop_rego *, prop_rego_free)
#define prop_auto_rego __attribute__((cleanup(prop_rego_free_p)))

#endif
