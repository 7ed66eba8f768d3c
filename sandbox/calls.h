/* Which system calls each role keeps; for sandbox/filter.c. */
#ifndef PROP_SANDBOX_CALLS_H
#define PROP_SANDBOX_CALLS_H

#include "sandbox/sandbox.h"

#include <seccomp.h>

/* Add the rules of a role to a filter. 0, or a negative errno. */
int prop_sandbox_rules(scmp_filter_ctx ctx, enum prop_sandbox_role role);

#endif
