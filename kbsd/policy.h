/* The two kinds of policies: stored, compiled when first needed, evaluated. */
#ifndef PROP_KBSD_POLICY_H
#define PROP_KBSD_POLICY_H

#include "kbsd/state.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

#define PROP_KBSD_RESOURCE_POLICY_ID "resource-policy"

/* Store the policies of the first start where none are. */
int prop_kbsd_policy_install_defaults(struct prop_kbsd *k, struct prop_err *err);

/* Compile the stored policies now rather than during the first handshake. One that does not compile
 * is reported by the request that needs it. */
void prop_kbsd_policy_warm(struct prop_kbsd *k);

/* Check and store the resource policy, or an attestation policy under `id`. Nothing changes on
 * failure. ret_detail (may be NULL) receives the parser's text, owned by the caller.
 * Fails: PROP_E_INPUT (id "rego-syntax"), or (id "policy-id") an id that cannot be stored. */
int prop_kbsd_policy_set_resource(struct prop_kbsd *k, const char *text, size_t len,
                                  char **ret_detail, struct prop_err *err);
int prop_kbsd_policy_set_attestation(struct prop_kbsd *k, const char *id, const char *text,
                                     size_t len, struct prop_err *err);

/* data.policy.allow for a token's claims. *ret_broken tells that the rule was undefined or no
 * boolean (counted as an error, answered as no).
 * Fails: PROP_E_INPUT (id "rego-eval") at run time. */
int prop_kbsd_policy_allows(struct prop_kbsd *k, const json_t *claims, const json_t *data,
                            bool *ret_allowed, bool *ret_broken, struct prop_err *err);

/* Rules of a class's attestation policy over the claims of one piece of evidence; NULL where
 * undefined, else owned by the caller. */
int prop_kbsd_policy_appraise(struct prop_kbsd *k, enum prop_kbsd_class class,
                              const json_t *evidence, json_t **ret_trust, json_t **ret_extensions,
                              struct prop_err *err);

/* A key as the real server's storage takes it: [A-Za-z0-9._/-]*, and with `suffix` more characters
 * and each slash spelled with four it still is a file name. */
bool prop_kbsd_key_fits(const char *key, size_t suffix);

#endif
