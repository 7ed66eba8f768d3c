/* Reads JSON where it stands, in guarded memory: a request may carry the private keys of every
 * scheme the user has, so nothing of it is copied to the ordinary heap, and what was not asked for
 * is not copied at all. Strict: RFC 8259, UTF-8, no NUL, no nesting deeper than
 * PROP_LIMIT_JSON_DEPTH below a value that is skipped. */
#ifndef PROP_KEYPROVIDER_SCAN_H
#define PROP_KEYPROVIDER_SCAN_H

#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_KP_NAME 128 /* member names that matter are shorter, with their 0 */

struct prop_kp_scan {
    const uint8_t *start, *at, *end;
    const char *what;    /* names the text in errors */
    enum prop_code code; /* what a malformed text means */
    const char *id;
};
/* At the start of `text` (borrowed). */
void prop_kp_scan_begin(struct prop_kp_scan *s, const struct prop_secret *text, const char *what,
                        enum prop_code code, const char *id);
/* The failure that malformed text is: `why` at this byte. */
int prop_kp_scan_bad(const struct prop_kp_scan *s, const char *why, struct prop_err *err);

/* Is the next value null? Then it is read. */
bool prop_kp_scan_null(struct prop_kp_scan *s);
/* Read '{' or '['. */
int prop_kp_scan_enter(struct prop_kp_scan *s, char open, struct prop_err *err);
/* The next member of the object (its name; "" for one that is too long to matter) or element of the
 * array; the value comes next. 1, or 0 after the last (which is read), or negative. *first is true
 * before the first call. */
int prop_kp_scan_member(struct prop_kp_scan *s, bool *first, char name[PROP_KP_NAME],
                        struct prop_err *err);
int prop_kp_scan_element(struct prop_kp_scan *s, bool *first, struct prop_err *err);
/* Read a value of any kind, and forget it. */
int prop_kp_scan_skip(struct prop_kp_scan *s, struct prop_err *err);
/* A short string into `out`. */
int prop_kp_scan_word(struct prop_kp_scan *s, char *out, size_t size, struct prop_err *err);
/* Bytes as either library writes them: base64 text, an array of numbers 0..255, or null (*ret
 * stays NULL then). `plain`: also text that begins with '{', as it stands (ocicrypt.md 6.3). */
int prop_kp_scan_bytes(struct prop_kp_scan *s, bool plain, struct prop_secret **ret,
                       struct prop_err *err);
/* Nothing but white space may follow. */
int prop_kp_scan_finish(struct prop_kp_scan *s, struct prop_err *err);

#endif
