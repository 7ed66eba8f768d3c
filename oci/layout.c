/* OCI layout folders: oci:FOLDER[:NAME].
 *
 * Several writers may share a folder. Blobs need no lock, they are named by content. index.json is
 * rewritten under a lock on the folder; a shared lock on the oci-layout file, held as long as a
 * destination is open, keeps a failed writer that made the folder from taking it away under
 * somebody else. */
#include "oci/layout.h"

#include "oci/blobfile.h"
#include "oci/layout_index.h"
#include "oci/place.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char layout_version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

int prop_layout_names(const char *dir, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    json_t *names;
    int rc = prop_layout_load(dir, &index, err);

    if (rc < 0)
        return rc;
    names = prop_index_names(index);
    if (names == NULL)
        return prop_err_nomem(err);
    *ret = names;
    return 0;
}

struct layout_dst {
    struct prop_dst dst;
    char *dir, *name;
    int dir_fd, use_fd;
    bool made;   /* the folder is ours until it is tagged */
    bool tagged;
    pthread_mutex_t lock;        /* over the two below */
    struct prop_digest *written; /* blobs to take back with the folder */
    size_t n_written;
    char *media_type;
    struct prop_digest manifest;
    uint64_t manifest_size;
};

struct layout_blob {
    struct prop_dst_blob blob;
    struct prop_blobfile file;
};

static int lock_folder(struct layout_dst *l, int how, struct prop_err *err)
{
    while (flock(l->dir_fd, how) < 0) {
        if (errno != EINTR)
            return prop_err_sys(err, PROP_E_IO, "lock '%s'", l->dir);
    }
    return 0;
}

static bool folder_empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    bool empty = true;

    if (d == NULL)
        return false;
    while (empty && (e = readdir(d)) != NULL)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    (void)closedir(d);
    return empty;
}

static int make_folder(struct layout_dst *l, struct prop_err *err)
{
    int rc = prop_image_folder(l->dir, &l->made, err);

    if (rc < 0)
        return rc;
    l->dir_fd = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dir_fd < 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", l->dir);
    return 0;
}

/* Under the folder's lock: make it a layout, or see that it is one. */
static int prepare(struct layout_dst *l, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(l->dir, "oci-layout");
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
    int rc;

    if (path == NULL)
        return prop_err_nomem(err);
    if (access(path, F_OK) != 0) {
        if (!folder_empty(l->dir)) {
            prop_err_set_id(err, PROP_E_EXISTS, "not-a-layout",
                            "'%s' is neither empty nor an OCI layout", l->dir);
            return prop_err_hint(err, "name a new folder");
        }
        rc = prop_file_write(path, layout_version, strlen(layout_version),
                             prop_image_mode(0644), true, err);
    } else {
        rc = prop_file_read(path, &text, err);
        if (rc == 0)
            rc = prop_layout_check_version(text.data, text.len, path, err);
    }
    if (rc < 0)
        return rc;
    l->use_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (l->use_fd < 0 || flock(l->use_fd, LOCK_SH) < 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", path);
    return 0;
}

static int blob_dir(const struct layout_dst *l, const struct prop_digest *d, char **ret,
                    struct prop_err *err)
{
    prop_auto_free char *dir = prop_asprintf("%s/blobs/%s", l->dir, prop_hash_name(d->alg));
    int rc;

    if (dir == NULL)
        return prop_err_nomem(err);
    rc = prop_image_folder(dir, NULL, err);
    if (rc == 0)
        *ret = prop_layout_blob_path(l->dir, d);
    return rc == 0 && *ret == NULL ? prop_err_nomem(err) : rc;
}

static int layout_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                           bool *ret, struct prop_err *err)
{
    struct layout_dst *l = (struct layout_dst *)dst;
    prop_auto_free char *path = prop_layout_blob_path(l->dir, digest);
    struct stat st;

    if (path == NULL)
        return prop_err_nomem(err);
    *ret = stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
    return 0;
}

static int layout_read_back(struct prop_dst *dst, const struct prop_digest *digest,
                            struct prop_buf *out, struct prop_err *err)
{
    prop_auto_free char *path = prop_layout_blob_path(((struct layout_dst *)dst)->dir, digest);

