/* What was just written, read back before it is named. */
#include "ocicrypt/image.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

/* The layers of one manifest against the rows of the report. */
static int check_layers(const struct prop_manifest *m, const json_t *rows,
                        const struct prop_recipients *to, json_t *layers, struct prop_err *err)
{
    if (json_array_size(rows) != m->n_layers)
        return prop_err_set(err, PROP_E_VERIFY, "it has %zu layers, %zu were written", m->n_layers,
                            json_array_size(rows));
    for (size_t i = 0; i < m->n_layers; i++) {
        const json_t *row = json_array_get(rows, i);
        const char *text = json_string_value(json_object_get(row, "plain"));
        const char *action = json_string_value(json_object_get(row, "action"));
        struct prop_digest plain = { .len = 0 };
        json_t *one = NULL;
        int rc = text ? prop_digest_parse(text, &plain, err) : 0;
        if (rc == 0 && action && !prop_starts_with(action, "left-"))
            rc = prop_recipients_verify(to, &m->layers[i], text ? &plain : NULL, err);
        if (rc == 0)
            rc = prop_layer_describe(&m->layers[i], &one, err);
        if (rc != 0)
            return prop_err_wrap(err, "layer %zu of %zu", i + 1, m->n_layers);
        if (json_array_append_new(layers, one) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

static int check_image(struct prop_dst *dst, const json_t *image, const struct prop_recipients *to,
                       json_t *layers, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    struct prop_digest digest;
    const char *text = json_string_value(json_object_get(image, "digest"));
    int rc = prop_digest_parse(text ? text : "", &digest, err);
    if (rc == 0)
        rc = prop_dst_read_back(dst, &digest, &bytes, err);
    if (rc == 0)
        rc = prop_manifest_parse(bytes.data, bytes.len, NULL, "the manifest read back", &m, err);
    return rc != 0 ? rc : check_layers(&m, json_object_get(image, "layers"), to, layers, err);
}

int prop_image_read_back(struct prop_dst *dst, const struct prop_encrypt_result *r,
                         const struct prop_recipients *to, const json_t *images,
                         json_t **ret_layers, struct prop_err *err)
{
    prop_auto_buf struct prop_buf top = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_json json_t *layers = json_array();
    size_t i;
    json_t *image;
    int rc = layers ? prop_dst_read_back(dst, &r->manifest, &top, err) : prop_err_nomem(err);
    if (rc != 0)
        return rc;
    json_array_foreach((json_t *)(uintptr_t)images, i, image) {
        rc = check_image(dst, image, to, layers, err);
        if (rc != 0)
            return prop_err_wrap(err, "image %zu read back", i + 1);
    }
    if (ret_layers)
        *ret_layers = PROP_TAKE(layers);
    return 0;
}
