/* A bare module packed and encrypted in one pass: its bytes are looked at, perhaps wrapped in a tar,
 * and ciphered as they go by; config and manifest are made afterwards, when the digests are known. */
#include "ocicrypt/image_bare.h"

#include "oci/module_tar.h"
#include "ocicrypt/image_flow.h"
#include "util/limits.h"
#include "util/mem.h"

#define TAR_HEADER 512

/* The module's bytes on their way to the cipher, watched. */
struct watch {
    struct prop_src *src;
    enum prop_form form;
    struct prop_wasm_scan **scan; /* the caller's */
    uint64_t skip; /* bytes before the module */
    bool any;      /* byte of the module */
    prop_sink_fn sink;
    void *sink_ctx;
};

static int watch_bytes(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct watch *w = ctx;
    size_t skip = len < w->skip ? len : (size_t)w->skip;
    w->skip -= skip;
    w->any = w->any || len > skip;
    int rc = prop_wasm_scan_update(*w->scan, (const uint8_t *)data + skip, len - skip, err);
    return rc != 0 ? rc : w->sink(w->sink_ctx, data, len, err);
}

static int read_module(void *ctx, prop_sink_fn sink, void *sink_ctx, struct prop_err *err)
{
    struct watch *w = ctx;
    w->sink = sink;
    w->sink_ctx = sink_ctx;
    w->skip = w->form == PROP_FORM_TAR ? TAR_HEADER : 0;
    w->any = false;
    int rc = w->form == PROP_FORM_TAR ? prop_module_tar_stream(w->src, watch_bytes, w, err)
                                      : prop_src_bare_read(w->src, watch_bytes, w, err);
    if (rc != 0 || w->any)
        return rc;
    (void)prop_err_set_id(err, PROP_E_INPUT, "empty-module", "the module is empty");
    return prop_err_hint(err, "standard input can hold one thing only: the module, or a key");
}

/* What was seen of the module is forgotten; a file is read from its start. */
static int look_again(void *ctx, struct prop_err *err)
{
    struct watch *w = ctx;
    struct prop_wasm_scan *fresh = NULL;
    int rc = prop_wasm_scan_new(&fresh, err);
    if (rc != 0)
        return rc;
    prop_wasm_scan_free(*w->scan);
    *w->scan = fresh;
    return 0;
}

static int encrypt_module(struct watch *w, struct prop_dst *dst, bool *ret_wasm,
                          struct prop_layer_sealed *ret, struct prop_err *err)
{
    struct prop_flow_source from = { read_module, w, prop_src_bare_size(w->src), NULL, NULL };
    if (from.size != UINT64_MAX)
        from.again = look_again;
    if (w->form == PROP_FORM_TAR && from.size != UINT64_MAX)
        from.size = prop_module_tar_size(from.size);
    int rc = prop_flow_encrypt(dst, &from, ret_wasm, ret, err);
    if (rc == 0 && w->form == PROP_FORM_TAR)
        *ret_wasm = prop_wasm_scan_kind(*w->scan) != PROP_WASM_NONE;
    return rc;
}

static int put_config(struct prop_dst *dst, const struct prop_buf *config,
                      struct prop_digest *ret, struct prop_err *err)
{
    int rc = prop_digest_of(PROP_SHA256, config->data, config->len, ret, err);
    return rc != 0 ? rc : prop_dst_blob_put(dst, config->data, config->len, ret, err);
}

static int put_manifest(struct prop_dst *dst, const json_t *manifest,
                        struct prop_encrypt_result *r, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    int rc;
    if ((rc = prop_manifest_write(manifest, &bytes, err)) != 0 ||
        (rc = prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &r->manifest, err)) != 0)
        return rc;
    r->manifest_size = bytes.len;
    return prop_dst_manifest(dst, bytes.data, bytes.len, PROP_MT_OCI_MANIFEST, &r->manifest, err);
}

