/* Reading for measurement: positioned reads in large pieces. */
#include "tee/source.h"

#include "util/file.h"
#include "util/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 << 10 };

struct prop_source prop_source_of(const void *data, size_t len, const char *what)
{
    return (struct prop_source){ .what = what, .fd = -1, .data = data, .size = len };
}

void prop_source_release(struct prop_source *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    s->size = 0;
}

/* A pipe into memory that can be read out of order. */
static int slurp(int in, const char *path, int *ret_fd, uint64_t *ret_size, struct prop_err *err)
{
    prop_auto_fd int out = memfd_create("measured", MFD_CLOEXEC);
    prop_auto_free uint8_t *buf = prop_alloc(PIECE);
    uint64_t size = 0;
    if (out < 0)
        return prop_err_sys(err, PROP_E_IO, "memory for '%s'", path);
    if (!buf)
        return prop_err_nomem(err);
    for (;;) {
        ssize_t n = read(in, buf, PIECE);
        if (prop_stop_check(err) < 0)
            return PROP_E_INTERRUPTED;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "read '%s'", path);
        if (n == 0)
            break;
        size += (uint64_t)n;
        if (size > PROP_SOURCE_PIPE_MAX)
            return prop_err_set(err, PROP_E_LIMIT, "'%s' gives more than %u bytes", path,
                                PROP_SOURCE_PIPE_MAX);
        if (prop_write_all(out, buf, (size_t)n))
            return prop_err_sys(err, PROP_E_IO, "memory for '%s'", path);
    }
    *ret_fd = out;
    out = -1;
    *ret_size = size;
    return 0;
}

int prop_source_open(const char *path, struct prop_source *ret, struct prop_err *err)
{
    struct stat st;
    bool is_stdin = strcmp(path, "-") == 0;
    prop_auto_fd int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                   : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "open '%s'", path);
    if (fstat(fd, &st) < 0)
        return prop_err_sys(err, PROP_E_IO, "look at '%s'", path);
    if (S_ISDIR(st.st_mode))
        return prop_err_set_id(err, PROP_E_IO, "not-a-file", "'%s' is a folder", path);
    uint64_t size = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode)) {
        int copy = -1;
        int rc = slurp(fd, path, &copy, &size, err);
        if (rc < 0)
            return rc;
        (void)close(fd);
        fd = copy;
    }
    *ret = (struct prop_source){ .what = path, .fd = fd, .size = size };
    fd = -1;
    return 0;
}

static int read_file(const struct prop_source *s, uint64_t from, uint8_t *buf, size_t len,
                     struct prop_err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(s->fd, buf + done, len - done, (off_t)(from + done));
        if (prop_stop_check(err) < 0)
            return PROP_E_INTERRUPTED;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "read '%s'", s->what);
        if (n == 0)
            return prop_err_set_id(err, PROP_E_IO, "file-changed", "'%s' became shorter while it was "
                                   "read", s->what);
        done += (size_t)n;
    }
    return 0;
}

int prop_source_read(const struct prop_source *s, uint64_t from, void *buf, size_t len,
                     struct prop_err *err)
{
    if (from > s->size || len > s->size - from)
        return prop_err_set(err, PROP_E_BUG, "read beyond the end of '%s'", s->what);
    if (s->fd < 0)
        memcpy(buf, s->data + from, len);
    int rc = s->fd < 0 ? 0 : read_file(s, from, buf, len, err);
    if (rc == 0 && from < s->n_patched) {
        size_t n = s->n_patched - (size_t)from;
        memcpy(buf, s->patched + from, n < len ? n : len);
    }
    return rc;
}

int prop_source_hash(const struct prop_source *s, uint64_t from, uint64_t len, struct prop_hash *h,
                     struct prop_err *err)
{
    size_t room = len < PIECE ? (size_t)len : PIECE;
    prop_auto_free uint8_t *buf = prop_alloc_pages(room ? room : 1);
    if (!buf)
        return prop_err_nomem(err);
    for (uint64_t done = 0; done < len;) {
        size_t n = len - done < room ? (size_t)(len - done) : room;
        int rc = prop_source_read(s, from + done, buf, n, err);
        if (rc == 0)
            rc = prop_hash_update(h, buf, n, err);
        if (rc < 0)
            return rc;
        done += n;
    }
    return 0;
}

int prop_source_digest(const struct prop_source *s, enum prop_hash_alg alg, struct prop_digest *ret,
                       struct prop_err *err)
{
    prop_auto_hash struct prop_hash *h = NULL;
    int rc = prop_hash_new(alg, &h, err);
    if (rc == 0)
        rc = prop_source_hash(s, 0, s->size, h, err);
    return rc == 0 ? prop_hash_final(h, ret, err) : rc;
}
