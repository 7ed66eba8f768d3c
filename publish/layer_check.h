/* An encrypted layer that is there, read and decrypted into nothing: does it open, and to what? */
#ifndef PROP_PUBLISH_LAYER_CHECK_H
#define PROP_PUBLISH_LAYER_CHECK_H

#include "oci/image.h"
#include "ocicrypt/recipient.h"

/* Unwrap the layer's key, read its blob (from `src`, or when that is NULL from the layout folder
 * `layout`), decrypt, check digest, MAC and what the private options state. ret_plain: the digest of
 * the plaintext. Fails as prop_openers_unwrap, prop_src_blob, prop_layer_dec_final and
 * prop_layer_check_stated. */
int prop_publish_layer_check(struct prop_src *src, const char *layout,
                             const struct prop_descriptor *layer, struct prop_openers *openers,
                             struct prop_digest *ret_plain, struct prop_err *err);

#endif
