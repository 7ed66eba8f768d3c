/* Base64 and hex, strict. The decoder is constant in shape but not in time: the texts it reads are
 * either public or reach it through files and answers whose timing nobody can observe. */
#include "util/encode.h"

#include "util/mem.h"

#include <string.h>

static const char std_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t prop_b64_encoded_len(enum prop_b64 kind, size_t len)
{
    return kind == PROP_B64_STD ? (len + 2) / 3 * 4 : len / 3 * 4 + (len % 3 ? len % 3 + 1 : 0);
}

static void encode_to(enum prop_b64 kind, const uint8_t *in, size_t len, char *out)
{
    const char *a = kind == PROP_B64_STD ? std_alphabet : url_alphabet;
    size_t i = 0;
    for (; i + 3 <= len; i += 3, out += 4) {
        uint32_t v = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        out[0] = a[v >> 18];
        out[1] = a[v >> 12 & 63];
        out[2] = a[v >> 6 & 63];
        out[3] = a[v & 63];
    }
    if (i < len) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0);
        *out++ = a[v >> 18];
        *out++ = a[v >> 12 & 63];
        if (i + 1 < len)
            *out++ = a[v >> 6 & 63];
        if (kind == PROP_B64_STD) {
            *out++ = '=';
            if (i + 1 == len)
                *out++ = '=';
        }
    }
    *out = 0;
}

char *prop_b64_encode(enum prop_b64 kind, const void *data, size_t len)
{
    char *out = prop_alloc(prop_b64_encoded_len(kind, len) + 1);
    if (out)
        encode_to(kind, data, len, out);
    return out;
}

int prop_b64_append(struct prop_buf *out, enum prop_b64 kind, const void *data, size_t len,
                    struct prop_err *err)
{
    size_t n = prop_b64_encoded_len(kind, len);
    int rc = prop_buf_reserve(out, n, err);
    if (rc)
        return rc;
    encode_to(kind, data, len, (char *)out->data + out->len);
    out->len += n;
    return 0;
}

int prop_b64_digit(enum prop_b64 kind, char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (kind == PROP_B64_STD ? '+' : '-'))
        return 62;
    if (c == (kind == PROP_B64_STD ? '/' : '_'))
        return 63;
    return -1;
}

/* Bytes the text decodes to, and the number of digits; -1 when the length cannot be. */
static int shape(enum prop_b64 kind, const char *text, size_t len, size_t *digits, size_t *bytes)
{
    if (kind == PROP_B64_STD) {
        if (len % 4)
            return -1;
        size_t pad = len && text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0;
        *digits = len - pad;
    } else {
        if (len % 4 == 1)
            return -1;
        *digits = len;
    }
    *bytes = *digits / 4 * 3 + (*digits % 4 ? *digits % 4 - 1 : 0);
    return 0;
}

static int decode_to(enum prop_b64 kind, const char *text, size_t digits, uint8_t *out)
{
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < digits; i++) {
        int v = prop_b64_digit(kind, text[i]);
        if (v < 0)
            return -1;
        acc = (acc << 6 | (uint32_t)v) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *out++ = (uint8_t)(acc >> bits);
        }
    }
    return (acc & ((1u << bits) - 1)) ? -1 : 0; /* stray bits: not the canonical text */
}

static int refuse(const char *what, enum prop_b64 kind, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-base64", "%s is not %s", what,
                           kind == PROP_B64_STD ? "base64" : "unpadded base64url");
}

int prop_b64_decode(enum prop_b64 kind, const char *text, size_t len, const char *what,
                    struct prop_buf *out, struct prop_err *err)
{
    size_t digits, bytes;
    if (shape(kind, text, len, &digits, &bytes))
        return refuse(what, kind, err);
    int rc = prop_buf_reserve(out, bytes, err);
    if (rc) {
        (void)prop_err_wrap(err, "%s", what);
        return rc;
    }
    if (decode_to(kind, text, digits, out->data + out->len)) {
        out->data[out->len] = 0;
        return refuse(what, kind, err);
    }
    out->len += bytes;
    out->data[out->len] = 0;
    return 0;
}

int prop_b64_decode_secret(enum prop_b64 kind, const char *text, size_t len, const char *what,
                           struct prop_secret **ret, struct prop_err *err)
{
    size_t digits, bytes;
    if (shape(kind, text, len, &digits, &bytes))
        return refuse(what, kind, err);
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_secret_new(bytes, &s, err);
    if (rc)
        return rc;
    if (decode_to(kind, text, digits, prop_secret_bytes(s)))
        return refuse(what, kind, err);
    *ret = PROP_TAKE(s);
    return 0;
}

void prop_hex_encode(const void *data, size_t len, char *out)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        *out++ = hex[p[i] >> 4];
        *out++ = hex[p[i] & 15];
    }
    *out = 0;
}

int prop_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int prop_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    if (text_len != 2 * len)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int a = prop_hex_digit(text[2 * i]), b = prop_hex_digit(text[2 * i + 1]);
        if (a < 0 || b < 0)
            return -1;
        out[i] = (uint8_t)(a << 4 | b);
    }
    return 0;
}
