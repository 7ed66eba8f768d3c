/* A growing byte buffer that cannot be made without a maximum.
 *
 * Invariant: data[len] is always a readable 0 byte once anything was appended, so text buffers can
 * be used as C strings (prop_buf_str). An append past `max` fails with PROP_E_LIMIT and changes
 * nothing. Not for secrets: use util/secret.h.
 */
#ifndef PROP_UTIL_BUF_H
#define PROP_UTIL_BUF_H

#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

struct prop_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* bytes `len` may reach */
};

#define PROP_BUF_INIT(maximum) { NULL, 0, 0, (maximum) }

/* Make room for `more` bytes after len, without changing len. */
int prop_buf_reserve(struct prop_buf *b, size_t more, struct prop_err *err);
/* Append bytes, a C string, or formatted text. */
int prop_buf_add(struct prop_buf *b, const void *data, size_t len, struct prop_err *err);
int prop_buf_puts(struct prop_buf *b, const char *s, struct prop_err *err);
int prop_buf_printf(struct prop_buf *b, struct prop_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The content as a C string ("" when empty); borrowed until the next append. */
const char *prop_buf_str(const struct prop_buf *b);
/* Take the memory out (free with prop_free); the buffer is empty afterwards. NULL when empty. */
char *prop_buf_take(struct prop_buf *b, size_t *ret_len);
/* Forget the content and keep the memory; free the memory. Both are fine at any time. */
void prop_buf_clear(struct prop_buf *b);
void prop_buf_release(struct prop_buf *b);

#define prop_auto_buf __attribute__((cleanup(prop_buf_release)))

#endif
