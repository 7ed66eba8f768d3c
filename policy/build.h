/* Rego from a policy document. */
#ifndef PROP_POLICY_BUILD_H
#define PROP_POLICY_BUILD_H

#include "policy/decide.h"
#include "util/buf.h"
#include "util/err.h"

struct prop_policy_doc;

/* Readable Rego v1 that current and older servers accept (string and array resource-path, cpu0 and
 * cpu). Equal documents give equal bytes. Fails: PROP_E_LIMIT over PROP_LIMIT_POLICY. */
int prop_policy_build(const struct prop_policy_doc *d, struct prop_buf *out, struct prop_err *err);

#endif
