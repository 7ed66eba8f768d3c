/* The `resource` plugin and the path every attested caller takes: token, policy, lookup, JWE. */
#ifndef PROP_KBSD_RESOURCE_H
#define PROP_KBSD_RESOURCE_H

#include "kbsd/reply.h"
#include "kbsd/request.h"
#include "kbsd/state.h"

#include <stdbool.h>

/* A request below /resource (`admin` already checked where the method needs it). Order of checks:
 * token found, token verified, policy, path and lookup, key of the TEE, JWE: nobody who was not let
 * in learns whether a resource exists (kbs.md 1). */
void prop_kbsd_resource(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                        struct prop_kbsd_reply *r);
/* The half of it that needs an admin: POST and DELETE. */
void prop_kbsd_resource_admin(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                              struct prop_kbsd_reply *r);

/* Is this "<repo>/<type>/<tag>", each [A-Za-z0-9_-][A-Za-z0-9_.-]*, short enough to be stored? */
bool prop_kbsd_resource_path_ok(const char *path);

#endif
