/* The `--allow` argument: who may have the key, in one line of a command. */
#ifndef PROP_POLICY_ALLOW_H
#define PROP_POLICY_ALLOW_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

enum prop_allow_flags { PROP_ALLOW_ANY_GUEST = 1, PROP_ALLOW_TEST = 2, PROP_ALLOW_LOOPBACK = 4 };
/* One `--allow` argument, e.g. "tee=snp,measurement=sha384:...,min_tcb.snp=23", as a rule object for
 * `resource` (owned). Keys are those of a document's rule, but for comment and init_data_claims; a
 * key that takes a list may come several times. flags: enum prop_allow_flags. ret_insecure tells that sample evidence is let in.
 * Fails: PROP_E_USAGE (id "bad-allow"): unknown keys, a hardware tee without measurement or tier
 * and without PROP_ALLOW_ANY_GUEST; PROP_E_DENIED (id "sample-not-loopback"): sample evidence for
 * a KBS elsewhere without PROP_ALLOW_TEST. */
int prop_policy_rule_parse(const char *allow, const char *resource, unsigned flags,
                           json_t **ret_rule, bool *ret_insecure, struct prop_err *err);

#endif
