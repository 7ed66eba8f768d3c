/* The guest's initramfs: a list of files, folders and links, sorted and written as one reproducible cpio
 * archive. A program is put in with the libraries it needs, found as the dynamic loader would find them
 * here, and cut down to what is loaded. */
#ifndef PROP_VM_INITRAMFS_H
#define PROP_VM_INITRAMFS_H

#include "archive/cpio.h"
#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_INITRD_FILE_MAX (512u << 20) /* of one file as it is read; programs with symbols are large */
#define PROP_INITRD_ENTRIES_MAX 4096

struct prop_initrd_entry {
    char *name;           /* relative, owned */
    unsigned mode;        /* whole st_mode; the owner is always 0 */
    struct prop_buf data; /* a file's content, a link's target */
};
struct prop_initrd {
    struct prop_initrd_entry *entries;
    size_t n, cap;
    char lib_dir[256];    /* where libraries go that were found in no default folder */
};
#define PROP_INITRD_INIT { .entries = NULL }
void prop_initrd_release(struct prop_initrd *image);
#define prop_auto_initrd __attribute__((cleanup(prop_initrd_release)))

/* One entry; folders above it are made (0755). The same name again with the same content is fine.
 * Fails: PROP_E_EXISTS (id "image-clash") another content under that name. */
int prop_initrd_file(struct prop_initrd *image, const char *name, unsigned perm, const void *data,
                    size_t len, struct prop_err *err);
int prop_initrd_folder(struct prop_initrd *image, const char *name, unsigned perm,
                      struct prop_err *err);
int prop_initrd_link(struct prop_initrd *image, const char *name, const char *target,
                    struct prop_err *err);

struct prop_initrd_search {
    const char *const *dirs; /* looked in before the system's folders; NULL-ended, may be NULL */
    const char *sysroot;     /* "" outside tests: put before the system's folders and ld.so.conf */
};
/* A program as `name`, its interpreter and its libraries. Fails: PROP_E_NOTFOUND (id "no-library") a
 * library is not here; PROP_E_INPUT (id "bad-elf"). */
int prop_initrd_program(struct prop_initrd *image, const char *name, const char *path,
                       const struct prop_initrd_search *search, struct prop_err *err);
/* A library that is loaded by name at run time, with what it needs. */
int prop_initrd_library(struct prop_initrd *image, const char *soname,
                       const struct prop_initrd_search *search, struct prop_err *err);

/* Write the archive. ret_size (may be NULL): bytes written. */
int prop_initrd_write(const struct prop_initrd *image, const char *path, enum prop_cpio_filter filter,
                     uint64_t *ret_size, struct prop_err *err);

#endif
