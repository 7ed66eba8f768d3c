/* Reading an OCI layout folder: oci:FOLDER[:NAME]. */
#include "oci/blobfile.h"
#include "oci/layout_index.h"
#include "oci/place.h"
#include "util/limits.h"
#include "util/mem.h"

struct layout_src {
    struct prop_src src;
    char *dir;
    json_t *index;
    struct prop_descriptor chosen;
};

static void layout_src_free(struct prop_src *src)
{
    struct layout_src *l = (struct layout_src *)src;

    prop_free(l->dir);
    json_decref(l->index);
    prop_free(l);
}

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static int layout_src_blob(struct prop_src *src, const struct prop_descriptor *d,
                           prop_sink_fn sink, void *ctx, struct prop_err *err)
{
    struct layout_src *l = (struct layout_src *)src;
    prop_auto_free char *path = prop_layout_blob_path(l->dir, &d->digest);

    return path == NULL ? prop_err_nomem(err)
                        : prop_blobfile_stream(path, d->size, sink, ctx, err);
}

static int layout_src_manifest(struct prop_src *src, struct prop_buf *out, char **ret_said,
                               struct prop_err *err)
{
    struct layout_src *l = (struct layout_src *)src;

    if (l->chosen.size > PROP_LIMIT_MANIFEST)
        return prop_err_set(err, PROP_E_LIMIT, "the manifest is larger than %u bytes",
                            PROP_LIMIT_MANIFEST);
    *ret_said = prop_strdup(l->chosen.media_type);
    if (*ret_said == NULL)
        return prop_err_nomem(err);
    return layout_src_blob(src, &l->chosen, collect, out, err);
}

static int open_index(struct layout_src *l, const char *dir, const char *name,
                      struct prop_err *err)
{
    int rc;

    l->dir = prop_strdup(dir);
    if (l->dir == NULL)
        return prop_err_nomem(err);
    rc = prop_layout_load(dir, &l->index, err);
    if (rc == 0)
        rc = prop_index_find(l->index, name, dir, &l->chosen, err);
    return rc;
}

int prop_src_open_layout(const char *dir, const char *name, struct prop_src **ret,
                         struct prop_err *err)
{
    static const struct prop_src_ops ops = { layout_src_manifest, layout_src_blob, layout_src_free,
                                             false,               NULL,            true,
                                             NULL };
    struct layout_src *l = prop_zalloc(sizeof(*l));
    int rc;

    if (l == NULL)
        return prop_err_nomem(err);
    l->src.ops = &ops;
    rc = open_index(l, dir, name, err);
    if (rc < 0) {
        layout_src_free(&l->src);
        return rc;
    }
    l->src.want = l->chosen.digest;
    *ret = &l->src;
    return 0;
}
