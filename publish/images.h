/* All images that stand under one reference: the one image, or those of an index and of the indexes
 * within it. Every manifest's size and digest is checked on the way down. */
#ifndef PROP_PUBLISH_IMAGES_H
#define PROP_PUBLISH_IMAGES_H

#include "oci/image.h"
#include "oci/manifest.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_images_one {
    struct prop_manifest m;
    struct prop_digest digest;
    char platform[128];        /* "os/arch[/variant]" of its entry; "" when that says none */
};

struct prop_images {
    struct prop_images_one *all; /* in the order of the entries */
    size_t n;
    struct prop_digest digest; /* of the whole: the index's, or the image's */
    json_t *index;             /* owned; NULL = one image */
    bool nested;               /* an index within the index */
    size_t bytes;              /* of all manifests */
};

/* `what` names the manifest in errors. ret is released with prop_images_release, not on failure.
 * Fails: as prop_src_manifest, prop_src_child and prop_manifest_parse; PROP_E_INPUT (id
 * "empty-index"); PROP_E_LIMIT for more than 256 images, 16 MiB of manifests or 4 indexes deep. */
int prop_images_read(struct prop_src *src, const char *what, struct prop_images *ret,
                     struct prop_err *err);
void prop_images_release(struct prop_images *i);
#define prop_auto_images __attribute__((cleanup(prop_images_release)))

/* "image 2 of 3 (linux/arm64)" for messages about an index's images, "" for one image alone.
 * Returns out. */
const char *prop_images_label(const struct prop_images *i, size_t at, char out[200]);
/* Does this media type name an index or a list? */
bool prop_images_is_index(const char *media_type);

#endif
