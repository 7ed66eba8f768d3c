/* From a request to an answer: which route, who may, which handler (kbs.md 1). */
#ifndef PROP_KBSD_ROUTE_H
#define PROP_KBSD_ROUTE_H

#include "kbsd/reply.h"
#include "kbsd/request.h"
#include "kbsd/state.h"

#include <stdbool.h>

/* Answer a request whose body is complete. Never fails: what goes wrong is in the answer. */
void prop_kbsd_route(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                     struct prop_kbsd_reply *r);

/* Is this request's body read at all (and limited)? Not for requests that no route takes. */
bool prop_kbsd_route_takes_body(const struct prop_kbsd_request *q);

#endif
