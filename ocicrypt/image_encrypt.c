/* Whole images: each chosen layer through the cipher on its way from source to destination, then the
 * manifest with new descriptors, in Go's member order. Nothing is named here. */
#include "ocicrypt/image.h"

#include "ocicrypt/convert.h"
#include "ocicrypt/image_bare.h"
#include "ocicrypt/image_flow.h"
#include "ocicrypt/image_private.h"
#include "ocicrypt/image_select.h"
#include "ocicrypt/image_walk.h"
#include "ocicrypt/rewrap_layer.h"
#include "util/mem.h"

#include <string.h>

#define EMPTY_TYPE "application/vnd.oci.empty.v1+json"

struct encrypting {
    const struct prop_walk *walk;
    const struct prop_encrypt_options *o;
    struct prop_layer_choice choice;
    bool *used;        /* per choice: is there such a layer anywhere */
    size_t chosen;     /* layers, over all images */
    bool told_diff_ids;
    json_t *sealed, *clear; /* digests of layers to encrypt; of blobs that stay as they are; owned */
    json_t *row;       /* the image's in the report, while it is worked on; owned */
    struct prop_encrypt_result r;
};

/* What cannot be encrypted is refused before a byte is moved. */
static int check_layer(const struct encrypting *w, const struct prop_descriptor *d, size_t number,
                       size_t of, struct prop_err *err)
{
    if (prop_layer_is_encrypted(d) && w->o->openers)
        return 0;
    if (strstr(d->media_type, PROP_MT_ENCRYPTED)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "already-encrypted",
                              "layer %zu of %zu is encrypted already ('%s')", number, of,
                              d->media_type);
        return prop_err_hint(err, "with a --key that opens it the recipients are added; 'propenc "
                                  "rewrap' does that without moving a layer");
    }
    if (json_array_size(json_object_get(d->json, "urls")) > 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "foreign-layer",
                               "layer %zu of %zu is kept elsewhere ('%s'): it cannot be encrypted",
                               number, of, d->media_type);
    return 0;
}

static int note_blob(json_t *set, const struct prop_digest *digest, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    return json_object_set_new(set, prop_digest_format(digest, text), json_true()) == 0
               ? 0
               : prop_err_nomem(err);
}

/* OCI's empty config may be the empty layer too: that tells nobody anything. */
static int note_config(const struct encrypting *w, const struct prop_descriptor *config,
                       struct prop_err *err)
{
    return strcmp(config->media_type, EMPTY_TYPE) == 0 ? 0
                                                       : note_blob(w->clear, &config->digest, err);
}

static int check_image(void *ctx, struct prop_walk_image *im, struct prop_err *err)
{
    struct encrypting *w = ctx;
    prop_auto_free bool *chosen = prop_zalloc(im->m.n_layers + 1);
    bool converted = false;
    int rc;
    if (!chosen)
        return prop_err_nomem(err);
    if ((rc = prop_convert_to_oci(im, &converted, err)) != 0 ||
        (rc = prop_layer_choice_apply(&w->choice, &im->m, chosen, w->used, err)) != 0)
        return rc;
    w->r.converted += converted;
    rc = note_config(w, &im->m.config, err);
    for (size_t i = 0; i < im->m.n_layers && rc == 0; i++) {
        rc = note_blob(chosen[i] ? w->sealed : w->clear, &im->m.layers[i].digest, err);
        if (rc == 0 && chosen[i]) {
            w->chosen++;
            rc = check_layer(w, &im->m.layers[i], i + 1, im->m.n_layers, err);
        }
    }
    return rc;
}

/* One blob may stand in several places, and be left as it is in one of them. */
static void warn_shared(const struct encrypting *w)
{
    const char *digest;
    json_t *value;
    json_object_foreach(w->sealed, digest, value)
        if (json_object_get(w->clear, digest) && w->o->warnings)
            (void)json_array_append_new(
                w->o->warnings,
                json_sprintf("an encrypted layer stays readable all the same: its plain blob %s is "
                             "also a config, or a layer that was not chosen", digest));
}

