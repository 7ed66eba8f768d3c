/* Leaving out of an image's config and descriptors what lets others confirm a guessed plaintext. */
#ifndef PROP_OCICRYPT_IMAGE_PRIVATE_H
#define PROP_OCICRYPT_IMAGE_PRIVATE_H

#include "ocicrypt/image_walk.h"
#include "util/err.h"

#include <stdbool.h>

/* Write the config blob without layerDigests, diff_ids, and a component's imports and exports, and
 * point the manifest at it. A config that is no JSON object, or tells nothing of the kind, stays as
 * it is. ret_diff_ids: there were any, which some readers demand (ocicrypt.md 9). */
int prop_private_config(const struct prop_walk *w, struct prop_walk_image *im, bool *ret_diff_ids,
                        struct prop_err *err);

/* Take a layer's title out of its annotations, and every digest: builders note there what the layer
 * is uncompressed (containerd.io/uncompressed) or what its table of contents is (eStargz). */
void prop_private_annotations(json_t *layer);

#endif
