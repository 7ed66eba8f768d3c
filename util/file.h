/* Files that are either whole or not there.
 *
 * Reading: whole files with a maximum; key files refuse to be readable by others.
 * Writing: struct prop_file_out writes beside the target (or to an unnamed file), is synced and
 * renamed or linked into place by prop_file_out_commit, and leaves nothing when released without
 * a commit, also when the process is killed before an unnamed file is linked.
 */
#ifndef PROP_UTIL_FILE_H
#define PROP_UTIL_FILE_H

#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Read a whole file ("-" is stdin; pipes such as /dev/fd/N work). `out` gives the maximum.
 * Fails: PROP_E_NOTFOUND, PROP_E_IO, PROP_E_LIMIT. */
int prop_file_read(const char *path, struct prop_buf *out, struct prop_err *err);

enum prop_secret_file_flags {
    PROP_SECRET_FILE_ANY_MODE = 0,
    PROP_SECRET_FILE_PRIVATE = 1 /* refuse a regular file that group or others can read */
};
/* Read a whole file into guarded memory from the first byte. Same failures, and PROP_E_DENIED
 * (id "key-file-mode") for a private file that others can read. */
int prop_file_read_secret(const char *path, size_t max, enum prop_secret_file_flags flags,
                          struct prop_secret **ret, struct prop_err *err);

struct prop_file_out {
    int fd;          /* -1 = closed */
    char *target;    /* final name */
    char *tmp;       /* name beside it, or NULL for an unnamed file */
    mode_t mode;
    bool force;      /* may replace an existing target */
    bool to_stdout;  /* target "-": bytes are held in the unnamed file, copied on commit */
    struct prop_secret *veil; /* to_stdout: what is held is encrypted under this one-time key */
    uint64_t held;            /* to_stdout: bytes so far */
};
#define PROP_FILE_OUT_INIT { -1, NULL, NULL, 0600, false, false, NULL, 0 }

/* Begin to write `target`. Without `force` an existing target is PROP_E_EXISTS, now and again at
 * commit. The folder must exist. A device, pipe or socket is never replaced by a file: PROP_E_IO
 * (id "not-a-file"). */
int prop_file_out_open(struct prop_file_out *f, const char *target, mode_t mode, bool force,
                       struct prop_err *err);
int prop_file_out_write(struct prop_file_out *f, const void *data, size_t len,
                        struct prop_err *err);
/* Sync and put in place; afterwards the object is as after init. */
int prop_file_out_commit(struct prop_file_out *f, struct prop_err *err);
/* Take back what was not committed. Fine after commit and after init. */
void prop_file_out_release(struct prop_file_out *f);
#define prop_auto_file_out __attribute__((cleanup(prop_file_out_release)))

/* Open, write, commit in one go. */
int prop_file_write(const char *target, const void *data, size_t len, mode_t mode, bool force,
                    struct prop_err *err);

/* Make a folder and its parents (mode for the new ones). An existing folder is fine. */
int prop_mkdir_p(const char *path, mode_t mode, struct prop_err *err);
/* "a/b" in fresh memory; NULL when memory is out. */
char *prop_path_join(const char *dir, const char *name) __attribute__((warn_unused_result));
/* Write all bytes to a descriptor, through short writes and EINTR; 0 or -1 with errno. */
int prop_write_all(int fd, const void *data, size_t len);
/* Our folder of one XDG kind, made when absent (0700): "$XDG_DATA_HOME/prop" and so on.
 * Fails: PROP_E_IO, also when neither the XDG variable nor HOME is set. */
enum prop_xdg { PROP_XDG_DATA, PROP_XDG_STATE, PROP_XDG_CONFIG, PROP_XDG_CACHE };
int prop_xdg_dir(enum prop_xdg kind, char **ret, struct prop_err *err);

static inline void prop_close_fd_p(int *fd)
{
    extern int close(int);
    if (*fd >= 0)
        (void)close(*fd);
}
#define prop_auto_fd __attribute__((cleanup(prop_close_fd_p)))

#endif
