/* The last bytes of a stream, for sending them again. Grows with what is kept, up to a maximum; then the
 * oldest go. */
#ifndef PROP_OCI_WINDOW_H
#define PROP_OCI_WINDOW_H

#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

struct prop_window {
    uint8_t *ring;
    size_t cap, max;
    uint64_t base;       /* offset of the stream that stands at the ring's start */
    uint64_t begin, end; /* what is held */
};

/* Forget everything and go on at this offset; the memory stays. */
void prop_window_reset(struct prop_window *w, uint64_t offset);
/* Append; `len` at most half of max. Fails: PROP_E_NOMEM, when there is no memory at all. */
int prop_window_keep(struct prop_window *w, const void *data, size_t len, struct prop_err *err);
/* The bytes from `offset` (begin <= offset < end) on, as far as they lie in one piece. */
const uint8_t *prop_window_at(const struct prop_window *w, uint64_t offset, size_t *ret_len);
void prop_window_release(struct prop_window *w);

#endif
