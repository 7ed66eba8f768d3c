/* Tar archives as OCI images use them: flat reading by name, streaming writing (libarchive).
 *
 * Reading refuses what an archive must not bring: absolute names, "..", links, devices, and a name
 * twice. Archives may be compressed with gzip or zstd. */
#ifndef PROP_ARCHIVE_TAR_H
#define PROP_ARCHIVE_TAR_H

#include "util/err.h"
#include "util/file.h"
#include "util/mem.h"

#include <stddef.h>
#include <stdint.h>

/* Look at every entry once; `entry` (may be NULL) is called for regular files, names without "./".
 * Fails: PROP_E_NOTFOUND (no such file), PROP_E_INPUT (id "bad-archive"), what `entry` fails with. */
int prop_tar_check(const char *file,
                   int (*entry)(void *ctx, const char *name, uint64_t size, struct prop_err *err),
                   void *ctx, struct prop_err *err);

/* Stream one regular file of the archive. ret_size (may be NULL) is set before the first byte.
 * Fails: PROP_E_NOTFOUND when no entry has that name, and as above. */
int prop_tar_read(const char *file, const char *name, uint64_t *ret_size,
                  int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err),
                  void *ctx, struct prop_err *err);

/* Writing into an output file that the caller commits. Entries get mode 0644 (folders 0755), owner
 * and time 0, so that one content gives one archive. */
struct prop_tar_out;
int prop_tar_out_new(struct prop_file_out *file, struct prop_tar_out **ret, struct prop_err *err);
/* The same into a callback. */
int prop_tar_out_new_sink(int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err),
                          void *ctx, struct prop_tar_out **ret, struct prop_err *err);
/* Bytes of an archive that holds nothing but one file of `size` bytes with a name of at most 100. */
uint64_t prop_tar_size_of_one(uint64_t size);
int prop_tar_out_folder(struct prop_tar_out *t, const char *name, struct prop_err *err);
/* Announce a file of `size` bytes, then write exactly these. */
int prop_tar_out_file(struct prop_tar_out *t, const char *name, uint64_t size,
                      struct prop_err *err);
int prop_tar_out_write(struct prop_tar_out *t, const void *data, size_t len, struct prop_err *err);
/* Write the end of the archive; the file is not committed. */
int prop_tar_out_end(struct prop_tar_out *t, struct prop_err *err);
void prop_tar_out_free(struct prop_tar_out *t);
PROP_DEFINE_AUTO(struct prop_tar_out *, prop_tar_out_free)
#define prop_auto_tar_out __attribute__((cleanup(prop_tar_out_free_p)))

#endif
