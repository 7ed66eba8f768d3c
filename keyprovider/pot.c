#include "keyprovider/pot.h"

#include <string.h>

enum { POT_FIRST = 4096 };

static int grow(struct prop_kp_pot *p, size_t need, struct prop_err *err)
{
    struct prop_secret *more = NULL;
    size_t size = p->room ? prop_secret_len(p->room) : POT_FIRST;
    while (size < need)
        size = size > p->max / 2 ? p->max : size * 2;
    int rc = prop_secret_new(size, &more, err);
    if (rc != 0)
        return rc;
    if (p->len)
        memcpy(prop_secret_bytes(more), prop_secret_data(p->room), p->len);
    prop_secret_free(p->room);
    p->room = more;
    return 0;
}

int prop_kp_pot_add(struct prop_kp_pot *p, const void *data, size_t len, struct prop_err *err)
{
    size_t need;
    if (__builtin_add_overflow(p->len, len, &need) || need > p->max)
        return prop_err_set(err, PROP_E_LIMIT, "more than %zu bytes", p->max);
    if (!p->room || need > prop_secret_len(p->room)) {
        int rc = grow(p, need, err);
        if (rc != 0)
            return rc;
    }
    if (len)
        memcpy(prop_secret_bytes(p->room) + p->len, data, len);
    p->len = need;
    return 0;
}

int prop_kp_pot_puts(struct prop_kp_pot *p, const char *text, struct prop_err *err)
{
    return prop_kp_pot_add(p, text, strlen(text), err);
}

/* util/encode.h's encoder gives ordinary memory, where the text of a key must not be. */
int prop_kp_pot_base64(struct prop_kp_pot *p, const void *data, size_t len, struct prop_err *err)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *from = data;
    int rc = 0;
    char four[4] = { 0 };
    for (size_t i = 0; rc == 0 && i < len; i += 3) {
        uint32_t v = (uint32_t)from[i] << 16;
        if (i + 1 < len)
            v |= (uint32_t)from[i + 1] << 8;
        if (i + 2 < len)
            v |= from[i + 2];
        four[0] = digits[v >> 18];
        four[1] = digits[v >> 12 & 63];
        four[2] = '=';
        four[3] = '=';
        if (i + 1 < len)
            four[2] = digits[v >> 6 & 63];
        if (i + 2 < len)
            four[3] = digits[v & 63];
        rc = prop_kp_pot_add(p, four, sizeof four, err);
    }
    prop_wipe(four, sizeof four);
    return rc;
}

int prop_kp_pot_numbers(struct prop_kp_pot *p, const void *data, size_t len, struct prop_err *err)
{
    const uint8_t *from = data;
    char text[4] = { 0 }; /* a comma and up to three digits */
    int rc = prop_kp_pot_puts(p, "[", err);
    for (size_t i = 0; rc == 0 && i < len; i++) {
        size_t n = 0;
        if (i)
            text[n++] = ',';
        if (from[i] > 99)
            text[n++] = (char)('0' + from[i] / 100);
        if (from[i] > 9)
            text[n++] = (char)('0' + from[i] / 10 % 10);
        text[n++] = (char)('0' + from[i] % 10);
        rc = prop_kp_pot_add(p, text, n, err);
    }
    prop_wipe(text, sizeof text);
    return rc == 0 ? prop_kp_pot_puts(p, "]", err) : rc;
}

size_t prop_kp_pot_held(const struct prop_kp_pot *p)
{
    return p->room ? prop_secret_len(p->room) : 0;
}

int prop_kp_pot_take(struct prop_kp_pot *p, struct prop_secret **ret, struct prop_err *err)
{
    int rc = p->room ? 0 : prop_secret_new(0, &p->room, err);
    if (rc != 0)
        return rc;
    prop_secret_truncate(p->room, p->len);
    *ret = p->room;
    p->room = NULL;
    p->len = 0;
    return 0;
}

void prop_kp_pot_release(struct prop_kp_pot *p)
{
    prop_secret_free(p->room);
    p->room = NULL;
    p->len = 0;
}
