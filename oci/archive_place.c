/* oci-archive:FILE[:NAME], a layout in a tar file. Read in place, whatever the order of entries;
 * written as a layout in a folder beside it that becomes the archive at the end. */
#include "archive/tar.h"
#include "oci/blobfile.h"
#include "oci/layout_index.h"
#include "oci/place.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static int read_member(const char *file, const char *name, struct prop_buf *out,
                       struct prop_err *err)
{
    int rc = prop_tar_read(file, name, NULL, collect, out, err);

    if (rc == PROP_E_NOTFOUND)
        return prop_err_set_id(err, PROP_E_INPUT, "not-a-layout",
                               "'%s' is no OCI archive: no '%s'", file, name);
    return rc;
}

/* Check the archive as a whole and read its index. */
static int load_index(const char *file, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    int rc = prop_tar_check(file, NULL, NULL, err);

    if (rc == PROP_E_NOTFOUND)
        return prop_err_set_id(err, rc, "no-such-source", "'%s' is not there", file);
    if (rc == 0)
        rc = read_member(file, "oci-layout", &text, err);
    if (rc == 0)
        rc = prop_layout_check_version(text.data, text.len, file, err);
    prop_buf_clear(&text);
    if (rc == 0)
        rc = read_member(file, "index.json", &text, err);
    return rc == 0 ? prop_index_parse(text.data, text.len, file, ret, err) : rc;
}

/* --- reading --- */

struct archive_src {
    struct prop_src src;
    char *file;
    json_t *index;
    struct prop_descriptor chosen;
};

static void archive_src_free(struct prop_src *src)
{
    struct archive_src *a = (struct archive_src *)src;

    prop_free(a->file);
    json_decref(a->index);
    prop_free(a);
}

static int archive_src_blob(struct prop_src *src, const struct prop_descriptor *d,
                            prop_sink_fn sink, void *ctx, struct prop_err *err)
{
    struct archive_src *a = (struct archive_src *)src;
    prop_auto_free char *name = prop_layout_blob_path("", &d->digest);
    int rc;

    if (name == NULL)
        return prop_err_nomem(err);
    rc = prop_tar_read(a->file, name, NULL, sink, ctx, err);
    if (rc == PROP_E_NOTFOUND)
        return prop_err_set_id(err, rc, "blob-not-found", "'%s' has no '%s'", a->file, name);
    return rc;
}

static int archive_src_manifest(struct prop_src *src, struct prop_buf *out, char **ret_said,
                                struct prop_err *err)
{
    struct archive_src *a = (struct archive_src *)src;

    *ret_said = prop_strdup(a->chosen.media_type);
    if (*ret_said == NULL)
        return prop_err_nomem(err);
    return archive_src_blob(src, &a->chosen, collect, out, err);
}

int prop_src_open_archive(const char *file, const char *name, struct prop_src **ret,
                          struct prop_err *err)
{
    static const struct prop_src_ops ops = { archive_src_manifest, archive_src_blob,
                                             archive_src_free, false, NULL, false, NULL };
    struct archive_src *a = prop_zalloc(sizeof(*a));
    int rc;

    if (a == NULL)
        return prop_err_nomem(err);
    a->src.ops = &ops;
    a->file = prop_strdup(file);
    rc = a->file == NULL ? prop_err_nomem(err) : load_index(file, &a->index, err);
    if (rc == 0)
        rc = prop_index_find(a->index, name, file, &a->chosen, err);
    if (rc < 0) {
        archive_src_free(&a->src);
        return rc;
    }
    a->src.want = a->chosen.digest;
    *ret = &a->src;
    return 0;
}

/* --- writing --- */

struct archive_dst {
    struct prop_dst dst;
    char *file, *work;
    struct prop_dst *layout;
};

static struct archive_dst *of(struct prop_dst *dst)
{
    return (struct archive_dst *)dst;
}

