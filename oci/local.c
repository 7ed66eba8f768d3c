/* The two ends without a store: a bare module file (or stdin) to read, and the sink that takes an
 * image and keeps nothing (dry runs, measuring). */
#include "oci/blobfile.h"
#include "oci/place.h"

#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_src {
    struct prop_src src;
    char *path;
    uint64_t size; /* what was promised; UINT64_MAX = nothing */
};

static void file_free(struct prop_src *src)
{
    struct file_src *f = (struct file_src *)src;

    prop_free(f->path);
    prop_free(f);
}

static const struct prop_src_ops file_ops = { NULL, NULL, file_free, false, NULL, false, NULL };

int prop_src_open_file(const char *path, struct prop_src **ret, struct prop_err *err)
{
    const char *slash = strrchr(path, '/');
    struct file_src *f = prop_zalloc(sizeof(*f));

    if (f == NULL)
        return prop_err_nomem(err);
    f->src.ops = &file_ops;
    f->size = UINT64_MAX;
    f->path = prop_strdup(path);
    f->src.title = prop_strdup(strcmp(path, "-") == 0 ? "module.wasm"
                               : slash != NULL        ? slash + 1
                                                      : path);
    if (f->path == NULL || f->src.title == NULL) {
        prop_free(f->src.title);
        file_free(&f->src);
        return prop_err_nomem(err);
    }
    if (strcmp(path, "-") != 0 && access(path, F_OK) != 0) {
        prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-source", "'%s' is not there", path);
        prop_free(f->src.title);
        file_free(&f->src);
        return PROP_E_NOTFOUND;
    }
    *ret = &f->src;
    return 0;
}

int prop_file_stream(const char *path, prop_sink_fn sink, void *ctx, struct prop_err *err)
{
    prop_auto_fd int fd = -1;
    struct stat st;

    if (strcmp(path, "-") == 0)
        return prop_fd_stream(STDIN_FILENO, "stdin", sink, ctx, err);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "'%s'", path);
    if (S_ISDIR(st.st_mode)) {
        prop_err_set_id(err, PROP_E_INPUT, "not-a-file", "'%s' is a folder", path);
        return prop_err_hint(err, "write oci:%s or dir:%s for an image in a folder", path, path);
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return prop_fd_stream(fd, path, sink, ctx, err);
}

uint64_t prop_src_bare_size(struct prop_src *src)
{
    struct file_src *f = (struct file_src *)src;
    struct stat st;

    /* files of /proc state no size and have content all the same */
    if (src->ops == &file_ops && strcmp(f->path, "-") != 0 && stat(f->path, &st) == 0 &&
        S_ISREG(st.st_mode) && st.st_size > 0)
        f->size = (uint64_t)st.st_size;
    return src->ops == &file_ops ? f->size : UINT64_MAX;
}

/* A sink in front of the caller's that counts, and holds the file to its promised size. */
struct counted {
    const struct prop_progress *progress;
    prop_sink_fn sink;
    void *ctx;
    uint64_t size, done;
};

static int changed(const char *path, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_IO, "source-changed", "'%s' changed while it was read",
                           path);
}

static int counted_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct counted *c = ctx;

    if (len > c->size - c->done)
        return changed("the file", err);
    c->done += len;
    prop_progress_report(c->progress, "read", c->done, c->size == UINT64_MAX ? 0 : c->size);
    return c->sink(c->ctx, data, len, err);
}

int prop_src_bare_read(struct prop_src *src, prop_sink_fn sink, void *ctx, struct prop_err *err)
{
    struct file_src *f = (struct file_src *)src;
    struct counted c = { src->progress, sink, ctx, UINT64_MAX, 0 };
    int rc;

    if (src->ops != &file_ops)
        return prop_err_set(err, PROP_E_BUG, "'%s' is no bare module", src->text);
    c.size = f->size;
    rc = prop_file_stream(f->path, counted_sink, &c, err);
    return rc == 0 && c.size != UINT64_MAX && c.done < c.size ? changed(f->path, err) : rc;
}

/* --- the sink --- */

static int sink_current(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err)
{
    (void)dst;
    (void)ret;
    return prop_err_set_id(err, PROP_E_NOTFOUND, "image-not-found", "the sink holds nothing");
}

static int sink_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                         bool *ret, struct prop_err *err)
{
    (void)dst;
    (void)digest;
    (void)size;
    (void)err;
    *ret = false;
    return 0;
}

static int sink_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                      struct prop_err *err)
{
    struct prop_dst_blob *b = prop_zalloc(sizeof(*b));

    (void)dst;
    (void)size;
    if (b == NULL)
        return prop_err_nomem(err);
    *ret = b;
    return 0;
}

static int sink_write(struct prop_dst_blob *b, const void *data, size_t len, struct prop_err *err)
{
    (void)b;
    (void)data;
    (void)len;
    (void)err;
    return 0;
}

static void sink_abort(struct prop_dst_blob *b)
{
    prop_free(b);
}

static int sink_finish(struct prop_dst_blob *b, const struct prop_digest *digest,
                       struct prop_err *err)
{
    (void)digest;
    (void)err;
    sink_abort(b);
    return 0;
}

static int sink_manifest(struct prop_dst *dst, const void *bytes, size_t len,
                         const char *media_type, const struct prop_digest *digest,
                         struct prop_err *err)
{
    (void)dst;
    (void)bytes;
    (void)len;
    (void)media_type;
    (void)digest;
    (void)err;
    return 0;
}

static int sink_tag(struct prop_dst *dst, struct prop_err *err)
{
    (void)dst;
    (void)err;
    return 0;
}

static void sink_free(struct prop_dst *dst)
{
    prop_free(dst);
}

int prop_dst_open_sink(struct prop_dst **ret, struct prop_err *err)
{
    static const struct prop_dst_ops ops = { sink_current, sink_has_blob, sink_begin,
                                             sink_write,   sink_finish,   sink_abort,
                                             sink_manifest, sink_tag,     sink_free,
                                             NULL,          sink_manifest, NULL, NULL,
                                             NULL,          NULL,          false, NULL };
    struct prop_dst *dst = prop_zalloc(sizeof(*dst));

    if (dst == NULL)
        return prop_err_nomem(err);
    dst->ops = &ops;
    *ret = dst;
    return 0;
}
