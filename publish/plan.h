/* Everything that can be checked before anything is changed. */
#ifndef PROP_PUBLISH_PLAN_H
#define PROP_PUBLISH_PLAN_H

#include "publish/state.h"

/* Options that contradict each other, sources and destinations that cannot be; the KBS is there and
 * takes the administrator, as far as one can know without changing something; the source can be
 * read; the destination answers, and what it holds; the key's name is free; the policy can be
 * changed, and to what. */
int prop_publish_plan(struct prop_publish_state *s, struct prop_err *err);

/* Parts of it that a rotation needs too. A dry run makes no ledger, it only reads the one there is;
 * the KBS is there and takes the administrator, and a server before v0.19 gives its policy's text. */
int prop_publish_open_ledger(struct prop_publish_state *s, struct prop_err *err);
int prop_publish_check_kbs(struct prop_publish_state *s, struct prop_err *err);

#endif
