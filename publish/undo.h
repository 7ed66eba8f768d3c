/* Taking a run back, from what its journal says it did. */
#ifndef PROP_PUBLISH_UNDO_H
#define PROP_PUBLISH_UNDO_H

#include "publish/state.h"

struct prop_publish_undo {
    json_t *taken;  /* what was taken back, as texts */
    json_t *left;   /* what could not be, and why */
};

/* Key, policy, document, manifest and KEK, as far as this run made them and nobody else needs them
 * (publish.h, prop_publish_abort). Goes on past what cannot be taken back.
 * Fails: PROP_E_USAGE (id "run-complete") before anything; with what kept a server from answering,
 * after everything else: worth another try. */
int prop_publish_undo(struct prop_publish_state *s, struct prop_publish_undo *u,
                      struct prop_err *err);

#endif
