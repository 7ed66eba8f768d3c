/* Files that are whole or not there. A new file is unnamed (O_TMPFILE) where the file system can do
 * that, so that a killed process leaves nothing; elsewhere it has a temporary name beside it. */
#include "util/file.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_for_reading(const char *path, int *ret_fd, struct prop_err *err)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return prop_err_sys(err, errno == ENOENT || errno == ENOTDIR ? PROP_E_NOTFOUND : PROP_E_IO,
                            "open '%s'", path);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        (void)close(fd);
        return prop_err_set(err, PROP_E_IO, "'%s' is a folder, a file is needed", path);
    }
    *ret_fd = fd;
    return 0;
}

int prop_file_read(const char *path, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_fd int fd = -1;
    int rc = open_for_reading(path, &fd, err);
    if (rc)
        return rc;
    struct stat st;
    size_t step = 16384;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        (uint64_t)st.st_size < out->max)
        step = (size_t)st.st_size;
    for (;;) {
        size_t room = out->max - out->len;
        char probe;
        if (room == 0) { /* full: one byte more would be too much */
            ssize_t n = read(fd, &probe, 1);
            if (n == 0)
                return 0;
            return prop_err_set_id(err, PROP_E_LIMIT, "file-too-big", "'%s' is over %zu bytes", path,
                                   out->max);
        }
        rc = prop_buf_reserve(out, room < step ? room : step, err);
        if (rc)
            return rc;
        ssize_t n = read(fd, out->data + out->len, room < step ? room : step);
        if (n < 0 && errno == EINTR) { /* a pipe may keep us waiting: was it a signal to stop? */
            if ((rc = prop_stop_check(err)) != 0)
                return rc;
            continue;
        }
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "read '%s'", path);
        out->len += (size_t)n;
        out->data[out->len] = 0;
        if (n == 0)
            return 0;
    }
}

/* As read(), also into pages that system calls cannot write to (prop_secret_hide). */
static ssize_t read_secret(int fd, uint8_t *to, size_t len)
{
    uint8_t piece[4096];
    ssize_t n = read(fd, to, len);

    if (n >= 0 || errno != EFAULT)
        return n;
    n = read(fd, piece, len < sizeof piece ? len : sizeof piece);
    if (n > 0)
        memcpy(to, piece, (size_t)n);
    int cause = errno;
    prop_wipe(piece, sizeof piece);
    errno = cause;
    return n;
}

/* Read up to the secret's length; more than that is an error, less cuts it. */
static int fill_secret(int fd, const char *path, struct prop_secret *s, size_t max,
                       struct prop_err *err)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = read_secret(fd, prop_secret_bytes(s) + len, prop_secret_len(s) - len);
        if (n < 0 && errno == EINTR) {
            int rc = prop_stop_check(err);
            if (rc != 0)
                return rc;
            continue;
        }
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "read '%s'", path);
        len += (size_t)n;
        if (n == 0)
            break;
        if (len > max)
            return prop_err_set_id(err, PROP_E_LIMIT, "file-too-big", "'%s' is over %zu bytes", path,
                                   max);
    }
    prop_secret_truncate(s, len);
    return 0;
}

int prop_file_read_secret(const char *path, size_t max, enum prop_secret_file_flags flags,
                          struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_fd int fd = -1;
    int rc = open_for_reading(path, &fd, err);
    if (rc)
        return rc;
    struct stat st;
    if (fstat(fd, &st))
        return prop_err_sys(err, PROP_E_IO, "stat '%s'", path);
    if ((flags & PROP_SECRET_FILE_PRIVATE) && S_ISREG(st.st_mode) && (st.st_mode & 077)) {
        (void)prop_err_set_id(err, PROP_E_DENIED, "key-file-mode",
                              "'%s' can be read by others (mode %04o)", path,
                              (unsigned)(st.st_mode & 07777));
        return prop_err_hint(err, "chmod 600 '%s'", path);
    }
    /* A regular file's size bounds what is allocated; the buffer holds one byte more than allowed. */
    size_t room = S_ISREG(st.st_mode) && (uint64_t)st.st_size < max ? (size_t)st.st_size : max;
    prop_auto_secret struct prop_secret *s = NULL;
    rc = prop_secret_new(room + 1, &s, err);
    if (!rc)
        rc = fill_secret(fd, path, s, room, err);
    if (rc)
        return rc;
    *ret = PROP_TAKE(s);
    return 0;
}

