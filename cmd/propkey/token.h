/* What an attestation token (EAR JWT, kbs.md 2.7) says, and whether to believe it. */
#ifndef PROP_CMD_PROPKEY_TOKEN_H
#define PROP_CMD_PROPKEY_TOKEN_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* What a signature is checked with. */
struct propkey_token_trust {
    const char *cert;   /* PEM file: the header's x5c must lead to it */
    const char *jwks;   /* JWK or JWK set file: one of its keys */
    bool header_jwk;    /* the key in the token's own header counts */
};

/* Check the signature and give the claims (owned by the caller). *ret_how is one of "trusted-cert",
 * "jwks", "header-jwk"; static. Without any trust the header's own key is tried, so that a damaged
 * token is told in every case.
 * Fails: PROP_E_VERIFY (exit 4) signature or chain wrong; PROP_E_INPUT no token; PROP_E_UNSUPPORTED
 * another algorithm; PROP_E_NOTFOUND (id "token-key") nothing to check it with. */
int propkey_token_verify(const char *token, size_t len, const struct propkey_token_trust *t,
                         json_t **ret_header, json_t **ret_claims, const char **ret_how,
                         struct prop_err *err);

#endif