static int archive_current(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    struct prop_descriptor d;
    int rc;

    if (access(of(dst)->file, F_OK) != 0)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "image-not-found", "'%s' is not there",
                               of(dst)->file);
    rc = load_index(of(dst)->file, &index, err);
    if (rc == 0)
        rc = prop_index_find(index, NULL, of(dst)->file, &d, err);
    if (rc == 0)
        *ret = d.digest;
    return rc;
}

static int archive_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                            bool *ret, struct prop_err *err)
{
    return prop_dst_has_blob(of(dst)->layout, digest, size, ret, err);
}

/* The blob belongs to the inner layout: its writes go there directly. */
static int archive_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                         struct prop_err *err)
{
    return prop_dst_blob_begin(of(dst)->layout, size, ret, err);
}

static int archive_manifest(struct prop_dst *dst, const void *bytes, size_t len,
                            const char *media_type, const struct prop_digest *digest,
                            struct prop_err *err)
{
    return prop_dst_manifest(of(dst)->layout, bytes, len, media_type, digest, err);
}

static int archive_child(struct prop_dst *dst, const void *bytes, size_t len,
                         const char *media_type, const struct prop_digest *digest,
                         struct prop_err *err)
{
    return prop_dst_child(of(dst)->layout, bytes, len, media_type, digest, err);
}

static int archive_read_back(struct prop_dst *dst, const struct prop_digest *digest,
                             struct prop_buf *out, struct prop_err *err)
{
    return prop_dst_read_back(of(dst)->layout, digest, out, err);
}

static int tar_write(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_tar_out_write(ctx, data, len, err);
}

static int add_file(struct archive_dst *a, struct prop_tar_out *tar, const char *name,
                    struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(a->work, name);
    struct stat st;
    int rc;

    if (path == NULL)
        return prop_err_nomem(err);
    if (stat(path, &st) < 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", path);
    rc = prop_tar_out_file(tar, name, (uint64_t)st.st_size, err);
    return rc == 0 ? prop_blobfile_stream(path, (uint64_t)st.st_size, tar_write, tar, err) : rc;
}

struct names {
    char **items;
    size_t n;
};

static void release_names(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        prop_free(l->items[i]);
    prop_free(l->items);
}
#define auto_names __attribute__((cleanup(release_names)))

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What is in a folder, sorted: the order of a folder is chance. */
static int list_folder(const char *dir, struct names *l, struct prop_err *err)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int rc = 0;

    if (d == NULL)
        return errno == ENOENT ? PROP_E_NOTFOUND : prop_err_sys(err, PROP_E_IO, "'%s'", dir);
    while (rc == 0 && (e = readdir(d)) != NULL) {
        char **grown = prop_realloc_array(l->items, l->n + 1, sizeof(*grown));

        if (grown != NULL)
            l->items = grown;
        if (e->d_name[0] == '.')
            continue;
        if (grown == NULL || (l->items[l->n] = prop_strdup(e->d_name)) == NULL)
            rc = prop_err_nomem(err);
        else
            l->n++;
    }
    (void)closedir(d);
    if (l->n > 0)
        qsort(l->items, l->n, sizeof(*l->items), compare_names);
    return rc;
}

static int add_blobs(struct archive_dst *a, struct prop_tar_out *tar, const char *alg,
                     struct prop_err *err)
{
    prop_auto_free char *dir = prop_asprintf("%s/blobs/%s", a->work, alg);
    prop_auto_free char *folder = prop_asprintf("blobs/%s/", alg);
    auto_names struct names list = { NULL, 0 };
    int rc;

    if (dir == NULL || folder == NULL)
        return prop_err_nomem(err);
    rc = list_folder(dir, &list, err);
    if (rc == PROP_E_NOTFOUND)
        return 0;
    if (rc == 0)
        rc = prop_tar_out_folder(tar, folder, err);
    for (size_t i = 0; rc == 0 && i < list.n; i++) {
        prop_auto_free char *name = prop_asprintf("%s%s", folder, list.items[i]);

        rc = name == NULL ? prop_err_nomem(err) : add_file(a, tar, name, err);
    }
    return rc;
}

