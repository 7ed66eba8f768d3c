/* What is wrong with a policy before it is uploaded: resource policies (Rego, or policy documents)
 * and attestation policies. */
#ifndef PROP_POLICY_LINT_H
#define PROP_POLICY_LINT_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_lint_options {
    const json_t *published; /* resources that are known to exist, a list; NULL = nobody knows */
    const json_t *shapes; /* reference values of the shipped policy: name -> "list" or "single" */
    bool notes;              /* say what constant trust values mean, with severity "note" */
};

/* Look at the text of a resource policy or of a policy document. *ret, owned, lists what was found,
 * by line: {"line","severity":"error"|"warning","rule","message"}; line 0 is the file as such.
 * An error means: it does not do what it says, or lets anybody in.
 * Fails only where nothing can be said (memory; PROP_E_UNSUPPORTED, id "no-engine"). */
int prop_policy_lint(const char *name, const char *text, size_t len,
                     const struct prop_lint_options *o, json_t **ret, struct prop_err *err);
/* The same for an attestation policy. */
int prop_attestation_lint(const char *name, const char *text, size_t len,
                          const struct prop_lint_options *o, json_t **ret, struct prop_err *err);

#endif
