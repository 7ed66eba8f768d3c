/* A config and a layer's annotations with the plaintext's digests and names taken out. */
#include "ocicrypt/image_private.h"

#include "ocicrypt/image_flow.h"
#include "util/limits.h"
#include "util/mem.h"

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

/* An array that holds something becomes an empty one. */
static bool empty_array(json_t *object, const char *member)
{
    json_t *array = json_object_get(object, member);
    return json_array_size(array) > 0 && json_array_clear(array) == 0;
}

static bool strip(json_t *config, bool *ret_diff_ids)
{
    bool changed = empty_array(config, "layerDigests");
    if (json_is_object(json_object_get(config, "component")))
        changed = json_object_set_new(config, "component", json_null()) == 0;
    *ret_diff_ids = empty_array(json_object_get(config, "rootfs"), "diff_ids");
    return changed || *ret_diff_ids;
}

static int put_config(const struct prop_walk *w, struct prop_walk_image *im, const json_t *config,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    prop_auto_free char *text = prop_json_compact(config);
    struct prop_digest digest;
    int rc;
    if (!text)
        return prop_err_nomem(err);
    if ((rc = prop_buf_puts(&bytes, text, err)) != 0 ||
        (rc = prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &digest, err)) != 0 ||
        (rc = prop_dst_blob_put(w->dst, bytes.data, bytes.len, &digest, err)) != 0 ||
        (rc = prop_flow_set_blob(im->m.config.json, &digest, bytes.len, err)) != 0)
        return rc;
    (void)json_object_del(im->m.config.json, "data");
    im->changed = true;
    return 0;
}

void prop_private_annotations(json_t *layer)
{
    const char *key;
    void *next;
    json_t *value;
    (void)prop_descriptor_annotate(layer, PROP_ANNOTATION_TITLE, NULL, NULL);
    json_object_foreach_safe(json_object_get(layer, "annotations"), next, key, value) {
        struct prop_digest digest;
        const char *text = json_string_value(value);
        if (text && prop_digest_parse(text, &digest, NULL) == 0)
            (void)prop_descriptor_annotate(layer, key, NULL, NULL);
    }
}

int prop_private_config(const struct prop_walk *w, struct prop_walk_image *im, bool *ret_diff_ids,
                        struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    prop_auto_json json_t *config = NULL;
    bool diff_ids = false;
    int rc = im->m.config.size > PROP_LIMIT_CONFIG
                 ? prop_err_set(err, PROP_E_LIMIT, "the image config is over %u bytes",
                                PROP_LIMIT_CONFIG)
                 : prop_src_blob(w->src, &im->m.config, collect, &bytes, err);
    if (rc != 0)
        return rc;
    if (prop_json_parse((const char *)bytes.data, bytes.len, "the config", &config, NULL) != 0 ||
        !strip(config, &diff_ids))
        return prop_blob_copy(w->src, w->dst, &im->m.config, err);
    rc = put_config(w, im, config, err);
    if (rc == 0)
        *ret_diff_ids = diff_ids;
    return rc;
}
