/* Whole images decrypted to another place, and the one Wasm module of an image into memory. */
#include "ocicrypt/image.h"

#include "ocicrypt/annot.h"
#include "ocicrypt/image_flow.h"
#include "ocicrypt/image_walk.h"
#include "util/mem.h"

#include <string.h>

struct decrypting {
    const struct prop_walk *walk;
    const struct prop_decrypt_options *o;
    size_t encrypted; /* layers */
};

/* The descriptor of the plain layer again. */
static int restore(const struct prop_descriptor *layer, const struct prop_digest *plain,
                   struct prop_err *err)
{
    size_t len = strlen(layer->media_type) - strlen(PROP_MT_ENCRYPTED);
    int rc = prop_flow_set_blob(layer->json, plain, layer->size, err);
    prop_enc_strip(layer->json);
    if (rc == 0 &&
        json_object_set_new(layer->json, "mediaType", json_stringn(layer->media_type, len)) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

static int count_encrypted(void *ctx, struct prop_walk_image *im, struct prop_err *err)
{
    struct decrypting *w = ctx;
    (void)err;
    for (size_t i = 0; i < im->m.n_layers; i++)
        w->encrypted += prop_layer_is_encrypted(&im->m.layers[i]);
    return 0;
}

static int decrypt_layer(struct decrypting *w, const struct prop_descriptor *layer,
                         struct prop_err *err)
{
    struct prop_digest plain;
    const struct prop_flow_target to = { .dst = w->walk->dst, .verify_first = w->o->verify_first };
    int rc = prop_flow_decrypt(w->walk->src, layer, w->o->openers, &to, &plain, err);
    return rc != 0 ? rc : restore(layer, &plain, err);
}

static int decrypt_image(void *ctx, struct prop_walk_image *im, struct prop_err *err)
{
    struct decrypting *w = ctx;
    int rc;
    if (w->encrypted == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "not-encrypted",
                               "no layer of the image is encrypted");
    for (size_t i = 0; i < im->m.n_layers; i++) {
        bool encrypted = prop_layer_is_encrypted(&im->m.layers[i]);
        rc = encrypted ? decrypt_layer(w, &im->m.layers[i], err)
                       : prop_blob_copy(w->walk->src, w->walk->dst, &im->m.layers[i], err);
        if (rc != 0)
            return prop_err_wrap(err, "layer %zu of %zu", i + 1, im->m.n_layers);
        im->changed = im->changed || encrypted;
    }
    rc = prop_blob_copy(w->walk->src, w->walk->dst, &im->m.config, err);
    return rc != 0 ? prop_err_wrap(err, "image config") : 0;
}

int prop_image_decrypt(struct prop_src *src, struct prop_dst *dst,
                       const struct prop_decrypt_options *o, struct prop_digest *ret_manifest,
                       struct prop_err *err)
{
    struct decrypting w = { .o = o };
    const struct prop_walk walk = { .src = src, .dst = dst, .platforms = o->platforms,
                                    .n_platforms = o->n_platforms, .others = PROP_WALK_LEAVE_OUT,
                                    .check = count_encrypted, .image = decrypt_image, .ctx = &w };
    struct prop_walk_result r = { .size = 0 };
    w.walk = &walk;
    int rc = prop_image_walk(&walk, &r, err);
    if (rc == 0)
        *ret_manifest = r.manifest;
    return rc;
}

static bool is_wasm_type(const char *type)
{
    return strcmp(type, PROP_MT_WASM_LAYER) == 0 || strcmp(type, PROP_MT_CNCF_LAYER) == 0 ||
           strcmp(type, PROP_MT_WASM_LAYER PROP_MT_ENCRYPTED) == 0 ||
           strcmp(type, PROP_MT_CNCF_LAYER PROP_MT_ENCRYPTED) == 0;
}

int prop_manifest_wasm_layer(const struct prop_manifest *m, const struct prop_descriptor **ret,
                             struct prop_err *err)
{
    prop_auto_buf struct prop_buf types = PROP_BUF_INIT(400);
    const struct prop_descriptor *found = NULL;
    size_t n = 0;
    for (size_t i = 0; i < m->n_layers; i++) {
        const char *type = m->layers[i].media_type;
        (void)prop_buf_printf(&types, NULL, "%s%s", i ? ", " : "", type);
        if (!is_wasm_type(type))
            continue;
        found = &m->layers[i];
        n++;
    }
    if (n != 1)
        return prop_err_set_id(err, PROP_E_INPUT, "no-wasm-layer",
                               "the image has %zu Wasm layers, need exactly one; its layers: %s", n,
                               types.len ? prop_buf_str(&types) : "none");
    *ret = found;
    return 0;
}

int prop_image_decrypt_module(struct prop_src *src, const struct prop_manifest *m,
                              struct prop_openers *openers, bool plain_ok, prop_sink_fn sink,
                              void *ctx, struct prop_err *err)
{
    const struct prop_descriptor *layer = NULL;
    struct prop_digest plain;
    int rc = prop_manifest_wasm_layer(m, &layer, err);
    if (rc != 0)
        return rc;
    const struct prop_flow_target to = { .sink = sink, .ctx = ctx };
    if (prop_layer_is_encrypted(layer))
        return prop_flow_decrypt(src, layer, openers, &to, &plain, err);
    if (!plain_ok)
        return prop_err_set_id(err, PROP_E_DENIED, "not-encrypted",
                               "the image's Wasm layer is not encrypted");
    return prop_src_blob(src, layer, sink, ctx, err);
}