int prop_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The folder a target stands in, in fresh memory. */
static char *parent_of(const char *target)
{
    const char *slash = strrchr(target, '/');
    if (!slash)
        return prop_strdup(".");
    return prop_strndup(target, slash == target ? 1 : (size_t)(slash - target));
}

static int exists_error(const char *target, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_EXISTS, "file-exists", "'%s' exists", target);
    return prop_err_hint(err, "--force replaces it");
}

/* An unnamed file, or one with a temporary name where the file system has no O_TMPFILE. */
static int open_temporary(struct prop_file_out *f, const char *dir, struct prop_err *err)
{
    f->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
        return prop_err_sys(err, PROP_E_IO, "create a file in '%s'", dir);
    if (errno == ENOENT && access(dir, F_OK))
        return prop_err_sys(err, PROP_E_NOTFOUND, "create a file in '%s'", dir);
    f->tmp = prop_asprintf("%s/.prop-XXXXXX", dir);
    if (!f->tmp)
        return prop_err_nomem(err);
    f->fd = mkostemp(f->tmp, O_CLOEXEC);
    if (f->fd >= 0)
        return 0;
    prop_free(f->tmp);
    f->tmp = NULL;
    return prop_err_sys(err, PROP_E_IO, "create a file in '%s'", dir);
}

