/* Text from outside made safe to print; numbers, sizes and times read and written. */
#include "util/text.h"

#include <stdio.h>
#include <string.h>

bool prop_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool prop_ends_with(const char *s, const char *suffix)
{
    size_t a = strlen(s), b = strlen(suffix);
    return a >= b && memcmp(s + a - b, suffix, b) == 0;
}

size_t prop_utf8_len(const uint8_t *s, size_t left)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

int prop_utf8_clean(const void *data, size_t len, struct prop_buf *out, struct prop_err *err)
{
    static const char replacement[] = "\xef\xbf\xbd";
    const uint8_t *p = data;
    size_t start = 0;
    int rc = 0;
    for (size_t i = 0; i < len && !rc;) {
        size_t n = prop_utf8_len(p + i, len - i);
        i += n;
        if (n)
            continue;
        rc = prop_buf_add(out, p + start, i - start, err);
        if (!rc)
            rc = prop_buf_puts(out, replacement, err);
        start = ++i;
    }
    return !rc && len > start ? prop_buf_add(out, p + start, len - start, err) : rc;
}

char *prop_printable(const char *s, size_t len, char *out, size_t size)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t o = 0;
    for (size_t i = 0; i < len && size;) {
        size_t n = prop_utf8_len(p + i, len - i);
        /* U+0080..U+009F are control characters too (C2 80 .. C2 9F). */
        bool control = n == 1 ? (p[i] < 0x20 || p[i] == 0x7f)
                              : (n == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0);
        if (n && !control) {
            if (o + n >= size)
                break;
            memcpy(out + o, p + i, n);
            o += n;
            i += n;
            continue;
        }
        if (o + 4 >= size)
            break;
        o += (size_t)snprintf(out + o, size - o, "\\x%02x", p[i]);
        i++;
    }
    if (size)
        out[o] = 0;
    return out;
}

/* Leading decimal digits; returns how many, 0 also on overflow. */
static size_t digits(const char *text, uint64_t *ret)
{
    uint64_t v = 0;
    size_t n = 0;
    for (; text[n] >= '0' && text[n] <= '9'; n++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text[n] - '0'), &v))
            return 0;
    *ret = v;
    return n;
}

int prop_parse_u64(const char *text, const char *what, uint64_t *ret, struct prop_err *err)
{
    uint64_t v;
    size_t n = digits(text, &v);
    if (!n || text[n])
        return prop_err_set(err, PROP_E_INPUT, "%s: '%s' is not a whole number", what, text);
    *ret = v;
    return 0;
}

struct unit { const char *suffix; uint64_t factor; };

static int parse_unit(const char *text, const char *what, const struct unit *units, size_t n_units,
                      const char *kind, uint64_t *ret, struct prop_err *err)
{
    uint64_t v;
    size_t n = digits(text, &v);
    for (size_t i = 0; n && i < n_units; i++)
        if (strcmp(text + n, units[i].suffix) == 0) {
            if (__builtin_mul_overflow(v, units[i].factor, &v))
                break;
            *ret = v;
            return 0;
        }
    return prop_err_set(err, PROP_E_INPUT, "%s: '%s' is not %s", what, text, kind);
}

int prop_parse_size(const char *text, const char *what, uint64_t *ret, struct prop_err *err)
{
    static const struct unit units[] = {
        { "", 1 }, { "B", 1 }, { "K", 1u << 10 }, { "KiB", 1u << 10 }, { "M", 1u << 20 },
        { "MiB", 1u << 20 }, { "G", 1u << 30 }, { "GiB", 1u << 30 },
    };
    return parse_unit(text, what, units, sizeof units / sizeof units[0],
                      "a size such as 65536, 64M or 1GiB", ret, err);
}

int prop_parse_duration_ms(const char *text, const char *what, uint64_t *ret, struct prop_err *err)
{
    static const struct unit units[] = {
        { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
    };
    return parse_unit(text, what, units, sizeof units / sizeof units[0],
                      "a time such as 30, 500ms or 5m", ret, err);
}

uint64_t prop_now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

time_t prop_wall_time(void)
{
    return time(NULL);
}

void prop_http_date(time_t t, char out[30])
{
    /* strftime would follow the locale; the names are fixed by RFC 9110. */
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    char text[64];
    (void)gmtime_r(&t, &tm);
    (void)snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                   days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
                   tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, 29);
    out[29] = 0;
}

void prop_rfc3339(time_t t, char out[21])
{
    struct tm tm;
    char text[64];
    (void)gmtime_r(&t, &tm);
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, 20);
    out[20] = 0;
}
