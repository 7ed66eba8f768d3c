/* The policy step: which document, what it becomes, whether that may replace what is there. */
#ifndef PROP_PUBLISH_POLICY_H
#define PROP_PUBLISH_POLICY_H

#include "publish/state.h"

/* Does anybody say who may have the key? Otherwise the policy is left alone. */
bool prop_publish_has_rules(const struct prop_publish *p);
/* The rules of --allow and --measured for the key's name, into the state; before there is a name, to
 * see that they are rules at all. */
int prop_publish_policy_rules(struct prop_publish_state *s, struct prop_err *err);
/* Document plus rules, built and asked whom it lets in; nothing leaves. Done once when planning,
 * and again under the ledger's lock, since another publisher may have changed both sides. */
int prop_publish_policy_prepare(struct prop_publish_state *s, struct prop_err *err);
/* Under the lock: upload, remember, write the document back. */
int prop_publish_policy_send(struct prop_publish_state *s, struct prop_err *err);
/* Ask the built policy again and record the answers for the result. */
int prop_publish_policy_prove(struct prop_publish_state *s, struct prop_err *err);

/* Does this policy keep strangers from a key: made-up evidence of every kind, at its best? False also
 * when it cannot be asked. */
bool prop_publish_policy_guards(const char *rego, const char *path);

#endif
