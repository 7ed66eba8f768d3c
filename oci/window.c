#include "oci/window.h"

#include "util/mem.h"

#include <string.h>

#define FIRST_CAP (128u << 10)

void prop_window_reset(struct prop_window *w, uint64_t offset)
{
    w->base = w->begin = w->end = offset;
}

/* Room for `need` bytes in all. Nothing was dropped while the ring still grows, so what is held lies at
 * its start in one piece. */
static int grow(struct prop_window *w, size_t need, struct prop_err *err)
{
    size_t cap = w->cap > 0 ? w->cap : FIRST_CAP;
    uint8_t *grown;

    while (cap < need && cap < w->max)
        cap *= 2;
    if (cap > w->max)
        cap = w->max;
    grown = prop_realloc_array(w->ring, cap, 1);
    if (grown == NULL) {
        if (w->cap == 0)
            return prop_err_nomem(err);
        w->max = w->cap; /* go on with what there is */
        return 0;
    }
    w->ring = grown;
    w->cap = cap;
    return 0;
}

int prop_window_keep(struct prop_window *w, const void *data, size_t len, struct prop_err *err)
{
    const uint8_t *in = data;
    size_t at, first;
    int rc;

    if (w->cap < w->max && w->end - w->base + len > w->cap) {
        rc = grow(w, (size_t)(w->end - w->base) + len, err);
        if (rc < 0)
            return rc;
    }
    at = w->cap > 0 ? (size_t)((w->end - w->base) % w->cap) : 0;
    first = len < w->cap - at ? len : w->cap - at;
    memcpy(w->ring + at, in, first);
    memcpy(w->ring, in + first, len - first);
    w->end += len;
    if (w->end - w->begin > w->cap)
        w->begin = w->end - w->cap;
    return 0;
}

const uint8_t *prop_window_at(const struct prop_window *w, uint64_t offset, size_t *ret_len)
{
    size_t at = (size_t)((offset - w->base) % w->cap);
    uint64_t left = w->end - offset;

    *ret_len = left < w->cap - at ? (size_t)left : w->cap - at;
    return w->ring + at;
}

void prop_window_release(struct prop_window *w)
{
    prop_free(w->ring);
    w->ring = NULL;
    w->cap = 0;
}
