/* Blobs as files: written without a name until they are whole, read in large pieces. */
#ifndef PROP_OCI_BLOBFILE_H
#define PROP_OCI_BLOBFILE_H

#include "oci/image.h"
#include "util/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The mode a file or folder of an image gets: `mode` without what the user's own umask takes away
 * (the process runs under a tighter one, for keys). */
mode_t prop_image_mode(mode_t mode);
/* Make one folder, and its missing parents; an existing one is fine. ret_made (may be NULL): was it
 * made now? */
int prop_image_folder(const char *path, bool *ret_made, struct prop_err *err);

struct prop_blobfile {
    int fd;
    char *tmp; /* name, where the file system has no unnamed files; NULL otherwise */
};

/* Begin a file in folder `dir`. */
int prop_blobfile_begin(const char *dir, struct prop_blobfile *ret, struct prop_err *err);
int prop_blobfile_write(struct prop_blobfile *b, const void *data, size_t len,
                        struct prop_err *err);
/* Give it its name. An existing file of the same length is the same content and stays; another
 * one is damage and is replaced. Closes in every case. */
int prop_blobfile_finish(struct prop_blobfile *b, const char *path, struct prop_err *err);
void prop_blobfile_abort(struct prop_blobfile *b);

/* Stream a regular file. PROP_E_NOTFOUND (id "blob-not-found"), PROP_E_VERIFY (id
 * "blob-truncated", "size-mismatch") when its length is not `size`, what the sink fails with. */
int prop_blobfile_stream(const char *path, uint64_t size, prop_sink_fn sink, void *ctx,
                         struct prop_err *err);
/* Stream what a descriptor gives up to its end. */
int prop_fd_stream(int fd, const char *path, prop_sink_fn sink, void *ctx, struct prop_err *err);

#endif