    return path == NULL ? prop_err_nomem(err) : prop_file_read(path, out, err);
}

static int layout_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                        struct prop_err *err)
{
    struct layout_dst *l = (struct layout_dst *)dst;
    struct layout_blob *b = prop_zalloc(sizeof(*b));
    int rc;

    (void)size;
    if (b == NULL)
        return prop_err_nomem(err);
    rc = prop_blobfile_begin(l->dir, &b->file, err);
    if (rc < 0) {
        prop_free(b);
        return rc;
    }
    *ret = &b->blob;
    return 0;
}

static int layout_write(struct prop_dst_blob *blob, const void *data, size_t len,
                        struct prop_err *err)
{
    return prop_blobfile_write(&((struct layout_blob *)blob)->file, data, len, err);
}

static void layout_abort(struct prop_dst_blob *blob)
{
    prop_blobfile_abort(&((struct layout_blob *)blob)->file);
    prop_free(blob);
}

static int remember(struct layout_dst *l, const struct prop_digest *digest, struct prop_err *err)
{
    struct prop_digest *grown;

    if (!l->made)
        return 0;
    (void)pthread_mutex_lock(&l->lock);
    grown = prop_realloc_array(l->written, l->n_written + 1, sizeof(*grown));
    if (grown != NULL) {
        l->written = grown;
        l->written[l->n_written++] = *digest;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return grown == NULL ? prop_err_nomem(err) : 0;
}

static int layout_finish(struct prop_dst_blob *blob, const struct prop_digest *digest,
                         struct prop_err *err)
{
    struct layout_blob *b = (struct layout_blob *)blob;
    struct layout_dst *l = (struct layout_dst *)blob->dst;
    prop_auto_free char *path = NULL;
    int rc = remember(l, digest, err);

    if (rc == 0)
        rc = blob_dir(l, digest, &path, err);
    if (rc == 0)
        rc = prop_blobfile_finish(&b->file, path, err);
    layout_abort(blob);
    return rc;
}

static int layout_manifest(struct prop_dst *dst, const void *bytes, size_t len,
                           const char *media_type, const struct prop_digest *digest,
                           struct prop_err *err)
{
    struct layout_dst *l = (struct layout_dst *)dst;
    char *type = prop_strdup(media_type);
    int rc;

    if (type == NULL)
        return prop_err_nomem(err);
    prop_free(l->media_type);
    l->media_type = type;
    l->manifest = *digest;
    l->manifest_size = len;
    rc = prop_dst_blob_put(dst, bytes, len, digest, err);
    return rc;
}

/* The index there is, or an empty one. */
static int current_index(const struct layout_dst *l, json_t **ret, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(l->dir, "index.json");

    if (path == NULL)
        return prop_err_nomem(err);
    if (access(path, F_OK) == 0)
        return prop_layout_load(l->dir, ret, err);
    *ret = prop_index_new();
    return *ret == NULL ? prop_err_nomem(err) : 0;
}

static int rewrite_index(struct layout_dst *l, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *path = prop_path_join(l->dir, "index.json");
    int rc = path == NULL ? prop_err_nomem(err) : current_index(l, &index, err);

    if (rc == 0)
        rc = prop_index_put(index, l->name, l->media_type, &l->manifest, l->manifest_size, err);
    if (rc == 0)
        rc = prop_index_write(index, &text, err);
    return rc == 0 ? prop_file_write(path, text.data, text.len, prop_image_mode(0644), true, err)
                   : rc;
}

static int layout_tag(struct prop_dst *dst, struct prop_err *err)
{
    struct layout_dst *l = (struct layout_dst *)dst;
    int rc = lock_folder(l, LOCK_EX, err);

    if (rc < 0)
        return rc;
    rc = rewrite_index(l, err);
    (void)flock(l->dir_fd, LOCK_UN);
    l->tagged = l->tagged || rc == 0;
    return rc;
}

static int layout_current(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err)
{
    struct layout_dst *l = (struct layout_dst *)dst;
    prop_auto_json json_t *index = NULL;
    struct prop_descriptor d;
    int rc = current_index(l, &index, err);

    if (rc == 0)
        rc = prop_index_find(index, l->name, l->dir, &d, err);
    if (rc == PROP_E_USAGE) /* several, none of them ours: a nameless write adds another */
        return prop_err_set_id(err, PROP_E_NOTFOUND, "image-not-found", "'%s' has no one image",
                               l->dir);
    if (rc == 0)
        *ret = d.digest;
    return rc;
}

/* Take the folder away again, unless somebody else uses it by now. */
static void remove_folder(struct layout_dst *l)
{
    static const char *const rest[] = { "blobs/sha256", "blobs/sha512", "blobs" };
    prop_auto_free char *version = prop_path_join(l->dir, "oci-layout");
    prop_auto_free char *index = prop_path_join(l->dir, "index.json");

    if (version == NULL || index == NULL)
        return;
    if ((l->use_fd >= 0 && flock(l->use_fd, LOCK_EX | LOCK_NB) < 0) || access(index, F_OK) == 0)
        return;
    for (size_t i = 0; i < l->n_written; i++) {
        prop_auto_free char *path = prop_layout_blob_path(l->dir, &l->written[i]);

        if (path != NULL)
            (void)unlink(path);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(rest); i++) {
        prop_auto_free char *path = prop_path_join(l->dir, rest[i]);

        if (path != NULL)
            (void)rmdir(path);
    }
    (void)unlink(version);
    (void)rmdir(l->dir);
}

static void layout_dst_free(struct prop_dst *dst)
{
    struct layout_dst *l = (struct layout_dst *)dst;

    if (l->made && !l->tagged && l->dir != NULL)
        remove_folder(l);
    if (l->use_fd >= 0)
        (void)close(l->use_fd);
    if (l->dir_fd >= 0)
        (void)close(l->dir_fd);
    prop_free(l->dir);
    prop_free(l->name);
    prop_free(l->written);
    prop_free(l->media_type);
    (void)pthread_mutex_destroy(&l->lock);
    prop_free(l);
}

static int open_folder(struct layout_dst *l, const char *dir, const char *name,
                       struct prop_err *err)
{
    size_t len = strlen(dir);
    int rc;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    l->dir = prop_strndup(dir, len);
    l->name = name != NULL ? prop_strdup(name) : NULL;
    if (l->dir == NULL || (name != NULL && l->name == NULL))
        return prop_err_nomem(err);
    rc = make_folder(l, err);
    if (rc == 0)
        rc = lock_folder(l, LOCK_EX, err);
    if (rc < 0)
        return rc;
    rc = prepare(l, err);
    (void)flock(l->dir_fd, LOCK_UN);
    return rc;
}

/* Known before anything is encrypted or copied. */
static int check_nameless(const struct layout_dst *l, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    int rc = current_index(l, &index, err);

    return rc == 0 ? prop_index_check_nameless(index, l->dir, err) : rc;
}

int prop_dst_open_layout(const char *dir, const char *name, struct prop_dst **ret,
                         struct prop_err *err)
{
    static const struct prop_dst_ops ops = { layout_current, layout_has_blob, layout_begin,
                                             layout_write,   layout_finish,   layout_abort,
                                             layout_manifest, layout_tag,     layout_dst_free,
                                             layout_has_blob, NULL,           layout_read_back,
                                             NULL,           NULL,            NULL,
                                             true,           NULL };
    struct layout_dst *l = prop_zalloc(sizeof(*l));
    int rc;

    if (l == NULL)
        return prop_err_nomem(err);
    if (pthread_mutex_init(&l->lock, NULL) != 0) {
        prop_free(l);
        return prop_err_set(err, PROP_E_NOMEM, "no more locks");
    }
    l->dst.ops = &ops;
    l->dir_fd = -1;
    l->use_fd = -1;
    rc = open_folder(l, dir, name, err);
    if (rc == 0 && name == NULL)
        rc = check_nameless(l, err);
    if (rc < 0) {
        layout_dst_free(&l->dst);
        return rc;
    }
    *ret = &l->dst;
    return 0;
}
