/* What is measured: a file of any size, read in pieces while it is hashed, or bytes in memory.
 *
 * A file that is no regular one (a pipe) is copied into memory first, since some of what is measured
 * is not read in order. `patched` lays other bytes over the beginning, as a VMM does that changes a
 * kernel's header. */
#ifndef PROP_TEE_SOURCE_H
#define PROP_TEE_SOURCE_H

#include "crypto/digest.h"
#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

#define PROP_SOURCE_PIPE_MAX (1u << 30) /* bytes taken from a pipe */

struct prop_source {
    const char *what;       /* names it in errors; borrowed */
    int fd;                 /* -1: `data` */
    const uint8_t *data;    /* borrowed */
    uint64_t size;
    const uint8_t *patched; /* borrowed; takes the place of the first n_patched bytes */
    size_t n_patched;
};
#define PROP_SOURCE_INIT { .fd = -1 }

/* Open a file; "-" is standard input. Fails: PROP_E_NOTFOUND, PROP_E_IO, PROP_E_LIMIT (pipes). */
int prop_source_open(const char *path, struct prop_source *ret, struct prop_err *err);
struct prop_source prop_source_of(const void *data, size_t len, const char *what);
void prop_source_release(struct prop_source *s);
#define prop_auto_source __attribute__((cleanup(prop_source_release)))

/* Exactly `len` bytes at `from`. Fails: PROP_E_IO, also when the file has become shorter. */
int prop_source_read(const struct prop_source *s, uint64_t from, void *buf, size_t len,
                     struct prop_err *err);
/* Feed `len` bytes from `from` on into a running hash. Fails: as above; PROP_E_INTERRUPTED. */
int prop_source_hash(const struct prop_source *s, uint64_t from, uint64_t len, struct prop_hash *h,
                     struct prop_err *err);
/* Digest of all of it. */
int prop_source_digest(const struct prop_source *s, enum prop_hash_alg alg, struct prop_digest *ret,
                       struct prop_err *err);

#endif
