/* dir:FOLDER, one image as flat files (registry.md 7.1). It is built in a folder beside the target
 * and changes places with it at the end, so the target is the old image or the new one, never half. */
#include "oci/blobfile.h"
#include "oci/place.h"

#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char version_head[] = "Directory Transport Version: ";
static const char version_text[] = "Directory Transport Version: 1.1\n";

static char *blob_path(const char *dir, const struct prop_digest *d)
{
    char hex[PROP_DIGEST_TEXT];

    prop_digest_hex(d, hex);
    if (d->alg == PROP_SHA256)
        return prop_path_join(dir, hex);
    return prop_asprintf("%s/%s-%s", dir, prop_hash_name(d->alg), hex);
}

/* A version file that is there must name a version we know. PROP_E_NOTFOUND when there is none. */
static int check_version(const char *dir, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(dir, "version");
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
    int rc = path == NULL ? prop_err_nomem(err) : prop_file_read(path, &text, err);
    const char *v;

    if (rc < 0)
        return rc;
    v = prop_buf_str(&text);
    if (prop_starts_with(v, version_head)) {
        v += strlen(version_head);
        if (strcmp(v, "1.1\n") == 0 || strcmp(v, "1.2\n") == 0 || strcmp(v, "1.0\n") == 0)
            return 0;
    }
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "layout-version",
                           "'%s' does not name a version that is handled", path);
}

/* --- reading --- */

struct dir_src {
    struct prop_src src;
    char *dir;
};

static void dir_src_free(struct prop_src *src)
{
    prop_free(((struct dir_src *)src)->dir);
    prop_free(src);
}

static int read_manifest(const char *dir, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(dir, "manifest.json");
    int rc = path == NULL ? prop_err_nomem(err) : prop_file_read(path, out, err);

    if (rc == PROP_E_NOTFOUND)
        return prop_err_set_id(err, rc, "image-not-found", "'%s' holds no manifest.json", dir);
    return rc;
}

static int dir_src_manifest(struct prop_src *src, struct prop_buf *out, char **ret_said,
                            struct prop_err *err)
{
    (void)ret_said;
    return read_manifest(((struct dir_src *)src)->dir, out, err);
}

static int dir_src_blob(struct prop_src *src, const struct prop_descriptor *d, prop_sink_fn sink,
                        void *ctx, struct prop_err *err)
{
    prop_auto_free char *path = blob_path(((struct dir_src *)src)->dir, &d->digest);

    return path == NULL ? prop_err_nomem(err)
                        : prop_blobfile_stream(path, d->size, sink, ctx, err);
}

/* The file of one image of an index. */
static char *child_path(const char *dir, const struct prop_digest *d)
{
    prop_auto_free char *path = blob_path(dir, d);

    return path != NULL ? prop_asprintf("%s.manifest.json", path) : NULL;
}

static int dir_src_child(struct prop_src *src, const struct prop_descriptor *d,
                         struct prop_buf *out, char **ret_said, struct prop_err *err)
{
    prop_auto_free char *path = child_path(((struct dir_src *)src)->dir, &d->digest);
    int rc = path == NULL ? prop_err_nomem(err) : prop_file_read(path, out, err);

    (void)ret_said;
    if (rc == PROP_E_NOTFOUND)
        return prop_err_set_id(err, rc, "image-not-found", "'%s' is not there", path);
    return rc;
}

int prop_src_open_dir(const char *dir, struct prop_src **ret, struct prop_err *err)
{
    static const struct prop_src_ops ops = { dir_src_manifest, dir_src_blob, dir_src_free, false,
                                             dir_src_child,    true,         NULL };
    struct dir_src *s;
    int rc;

    if (access(dir, F_OK) != 0)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-source", "'%s' is not there", dir);
    rc = check_version(dir, err);
    if (rc < 0 && rc != PROP_E_NOTFOUND)
        return rc;
    if (rc == PROP_E_NOTFOUND)
        prop_err_clear(err);
    s = prop_zalloc(sizeof(*s));
    if (s == NULL)
        return prop_err_nomem(err);
    s->src.ops = &ops;
    s->dir = prop_strdup(dir);
    if (s->dir == NULL) {
        prop_free(s);
        return prop_err_nomem(err);
    }
    *ret = &s->src;
    return 0;
}

