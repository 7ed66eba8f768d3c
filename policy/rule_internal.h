/* What the files that read one rule share. */
#ifndef PROP_POLICY_RULE_INTERNAL_H
#define PROP_POLICY_RULE_INTERNAL_H

#include "policy/rule.h"

/* A rule being read: `out` is its normal form so far. */
struct rule_reader {
    const char *what;
    const struct prop_policy_tee *tee; /* NULL = any real hardware */
    json_t *out;
    struct prop_policy_spot *spot;
    struct prop_err *err;
};

/* PROP_E_INPUT, id "bad-rule". */
int prop_rule_bad(struct rule_reader *r, const char *why);

/* One member each, `key` as in the document, `v` never NULL: checked, and put into r->out. */
int prop_rule_take_hex(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_affirming(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_measured(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_references(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_min_tcb(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_tcb_status(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_init_data(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_claims(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_images(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_debug(struct rule_reader *r, const char *key, const json_t *v);
int prop_rule_take_migration(struct rule_reader *r, const char *key, const json_t *v);

#endif
