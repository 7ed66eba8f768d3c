/* Not what the upload's answers said is believed, but what a reader gets. */
#include "publish/proof.h"

#include "publish/layer_check.h"
#include "publish/present.h"
#include "publish/record.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"

#include <string.h>

/* What one layer must turn out to be. */
struct sent_layer {
    struct prop_digest cipher, plain;
    uint64_t size;
};

static int wrong(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_VERIFY, "proof", "what lies at the destination is not what "
                                                        "was sent: %s", what);
}

static int read_row(const json_t *row, struct sent_layer *ret, struct prop_err *err)
{
    if (!prop_publish_record_digest(row, "digest", &ret->cipher) ||
        !prop_publish_record_digest(row, "plain", &ret->plain))
        return wrong(err, "a layer was left as it was");
    ret->size = (uint64_t)json_integer_value(json_object_get(row, "size"));
    return 0;
}

static int is_there(struct prop_publish_state *s, const struct sent_layer *l, struct prop_err *err)
{
    bool there = false;
    int rc = prop_dst_has_blob(s->dst, &l->cipher, l->size, &there, err);
    return rc == 0 && !there ? wrong(err, "a layer is missing") : rc;
}

/* --- one layer --------------------------------------------------------------------------------- */

/* How the layers of one image are read. */
struct reader {
    struct prop_src *src; /* of a registry */
    const char *layout;   /* else */
    struct prop_openers *openers;
};

static int prove_layer(struct prop_publish_state *s, const struct reader *r,
                       const struct prop_descriptor *layer, const json_t *row, struct prop_err *err)
{
    struct sent_layer want;
    struct prop_digest plain;
    int rc = read_row(row, &want, err);
    if (rc != 0)
        return rc;
    if (!prop_layer_is_encrypted(layer))
        return wrong(err, "a layer is not encrypted");
    if (!prop_digest_equal(&layer->digest, &want.cipher) || layer->size != want.size)
        return wrong(err, "a layer is another");
    rc = prop_recipients_verify(s->recipients, layer, &want.plain, err);
    if (rc == 0)
        rc = prop_publish_layer_check(r->src, r->layout, layer, r->openers, &plain, err);
    if (rc == 0 && !prop_digest_equal(&plain, &want.plain))
        rc = wrong(err, "a layer's plaintext is another");
    return rc;
}

static int prove_layers(struct prop_publish_state *s, const struct reader *r,
                        const struct prop_manifest *m, const json_t *rows, struct prop_err *err)
{
    if (m->n_layers != json_array_size(rows))
        return wrong(err, "the number of layers");
    for (size_t i = 0; i < m->n_layers; i++) {
        int rc = prop_stop_check(err);
        if (rc == 0)
            rc = prove_layer(s, r, &m->layers[i], json_array_get(rows, i), err);
        if (rc != 0)
            return prop_err_wrap(err, "read layer %zu of %zu back", i + 1, m->n_layers);
    }
    return 0;
}

/* --- images ------------------------------------------------------------------------------------ */

static int prove_image(struct prop_publish_state *s, struct prop_openers *openers, const json_t *row,
                       struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_src struct prop_src *src = NULL;
    struct reader r = { NULL, s->p->dst->path, openers };
    struct prop_digest digest;
    if (!prop_publish_record_digest(row, "digest", &digest))
        return wrong(err, "an image has no digest");
    int rc = prop_publish_read_back(s, &digest, &bytes, err);
    if (rc == 0)
        rc = prop_manifest_parse(bytes.data, bytes.len, NULL, "the manifest read back", &m, err);
    if (rc == 0 && s->p->dst->transport == PROP_T_DOCKER)
        rc = prop_publish_open_pinned(s, &digest, &src, err);
    r.src = src;
    return rc == 0 ? prove_layers(s, &r, &m, json_object_get(row, "layers"), err) : rc;
}

/* The index names the images that were sent, in their order, and nothing else. */
static int prove_index(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_json json_t *index = NULL;
    size_t i;
    json_t *entry;
    int rc = prop_publish_read_back(s, &s->image.manifest, &bytes, err);
    if (rc == 0)
        rc = prop_json_parse(prop_buf_str(&bytes), bytes.len, "the index read back", &index, err);
    if (rc != 0)
        return rc;
    const json_t *entries = json_object_get(index, "manifests");
    if (json_array_size(entries) != json_array_size(s->sent))
        return wrong(err, "the number of images");
    json_array_foreach ((json_t *)(uintptr_t)entries, i, entry)
        if (!json_equal(json_object_get(entry, "digest"),
                        json_object_get(json_array_get(s->sent, i), "digest")))
            return wrong(err, "the index names another image");
    return 0;
}

static int prove_read(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_openers struct prop_openers *openers = NULL;
    size_t i, n = json_array_size(s->sent);
    json_t *row;
    int rc = prop_openers_new(&openers, err);
    if (rc == 0)
        rc = prop_openers_add_kek(openers, s->kek, err);
    if (rc == 0 && prop_publish_is_index(s))
        rc = prove_index(s, err);
    json_array_foreach (s->sent, i, row) {
        if (rc == 0 && (rc = prove_image(s, openers, row, err)) != 0 && n > 1)
            (void)prop_err_wrap(err, "image %zu of %zu", i + 1, n);
    }
    return rc;
}

static int prove_there(struct prop_publish_state *s, struct prop_err *err)
{
    size_t i, k;
    json_t *image, *row;
    int rc = 0;
    json_array_foreach (s->sent, i, image) {
        json_array_foreach (json_object_get(image, "layers"), k, row) {
            struct sent_layer layer;
            if (rc == 0)
                rc = read_row(row, &layer, err);
            if (rc == 0)
                rc = is_there(s, &layer, err);
        }
    }
    return rc;
}

int prop_publish_prove_images(struct prop_publish_state *s, struct prop_err *err)
{
    bool reads = prop_publish_reads_back(s);
    if (json_array_size(s->sent) == 0)
        return wrong(err, "no image");
    int rc = reads ? prove_read(s, err) : prove_there(s, err);
    if (rc != 0)
        return rc;
    return prop_publish_proved(s, "image",
                               reads ? "manifest and layers read back by digest; each layer is "
                                       "encrypted, and decrypts with the key to what was published"
                                     : "layer is there; the key was checked when it was wrapped",
                               err);
}
