/* What the files of the linter share. */
#ifndef PROP_POLICY_LINT_INTERNAL_H
#define PROP_POLICY_LINT_INTERNAL_H

#include "policy/judge.h"
#include "policy/lint.h"
#include "policy/outline.h"

#include <stdbool.h>

enum prop_severity { PROP_LINT_NOTE, PROP_LINT_WARNING, PROP_LINT_ERROR };

struct prop_lint {
    const char *name, *text;
    size_t len;
    const struct prop_lint_options *options;
    struct prop_policy_judge *judge; /* once the text is parsed */
    const json_t *outline;           /* of it */
    json_t *findings;
    json_t *seen;                    /* what was said about which line */
    json_t *paths;                   /* resources named in the policy -> line */
    json_t *pins;                    /* texts that look like measurements: a set */
    struct prop_err *err;
    int rc;                          /* first failure: memory */
};

/* Note a finding; one of each rule and message per line. */
void prop_lint_add(struct prop_lint *l, size_t line, enum prop_severity severity, const char *rule,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* As prop_lint_add for a failure of the engine: the line is taken out of its message. */
void prop_lint_failure(struct prop_lint *l, const char *rule, const struct prop_err *why);
/* Memory is out. */
void prop_lint_nomem(struct prop_lint *l);

/* Bytes, encoding, base64; tells whether the text can be looked at further. */
bool prop_lint_text(struct prop_lint *l);
/* Parse; dialects. Tells whether there is an outline. */
bool prop_lint_parse(struct prop_lint *l);
/* Package, the rule that is asked for, what is never used, functions that nobody has. */
void prop_lint_names(struct prop_lint *l, const char *wanted, const char *const *also);
/* Rules that let everybody in, and rules that are there twice. */
void prop_lint_rules(struct prop_lint *l);
/* References to claims and data that are not there; comparisons that never hold. */
void prop_lint_claims(struct prop_lint *l);
/* One reference into the input (`path` as resolved); `attestation`: of an attestation policy. */
void prop_lint_input(struct prop_lint *l, const json_t *node, const json_t *path, bool negated,
                     bool attestation);
/* "data.resource-path" is a difference. */
void prop_lint_dash(struct prop_lint *l, const json_t *op);
/* Ask the policy with made-up guests. */
void prop_lint_ask(struct prop_lint *l);
void prop_lint_document(struct prop_lint *l);
/* Trust vector, extensions, claims and reference values of an attestation policy. */
void prop_lint_attestation(struct prop_lint *l);

/* Does the path (prop_outline_resolve) exist in a policy's input? Else *ret_depth steps of it do,
 * and ret_near is a name that may be meant ("" = none). */
bool prop_claims_known(const json_t *path, bool attestation, size_t *ret_depth, char ret_near[64]);
/* Number of single edits between two names, at most 3. */
unsigned prop_name_distance(const char *a, const char *b);

#endif
