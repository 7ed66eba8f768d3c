/* What an attestation policy answers, tried before it is uploaded: a claim name it must not use makes
 * the real server close the connection of every guest that attests (kbs.md 4.2). */
#ifndef PROP_CMD_PROPKEY_ATTESTATION_CHECK_H
#define PROP_CMD_PROPKEY_ATTESTATION_CHECK_H

#include "engine/rego.h"
#include "util/err.h"

/* Evaluate data.policy.trust_claims of the parsed policy for a guest of each kind, without reference
 * values. `file` names it.
 * Fails: PROP_E_INPUT (id "unknown-claim") a name that is none; (id "claim-value") a value that is no
 * integer from -128 to 127, or no claims at all. */
int propkey_attestation_check(struct prop_rego *r, const char *file, struct prop_err *err);

#endif
