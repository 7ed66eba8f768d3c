#include "keyprovider/scan.h"

#include "util/encode.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>

_Static_assert(PROP_LIMIT_JSON_DEPTH <= 64, "one bit per level");

void prop_kp_scan_begin(struct prop_kp_scan *s, const struct prop_secret *text, const char *what,
                        enum prop_code code, const char *id)
{
    s->start = s->at = prop_secret_data(text);
    s->end = s->start + prop_secret_len(text);
    s->what = what;
    s->code = code;
    s->id = id;
}

int prop_kp_scan_bad(const struct prop_kp_scan *s, const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, s->code, s->id, "%s: %s at byte %zu", s->what, why,
                           (size_t)(s->at - s->start));
}

/* The next byte that is no white space, not yet read; 0 at the end (a NUL is never right). */
static char peek(struct prop_kp_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
    return s->at < s->end ? (char)*s->at : 0;
}

static bool take(struct prop_kp_scan *s, char c)
{
    if (peek(s) != c || s->at >= s->end)
        return false;
    s->at++;
    return true;
}

static bool take_word(struct prop_kp_scan *s, const char *word)
{
    size_t n = strlen(word);
    (void)peek(s);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return false;
    s->at += n;
    return true;
}

bool prop_kp_scan_null(struct prop_kp_scan *s)
{
    return take_word(s, "null");
}

/* --- strings ---------------------------------------------------------------------------------- */

/* Four hex digits at p, or -1. */
static long hex4(const uint8_t *p, const uint8_t *end)
{
    long v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = prop_hex_digit((char)p[i]);
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

static size_t put_utf8(long c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)((0xf00 >> n & 0xff) | c);
    return n;
}

/* The escape at *p, behind its backslash, as 1 to 4 bytes; 0 when it is none, or means NUL. */
static size_t read_escape(const uint8_t **p, const uint8_t *end, uint8_t out[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*p >= end)
        return 0;
    const char *simple = **p ? strchr(from, **p) : NULL;
    if (simple) {
        (*p)++;
        out[0] = (uint8_t)to[simple - from];
        return 1;
    }
    long c = **p == 'u' ? hex4(*p + 1, end) : -1;
    if (c <= 0 || (c >= 0xdc00 && c <= 0xdfff))
        return 0;
    *p += 5;
    if (c >= 0xd800 && c <= 0xdbff) { /* RFC 8259 section 7: a pair of surrogates */
        long low = end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, end) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return 0;
        *p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(c, out);
}

/* A string between its quotes: where it stands, and how long it is without escapes. */
struct text {
    const uint8_t *raw;
    size_t raw_len, len;
};

static int read_text(struct prop_kp_scan *s, struct text *ret, struct prop_err *err)
{
    struct text t = { NULL, 0, 0 };
    uint8_t bytes[4];
    if (!take(s, '"'))
        return prop_kp_scan_bad(s, "a string is expected", err);
    t.raw = s->at;
    while (s->at < s->end && *s->at != '"') {
        size_t n;
        if (*s->at == '\\') {
            s->at++;
            n = read_escape(&s->at, s->end, bytes);
        } else {
            n = *s->at < 0x20 ? 0 : prop_utf8_len(s->at, (size_t)(s->end - s->at));
            s->at += n;
        }
        if (n == 0)
            return prop_kp_scan_bad(s, "a character that no string may hold", err);
        t.len += n;
    }
    t.raw_len = (size_t)(s->at - t.raw);
    if (!take(s, '"'))
        return prop_kp_scan_bad(s, "a string without an end", err);
    *ret = t;
    return 0;
}

/* The characters of a string that read_text passed, t->len bytes. */
static void copy_text(const struct text *t, uint8_t *out)
{
    const uint8_t *p = t->raw, *end = t->raw + t->raw_len;
    uint8_t bytes[4] = { 0 };
    while (p < end) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        p++;
        size_t n = read_escape(&p, end, bytes);
        memcpy(out, bytes, n);
        out += n;
    }
    prop_wipe(bytes, sizeof bytes);
}

int prop_kp_scan_word(struct prop_kp_scan *s, char *out, size_t size, struct prop_err *err)
{
    struct text t;
    int rc = read_text(s, &t, err);
    if (rc != 0)
        return rc;
    if (t.len >= size)
        return prop_kp_scan_bad(s, "too long a string before here", err);
    copy_text(&t, (uint8_t *)out);
    out[t.len] = 0;
    return 0;
}

/* --- objects, arrays, anything ---------------------------------------------------------------- */

int prop_kp_scan_enter(struct prop_kp_scan *s, char open, struct prop_err *err)
{
    if (take(s, open))
        return 0;
    return prop_kp_scan_bad(s, open == '{' ? "an object is expected" : "an array is expected", err);
}

/* 1: an item comes; 0: `close` was read. */
static int next_item(struct prop_kp_scan *s, bool *first, char close, struct prop_err *err)
{
    bool was_first = *first;
    *first = false;
    if (take(s, close))
        return 0;
    if (was_first || take(s, ','))
        return 1;
    return prop_kp_scan_bad(s, "a comma is expected", err);
}

int prop_kp_scan_member(struct prop_kp_scan *s, bool *first, char name[PROP_KP_NAME],
                        struct prop_err *err)
{
    struct text t;
    int rc = next_item(s, first, '}', err);
    if (rc <= 0)
        return rc;
    if ((rc = read_text(s, &t, err)) != 0)
        return rc;
    if (!take(s, ':'))
        return prop_kp_scan_bad(s, "a colon is expected", err);
    name[0] = 0;
    if (t.len < PROP_KP_NAME) {
        copy_text(&t, (uint8_t *)name);
        name[t.len] = 0;
    }
    return 1;
}

