#include "publish/images.h"

#include "ocicrypt/image_walk.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

enum { images_max = 256, bytes_max = 16 << 20, depth_max = 4 };

/* What is read, and how far down that is. */
struct reading {
    struct prop_src *src;
    const char *what;
    struct prop_images *to;
    unsigned depth;
};

bool prop_images_is_index(const char *media_type)
{
    return strcmp(media_type, PROP_MT_OCI_INDEX) == 0 ||
           strcmp(media_type, PROP_MT_DOCKER_LIST) == 0;
}

void prop_images_release(struct prop_images *i)
{
    for (size_t n = 0; n < i->n; n++)
        prop_manifest_release(&i->all[n].m);
    prop_free(i->all);
    json_decref(i->index);
    memset(i, 0, sizeof *i);
}

const char *prop_images_label(const struct prop_images *i, size_t at, char out[200])
{
    const char *platform = i->all[at].platform;
    out[0] = 0;
    if (i->index != NULL)
        (void)snprintf(out, 200, "image %zu of %zu%s%s%s", at + 1, i->n, *platform ? " (" : "",
                       platform, *platform ? ")" : "");
    return out;
}

static int add_image(struct reading *r, const struct prop_buf *bytes, const char *type,
                     const struct prop_digest *digest, const char *platform, struct prop_err *err)
{
    struct prop_images *to = r->to;
    struct prop_images_one one = { .digest = *digest };
    if (to->n == images_max)
        return prop_err_set(err, PROP_E_LIMIT, "the index has more than %d images", images_max);
    struct prop_images_one *grown = prop_realloc_array(to->all, to->n + 1, sizeof *to->all);
    if (grown == NULL)
        return prop_err_nomem(err);
    to->all = grown;
    (void)snprintf(one.platform, sizeof one.platform, "%s", platform);
    int rc = prop_manifest_parse(bytes->data, bytes->len, type, r->what, &one.m, err);
    if (rc == 0)
        to->all[to->n++] = one;
    return rc;
}

static int add_index(struct reading *r, json_t *index, struct prop_err *err);

/* One entry of an index: an image, or one more index. The recursion ends at depth_max. */
static int add_entry(struct reading *r, json_t *entry, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    prop_auto_json json_t *index = NULL;
    struct prop_descriptor d;
    char platform[128];
    int rc = prop_descriptor_read(entry, "an entry of the index", &d, err);
    if (rc == 0)
        rc = prop_src_child(r->src, &d, &bytes, &type, err);
    if (rc != 0)
        return rc;
    r->to->bytes += bytes.len;
    if (r->to->bytes > bytes_max)
        return prop_err_set(err, PROP_E_LIMIT, "the manifests of the index are over %d bytes",
                            bytes_max);
    if (!prop_images_is_index(type))
        return add_image(r, &bytes, type, &d.digest, prop_walk_platform(entry, platform), err);
    r->to->nested = true;
    rc = prop_json_parse(prop_buf_str(&bytes), bytes.len, "the index in the index", &index, err);
    return rc == 0 ? add_index(r, index, err) : rc;
}

static int add_index(struct reading *r, json_t *index, struct prop_err *err)
{
    json_t *entries = json_object_get(index, "manifests");
    size_t i;
    json_t *entry;
    int rc = 0;
    if (json_array_size(entries) == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "empty-index", "the index names no image");
    if (++r->depth > depth_max)
        return prop_err_set(err, PROP_E_LIMIT, "indexes stand in one another more than %d deep",
                            depth_max);
    json_array_foreach (entries, i, entry) {
        if (rc == 0 && (rc = add_entry(r, entry, err)) != 0)
            (void)prop_err_wrap(err, "entry %zu of %zu of the index", i + 1,
                                json_array_size(entries));
    }
    r->depth--;
    return rc;
}

int prop_images_read(struct prop_src *src, const char *what, struct prop_images *ret,
                     struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    struct prop_images got = { .n = 0 };
    struct reading r = { src, what, &got, 0 };
    int rc = prop_src_manifest(src, &bytes, &type, &got.digest, err);
    if (rc != 0)
        return rc;
    if (!prop_images_is_index(type)) {
        rc = add_image(&r, &bytes, type, &got.digest, "", err);
    } else {
        rc = prop_json_parse(prop_buf_str(&bytes), bytes.len, "the index", &got.index, err);
        if (rc == 0)
            rc = add_index(&r, got.index, err);
    }
    if (rc == 0)
        *ret = got;
    else
        prop_images_release(&got);
    return rc;
}
