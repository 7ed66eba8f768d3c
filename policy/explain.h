/* Why a policy decides as it does: rule by rule and condition by condition, for any Rego.
 *
 * The engine tells what a rule's value is, not how it came to it. So each beginning of a rule's
 * conditions is asked as a rule of its own, added to a copy of the policy: the first that has no
 * answer is the one that fails, and what its references stand for at that place is asked too. */
#ifndef PROP_POLICY_EXPLAIN_H
#define PROP_POLICY_EXPLAIN_H

#include "policy/judge.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* The reasons for the answer to the question that was put last, about one rule ("allow"). *ret,
 * owned, is an array with an object for each way the rule could have come true, those that came
 * furthest first:
 *
 *     {"rule","line","comment"?,"holds":bool,"of":number of conditions,
 *      "conditions":[{"line","text","holds":true}, ...,
 *          {"line","text","holds":false,"values":[{"text","value"} or {"text","missing"?}],
 *           "because":[the same objects, for rules that the condition stands on]}]}
 *
 * At most `most` ways are given (0 = all that are looked at); *ret_left (may be NULL) tells how
 * many were left out. `path` (may be NULL) is the resource that was asked for: of very many rules,
 * those that name it are looked at. */
int prop_policy_explain(struct prop_policy_judge *j, const char *rule, const char *path,
                        size_t most, json_t **ret, size_t *ret_left, struct prop_err *err);

/* Lines of text for it, indented by `indent` blanks. Condition texts are printable. */
int prop_policy_explain_text(const json_t *why, size_t indent, struct prop_buf *out,
                             struct prop_err *err);
/* The first condition that failed, of the way that came furthest, in one line: "line 17: status ==
 * "affirming" (status is "warning")"; "" when there is none. */
int prop_policy_explain_line(const json_t *why, struct prop_buf *out, struct prop_err *err);

#endif
