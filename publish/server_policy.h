/* What policy the KBS has, where it says so: servers before v0.19 give the text back (kbs.md 8). */
#ifndef PROP_PUBLISH_SERVER_POLICY_H
#define PROP_PUBLISH_SERVER_POLICY_H

#include "publish/state.h"

/* Ask. *ret stays NULL where the server tells no text. Owned. Fails with what the server fails with;
 * PROP_E_UNSUPPORTED, PROP_E_AUTH too. */
int prop_publish_server_policy_ask(const struct prop_publish_state *s, char **ret,
                                   struct prop_err *err);
/* Where it told at the plan: ask again, before anything is built on it. */
int prop_publish_server_policy_renew(struct prop_publish_state *s, struct prop_err *err);
/* Where it told at the plan: does it have what this run uploaded? PROP_E_EXISTS (id
 * "policy-changed"): somebody else's upload came in between. */
int prop_publish_server_policy_kept(struct prop_publish_state *s, struct prop_err *err);

#endif
