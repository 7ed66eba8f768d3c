/* Blobs as files of a layout or dir: folder. They are not synced: a blob is checked against its
 * digest whenever it is read, so what a power cut damages is noticed and never taken for good. */
#include "oci/blobfile.h"

#include "oci/place.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mode_t user_umask = 077;

/* Before main, because the tools tighten the umask for keys as their first act; images are not
 * keys, and a layout that only its maker can read serves nobody. */
__attribute__((constructor)) static void remember_umask(void)
{
    user_umask = umask(077);
    (void)umask(user_umask);
}

mode_t prop_image_mode(mode_t mode)
{
    return mode & ~user_umask;
}

/* One mkdir; 1 when it was made, 0 when it was there, -1 with errno. */
static int make_one(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return chmod(path, prop_image_mode(0755)) == 0 ? 1 : -1;
    return errno == EEXIST ? 0 : -1;
}

int prop_image_folder(const char *path, bool *ret_made, struct prop_err *err)
{
    prop_auto_free char *work = prop_strdup(path);
    int made;

    if (work == NULL)
        return prop_err_nomem(err);
    made = make_one(path);
    if (made < 0 && errno == ENOENT) {
        for (char *p = work + 1; *p != '\0'; p++) {
            if (*p != '/')
                continue;
            *p = '\0';
            (void)make_one(work); /* what cannot be made is missed below */
            *p = '/';
        }
        made = make_one(path);
    }
    if (made < 0)
        return prop_err_sys(err, PROP_E_IO, "cannot make folder '%s'", path);
    if (ret_made != NULL)
        *ret_made = made == 1;
    return 0;
}

int prop_blobfile_begin(const char *dir, struct prop_blobfile *ret, struct prop_err *err)
{
    struct prop_blobfile b = { -1, NULL };

    b.fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
    if (b.fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        b.tmp = prop_path_join(dir, ".blob-XXXXXX");
        if (b.tmp == NULL)
            return prop_err_nomem(err);
        b.fd = mkostemp(b.tmp, O_CLOEXEC);
    }
    if (b.fd < 0) {
        prop_err_sys(err, PROP_E_IO, "cannot write in '%s'", dir);
        prop_free(b.tmp);
        return PROP_E_IO;
    }
    (void)fchmod(b.fd, prop_image_mode(0644));
    *ret = b;
    return 0;
}

int prop_blobfile_write(struct prop_blobfile *b, const void *data, size_t len, struct prop_err *err)
{
    if (prop_write_all(b->fd, data, len) < 0)
        return prop_err_sys(err, PROP_E_IO, "write a blob");
    return 0;
}

static bool same_length(int fd, const char *path)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && S_ISREG(theirs.st_mode) &&
           ours.st_size == theirs.st_size;
}

static int link_fd(int fd, const char *path)
{
    char proc[64];

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

/* Put the file in place of a damaged one: under a passing name first, since a link cannot replace. */
static int replace(struct prop_blobfile *b, const char *path, struct prop_err *err)
{
    if (b->tmp == NULL) {
        b->tmp = prop_asprintf("%s.%ld", path, (long)getpid());
        if (b->tmp == NULL)
            return prop_err_nomem(err);
        if (link_fd(b->fd, b->tmp) < 0) {
            prop_err_sys(err, PROP_E_IO, "'%s'", b->tmp);
            prop_free(b->tmp);
            b->tmp = NULL;
            return PROP_E_IO;
        }
    }
    if (rename(b->tmp, path) < 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", path);
    prop_free(b->tmp);
    b->tmp = NULL;
    return 0;
}

int prop_blobfile_finish(struct prop_blobfile *b, const char *path, struct prop_err *err)
{
    int rc = 0;

    if (!same_length(b->fd, path)) {
        if (b->tmp != NULL || link_fd(b->fd, path) < 0) {
            if (b->tmp != NULL || errno == EEXIST)
                rc = replace(b, path, err);
            else
                rc = prop_err_sys(err, PROP_E_IO, "'%s'", path);
        }
    }
    prop_blobfile_abort(b);
    return rc;
}

void prop_blobfile_abort(struct prop_blobfile *b)
{
    if (b->fd >= 0)
        (void)close(b->fd);
    if (b->tmp != NULL)
        (void)unlink(b->tmp);
    prop_free(b->tmp);
    b->fd = -1;
    b->tmp = NULL;
}

int prop_fd_stream(int fd, const char *path, prop_sink_fn sink, void *ctx, struct prop_err *err)
{
    prop_auto_free uint8_t *piece = prop_alloc_pages(PROP_OCI_PIECE);
    ssize_t n;
    int rc = piece == NULL ? prop_err_nomem(err) : 0;

    while (rc == 0) {
        n = read(fd, piece, PROP_OCI_PIECE);
        if (n < 0 && errno == EINTR) {
            rc = prop_stop_check(err); /* a pipe may keep us waiting for ever */
            continue;
        }
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "'%s'", path);
        if (n == 0)
            break;
        rc = sink(ctx, piece, (size_t)n, err);
        if (rc == 0)
            rc = prop_stop_check(err);
    }
    return rc;
}

int prop_blobfile_stream(const char *path, uint64_t size, prop_sink_fn sink, void *ctx,
                         struct prop_err *err)
{
    prop_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "blob-not-found", "'%s' is not there", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", path);
    if (!S_ISREG(st.st_mode))
        return prop_err_set(err, PROP_E_INPUT, "'%s' is no regular file", path);
    if ((uint64_t)st.st_size != size)
        return prop_err_set_id(err, PROP_E_VERIFY,
                               (uint64_t)st.st_size < size ? "blob-truncated" : "size-mismatch",
                               "'%s' has %lld bytes, its descriptor states %llu", path,
                               (long long)st.st_size, (unsigned long long)size);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return prop_fd_stream(fd, path, sink, ctx, err);
}
