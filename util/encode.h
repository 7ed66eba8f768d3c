/* Base64 in the two alphabets in use, and hex. Decoders are strict: no white space, no missing or
 * extra padding, no stray bits in the last group (RFC 4648 sections 3.5, 4, 5, 8). */
#ifndef PROP_UTIL_ENCODE_H
#define PROP_UTIL_ENCODE_H

#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

#include <stddef.h>
#include <stdint.h>

enum prop_b64 {
    PROP_B64_STD, /* RFC 4648 section 4, padded: annotations, evidence, nonces */
    PROP_B64_URL  /* RFC 4648 section 5, no padding: JOSE */
};

/* Bytes of text for `len` bytes, without the terminating 0. */
size_t prop_b64_encoded_len(enum prop_b64 kind, size_t len);
/* Encode into fresh memory (prop_free); NULL when memory is out. */
char *prop_b64_encode(enum prop_b64 kind, const void *data, size_t len)
    __attribute__((warn_unused_result));
/* Append the encoding to a buffer. */
int prop_b64_append(struct prop_buf *out, enum prop_b64 kind, const void *data, size_t len,
                    struct prop_err *err);
/* Decode into a buffer, or into guarded memory. `what` names the text in errors (PROP_E_INPUT). */
int prop_b64_decode(enum prop_b64 kind, const char *text, size_t len, const char *what,
                    struct prop_buf *out, struct prop_err *err);
int prop_b64_decode_secret(enum prop_b64 kind, const char *text, size_t len, const char *what,
                           struct prop_secret **ret, struct prop_err *err);

/* Lower-case hex of `len` bytes into `out` (2*len+1 bytes). */
void prop_hex_encode(const void *data, size_t len, char *out);
/* Exactly `len` bytes from 2*len hex digits, either case. Returns 0 or -1. */
int prop_hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len);

/* Value of one digit (hex in either case; base64 of that alphabet), or -1. */
int prop_hex_digit(char c);
int prop_b64_digit(enum prop_b64 kind, char c);

#endif
