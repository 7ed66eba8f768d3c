/* Reference values before they go to a server: the shapes the shipped attestation policy tests them
 * in, merging with what is there, and what a measurement file means (attestation.md 4.4).
 *
 * A server replaces the whole value of each name it is sent and has no append; and a list where the
 * policy compares one value (or the other way round) matches nothing, which nobody is told. */
#ifndef PROP_KBS_REFERENCE_H
#define PROP_KBS_REFERENCE_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* [A-Za-z0-9._/-]+ (kbs.md 5) without "..". */
bool prop_reference_is_name(const char *name);

/* Names the shipped policy asks for: name i, or NULL past the end. */
const char *prop_reference_known(size_t i);

/* Does `value` have the shape in which the shipped policy tests `name`? Names it does not use may
 * have any. Fails: PROP_E_INPUT (id "reference-shape"; the hint shows the right form). */
int prop_reference_check(const char *name, const json_t *value, struct prop_err *err);

enum prop_reference_merge_flags {
    PROP_REFERENCE_MERGE = 0,
    PROP_REFERENCE_REPLACE = 1  /* what is there and not in `add` is dropped */
};
/* What `name` becomes when `add` joins `old` (NULL = nothing there): lists are united, in the order
 * of `old` then `add`; anything else must be the same. *ret_dropped is a list of what is lost (empty
 * without REPLACE). All owned by the caller.
 * Fails: PROP_E_EXISTS (id "reference-conflict") another value is there that would be lost. */
int prop_reference_merge(const char *name, const json_t *old, const json_t *add, unsigned flags,
                         json_t **ret, json_t **ret_dropped, struct prop_err *err);

/* Same value; numbers by amount (1 is 1.0), members of objects in any order. */
bool prop_reference_equal(const json_t *a, const json_t *b);

/* Reference values of a measurement file: {"launch_digest": ...} of SNP, {"mr_td","rtmr_1",
 * "rtmr_2": ...} of TDX, where each is a hex text, a list, a list of {"profile","value"}, or an
 * object profile -> value; other names of the policy beside them; or a plain object of names and
 * values; or any of these under "reference_values", or under "values" beside "kbs". Owned by the
 * caller; `what` names the file.
 * Fails: PROP_E_INPUT (id "bad-measurement"); PROP_E_UNSUPPORTED (id "measurement-tee") plain SEV,
 * which key brokers cannot attest. */
int prop_reference_from_measurement(const json_t *doc, const char *what, json_t **ret,
                                    struct prop_err *err);

#endif