/* --- writing --- */

struct dir_dst {
    struct prop_dst dst;
    char *dir, *work;
};

struct dir_blob {
    struct prop_dst_blob blob;
    struct prop_blobfile file;
};

/* Remove a folder of flat files. */
static void remove_flat(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
    (void)rmdir(dir);
}

static int dir_current(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    int rc = read_manifest(((struct dir_dst *)dst)->dir, &bytes, err);

    return rc == 0 ? prop_digest_of(PROP_SHA256, bytes.data, bytes.len, ret, err) : rc;
}

static int dir_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                        bool *ret, struct prop_err *err)
{
    prop_auto_free char *path = blob_path(((struct dir_dst *)dst)->work, digest);
    struct stat st;

    if (path == NULL)
        return prop_err_nomem(err);
    *ret = stat(path, &st) == 0 && (uint64_t)st.st_size == size;
    return 0;
}

/* The blob of the image that stands in the folder now becomes one of the new image too. */
static int dir_keep(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                    bool *ret, struct prop_err *err)
{
    struct dir_dst *d = (struct dir_dst *)dst;
    prop_auto_free char *old = blob_path(d->dir, digest);
    prop_auto_free char *path = blob_path(d->work, digest);
    struct stat st;

    if (old == NULL || path == NULL)
        return prop_err_nomem(err);
    if (stat(old, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
        link(old, path) < 0 && errno != EEXIST) {
        *ret = false; /* links are not to be had here: the caller copies */
        return 0;
    }
    return dir_has_blob(dst, digest, size, ret, err);
}

static int dir_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                     struct prop_err *err)
{
    struct dir_blob *b = prop_zalloc(sizeof(*b));
    int rc;

    (void)size;
    if (b == NULL)
        return prop_err_nomem(err);
    rc = prop_blobfile_begin(((struct dir_dst *)dst)->work, &b->file, err);
    if (rc < 0) {
        prop_free(b);
        return rc;
    }
    *ret = &b->blob;
    return 0;
}

static int dir_write(struct prop_dst_blob *blob, const void *data, size_t len,
                     struct prop_err *err)
{
    return prop_blobfile_write(&((struct dir_blob *)blob)->file, data, len, err);
}

static void dir_abort(struct prop_dst_blob *blob)
{
    prop_blobfile_abort(&((struct dir_blob *)blob)->file);
    prop_free(blob);
}

static int dir_finish(struct prop_dst_blob *blob, const struct prop_digest *digest,
                      struct prop_err *err)
{
    prop_auto_free char *path = blob_path(((struct dir_dst *)blob->dst)->work, digest);
    int rc = path == NULL ? prop_err_nomem(err)
                          : prop_blobfile_finish(&((struct dir_blob *)blob)->file, path, err);

    dir_abort(blob);
    return rc;
}

static int put_file(const struct dir_dst *d, const char *name, const void *bytes, size_t len,
                    struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(d->work, name);

    return path == NULL ? prop_err_nomem(err)
                        : prop_file_write(path, bytes, len, prop_image_mode(0644), true, err);
}

static int dir_manifest(struct prop_dst *dst, const void *bytes, size_t len,
                        const char *media_type, const struct prop_digest *digest,
                        struct prop_err *err)
{
    struct dir_dst *d = (struct dir_dst *)dst;
    int rc = put_file(d, "manifest.json", bytes, len, err);

    (void)media_type;
    (void)digest;
    return rc == 0 ? put_file(d, "version", version_text, strlen(version_text), err) : rc;
}

static int dir_child(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                     const struct prop_digest *digest, struct prop_err *err)
{
    prop_auto_free char *path = child_path(((struct dir_dst *)dst)->work, digest);

    (void)media_type;
    return path == NULL ? prop_err_nomem(err)
                        : prop_file_write(path, bytes, len, prop_image_mode(0644), true, err);
}