static int pack(struct archive_dst *a, struct prop_err *err)
{
    prop_auto_file_out struct prop_file_out out = PROP_FILE_OUT_INIT;
    prop_auto_tar_out struct prop_tar_out *tar = NULL;
    int rc = prop_file_out_open(&out, a->file, prop_image_mode(0644), true, err);

    if (rc == 0)
        rc = prop_tar_out_new(&out, &tar, err);
    if (rc == 0)
        rc = prop_tar_out_folder(tar, "blobs/", err);
    if (rc == 0)
        rc = add_blobs(a, tar, "sha256", err);
    if (rc == 0)
        rc = add_blobs(a, tar, "sha512", err);
    if (rc == 0)
        rc = add_file(a, tar, "index.json", err);
    if (rc == 0)
        rc = add_file(a, tar, "oci-layout", err);
    if (rc == 0)
        rc = prop_tar_out_end(tar, err);
    return rc == 0 ? prop_file_out_commit(&out, err) : rc;
}

static int archive_tag(struct prop_dst *dst, struct prop_err *err)
{
    int rc = prop_dst_tag(of(dst)->layout, err);

    return rc == 0 ? pack(of(dst), err) : rc;
}

static void empty_folder(const char *dir, bool itself)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
    if (itself)
        (void)rmdir(dir);
}

/* The layout below `work` is ours alone, and its shape is known. */
static void remove_work(const char *work)
{
    static const char *const folders[] = { "blobs/sha256", "blobs/sha512", "blobs" };

    for (size_t i = 0; i < PROP_ARRAY_LEN(folders); i++) {
        prop_auto_free char *path = prop_path_join(work, folders[i]);

        if (path != NULL)
            empty_folder(path, true);
    }
    empty_folder(work, true);
}

static void archive_dst_free(struct prop_dst *dst)
{
    struct archive_dst *a = of(dst);

    prop_dst_free(a->layout);
    if (a->work != NULL)
        remove_work(a->work);
    prop_free(a->work);
    prop_free(a->file);
    prop_free(a);
}

/* Only an archive of this kind may be replaced. */
static int check_target(const char *file, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    struct stat st;

    if (stat(file, &st) < 0 || st.st_size == 0)
        return 0;
    if (load_index(file, &index, err) == 0)
        return 0;
    prop_err_clear(err);
    return prop_err_set_id(err, PROP_E_EXISTS, "not-an-archive",
                           "'%s' exists and is no OCI archive", file);
}

static int open_work(struct archive_dst *a, const char *file, const char *name,
                     struct prop_err *err)
{
    char *work;
    int rc = check_target(file, err);

    if (rc < 0)
        return rc;
    a->file = prop_strdup(file);
    work = prop_asprintf("%s.new-XXXXXX", file);
    if (a->file == NULL || work == NULL) {
        prop_free(work);
        return prop_err_nomem(err);
    }
    if (mkdtemp(work) == NULL) {
        rc = prop_err_sys(err, PROP_E_IO, "'%s'", file);
        prop_free(work);
        return rc;
    }
    a->work = work;
    rc = prop_dst_open_layout(work, name, &a->layout, err);
    if (rc == 0) {
        a->layout->text = prop_strdup(file);
        rc = a->layout->text == NULL ? prop_err_nomem(err) : 0;
    }
    return rc;
}

int prop_dst_open_archive(const char *file, const char *name, struct prop_dst **ret,
                          struct prop_err *err)
{
    /* blobs are the inner layout's: image.c never asks this table for their writing */
    static const struct prop_dst_ops ops = { archive_current, archive_has_blob, archive_begin,
                                             NULL,            NULL,             NULL,
                                             archive_manifest, archive_tag, archive_dst_free,
                                             NULL, archive_child, archive_read_back, NULL,
                                             NULL, NULL, false, NULL };
    struct archive_dst *a = prop_zalloc(sizeof(*a));
    int rc;

    if (a == NULL)
        return prop_err_nomem(err);
    a->dst.ops = &ops;
    rc = open_work(a, file, name, err);
    if (rc < 0) {
        archive_dst_free(&a->dst);
        return rc;
    }
    *ret = &a->dst;
    return 0;
}
