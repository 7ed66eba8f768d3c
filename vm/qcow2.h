/* An empty qcow2 disk over an image that is never written to (QEMU docs/interop/qcow2.rst, version 3). */
#ifndef PROP_VM_QCOW2_H
#define PROP_VM_QCOW2_H

#include "util/err.h"

#include <stdbool.h>
#include <stdint.h>

struct prop_disk_image {
    bool qcow2;          /* else raw */
    uint64_t size;       /* bytes the guest sees */
};
/* What kind of disk image a file is. A qcow2 file that refers to other files (a backing file, external
 * data) is refused: a guest would read those of this host.
 * Fails: PROP_E_NOTFOUND (id "no-image"), PROP_E_INPUT (id "bad-image"). */
int prop_disk_image_look(const char *path, struct prop_disk_image *ret, struct prop_err *err);

/* Write an overlay of `size` bytes (at least the image's) over the image at `backing`, an absolute
 * path. Fails: PROP_E_EXISTS, PROP_E_IO, PROP_E_LIMIT (id "disk-size"). */
int prop_qcow2_overlay(const char *path, const char *backing, const struct prop_disk_image *image,
                       uint64_t size, struct prop_err *err);

#endif
