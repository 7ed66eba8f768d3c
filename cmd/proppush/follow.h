/* What refers to an image comes along with it. */
#ifndef PROP_CMD_PROPPUSH_FOLLOW_H
#define PROP_CMD_PROPPUSH_FOLLOW_H

#include "cmd/proppush/verbs.h"
#include "crypto/digest.h"
#include "util/err.h"
#include "util/json.h"

/* With `subject` NULL nothing is copied: can these places do it at all? For asking before the work.
 * After an image was copied as `c` says: copy what refers to it at the source, and what refers to
 * that, to the same repository, by digest. `doc` gets "referrers": descriptors in the order they were
 * copied. Fails: PROP_E_USAGE (id "no-referrers") for places that know none, PROP_E_LIMIT. */
int proppush_copy_referrers(const struct proppush_copy *c, const struct prop_digest *subject,
                            const struct prop_oci_options *oci, json_t *doc, struct prop_err *err);

#endif