/* With --force a rename would put a plain file where /dev/null or somebody's pipe was. */
static bool is_device(const char *target)
{
    struct stat st;
    if (prop_starts_with(target, "/dev/") && !prop_starts_with(target, "/dev/shm/"))
        return true;
    return stat(target, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int check_target(const char *target, bool force, struct prop_err *err)
{
    struct stat st;
    if (lstat(target, &st))
        return 0;
    if (S_ISDIR(st.st_mode))
        return prop_err_set(err, PROP_E_IO, "'%s' is a folder", target);
    if (is_device(target)) {
        (void)prop_err_set_id(err, PROP_E_IO, "not-a-file", "'%s' is not a regular file", target);
        return prop_err_hint(err, "'-' is standard output");
    }
    return force ? 0 : exists_error(target, err);
}

/* What waits for its way to standard output may be a secret, and /tmp may be a disk: there it
 * stands encrypted, under a key that dies with this object. */
static int draw_veil(struct prop_file_out *f, struct prop_err *err)
{
    int rc = prop_secret_new(crypto_stream_xchacha20_KEYBYTES, &f->veil, err);
    if (rc == 0)
        crypto_stream_xchacha20_keygen(prop_secret_bytes(f->veil));
    return rc;
}

#define VEIL_BLOCK 64 /* the cipher's block: its counter can start at any of them */

/* Encrypt or decrypt `n` bytes in `chunk`, which stand at `at` in the file; `at` is a multiple of
 * the block. The key is used for one file only, so that the nonce may be constant. */
static void veil(const struct prop_file_out *f, uint8_t *chunk, size_t n, uint64_t at)
{
    static const uint8_t nonce[crypto_stream_xchacha20_NONCEBYTES];
    (void)crypto_stream_xchacha20_xor_ic(chunk, chunk, n, nonce, at / VEIL_BLOCK,
                                         prop_secret_data(f->veil));
}

int prop_file_out_open(struct prop_file_out *f, const char *target, mode_t mode, bool force,
                       struct prop_err *err)
{
    f->to_stdout = strcmp(target, "-") == 0;
    f->mode = mode;
    f->force = force;
    int rc = f->to_stdout ? draw_veil(f, err) : check_target(target, force, err);
    if (rc)
        return rc;
    prop_auto_free char *dir = NULL;
    const char *tmpdir = getenv("TMPDIR");
    dir = f->to_stdout ? prop_strdup(tmpdir && *tmpdir ? tmpdir : "/tmp") : parent_of(target);
    f->target = prop_strdup(target);
    rc = dir && f->target ? open_temporary(f, dir, err) : prop_err_nomem(err);
    if (rc) {
        prop_file_out_release(f);
        return prop_err_wrap(err, "write '%s'", target);
    }
    if (f->to_stdout && f->tmp) { /* never needs a name */
        (void)unlink(f->tmp);
        prop_free(f->tmp);
        f->tmp = NULL;
    }
    return 0;
}

static int hold(struct prop_file_out *f, const uint8_t *data, size_t len, struct prop_err *err)
{
    uint8_t chunk[16384];
    int rc = 0;
    while (len && rc == 0) {
        size_t skip = f->held % VEIL_BLOCK; /* bytes of this block that are in the file already */
        size_t n = len < sizeof chunk - skip ? len : sizeof chunk - skip;
        memset(chunk, 0, skip);
        memcpy(chunk + skip, data, n);
        veil(f, chunk, skip + n, f->held - skip);
        if (prop_write_all(f->fd, chunk + skip, n))
            rc = prop_err_sys(err, PROP_E_IO, "hold back what goes to standard output");
        f->held += n;
        data += n;
        len -= n;
    }
    prop_wipe(chunk, sizeof chunk);
    return rc;
}

int prop_file_out_write(struct prop_file_out *f, const void *data, size_t len,
                        struct prop_err *err)
{
    if (f->to_stdout)
        return hold(f, data, len, err);
    if (prop_write_all(f->fd, data, len))
        return prop_err_sys(err, PROP_E_IO, "write '%s'", f->target);
    return 0;
}

/* Fill `chunk` as far as the file goes; the number of bytes, or -1. */
static ssize_t read_full(int fd, uint8_t *chunk, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, chunk + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static int copy_to_stdout(struct prop_file_out *f, struct prop_err *err)
{
    _Alignas(64) uint8_t chunk[65536];
    ssize_t n = 0;
    int rc = 0;
    if (lseek(f->fd, 0, SEEK_SET) < 0)
        return prop_err_sys(err, PROP_E_IO, "read back");
    for (uint64_t at = 0; rc == 0 && at < f->held; at += (uint64_t)n) {
        n = read_full(f->fd, chunk, sizeof chunk);
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            rc = prop_err_sys(err, PROP_E_IO, "read back");
            break;
        }
        veil(f, chunk, (size_t)n, at);
        if (prop_write_all(STDOUT_FILENO, chunk, (size_t)n))
            rc = prop_err_sys(err, PROP_E_IO, "write to standard output");
    }
    prop_wipe(chunk, sizeof chunk);
    return rc;
}

/* Give the unnamed file its name: link(2) never replaces, so a forced one goes by way of a
 * temporary name and rename(2). */
static int link_into_place(struct prop_file_out *f, struct prop_err *err)
{
    char proc[64];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", f->fd);
    if (!f->force) {
        if (linkat(AT_FDCWD, proc, AT_FDCWD, f->target, AT_SYMLINK_FOLLOW) == 0)
            return 0;
        if (errno == EEXIST)
            return exists_error(f->target, err);
        return prop_err_sys(err, PROP_E_IO, "write '%s'", f->target);
    }
    prop_auto_free char *name = prop_asprintf("%s.prop-%ld", f->target, (long)getpid());
    if (!name)
        return prop_err_nomem(err);
    (void)unlink(name);
    if (linkat(AT_FDCWD, proc, AT_FDCWD, name, AT_SYMLINK_FOLLOW) ||
        rename(name, f->target)) {
        int rc = prop_err_sys(err, PROP_E_IO, "write '%s'", f->target);
        (void)unlink(name);
        return rc;
    }
    return 0;
}

static int rename_into_place(struct prop_file_out *f, struct prop_err *err)
{
    int rc = f->force ? rename(f->tmp, f->target) : link(f->tmp, f->target);
    if (rc && errno == EEXIST)
        return exists_error(f->target, err);
    if (rc)
        return prop_err_sys(err, PROP_E_IO, "write '%s'", f->target);
    if (!f->force)
        (void)unlink(f->tmp);
    prop_free(f->tmp);
    f->tmp = NULL;
    return 0;
}

/* The name itself must survive a crash too. */
static void sync_folder(const char *target)
{
    prop_auto_free char *dir = parent_of(target);
    prop_auto_fd int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0)
        (void)fsync(fd);
}

int prop_file_out_commit(struct prop_file_out *f, struct prop_err *err)
{
    int rc;
    if (f->to_stdout) {
        rc = copy_to_stdout(f, err);
    } else if (fchmod(f->fd, f->mode) || fsync(f->fd)) {
        rc = prop_err_sys(err, PROP_E_IO, "write '%s'", f->target);
    } else {
        rc = f->tmp ? rename_into_place(f, err) : link_into_place(f, err);
        if (!rc)
            sync_folder(f->target);
    }
    prop_file_out_release(f);
    return rc;
}

void prop_file_out_release(struct prop_file_out *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    if (f->tmp)
        (void)unlink(f->tmp);
    prop_free(f->tmp);
    prop_free(f->target);
    prop_secret_free(f->veil);
    *f = (struct prop_file_out)PROP_FILE_OUT_INIT;
}

int prop_file_write(const char *target, const void *data, size_t len, mode_t mode, bool force,
                    struct prop_err *err)
{
    prop_auto_file_out struct prop_file_out f = PROP_FILE_OUT_INIT;
    int rc = prop_file_out_open(&f, target, mode, force, err);
    if (!rc)
        rc = prop_file_out_write(&f, data, len, err);
    if (!rc)
        rc = prop_file_out_commit(&f, err);
    return rc;
}

int prop_mkdir_p(const char *path, mode_t mode, struct prop_err *err)
{
    prop_auto_free char *p = prop_strdup(path);
    if (!p)
        return prop_err_nomem(err);
    for (char *s = p + 1;; s++) {
        if (*s && *s != '/')
            continue;
        char end = *s;
        *s = 0;
        if (mkdir(p, mode) && errno != EEXIST)
            return prop_err_sys(err, PROP_E_IO, "make folder '%s'", p);
        *s = end;
        if (!end)
            break;
    }
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return prop_err_set(err, PROP_E_IO, "'%s' is not a folder", path);
    return 0;
}

char *prop_path_join(const char *dir, const char *name)
{
    return prop_asprintf("%s%s%s", dir, prop_ends_with(dir, "/") ? "" : "/", name);
}

int prop_xdg_dir(enum prop_xdg kind, char **ret, struct prop_err *err)
{
    static const struct { const char *env, *below_home; } table[] = {
        [PROP_XDG_DATA] = { "XDG_DATA_HOME", ".local/share" },
        [PROP_XDG_STATE] = { "XDG_STATE_HOME", ".local/state" },
        [PROP_XDG_CONFIG] = { "XDG_CONFIG_HOME", ".config" },
        [PROP_XDG_CACHE] = { "XDG_CACHE_HOME", ".cache" },
    };
    const char *base = getenv(table[kind].env);
    const char *home = getenv("HOME");
    prop_auto_free char *path = NULL;
    if (base && base[0] == '/') /* the specification: relative paths are ignored */
        path = prop_asprintf("%s/prop", base);
    else if (home && *home)
        path = prop_asprintf("%s/%s/prop", home, table[kind].below_home);
    else
        return prop_err_set(err, PROP_E_IO, "neither %s nor HOME is set", table[kind].env);
    if (!path)
        return prop_err_nomem(err);
    int rc = prop_mkdir_p(path, 0700, err);
    if (rc)
        return rc;
    *ret = PROP_TAKE(path);
    return 0;
}