static int dir_read_back(struct prop_dst *dst, const struct prop_digest *digest,
                         struct prop_buf *out, struct prop_err *err)
{
    const char *work = ((struct dir_dst *)dst)->work;
    prop_auto_free char *path = child_path(work, digest);

    if (path == NULL)
        return prop_err_nomem(err);
    return access(path, F_OK) == 0 ? prop_file_read(path, out, err)
                                   : read_manifest(work, out, err);
}

static int dir_tag(struct prop_dst *dst, struct prop_err *err)
{
    struct dir_dst *d = (struct dir_dst *)dst;

    /* onto nothing or an empty folder this is one step; an older image changes places first */
    if (rename(d->work, d->dir) < 0) {
        if (errno != ENOTEMPTY && errno != EEXIST)
            return prop_err_sys(err, PROP_E_IO, "'%s'", d->dir);
        if (renameat2(AT_FDCWD, d->work, AT_FDCWD, d->dir, RENAME_EXCHANGE) == 0) {
            remove_flat(d->work);
        } else {
            remove_flat(d->dir);
            if (rename(d->work, d->dir) < 0)
                return prop_err_sys(err, PROP_E_IO, "'%s'", d->dir);
        }
    }
    prop_free(d->work);
    d->work = NULL;
    return 0;
}

static void dir_dst_free(struct prop_dst *dst)
{
    struct dir_dst *d = (struct dir_dst *)dst;

    if (d->work != NULL)
        remove_flat(d->work);
    prop_free(d->work);
    prop_free(d->dir);
    prop_free(d);
}

/* Only what is a dir: image already, or holds nothing, may be replaced. */
static int check_target(const char *dir, struct prop_err *err)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    size_t n = 0;
    int rc;

    if (d == NULL)
        return errno == ENOENT ? 0 : prop_err_sys(err, PROP_E_IO, "'%s'", dir);
    while ((e = readdir(d)) != NULL)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(d);
    if (n == 0)
        return 0;
    rc = check_version(dir, err);
    if (rc == PROP_E_NOTFOUND) {
        prop_err_set_id(err, PROP_E_EXISTS, "not-a-dir-image",
                        "'%s' is neither empty nor an image folder", dir);
        return prop_err_hint(err, "name a new folder");
    }
    return rc;
}

static int prepare(struct dir_dst *d, const char *dir, struct prop_err *err)
{
    size_t len = strlen(dir);
    const char *slash;
    char *work;
    int rc;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    d->dir = prop_strndup(dir, len);
    if (d->dir == NULL)
        return prop_err_nomem(err);
    rc = check_target(d->dir, err);
    if (rc < 0)
        return rc;
    slash = strrchr(d->dir, '/');
    if (slash != NULL && slash != d->dir) {
        prop_auto_free char *parent = prop_strndup(d->dir, (size_t)(slash - d->dir));

        rc = parent == NULL ? prop_err_nomem(err) : prop_image_folder(parent, NULL, err);
        if (rc < 0)
            return rc;
    }
    work = prop_asprintf("%s.new-XXXXXX", d->dir);
    if (work == NULL)
        return prop_err_nomem(err);
    if (mkdtemp(work) == NULL) {
        prop_err_sys(err, PROP_E_IO, "'%s'", d->dir);
        prop_free(work);
        return PROP_E_IO;
    }
    (void)chmod(work, prop_image_mode(0755));
    d->work = work;
    return 0;
}

int prop_dst_open_dir(const char *dir, struct prop_dst **ret, struct prop_err *err)
{
    static const struct prop_dst_ops ops = { dir_current, dir_has_blob, dir_begin,
                                             dir_write,   dir_finish,   dir_abort,
                                             dir_manifest, dir_tag,     dir_dst_free,
                                             dir_keep,    dir_child,   dir_read_back,
                                             NULL,        NULL,        NULL,
                                             true,        NULL };
    struct dir_dst *d = prop_zalloc(sizeof(*d));
    int rc;

    if (d == NULL)
        return prop_err_nomem(err);
    d->dst.ops = &ops;
    rc = prepare(d, dir, err);
    if (rc < 0) {
        dir_dst_free(&d->dst);
        return rc;
    }
    *ret = &d->dst;
    return 0;
}
