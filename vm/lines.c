#include "vm/lines.h"

#include <string.h>

static int whole(struct prop_lines *l, prop_line_fn *fn, void *ctx, struct prop_err *err)
{
    const char *text = prop_buf_str(&l->line);
    size_t len = l->line.len;

    if (len > 0 && text[len - 1] == '\r') {
        l->line.data[--len] = 0;
        l->line.len = len;
    }
    int rc = fn(ctx, text, len, l->cut, err);
    prop_buf_clear(&l->line);
    l->cut = false;
    return rc;
}

int prop_lines_feed(struct prop_lines *l, const void *data, size_t len, prop_line_fn *fn, void *ctx,
                    struct prop_err *err)
{
    const char *at = data, *end = at + len;
    int rc = 0;

    while (rc == 0 && at < end) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((feed ? feed : end) - at);
        size_t room = l->line.max - l->line.len;
        l->cut = l->cut || n > room;
        rc = prop_buf_add(&l->line, at, n < room ? n : room, err);
        if (rc == 0 && feed)
            rc = whole(l, fn, ctx, err);
        at += n + (feed != NULL);
    }
    return rc;
}

int prop_lines_end(struct prop_lines *l, prop_line_fn *fn, void *ctx, struct prop_err *err)
{
    return l->line.len > 0 ? whole(l, fn, ctx, err) : 0;
}

void prop_lines_release(struct prop_lines *l)
{
    prop_buf_release(&l->line);
}
