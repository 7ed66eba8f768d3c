/* The manifest of an image, read and parsed in one go: what every reader but a plain copy wants. */
#ifndef PROP_OCI_IMAGE_MANIFEST_H
#define PROP_OCI_IMAGE_MANIFEST_H

#include "oci/image.h"
#include "oci/manifest.h"
#include "util/err.h"

/* prop_src_manifest and prop_manifest_parse. `what` names it in errors ("the image's manifest").
 * ret_type (may be NULL): the media type, owned (prop_free), NULL when nobody said one.
 * ret_digest (may be NULL): digest of the bytes. Who has to check that digest first (a pin) calls
 * the two steps itself. Fails: as these do. */
int prop_image_manifest(struct prop_src *src, const char *what, struct prop_manifest *ret,
                        char **ret_type, struct prop_digest *ret_digest, struct prop_err *err);

#endif
