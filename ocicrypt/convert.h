/* Docker schema 2 images as OCI images: encrypted layers have no Docker media type (ocicrypt.md 7). */
#ifndef PROP_OCICRYPT_CONVERT_H
#define PROP_OCICRYPT_CONVERT_H

#include "ocicrypt/image_walk.h"
#include "util/err.h"

#include <stdbool.h>

/* Change media types of manifest, config and layers to OCI's; blobs stay as they are. An OCI manifest
 * with Docker's layer types inside (skopeo writes such) is converted too. ret_changed: anything was.
 * Fails: PROP_E_UNSUPPORTED (id "media-type") a Docker type with no counterpart. */
int prop_convert_to_oci(struct prop_walk_image *im, bool *ret_changed, struct prop_err *err);

#endif
