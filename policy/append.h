/* Rules added to, and taken out of, the text of a policy document, the rest kept byte for byte. */
#ifndef PROP_POLICY_APPEND_H
#define PROP_POLICY_APPEND_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* `text` and a "[[rule]]" block behind it for each rule (normal form) from index `first` on. */
int prop_policy_append_toml(const char *text, size_t len, const json_t *rules, size_t first,
                            struct prop_buf *out, struct prop_err *err);
/* `text`, an object, with the rules as further elements of its member "rule", which is made when
 * it is absent. The text must have been parsed as JSON before. */
int prop_policy_append_json(const char *text, size_t len, const json_t *rules, size_t first,
                            struct prop_buf *out, struct prop_err *err);
/* `text` without its rule number `index` (from 0). What stands between a [[rule]] line and the last
 * line of that rule goes; comments before and behind stay. Fails: PROP_E_UNSUPPORTED (id
 * "policy-form") where the rule cannot be told apart. The text must have been parsed before. */
int prop_policy_cut(const char *text, size_t len, bool json, size_t index, struct prop_buf *out,
                    struct prop_err *err);

#endif
