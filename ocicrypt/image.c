/* Whole images: each layer through the cipher on its way from source to destination, then the
 * manifest with new descriptors, in Go's member order. Nothing is named here. */
#include "ocicrypt/image.h"

#include "oci/image_manifest.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/layer.h"
#include "ocicrypt/layer_internal.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

/* A layer on its way: where its bytes go, and what goes wrong is told by the callbacks. */
struct flow {
    struct prop_layer_enc *enc;
    struct prop_layer_dec *dec;
    struct prop_dst_blob *blob;
    uint8_t head[4]; /* of the plaintext */
    size_t n_head;
};

static int to_blob(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct flow *f = ctx;
    return prop_dst_blob_write(f->blob, data, len, err);
}

static int to_cipher(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct flow *f = ctx;
    const uint8_t *in = data;
    for (size_t i = 0; i < len && f->n_head < sizeof(f->head); i++)
        f->head[f->n_head++] = in[i];
    int rc = prop_stop_check(err);
    return rc != 0 ? rc : prop_layer_enc_update(f->enc, data, len, err);
}

static int to_decipher(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct flow *f = ctx;
    int rc = prop_stop_check(err);
    return rc != 0 ? rc : prop_layer_dec_update(f->dec, data, len, err);
}

/* Free what is left of a flow; a blob not finished is taken back. */
static void flow_release(struct flow *f)
{
    prop_layer_enc_free(f->enc);
    prop_layer_dec_free(f->dec);
    if (f->blob)
        prop_dst_blob_abort(f->blob);
}

/* The blob is whole: finish frees it either way. */
static int flow_finish(struct flow *f, const struct prop_digest *digest, struct prop_err *err)
{
    return prop_dst_blob_finish(PROP_TAKE(f->blob), digest, err);
}

/* Encrypt one layer, or the bare source when `layer` is NULL, into a blob of dst. */
static int encrypt_blob(struct prop_src *src, struct prop_dst *dst,
                        const struct prop_descriptor *layer, bool *ret_wasm,
                        struct prop_layer_sealed *ret, struct prop_err *err)
{
    struct flow f = { .enc = NULL };
    struct prop_layer_sealed sealed = { .size = 0 };
    int rc;
    uint64_t size = layer ? layer->size : prop_src_bare_size(src);
    if ((rc = prop_dst_blob_begin(dst, size, &f.blob, err)) != 0 ||
        (rc = prop_layer_enc_new(to_blob, &f, &f.enc, err)) != 0)
        goto out;
    if (layer && layer->digest.alg == PROP_SHA256)
        prop_layer_enc_known_plain(f.enc, &layer->digest);
    rc = layer ? prop_src_blob(src, layer, to_cipher, &f, err)
               : prop_src_bare_read(src, to_cipher, &f, err);
    if (rc != 0 || (rc = prop_layer_enc_final(f.enc, &sealed, err)) != 0)
        goto out;
    rc = flow_finish(&f, &sealed.cipher, err);
    if (rc != 0) {
        prop_layer_sealed_release(&sealed);
        goto out;
    }
    *ret_wasm = f.n_head == sizeof(f.head) && memcmp(f.head, "\0asm", sizeof(f.head)) == 0;
    *ret = sealed;
out:
    flow_release(&f);
    return rc;
}

/* New digest and size of a blob in its descriptor. */
static int set_blob(json_t *descriptor, const struct prop_digest *digest, uint64_t size,
                    struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    if (json_object_set_new(descriptor, "digest",
                            json_string(prop_digest_format(digest, text))) != 0 ||
        json_object_set_new(descriptor, "size", json_integer((json_int_t)size)) != 0)
        return prop_err_nomem(err);
    return 0;
}

/* Write a manifest under its digest. */
static int put_manifest(struct prop_dst *dst, const json_t *manifest, const char *media_type,
                        struct prop_digest *ret_digest, uint64_t *ret_size, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_digest digest;
    int rc;
    if ((rc = prop_manifest_write(manifest, &bytes, err)) != 0 ||
        (rc = prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &digest, err)) != 0 ||
        (rc = prop_dst_manifest(dst, bytes.data, bytes.len, media_type, &digest, err)) != 0)
        return rc;
    *ret_digest = digest;
    if (ret_size)
        *ret_size = bytes.len;
    return 0;
}

/* Wrap the layer's key into its descriptor, and see that it comes out again. */
static int seal_descriptor(const struct prop_recipients *to, const struct prop_layer_sealed *sealed,
                           json_t *layer, struct prop_err *err)
{
    struct prop_descriptor d;
    int rc;
    if ((rc = set_blob(layer, &sealed->cipher, sealed->size, err)) != 0 ||
        (rc = prop_recipients_wrap(to, sealed->privopts, sealed->pubopts, layer, err)) != 0 ||
        (rc = prop_descriptor_read(layer, "the new layer", &d, err)) != 0)
        return rc;
    return prop_recipients_verify(to, &d, &sealed->plain, err);
}

