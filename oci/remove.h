/* Taking names and manifests away. */
#ifndef PROP_OCI_REMOVE_H
#define PROP_OCI_REMOVE_H

#include "oci/image.h"
#include "oci/ref.h"
#include "util/err.h"

/* DELETE a manifest of a registry by its digest: all tags that point at it go with it.
 * Fails: PROP_E_NOTFOUND (id "image-not-found"), PROP_E_UNSUPPORTED (id "delete-unsupported") the
 * registry does not do that, PROP_E_DENIED, PROP_E_AUTH, network codes. */
int prop_remove_manifest(const struct prop_location *loc, const struct prop_digest *digest,
                         const struct prop_oci_options *opts, struct prop_err *err);
/* DELETE the tag alone. Many registries, docker-registry among them, delete by digest only:
 * PROP_E_UNSUPPORTED (id "delete-unsupported"). */
int prop_remove_tag(const struct prop_location *loc, const struct prop_oci_options *opts,
                    struct prop_err *err);
/* Take the location's name out of a layout's index.json; the blobs stay.
 * Fails: PROP_E_NOTFOUND (id "image-not-found"). */
int prop_remove_layout_name(const struct prop_location *loc, struct prop_err *err);

#endif
