/* The attestation handshake: /auth opens a session, /attest checks evidence and attests it
 * (kbs.md 2). */
#ifndef PROP_KBSD_SESSION_H
#define PROP_KBSD_SESSION_H

#include "kbsd/reply.h"
#include "kbsd/request.h"
#include "kbsd/state.h"
#include "util/err.h"

#include <stdbool.h>

/* POST /auth. */
void prop_kbsd_auth(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                    struct prop_kbsd_reply *r);
/* POST /attest. An attested session gets its old token again, whatever the evidence. */
void prop_kbsd_attest(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                      struct prop_kbsd_reply *r);
/* The token of the request's session. Fails: PROP_E_NOTFOUND no cookie, unknown or over, or not
 * attested yet. Text owned by the caller. */
int prop_kbsd_session_token(struct prop_kbsd *k, const struct prop_kbsd_request *q, char **ret,
                            struct prop_err *err);

/* Does a protocol version satisfy "=0.4.0" (semver: build metadata counts nothing, a pre-release
 * never matches)? *ret_parsed tells whether it was a version at all. */
bool prop_kbsd_version_matches(const char *version, bool *ret_parsed);

#endif
