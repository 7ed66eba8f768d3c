/* Small things with text and time. */
#ifndef PROP_UTIL_TEXT_H
#define PROP_UTIL_TEXT_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

bool prop_starts_with(const char *s, const char *prefix);
bool prop_ends_with(const char *s, const char *suffix);
/* Copy `s` to `out` (at most size-1 bytes) with control characters, and bytes that are not UTF-8,
 * made visible as \xNN: nothing from outside reaches a terminal otherwise. Returns out. */
char *prop_printable(const char *s, size_t len, char *out, size_t size);
/* Bytes of the UTF-8 character at `s` (`left` bytes, at least 1), 0 if it is none: RFC 3629, no
 * overlong forms, no surrogates. NUL is a character of one byte. */
size_t prop_utf8_len(const uint8_t *s, size_t left);
/* Append `data` as valid UTF-8: each byte that is none becomes U+FFFD. */
int prop_utf8_clean(const void *data, size_t len, struct prop_buf *out, struct prop_err *err);
/* Decimal number, the whole text, no sign, no space. PROP_E_INPUT names `what`. */
int prop_parse_u64(const char *text, const char *what, uint64_t *ret, struct prop_err *err);
/* Bytes with an optional suffix K, M, G (1024) or KiB, MiB, GiB. */
int prop_parse_size(const char *text, const char *what, uint64_t *ret, struct prop_err *err);
/* Seconds with an optional suffix ms, s, m, h; the result is milliseconds. */
int prop_parse_duration_ms(const char *text, const char *what, uint64_t *ret, struct prop_err *err);
/* Milliseconds of the monotonic clock; seconds of the wall clock. */
uint64_t prop_now_ms(void);
time_t prop_wall_time(void);
/* IMF-fixdate of RFC 9110 section 5.6.7 ("Sat, 21 Nov 2026 13:05:25 GMT"), 30 bytes with the 0. */
void prop_http_date(time_t t, char out[30]);
/* RFC 3339 in UTC ("2026-11-21T13:05:25Z"), 21 bytes with the 0. */
void prop_rfc3339(time_t t, char out[21]);

#endif
