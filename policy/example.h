/* The examples a comparison gives (policy/compare.h): said in words, and made into tokens. */
#ifndef PROP_POLICY_EXAMPLE_H
#define PROP_POLICY_EXAMPLE_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

/* A token of the example's guest, for asking a policy. Owned by the caller. */
int prop_policy_token_for_guest(const json_t *guest, json_t **ret, struct prop_err *err);
/* "'red/key/a' to a guest with snp evidence, affirming, with snp.measurement 6a65... (rule 2)". */
int prop_policy_example_say(const json_t *example, struct prop_buf *out, struct prop_err *err);

#endif
