/* JSON Web Signatures in compact form, and JWTs on them (RFC 7515, RFC 7519, RFC 8037):
 * EdDSA with Ed25519, ES256, ES384, ES512. `none`, HMAC and unknown `crit` are refused. */
#ifndef PROP_JOSE_JWS_H
#define PROP_JOSE_JWS_H

#include "crypto/pkey.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

/* Sign `claims` as compact JWS. The header is {"alg":...,"typ":"JWT"} with the key's alg; with
 * `header` (borrowed) those members are written instead, in their order; its "alg" must fit the
 * key. `out` receives the text. */
int prop_jws_sign(const struct prop_pkey *key, const json_t *header, const json_t *claims,
                  struct prop_buf *out, struct prop_err *err);

/* Take a compact JWS apart without checking the signature. Both objects are owned by the caller.
 * Fails: PROP_E_INPUT not three base64url parts, header or payload not a JSON object. */
int prop_jws_decode(const char *jws, size_t len, json_t **ret_header, json_t **ret_claims,
                    struct prop_err *err);

/* Check the signature of a compact JWS with `key`; `alg` of the header must be the one of the key.
 * Fails: PROP_E_INPUT malformed; PROP_E_UNSUPPORTED alg or crit; PROP_E_VERIFY wrong signature.
 * Times and issuer are the caller's to check. ret_claims may be NULL. */
int prop_jws_verify(const char *jws, size_t len, const struct prop_pkey *key, json_t **ret_claims,
                    struct prop_err *err);

#endif
