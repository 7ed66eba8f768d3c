/* Writing a small ISO 9660 volume of flat files (libarchive), with Rock Ridge and Joliet names: what
 * cloud-init takes a virtual machine's first settings from. */
#ifndef PROP_ARCHIVE_ISO_H
#define PROP_ARCHIVE_ISO_H

#include "util/err.h"

#include <stddef.h>

struct prop_iso_file {
    const char *name;  /* in the root folder */
    const void *data;
    size_t len;
};

/* Write the volume to `path`, which must not be there, with mode 0600. The library keeps the contents
 * in an unnamed file of its own under TMPDIR meanwhile.
 * Fails: PROP_E_EXISTS, PROP_E_IO, PROP_E_UNSUPPORTED (id "no-libarchive"). */
int prop_iso_write(const char *path, const char *volume_id, const struct prop_iso_file *files,
                   size_t n_files, struct prop_err *err);

#endif