static int check_chosen(const struct encrypting *w, struct prop_err *err)
{
    for (size_t i = 0; i < w->choice.n; i++)
        if (!w->used[i])
            return prop_err_set_id(err, PROP_E_USAGE, "no-such-layer",
                                   "there is no layer of type '%s'", w->choice.which[i]);
    if (w->chosen == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "no-layers",
                               "the image has no layers: there is nothing to encrypt");
    return 0;
}

/* A blob of the source as plaintext. */
struct layer_source {
    struct prop_src *src;
    const struct prop_descriptor *layer;
};

static int read_layer(void *ctx, prop_sink_fn sink, void *sink_ctx, struct prop_err *err)
{
    const struct layer_source *s = ctx;
    return prop_src_blob(s->src, s->layer, sink, sink_ctx, err);
}

static int read_again(void *ctx, struct prop_err *err)
{
    (void)ctx;
    (void)err;
    return 0; /* a blob is read from its start each time */
}

static int note_layer(const struct encrypting *w, const json_t *layer,
                      const struct prop_digest *plain, const char *action, struct prop_err *err)
{
    struct prop_descriptor d;
    int rc = prop_descriptor_read((json_t *)(uintptr_t)layer, "the layer", &d, err);
    if (rc != 0)
        return rc;
    if (json_array_append_new(json_object_get(w->row, "layers"),
                              prop_encrypt_report_layer(d.media_type, &d.digest, d.size, plain,
                                                        action)) != 0)
        return prop_err_nomem(err);
    return 0;
}

static int encrypt_layer(struct encrypting *w, const struct prop_descriptor *layer,
                         struct prop_err *err)
{
    struct prop_layer_sealed sealed = { .size = 0 };
    struct layer_source s = { w->walk->src, layer };
    const struct prop_flow_source from = { read_layer, &s, layer->size, &layer->digest,
                                           read_again };
    bool wasm = false;
    int rc = prop_flow_encrypt(w->walk->dst, &from, &wasm, &sealed, err);
    if (rc != 0)
        return rc;
    /* An inline copy of the plaintext would undo it all. */
    (void)json_object_del(layer->json, "data");
    rc = prop_flow_seal(w->o->recipients, &sealed, layer->json, err);
    if (rc == 0)
        rc = note_layer(w, layer->json, &sealed.plain, "encrypted", err);
    if (rc == 0) {
        if (w->r.layers++ == 0) {
            w->r.layer = sealed.cipher;
            w->r.plain = sealed.plain;
            w->r.is_wasm = wasm;
        }
        w->r.bytes += sealed.size;
    }
    prop_layer_sealed_release(&sealed);
    return rc;
}

/* An encrypted layer gets the recipients added, and stays the blob it is. */
static int add_recipients(struct encrypting *w, const struct prop_descriptor *layer,
                          struct prop_err *err)
{
    const struct prop_rewrap_options ro = { .openers = w->o->openers, .add = w->o->recipients };
    bool none = false;
    size_t added = 0, removed = 0;
    int rc = prop_rewrap_layer(layer->json, &ro, &none, &added, &removed, err);
    if (rc == 0)
        rc = prop_blob_copy(w->walk->src, w->walk->dst, layer, err);
    w->r.rewrapped += rc == 0;
    return rc != 0 ? rc : note_layer(w, layer->json, NULL, "recipients-added", err);
}

static int one_layer(struct encrypting *w, const struct prop_descriptor *layer, bool chosen,
                     bool *changed, struct prop_err *err)
{
    int rc;
    if (!chosen) {
        bool plain = !prop_layer_is_encrypted(layer);
        w->r.left_plain += plain;
        rc = prop_blob_copy(w->walk->src, w->walk->dst, layer, err);
        return rc != 0 ? rc
                       : note_layer(w, layer->json, NULL, plain ? "left-plain" : "left-encrypted",
                                    err);
    }
    *changed = true;
    if (w->o->hide)
        prop_private_annotations(layer->json);
    return prop_layer_is_encrypted(layer) ? add_recipients(w, layer, err)
                                          : encrypt_layer(w, layer, err);
}

