/* Attestation tokens: EAR claims as a JWT signed with ES256 (kbs.md 2.7). Only tokens under our own
 * key count, whatever key their header carries. */
#ifndef PROP_KBSD_TOKEN_H
#define PROP_KBSD_TOKEN_H

#include "kbsd/state.h"
#include "util/err.h"
#include "util/json.h"

/* Make the header that every token gets from the signing key. */
int prop_kbsd_token_init(struct prop_kbsd *k, struct prop_err *err);

/* Sign a token over `submods` (borrowed), valid for five minutes from now. Text owned by the
 * caller. */
int prop_kbsd_token_issue(struct prop_kbsd *k, json_t *submods, char **ret, struct prop_err *err);

/* Check signature, header and `exp` (60 s of leeway). Claims owned by the caller.
 * Fails: PROP_E_INPUT, PROP_E_VERIFY, PROP_E_UNSUPPORTED as prop_jws_verify; PROP_E_AUTH over. */
int prop_kbsd_token_verify(struct prop_kbsd *k, const char *token, json_t **ret_claims,
                           struct prop_err *err);

/* The TEE's public key in the claims, at the first place that has one. Borrowed.
 * Fails: PROP_E_INPUT no such member, or it is none of the protocol's kinds of keys. */
int prop_kbsd_token_tee_pubkey(const json_t *claims, const json_t **ret, struct prop_err *err);

/* The protocol's typed model of a key (kbs.md 2.4): only the members that count, sorted by name.
 * Owned by the caller. Fails: PROP_E_INPUT. */
int prop_kbsd_tee_pubkey(const json_t *jwk, json_t **ret, struct prop_err *err);

/* A copy with the members of every object sorted by name, as the real server's maps are. NULL when
 * memory is out. */
json_t *prop_kbsd_sorted(const json_t *v);

#endif
