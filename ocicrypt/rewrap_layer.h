/* The recipients of one encrypted layer, changed in its descriptor. */
#ifndef PROP_OCICRYPT_REWRAP_LAYER_H
#define PROP_OCICRYPT_REWRAP_LAYER_H

#include "ocicrypt/rewrap.h"

/* Change the key annotations of a layer descriptor as the options say; nothing else is touched, and
 * nothing at all when nothing has to change. `used` has a flag per `remove`, set when it named
 * somebody. Fails: as prop_image_rewrap, PROP_E_USAGE (id "no-key") additions without openers, (id
 * "kid-taken") a packet of an added kid stays that another KEK opens. */
int prop_rewrap_layer(json_t *descriptor, const struct prop_rewrap_options *o, bool *used,
                      size_t *ret_added, size_t *ret_removed, struct prop_err *err);

#endif