/* A bare module: wasm-to-oci form, with one layer. */
static int encrypt_bare(struct prop_src *src, struct prop_dst *dst,
                        const struct prop_encrypt_options *o, struct prop_encrypt_result *ret,
                        struct prop_err *err)
{
    struct prop_layer_sealed sealed = { .size = 0 };
    struct prop_encrypt_result r = { .layers = 1 };
    struct prop_digest config;
    json_t *manifest = NULL;
    const char *title = o->title ? o->title : prop_src_bare_title(src);
    int rc;
    if ((rc = encrypt_blob(src, dst, NULL, &r.is_wasm, &sealed, err)) != 0)
        return rc;
    manifest = prop_manifest_new_wasm(&sealed.cipher, sealed.size, title && *title ? title : NULL);
    json_t *layer = json_array_get(json_object_get(manifest, "layers"), 0);
    if (!layer) {
        rc = prop_err_nomem(err);
        goto out;
    }
    if ((rc = seal_descriptor(o->recipients, &sealed, layer, err)) != 0 ||
        (rc = prop_wasm_config_digest(&config, err)) != 0 ||
        (rc = prop_dst_blob_put(dst, prop_wasm_config_blob, 2, &config, err)) != 0 ||
        (rc = put_manifest(dst, manifest, PROP_MT_OCI_MANIFEST, &r.manifest, &r.manifest_size,
                           err)) != 0)
        goto out;
    r.layer = sealed.cipher;
    r.plain = sealed.plain;
    r.bytes = sealed.size;
    *ret = r;
out:
    json_decref(manifest);
    prop_layer_sealed_release(&sealed);
    return rc;
}

/* What cannot be encrypted is refused before a byte is moved. */
static int check_encryptable(const struct prop_manifest *m, struct prop_err *err)
{
    if (m->n_layers == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "no-layers",
                               "the image has no layers: there is nothing to encrypt");
    for (size_t i = 0; i < m->n_layers; i++) {
        const struct prop_descriptor *d = &m->layers[i];
        if (strstr(d->media_type, "+encrypted"))
            return prop_err_set_id(err, PROP_E_USAGE, "already-encrypted",
                                   "layer %zu of %zu is encrypted already ('%s')", i + 1,
                                   m->n_layers, d->media_type);
        if (json_array_size(json_object_get(d->json, "urls")) > 0 ||
            strstr(d->media_type, "rootfs.foreign"))
            return prop_err_set_id(err, PROP_E_UNSUPPORTED, "foreign-layer",
                                   "layer %zu of %zu is kept elsewhere ('%s'): it cannot be "
                                   "encrypted", i + 1, m->n_layers, d->media_type);
    }
    return 0;
}

static int copy_blob(struct prop_src *src, struct prop_dst *dst, const struct prop_descriptor *d,
                     struct prop_err *err)
{
    struct flow f = { .enc = NULL };
    bool there = false;
    int rc = prop_dst_has_blob(dst, &d->digest, d->size, &there, err);
    if (rc != 0 || there)
        return rc;
    if ((rc = prop_dst_blob_begin(dst, d->size, &f.blob, err)) == 0 &&
        (rc = prop_src_blob(src, d, to_blob, &f, err)) == 0)
        rc = flow_finish(&f, &d->digest, err);
    flow_release(&f);
    return rc;
}

static int encrypt_layer(struct prop_src *src, struct prop_dst *dst,
                         const struct prop_descriptor *layer, const struct prop_recipients *to,
                         struct prop_encrypt_result *r, struct prop_err *err)
{
    struct prop_layer_sealed sealed = { .size = 0 };
    bool wasm = false;
    int rc = encrypt_blob(src, dst, layer, &wasm, &sealed, err);
    if (rc != 0)
        return rc;
    /* An inline copy of the plaintext would undo it all. */
    (void)json_object_del(layer->json, "data");
    rc = seal_descriptor(to, &sealed, layer->json, err);
    if (rc == 0) {
        if (r->layers++ == 0) {
            r->layer = sealed.cipher;
            r->plain = sealed.plain;
            r->is_wasm = wasm;
        }
        r->bytes += sealed.size;
    }
    prop_layer_sealed_release(&sealed);
    return rc;
}

/* The source's manifest, which must be one we can rewrite. */
static int read_manifest(struct prop_src *src, struct prop_manifest *m, char **ret_type,
                         struct prop_err *err)
{
    prop_auto_free char *type = NULL;
    int rc = prop_image_manifest(src, "the image's manifest", m, &type, NULL, err);
    if (rc != 0)
        return rc;
    if (type && strcmp(type, PROP_MT_DOCKER_MANIFEST) == 0) {
        prop_manifest_release(m);
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "docker-manifest",
                              "the image has a Docker manifest: encrypted layers need OCI's");
        return prop_err_hint(err, "convert it first: skopeo copy --format oci SRC oci:DIR");
    }
    *ret_type = PROP_TAKE(type);
    return 0;
}

static const char *type_or_oci(const char *type)
{
    return type && *type ? type : PROP_MT_OCI_MANIFEST;
}

