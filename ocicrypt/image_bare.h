/* A bare module into an encrypted image. */
#ifndef PROP_OCICRYPT_IMAGE_BARE_H
#define PROP_OCICRYPT_IMAGE_BARE_H

#include "ocicrypt/image.h"

/* prop_image_encrypt for a bare source. */
int prop_bare_encrypt(struct prop_src *src, struct prop_dst *dst,
                      const struct prop_encrypt_options *o, struct prop_encrypt_result *ret,
                      struct prop_err *err);
/* A row of the report: what became of one layer. `plain` NULL = not known. Owned; NULL when memory
 * is out. */
json_t *prop_encrypt_report_layer(const char *media_type, const struct prop_digest *digest,
                                  uint64_t size, const struct prop_digest *plain,
                                  const char *action);

#endif
