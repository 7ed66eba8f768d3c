/* What a server tells of itself when it is asked harmless questions: GETs only, nothing changes. */
#ifndef PROP_KBS_PROBE_H
#define PROP_KBS_PROBE_H

#include "http/http.h"
#include "kbs/kbs.h"

#include <stdbool.h>

/* GET /healthz; *ret_status is 200 since v0.21, 404 before. */
int prop_kbs_probe_health(struct prop_kbs *k, int *ret_status, struct prop_err *err);

enum prop_kbs_policy_answer {
    PROP_KBS_POLICY_LIST, /* a list of ids: since v0.19 */
    PROP_KBS_POLICY_TEXT  /* the text: before */
};
/* GET /resource-policy, as the administrator or as nobody. Fails as every call of the admin API. */
int prop_kbs_probe_policy(struct prop_kbs *k, bool as_admin, enum prop_kbs_policy_answer *ret,
                          struct prop_err *err);

/* The server's clock minus ours in seconds, by the Date of its last answer; false when it sent
 * none. */
bool prop_kbs_clock_ahead(const struct prop_kbs *k, long *ret);

/* With tls_facts of the configuration; borrowed. */
const struct prop_http_tls *prop_kbs_tls(const struct prop_kbs *k);

#endif
