/* gzip request bodies (RFC 1952, RFC 1951), inflated with a maximum. Clients hardly ever send them,
 * so this is small rather than fast, and room for the output is the only memory it takes. */
#ifndef PROP_KBSD_INFLATE_H
#define PROP_KBSD_INFLATE_H

#include "util/buf.h"
#include "util/err.h"

#include <stddef.h>

/* Append the content of one gzip file (all its members) to `out`; length and checksum are verified.
 * Fails: PROP_E_INPUT malformed or cut short; PROP_E_LIMIT more than out->max. */
int prop_kbsd_gunzip(const void *data, size_t len, struct prop_buf *out, struct prop_err *err);

#endif
