/* What the destination holds: read back by digest or by name, and compared with the source. */
#ifndef PROP_PUBLISH_PRESENT_H
#define PROP_PUBLISH_PRESENT_H

#include "publish/state.h"

/* Read what the destination's name points at into the state (present, before, had_tag). What cannot
 * be read as an image, or as an index of images that are all there, counts as none of ours. */
int prop_publish_present_read(struct prop_publish_state *s, struct prop_err *err);
/* Is the present image the source, under a KEK that we hold and the name asked for? Then key, name
 * and image of the state are the present ones and `unchanged` is set. */
int prop_publish_present_adopt(struct prop_publish_state *s, struct prop_err *err);

/* The recipients of this run: the KEK under its name, and the further ones. Owned. */
int prop_publish_recipients(const struct prop_publish_state *s, struct prop_recipients **ret,
                            struct prop_err *err);
/* A registry's manifest by its digest, as a source. Owned. */
int prop_publish_open_pinned(const struct prop_publish_state *s, const struct prop_digest *digest,
                             struct prop_src **ret, struct prop_err *err);
/* Can what was sent be read before it is named? Archives and folders are written as a whole. */
bool prop_publish_reads_back(const struct prop_publish_state *s);
/* The bytes of a manifest that was put there; they have that digest. */
int prop_publish_read_back(const struct prop_publish_state *s, const struct prop_digest *digest,
                           struct prop_buf *out, struct prop_err *err);

#endif
