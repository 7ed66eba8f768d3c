/* JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037): RSA, EC P-256/384/521, OKP Ed25519. */
#ifndef PROP_JOSE_JWK_H
#define PROP_JOSE_JWK_H

#include "crypto/pkey.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

/* Build a key from a JWK object (private when `d` is there). Members that only describe (kid, use,
 * alg, ...) are ignored here. `what` names the source.
 * Fails: PROP_E_INPUT missing or malformed members, numbers out of range, non-canonical base64url;
 *        PROP_E_UNSUPPORTED kty or crv not in the list. */
int prop_jwk_import(const json_t *jwk, const char *what, struct prop_pkey **ret,
                    struct prop_err *err);

/* JWK of a key, members in the order kty, crv, alg (when not NULL), then the numbers; private
 * numbers only if with_private. Owned by the caller. */
int prop_jwk_export(const struct prop_pkey *key, bool with_private, const char *alg, json_t **ret,
                    struct prop_err *err);

/* SHA-256 thumbprint (RFC 7638) of the public half, base64url text into `out` (44 bytes). */
int prop_jwk_thumbprint(const struct prop_pkey *key, char out[44], struct prop_err *err);

#endif
