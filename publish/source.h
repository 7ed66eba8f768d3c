/* Is the source still what it was when a run began? */
#ifndef PROP_PUBLISH_SOURCE_H
#define PROP_PUBLISH_SOURCE_H

#include "publish/state.h"

/* What tells a later process: {"text","pipe"?,"size"?,"mtime_ns"?,"digest"?}; the digest of an
 * image's manifest, or of a small file's bytes. Owned. */
int prop_publish_source_stamp(const struct prop_publish_state *s, json_t **ret,
                              struct prop_err *err);
/* Compare with the journal's. `sent`: the image lies at the destination already, so that a source
 * that is gone does not matter.
 * Fails: PROP_E_EXISTS (id "source-changed"); PROP_E_USAGE (id "source-is-pipe"). */
int prop_publish_source_check(const struct prop_publish_state *s, bool sent, struct prop_err *err);
/* Digest of a bare source that can be read twice; *ret_known false for pipes. */
int prop_publish_source_hash(const struct prop_publish_state *s, struct prop_digest *ret,
                             bool *ret_known, struct prop_err *err);

#endif
