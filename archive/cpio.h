/* Writing the kernel's initramfs format: cpio "newc", optionally compressed (libarchive). One content
 * gives one archive: owner and times are 0, inodes are counted from 1. */
#ifndef PROP_ARCHIVE_CPIO_H
#define PROP_ARCHIVE_CPIO_H

#include "util/err.h"
#include "util/mem.h"

#include <stddef.h>
#include <stdint.h>

enum prop_cpio_filter { PROP_CPIO_PLAIN, PROP_CPIO_GZIP, PROP_CPIO_ZSTD };

struct prop_cpio;
/* Each piece of the archive goes to `sink`. Fails: PROP_E_UNSUPPORTED (id "no-libarchive"), or this
 * libarchive cannot compress that way. */
int prop_cpio_new(enum prop_cpio_filter filter,
                  int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err),
                  void *ctx, struct prop_cpio **ret, struct prop_err *err);
/* `mode` is a whole st_mode. A folder has no content, a symbolic link's content is its target (text);
 * names are relative. Fails: what the sink fails with. */
int prop_cpio_add(struct prop_cpio *c, const char *name, unsigned mode, const void *data, size_t len,
                  struct prop_err *err);
/* Write the end; nothing can be added afterwards. */
int prop_cpio_end(struct prop_cpio *c, struct prop_err *err);
void prop_cpio_free(struct prop_cpio *c);
PROP_DEFINE_AUTO(struct prop_cpio *, prop_cpio_free)
#define prop_auto_cpio __attribute__((cleanup(prop_cpio_free_p)))

#endif
