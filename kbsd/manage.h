/* What an administrator does besides resources: policies and reference values (kbs.md 4, 5). The
 * caller has checked that the request may do it. */
#ifndef PROP_KBSD_MANAGE_H
#define PROP_KBSD_MANAGE_H

#include "kbsd/reply.h"
#include "kbsd/request.h"
#include "kbsd/state.h"

void prop_kbsd_set_resource_policy(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                   struct prop_kbsd_reply *r);
void prop_kbsd_list_resource_policies(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                      struct prop_kbsd_reply *r);
void prop_kbsd_set_attestation_policy(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                      struct prop_kbsd_reply *r);
void prop_kbsd_set_reference_values(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                    struct prop_kbsd_reply *r);
void prop_kbsd_get_reference_value(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                                   struct prop_kbsd_reply *r);

#endif
