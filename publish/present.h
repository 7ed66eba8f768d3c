/* What the destination holds: read back by digest or by name, and compared with the source. */
#ifndef PROP_PUBLISH_PRESENT_H
#define PROP_PUBLISH_PRESENT_H

#include "publish/state.h"

/* Read what the destination's name points at into the state (present, before, had_tag). An image
 * that cannot be read as a manifest of layers (an index, say) counts as none of ours. */
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
/* Read the manifest that was put under `digest` back, and check its bytes. ret_read false: this
 * kind of destination shows nothing before its name is given. Owned (prop_manifest_release). */
int prop_publish_read_back(const struct prop_publish_state *s, const struct prop_digest *digest,
                           bool *ret_read, struct prop_manifest *ret, struct prop_err *err);

#endif