json_t *prop_encrypt_report_layer(const char *media_type, const struct prop_digest *digest,
                                  uint64_t size, const struct prop_digest *plain,
                                  const char *action)
{
    char d[PROP_DIGEST_TEXT], p[PROP_DIGEST_TEXT];
    json_t *row = json_pack("{s:s,s:s,s:I,s:s}", "media_type", media_type, "digest",
                            prop_digest_format(digest, d), "size", (json_int_t)size, "action",
                            action);
    if (row && plain &&
        json_object_set_new(row, "plain", json_string(prop_digest_format(plain, p))) != 0) {
        json_decref(row);
        row = NULL;
    }
    return row;
}

static int report(const struct prop_encrypt_options *o, const json_t *layer,
                  const struct prop_encrypt_result *r, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    if (!o->images)
        return 0;
    json_t *row = prop_encrypt_report_layer(
        json_string_value(json_object_get(layer, "mediaType")), &r->layer, r->bytes, &r->plain,
        "encrypted");
    if (json_array_append_new(o->images,
                              json_pack("{s:s,s:[o]}", "digest",
                                        prop_digest_format(&r->manifest, text), "layers", row)) != 0)
        return prop_err_nomem(err);
    return 0;
}

/* Config and manifest around what was encrypted. */
static int finish(struct prop_dst *dst, const struct prop_encrypt_options *o,
                  const struct watch *w, const struct prop_layer_sealed *sealed,
                  struct prop_encrypt_result *r, struct prop_err *err)
{
    prop_auto_buf struct prop_buf config = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    prop_auto_json json_t *manifest = NULL;
    struct prop_digest digest;
    const char *title = o->title ? o->title : prop_src_bare_title(w->src);
    int rc;
    /* a tar under the module's name would be taken for the module */
    if (o->hide || (!o->title && o->form == PROP_FORM_TAR))
        title = NULL;
    if ((rc = prop_form_config(o->form, o->hide ? NULL : &sealed->plain, *w->scan, &config,
                               err)) != 0 ||
        (rc = put_config(dst, &config, &digest, err)) != 0)
        return rc;
    manifest = prop_form_manifest(o->form, &digest, config.len, &sealed->cipher, sealed->size,
                                  title && *title ? title : NULL);
    json_t *layer = json_array_get(json_object_get(manifest, "layers"), 0);
    if (!layer)
        return prop_err_nomem(err);
    if ((rc = prop_flow_seal(o->recipients, sealed, layer, err)) != 0 ||
        (rc = put_manifest(dst, manifest, r, err)) != 0)
        return rc;
    r->layer = sealed->cipher;
    r->plain = sealed->plain;
    r->bytes = sealed->size;
    return report(o, layer, r, err);
}

static int check_options(const struct prop_encrypt_options *o, struct prop_err *err)
{
    if (o->n_layers > 0 || o->n_platforms > 0)
        return prop_err_set_id(err, PROP_E_USAGE, o->n_layers > 0 ? "no-such-layer" : "not-an-index",
                               "a bare module has no %s to choose from",
                               o->n_layers > 0 ? "layers" : "platforms");
    if (!o->hide || o->form != PROP_FORM_TAR)
        return 0;
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "private-diff-ids",
                          "the tar form is for readers that demand diff_ids, the digests of the "
                          "plain layers");
    return prop_err_hint(err, "--form propeller and --form cncf can do without");
}

int prop_bare_encrypt(struct prop_src *src, struct prop_dst *dst,
                      const struct prop_encrypt_options *o, struct prop_encrypt_result *ret,
                      struct prop_err *err)
{
    prop_auto_wasm_scan struct prop_wasm_scan *scan = NULL;
    struct prop_layer_sealed sealed = { .size = 0 };
    struct prop_encrypt_result r = { .layers = 1, .images = 1 };
    int rc = check_options(o, err);
    if (rc != 0 || (rc = prop_wasm_scan_new(&scan, err)) != 0)
        return rc;
    struct watch w = { .src = src, .form = o->form, .scan = &scan };
    if ((rc = encrypt_module(&w, dst, &r.is_wasm, &sealed, err)) != 0)
        return rc;
    rc = finish(dst, o, &w, &sealed, &r, err);
    prop_layer_sealed_release(&sealed);
    if (rc == 0)
        *ret = r;
    return rc;
}
