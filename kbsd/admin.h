/* Who may administer: admin tokens (kbs.md 1.2) and the list of what each role may do. */
#ifndef PROP_KBSD_ADMIN_H
#define PROP_KBSD_ADMIN_H

#include "kbsd/request.h"
#include "kbsd/state.h"
#include "util/err.h"

/* Take the ACL of the configuration ("ROLE=REGEX", the expression between "^/kbs" and "$").
 * Fails: PROP_E_USAGE (id "acl") malformed, or no valid expression. */
int prop_kbsd_admin_init(struct prop_kbsd *k, struct prop_err *err);

/* 0 when the request comes from an admin that may do it. Otherwise PROP_E_AUTH or PROP_E_DENIED,
 * and *ret_reason (owned by the caller, NULL when memory is out) is the text after
 * "admin access denied for endpoint ...: " in the real server's answer. */
int prop_kbsd_admin_check(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                          char **ret_reason, struct prop_err *err);

#endif
