/* Which layers of an image: "all", a number counted from 0 (negative: from the end, as skopeo), or a
 * media type. */
#ifndef PROP_OCICRYPT_IMAGE_SELECT_H
#define PROP_OCICRYPT_IMAGE_SELECT_H

#include "oci/manifest.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_layer_choice {
    const char *const *which; /* none = all */
    size_t n;
};

/* Is the choice well-formed? PROP_E_USAGE (id "bad-layer"). */
int prop_layer_choice_check(const struct prop_layer_choice *c, struct prop_err *err);
/* Mark the layers of one image that are meant: `ret` has a flag per layer, `used` (may be NULL) one
 * per choice, set for media types that are there. Fails: PROP_E_USAGE (id "no-such-layer") for a
 * number that is out of range. */
int prop_layer_choice_apply(const struct prop_layer_choice *c, const struct prop_manifest *m,
                            bool *ret, bool *used, struct prop_err *err);

#endif
