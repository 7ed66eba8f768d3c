/* Growing buffers with a maximum. Growth doubles, so appending is linear in the end. */
#include "util/buf.h"

#include "util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int prop_buf_reserve(struct prop_buf *b, size_t more, struct prop_err *err)
{
    size_t need;
    if (__builtin_add_overflow(b->len, more, &need) || need > b->max)
        return prop_err_set(err, PROP_E_LIMIT, "more than %zu bytes", b->max);
    if (need < b->cap) /* one byte more than len for the 0 */
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap <= need)
        cap = cap > b->max / 2 ? b->max + 1 : cap * 2;
    uint8_t *data = prop_realloc_array(b->data, cap, 1);
    if (!data)
        return prop_err_nomem(err);
    b->data = data;
    b->cap = cap;
    return 0;
}

int prop_buf_add(struct prop_buf *b, const void *data, size_t len, struct prop_err *err)
{
    int rc = prop_buf_reserve(b, len, err);
    if (rc)
        return rc;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return 0;
}

int prop_buf_puts(struct prop_buf *b, const char *s, struct prop_err *err)
{
    return prop_buf_add(b, s, strlen(s), err);
}

int prop_buf_printf(struct prop_buf *b, struct prop_err *err, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int rc = n < 0 ? prop_err_set(err, PROP_E_BUG, "bad format") : prop_buf_reserve(b, (size_t)n, err);
    if (!rc) {
        (void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return rc;
}

const char *prop_buf_str(const struct prop_buf *b)
{
    return b->data ? (const char *)b->data : "";
}

char *prop_buf_take(struct prop_buf *b, size_t *ret_len)
{
    char *p = (char *)b->data;
    if (ret_len)
        *ret_len = b->len;
    b->data = NULL;
    b->len = b->cap = 0;
    return p;
}

void prop_buf_clear(struct prop_buf *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = 0;
}

void prop_buf_release(struct prop_buf *b)
{
    prop_free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}
