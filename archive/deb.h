/* Reading Debian packages (an ar archive with a compressed tar inside) without dpkg, and single
 * compressed files (libarchive). */
#ifndef PROP_ARCHIVE_DEB_H
#define PROP_ARCHIVE_DEB_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a reader of a package wants: `want` says it for each regular file (name without "./"), `take`
 * then gets the content. Both may be called in any order of names, each name once. */
struct prop_deb_reader {
    bool (*want)(void *ctx, const char *name, uint64_t size);
    int (*take)(void *ctx, const char *name, const struct prop_buf *content, struct prop_err *err);
    void *ctx;
    size_t max; /* bytes one file may have */
};
/* One pass over the package's files. Fails: PROP_E_NOTFOUND, PROP_E_INPUT (id "bad-package") it is no
 * Debian package or damaged; PROP_E_LIMIT a wanted file is over `max`; what `take` fails with. */
int prop_deb_read(const char *file, const struct prop_deb_reader *reader, struct prop_err *err);

/* Unpack what gzip, xz or zstd packed; other bytes are appended as they are. `what` names it in errors.
 * Fails: PROP_E_INPUT (id "bad-archive"), PROP_E_LIMIT over the buffer's maximum. */
int prop_unpack(const void *data, size_t len, const char *what, struct prop_buf *out,
                struct prop_err *err);

#endif