int prop_image_encrypt(struct prop_src *src, struct prop_dst *dst,
                       const struct prop_encrypt_options *o, struct prop_encrypt_result *ret,
                       struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_free char *type = NULL;
    struct prop_encrypt_result r = { .layers = 0 };
    int rc;
    if (prop_recipients_count(o->recipients) == 0)
        return prop_err_set_id(err, PROP_E_USAGE, "no-recipient",
                               "no recipient: nobody could ever open the image");
    if (prop_src_is_bare(src))
        return encrypt_bare(src, dst, o, ret, err);
    if ((rc = read_manifest(src, &m, &type, err)) != 0 || (rc = check_encryptable(&m, err)) != 0)
        return rc;
    for (size_t i = 0; i < m.n_layers; i++)
        if ((rc = encrypt_layer(src, dst, &m.layers[i], o->recipients, &r, err)) != 0)
            return prop_err_wrap(err, "layer %zu of %zu", i + 1, m.n_layers);
    if ((rc = copy_blob(src, dst, &m.config, err)) != 0)
        return prop_err_wrap(err, "image config");
    rc = put_manifest(dst, m.json, type_or_oci(type), &r.manifest, &r.manifest_size, err);
    if (rc == 0)
        *ret = r;
    return rc;
}

/* Stream one encrypted layer through its cipher; 0 only when blob digest, HMAC and, for modules,
 * the stated digest hold. */
static int decrypt_blob(struct prop_src *src, const struct prop_descriptor *layer,
                        struct prop_openers *openers, struct flow *f, prop_layer_sink sink,
                        void *ctx, struct prop_digest *ret_plain, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *privopts = NULL;
    prop_auto_free char *pubopts = NULL;
    struct prop_digest plain = { .len = 0 }, stated = { .len = 0 };
    int rc;
    if ((rc = prop_openers_unwrap(openers, layer, &privopts, &pubopts, err)) != 0 ||
        (rc = prop_layer_dec_new(pubopts, privopts, sink, ctx, &f->dec, err)) != 0 ||
        (rc = prop_src_blob(src, layer, to_decipher, f, err)) != 0 ||
        (rc = prop_layer_dec_final(f->dec, &plain, &stated, err)) != 0 ||
        (rc = prop_layer_check_stated(layer, &plain, &stated, err)) != 0)
        return rc;
    *ret_plain = plain;
    return 0;
}

/* The descriptor of the plain layer again. */
static int restore(const struct prop_descriptor *layer, const struct prop_digest *plain,
                   struct prop_err *err)
{
    size_t len = strlen(layer->media_type) - strlen(PROP_MT_ENCRYPTED);
    int rc = set_blob(layer->json, plain, layer->size, err);
    prop_enc_strip(layer->json);
    if (rc == 0 &&
        json_object_set_new(layer->json, "mediaType", json_stringn(layer->media_type, len)) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

static int decrypt_layer(struct prop_src *src, struct prop_dst *dst,
                         const struct prop_descriptor *layer, struct prop_openers *openers,
                         struct prop_err *err)
{
    struct flow f = { .enc = NULL };
    struct prop_digest plain;
    int rc;
    if ((rc = prop_dst_blob_begin(dst, layer->size, &f.blob, err)) == 0 &&
        (rc = decrypt_blob(src, layer, openers, &f, to_blob, &f, &plain, err)) == 0 &&
        (rc = flow_finish(&f, &plain, err)) == 0)
        rc = restore(layer, &plain, err);
    flow_release(&f);
    return rc;
}

int prop_image_decrypt(struct prop_src *src, struct prop_dst *dst, struct prop_openers *openers,
                       struct prop_digest *ret_manifest, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_free char *type = NULL;
    size_t n = 0;
    int rc = read_manifest(src, &m, &type, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < m.n_layers; i++)
        n += prop_layer_is_encrypted(&m.layers[i]);
    if (n == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "not-encrypted",
                               "no layer of the image is encrypted");
    for (size_t i = 0; i < m.n_layers; i++) {
        rc = prop_layer_is_encrypted(&m.layers[i])
                 ? decrypt_layer(src, dst, &m.layers[i], openers, err)
                 : copy_blob(src, dst, &m.layers[i], err);
        if (rc != 0)
            return prop_err_wrap(err, "layer %zu of %zu", i + 1, m.n_layers);
    }
    if ((rc = copy_blob(src, dst, &m.config, err)) != 0)
        return prop_err_wrap(err, "image config");
    return put_manifest(dst, m.json, type_or_oci(type), ret_manifest, NULL, err);
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
    struct flow f = { .enc = NULL };
    const struct prop_descriptor *layer = NULL;
    struct prop_digest plain;
    int rc = prop_manifest_wasm_layer(m, &layer, err);
    if (rc != 0)
        return rc;
    if (prop_layer_is_encrypted(layer))
        rc = decrypt_blob(src, layer, openers, &f, sink, ctx, &plain, err);
    else if (!plain_ok)
        rc = prop_err_set_id(err, PROP_E_DENIED, "not-encrypted",
                             "the image's Wasm layer is not encrypted");
    else
        rc = prop_src_blob(src, layer, sink, ctx, err);
    flow_release(&f);
    return rc;
}
