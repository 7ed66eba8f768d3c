/* Questions about parts of a policy: expressions that are evaluated beside its own rules. */
#ifndef PROP_POLICY_EXPLAIN_PROBE_H
#define PROP_POLICY_EXPLAIN_PROBE_H

#include "policy/judge.h"
#include "util/err.h"
#include "util/json.h"

#include <stddef.h>

struct prop_probes {
    struct prop_policy_judge *judge;
    char *head;      /* package and imports of the policy */
    json_t *parts;   /* a text for each question */
    json_t *answers; /* after prop_probes_run: values, null for none */
    size_t serial;   /* numbers the names of questions */
};

int prop_probes_init(struct prop_probes *p, struct prop_policy_judge *j, struct prop_err *err);
void prop_probes_release(struct prop_probes *p);

/* The question "what is `expr`?"; with `args` (an array of values) it is asked inside a function
 * whose parameters are spelled `params`. *ret is its number for prop_probes_answer. */
int prop_probes_add(struct prop_probes *p, const char *expr, const char *params,
                    const json_t *args, size_t *ret, struct prop_err *err);
/* Ask all; what has no answer, or cannot be asked like this, has none. */
int prop_probes_run(struct prop_probes *p, struct prop_err *err);
/* NULL for none; borrowed until the next prop_probes_clear. */
const json_t *prop_probes_answer(const struct prop_probes *p, size_t number);
void prop_probes_clear(struct prop_probes *p);

#endif
