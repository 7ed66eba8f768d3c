/* What the files that find reasons share. */
#ifndef PROP_POLICY_EXPLAIN_INTERNAL_H
#define PROP_POLICY_EXPLAIN_INTERNAL_H

#include "policy/explain.h"
#include "policy/explain_probe.h"

/* One body of a rule, or a rule without one. */
struct prop_way {
    const json_t *rule;
    const json_t *stmts;   /* NULL or an array */
    const json_t *value;   /* node; NULL = true */
    json_t *args;          /* of a function: the values it is called with; else NULL */
    char *params;          /* and how it spells its parameters */
    size_t n_stmts, steps; /* steps: one more where the value decides too */
    size_t first;          /* number of the question about step 0 */
    size_t failed;         /* the step that fails; == steps when all hold */
    json_t *report;        /* owned by `reports` */
};

/* A rule, or a call of a function, to look into. */
struct prop_why_item {
    char *name;
    json_t *args;
};

struct prop_why {
    struct prop_policy_judge *judge;
    const json_t *outline;
    const char *text;
    size_t len;
    const char *path;
    struct prop_probes probes;
    json_t *reports;         /* what was asked for -> array of reports */
    struct prop_why_item *next;       /* for the next level */
    size_t n_next;
    struct prop_way *ways;
    size_t n_ways;
};

/* The name under which an item's reports are kept (prop_alloc). */
char *prop_why_key(const char *name, const json_t *args);
/* Look into a rule (args NULL) or a function's call on the next level, once; takes `args` over. */
int prop_why_want(struct prop_why *w, const char *name, json_t *args, struct prop_err *err);
/* The policy's text from the start of one node to the end of another (prop_alloc). */
char *prop_why_slice(const struct prop_why *w, const json_t *first, const json_t *last);
/* The first `n` conditions as text, ended; "" for none (prop_alloc). */
char *prop_why_beginning(const struct prop_why *w, const struct prop_way *way, size_t n);
/* Add the question what `value` (NULL: true) is for each way to meet the first `conditions`. */
int prop_why_question(struct prop_why *w, const struct prop_way *way, size_t conditions,
                      const char *value, size_t *ret, struct prop_err *err);

/* Add the ways in which the item can come true; `left` counts those that are passed over. */
int prop_why_add_ways(struct prop_why *w, const struct prop_why_item *item, size_t *left,
                      struct prop_err *err);
void prop_why_drop_ways(struct prop_why *w);
/* First round: how far does each way come? */
int prop_why_how_far(struct prop_why *w, struct prop_err *err);
/* {"line","text","holds"} for a condition, owned; NULL when memory is out. */
json_t *prop_why_condition(const struct prop_why *w, const json_t *node, bool good);
/* Second round: what stands in the conditions that fail? Fills the ways' reports. */
int prop_why_values(struct prop_why *w, struct prop_err *err);

#endif
