/* Attestation policies: from the claims of one piece of evidence to a trust vector and a status, as
 * Trustee's verifier goes (kbs.md 4.2), with reference values from a JSON object. */
#ifndef PROP_POLICY_ATTESTATION_H
#define PROP_POLICY_ATTESTATION_H

#include "policy/judge.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>

/* The eight names of the trust vector, in the token's order; ends with NULL. */
extern const char *const prop_trust_claims[];
/* What a value of the vector means: "none", "affirming", "warning", "contraindicated". */
const char *prop_trust_tier(json_int_t value);

struct prop_attestation;
/* Parse a policy. Fails as prop_rego_new, and PROP_E_INPUT (id "not-text"). */
int prop_attestation_new(const char *name, const char *text, size_t len,
                         struct prop_attestation **ret, struct prop_err *err);
void prop_attestation_free(struct prop_attestation *a);
PROP_DEFINE_AUTO(struct prop_attestation *, prop_attestation_free)
#define prop_auto_attestation __attribute__((cleanup(prop_attestation_free_p)))
/* For prop_policy_explain of "trust_claims" after an appraisal. Borrowed. */
struct prop_policy_judge *prop_attestation_judge(struct prop_attestation *a);

/* Appraise annotated evidence ({"snp":{claims},"init_data":...}). `references` (may be NULL) is an
 * object name -> value. *ret, owned:
 *
 *     {"outcome":"token","status","vector":{name: value},"extensions":[...]}
 *     {"outcome":"refused","reason"}   the server answers with an error
 *     {"outcome":"crash","reason"}     the server dies (a trust claim that does not exist)
 */
int prop_attestation_appraise(struct prop_attestation *a, const json_t *evidence,
                              const json_t *references, json_t **ret, struct prop_err *err);

/* An EAR body with one submodule "cpu0" for the evidence: `status` and `vector` (either may be
 * NULL: "none", none) and `extensions` (a list, or NULL). Owned by the caller. */
int prop_attestation_token(const json_t *evidence, const char *status, const json_t *vector,
                           const json_t *extensions, json_t **ret, struct prop_err *err);

#endif
