/* What one block of a key annotation tells without any key. */
#ifndef PROP_OCICRYPT_DESCRIBE_BLOCK_H
#define PROP_OCICRYPT_DESCRIBE_BLOCK_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

/* An array with an object per recipient in the block (see prop_layer_describe), owned; what is
 * worth a word is appended to `warnings`, also that a block cannot be read. Fails: PROP_E_NOMEM, so that
 * nobody is left out silently. */
int prop_describe_block(const char *scheme, const struct prop_buf *block, json_t *warnings,
                        json_t **ret, struct prop_err *err);

/* Append a formatted warning; one that does not fit in memory is not worth a failure. */
void prop_describe_warn(json_t *warnings, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
