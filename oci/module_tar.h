/* A Wasm module as the only file of a tar: the layer that ordinary image readers unpack. */
#ifndef PROP_OCI_MODULE_TAR_H
#define PROP_OCI_MODULE_TAR_H

#include "oci/image.h"
#include "util/err.h"

#include <stdint.h>

#define PROP_MODULE_TAR_NAME "module.wasm"
#define PROP_MODULE_TAR_SIZE_MAX ((8ull << 30) - 1) /* what a plain tar header can say */

/* Bytes of the tar around a module of `size` bytes. */
uint64_t prop_module_tar_size(uint64_t size);
/* Stream that tar for a bare source: always the same bytes for the same module. A pipe's module is
 * held in memory first, since its length comes before it.
 * Fails: PROP_E_LIMIT, as prop_src_bare_read, what the sink fails with. */
int prop_module_tar_stream(struct prop_src *bare, prop_sink_fn sink, void *ctx,
                           struct prop_err *err);

#endif