int prop_kp_scan_element(struct prop_kp_scan *s, bool *first, struct prop_err *err)
{
    return next_item(s, first, ']', err);
}

static size_t digits(struct prop_kp_scan *s)
{
    size_t n = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        n++;
    return n;
}

/* RFC 8259 section 6. */
static bool skip_number(struct prop_kp_scan *s)
{
    if (s->at < s->end && *s->at == '-')
        s->at++;
    const uint8_t *whole = s->at;
    size_t n = digits(s);
    if (n == 0 || (n > 1 && *whole == '0'))
        return false;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (digits(s) == 0)
            return false;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        return digits(s) > 0;
    }
    return true;
}

static int skip_scalar(struct prop_kp_scan *s, struct prop_err *err)
{
    struct text t;
    if (peek(s) == '"')
        return read_text(s, &t, err);
    if (take_word(s, "true") || take_word(s, "false") || take_word(s, "null") || skip_number(s))
        return 0;
    return prop_kp_scan_bad(s, "a value is expected", err);
}

/* Which containers a skipped value is in: one bit per level, 1 for an object. */
struct levels {
    uint64_t objects;
    unsigned depth;
    bool first;
};

/* Begin a value: a scalar is read whole, a container is only entered. */
static int skip_begin(struct prop_kp_scan *s, struct levels *l, struct prop_err *err)
{
    char c = peek(s);
    l->first = c == '{' || c == '[';
    if (!l->first)
        return skip_scalar(s, err);
    if (l->depth == PROP_LIMIT_JSON_DEPTH)
        return prop_kp_scan_bad(s, "too deep a nesting", err);
    s->at++;
    l->objects = l->objects << 1 | (c == '{');
    l->depth++;
    return 0;
}

int prop_kp_scan_skip(struct prop_kp_scan *s, struct prop_err *err)
{
    struct levels l = { 0, 0, false };
    char name[PROP_KP_NAME];
    int rc = skip_begin(s, &l, err);
    while (rc == 0 && l.depth > 0) {
        rc = l.objects & 1 ? prop_kp_scan_member(s, &l.first, name, err)
                           : prop_kp_scan_element(s, &l.first, err);
        if (rc > 0) {
            rc = skip_begin(s, &l, err);
        } else if (rc == 0) {
            l.objects >>= 1;
            l.depth--;
        }
    }
    return rc;
}

int prop_kp_scan_finish(struct prop_kp_scan *s, struct prop_err *err)
{
    (void)peek(s);
    return s->at == s->end ? 0 : prop_kp_scan_bad(s, "something behind the end", err);
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* One number 0..255, digits only. */
static int read_byte(struct prop_kp_scan *s, uint8_t *ret, struct prop_err *err)
{
    (void)peek(s);
    const uint8_t *at = s->at;
    size_t n = digits(s);
    unsigned v = 0;
    for (size_t i = 0; i < n && i < 3; i++)
        v = v * 10 + (unsigned)(at[i] - '0');
    if (n == 0 || n > 3 || v > 255 || (n > 1 && *at == '0')) {
        s->at = at;
        return prop_kp_scan_bad(s, "a number from 0 to 255 is expected", err);
    }
    *ret = (uint8_t)v;
    return 0;
}

/* Read the array; where `out` is NULL the bytes are only counted. */
static int read_numbers(struct prop_kp_scan *s, uint8_t *out, size_t *ret_n, struct prop_err *err)
{
    bool first = true;
    uint8_t byte = 0;
    size_t n = 0;
    int rc = prop_kp_scan_enter(s, '[', err);
    while (rc == 0 && (rc = prop_kp_scan_element(s, &first, err)) > 0) {
        rc = read_byte(s, &byte, err);
        if (rc == 0 && out)
            out[n] = byte;
        n++;
    }
    *ret_n = n;
    return rc;
}

static int number_bytes(struct prop_kp_scan *s, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *bytes = NULL;
    struct prop_kp_scan again = *s;
    size_t n = 0;
    int rc = read_numbers(s, NULL, &n, err);
    if (rc == 0)
        rc = prop_secret_new(n, &bytes, err);
    if (rc == 0)
        rc = read_numbers(&again, prop_secret_bytes(bytes), &n, err);
    if (rc == 0)
        *ret = PROP_TAKE(bytes);
    return rc;
}

static int text_bytes(struct prop_kp_scan *s, bool plain, struct prop_secret **ret,
                      struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    struct text t;
    int rc = read_text(s, &t, err);
    if (rc != 0 || (rc = prop_secret_new(t.len, &text, err)) != 0)
        return rc;
    copy_text(&t, prop_secret_bytes(text));
    const char *chars = (const char *)prop_secret_data(text);
    if (plain && t.len && chars[0] == '{') {
        *ret = PROP_TAKE(text);
        return 0;
    }
    rc = prop_b64_decode_secret(PROP_B64_STD, chars, t.len, s->what, ret, NULL);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    return rc == 0 ? 0 : prop_kp_scan_bad(s, "text that is not base64 before here", err);
}

int prop_kp_scan_bytes(struct prop_kp_scan *s, bool plain, struct prop_secret **ret,
                       struct prop_err *err)
{
    if (prop_kp_scan_null(s))
        return 0;
    return peek(s) == '[' ? number_bytes(s, ret, err) : text_bytes(s, plain, ret, err);
}
