/* What an image's config tells everybody: nothing encrypts it (ocicrypt.md 0). */
#ifndef PROP_CMD_PROPENC_INSPECT_CONFIG_H
#define PROP_CMD_PROPENC_INSPECT_CONFIG_H

#include "oci/image.h"
#include "util/json.h"

/* {"media_type","size","clear":[sentences]} and, where the config has them, "plain_digests" (of the
 * layers before encryption, in their order), "imports" and "exports" (of a component), "settings"
 * (names of what an image config sets), "readable" (false: it could not be read as JSON). Owned;
 * NULL when memory is out. A config that cannot be read is no failure: it tells nothing we could
 * name. */
json_t *propenc_describe_config(struct prop_src *src, const struct prop_descriptor *config);

#endif
