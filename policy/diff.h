/* Which decisions change from one policy to another. */
#ifndef PROP_POLICY_DIFF_H
#define PROP_POLICY_DIFF_H

#include "policy/judge.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

/* Resources that a policy names (with something in place of "*"), and texts in it that look like
 * launch measurements; both lists, owned. */
int prop_policy_named(struct prop_policy_judge *j, json_t **ret_resources, json_t **ret_pins,
                      struct prop_err *err);

struct prop_diff_options {
    const json_t *guests;    /* object: name -> EAR body; NULL = made up */
    const json_t *resources; /* list; NULL = those that the policies name, and `published` */
    const json_t *published; /* list, or NULL */
    bool old_server;
};

/* Ask both policies about every guest and resource. *ret, owned:
 *
 *     {"same":bool,"asked":number of questions,
 *      "differences":[{"guest","resource","old","new": "allow"|"deny"|"error"}],
 *      "documents"?:{"same","wider","narrower": bool, "examples":[as prop_policy_compare]}}
 *
 * "documents" is there when both are policy documents: exact, whatever was asked. "same" has it in.
 */
int prop_policy_diff(struct prop_policy_judge *before, struct prop_policy_judge *after,
                     const struct prop_diff_options *o, json_t **ret, struct prop_err *err);

#endif
