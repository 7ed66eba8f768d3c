/* Reading the outline of a Rego policy (prop_rego_outline): its nodes walked in order, and what a
 * reference means once the rules and variables that only give a name to something are followed. */
#ifndef PROP_POLICY_OUTLINE_H
#define PROP_POLICY_OUTLINE_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Where a node stands. */
struct prop_outline_at {
    const json_t *rule;    /* of the outline's "rules" */
    const json_t *stmt;    /* the outermost statement around it; NULL in heads and values */
    bool negated;          /* inside an odd number of "not" */
    bool inner;            /* in the body of a comprehension or an "every" */
};
typedef void (*prop_outline_fn)(void *ctx, const json_t *node, const struct prop_outline_at *at);
/* Call fn for every node of a rule, of a statement, or below a node; outer ones first. */
void prop_outline_rule(const json_t *rule, prop_outline_fn fn, void *ctx);
void prop_outline_statement(const json_t *rule, const json_t *stmt, prop_outline_fn fn, void *ctx);

bool prop_outline_is(const json_t *node, const char *kind);
/* A string member; "" when there is none. */
const char *prop_outline_text(const json_t *node, const char *member);
size_t prop_outline_line(const json_t *node);
/* The node's own characters in the policy's text; false for a range that is none. */
bool prop_outline_slice(const json_t *node, const char *text, size_t len, const char **ret,
                        size_t *ret_len);

/* What a reference leads to: "input" or "data" and the steps from there, as an array (owned) of
 * texts, numbers, and null where a step is computed. A rule or variable that only names another
 * reference is followed. NULL for what leads elsewhere (or when memory is out). */
json_t *prop_outline_resolve(const json_t *outline, const json_t *rule, const json_t *ref);
/* "input.submods.cpu0["ear.status"]" for such a path; "[_]" where a step is computed. */
int prop_outline_spell(const json_t *path, struct prop_buf *out, struct prop_err *err);

#endif
