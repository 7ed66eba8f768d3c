/* What a key broker means when it refuses: the table from error types to our codes, ids, hints.
 * Status codes tell little (401 for nearly everything, kbs.md 1.1), the type's last path segment
 * tells all. */
#ifndef PROP_KBS_REFUSAL_H
#define PROP_KBS_REFUSAL_H

#include "util/err.h"

#include <stddef.h>

/* The call that was refused; some types mean different things to different calls. */
enum prop_kbs_call {
    PROP_KBS_AUTH,
    PROP_KBS_ATTEST,
    PROP_KBS_GET_RESOURCE,
    PROP_KBS_SET_RESOURCE,
    PROP_KBS_DELETE_RESOURCE,
    PROP_KBS_SET_POLICY,
    PROP_KBS_GET_POLICY,
    PROP_KBS_SET_ATTESTATION_POLICY,
    PROP_KBS_SET_REFERENCE,
    PROP_KBS_GET_REFERENCE
};

/* Fill err for an answer that is not a success. `body` is what came with it, of any form.
 * Always returns a negative code. */
int prop_kbs_refusal(enum prop_kbs_call call, int status, const char *body, size_t len,
                     struct prop_err *err);

#endif
