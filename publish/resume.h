/* A run that an earlier process began: its key, name and image into the state. */
#ifndef PROP_PUBLISH_RESUME_H
#define PROP_PUBLISH_RESUME_H

#include "publish/state.h"

/* Name, fingerprint, what the destination's name stood for; enough to take the run back. */
int prop_publish_resume_facts(struct prop_publish_state *s, struct prop_err *err);
/* The KEK too: kept here, or the file named. One that was lost before anything was encrypted for it
 * is made anew. Fails: PROP_E_NOTFOUND (id "kek-not-kept"), PROP_E_VERIFY (id "kek-wrong"). */
int prop_publish_resume_key(struct prop_publish_state *s, struct prop_err *err);

#endif