static int move_config(struct encrypting *w, struct prop_walk_image *im, struct prop_err *err)
{
    bool diff_ids = false;
    int rc = w->o->hide ? prop_private_config(w->walk, im, &diff_ids, err)
                        : prop_blob_copy(w->walk->src, w->walk->dst, &im->m.config, err);
    if (rc != 0)
        return prop_err_wrap(err, "image config");
    if (diff_ids && !w->told_diff_ids && w->o->warnings) {
        w->told_diff_ids = true;
        (void)json_array_append_new(
            w->o->warnings,
            json_string("the config's diff_ids are left out: image-rs refuses the image (the "
                        "Propeller fork and skopeo read it), and decrypted it is not runnable"));
    }
    return 0;
}

static int encrypt_image(void *ctx, struct prop_walk_image *im, struct prop_err *err)
{
    struct encrypting *w = ctx;
    prop_auto_free bool *chosen = prop_zalloc(im->m.n_layers + 1);
    json_decref(w->row);
    w->row = json_pack("{s:[]}", "layers");
    if (!chosen || !w->row)
        return prop_err_nomem(err);
    int rc = check_chosen(w, err);
    if (rc == 0 && w->o->hide)
        rc = prop_descriptor_annotate(im->m.json, PROP_ANNOTATION_TITLE, NULL, err);
    if (rc == 0)
        rc = prop_layer_choice_apply(&w->choice, &im->m, chosen, NULL, err);
    for (size_t i = 0; i < im->m.n_layers && rc == 0; i++) {
        rc = one_layer(w, &im->m.layers[i], chosen[i], &im->changed, err);
        if (rc != 0)
            return prop_err_wrap(err, "layer %zu of %zu", i + 1, im->m.n_layers);
    }
    return rc != 0 ? rc : move_config(w, im, err);
}

static int note_image(void *ctx, const struct prop_walk_image *im, struct prop_err *err)
{
    struct encrypting *w = ctx;
    char text[PROP_DIGEST_TEXT], platform[128];
    w->r.images++;
    if (!w->o->images)
        return 0;
    if (json_object_set_new(w->row, "digest",
                            json_string(prop_digest_format(&im->digest, text))) != 0 ||
        (im->entry && *prop_walk_platform(im->entry, platform) &&
         json_object_set_new(w->row, "platform", json_string(platform)) != 0) ||
        json_array_append(w->o->images, w->row) != 0)
        return prop_err_nomem(err);
    return 0;
}

static int encrypt_images(struct prop_src *src, struct prop_dst *dst, struct encrypting *w,
                          struct prop_err *err)
{
    const struct prop_walk walk = { .src = src, .dst = dst, .platforms = w->o->platforms,
                                    .n_platforms = w->o->n_platforms,
                                    .others = PROP_WALK_LEAVE_OUT, .check = check_image,
                                    .image = encrypt_image, .written = note_image, .ctx = w };
    struct prop_walk_result r = { .size = 0 };
    w->walk = &walk;
    int rc = prop_image_walk(&walk, &r, err);
    w->r.manifest = r.manifest;
    w->r.manifest_size = r.size;
    return rc;
}

int prop_image_encrypt(struct prop_src *src, struct prop_dst *dst,
                       const struct prop_encrypt_options *o, struct prop_encrypt_result *ret,
                       struct prop_err *err)
{
    prop_auto_free bool *used = prop_zalloc(o->n_layers + 1);
    struct encrypting w = { .o = o, .choice = { o->layers, o->n_layers }, .used = used };
    int rc;
    if (!used)
        return prop_err_nomem(err);
    if (prop_recipients_count(o->recipients) == 0)
        return prop_err_set_id(err, PROP_E_USAGE, "no-recipient",
                               "no recipient: nobody could ever open the image");
    if ((rc = prop_layer_choice_check(&w.choice, err)) != 0)
        return rc;
    if (prop_src_is_bare(src))
        return prop_bare_encrypt(src, dst, o, ret, err);
    w.sealed = json_object();
    w.clear = json_object();
    rc = w.sealed && w.clear ? encrypt_images(src, dst, &w, err) : prop_err_nomem(err);
    if (rc == 0) {
        warn_shared(&w);
        *ret = w.r;
    }
    json_decref(w.sealed);
    json_decref(w.clear);
    json_decref(w.row);
    return rc;
}
