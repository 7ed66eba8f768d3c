/* Layers are read twice when they are files: first for their digest, so that what a registry has
 * already is not sent again. */
#include "cmd/proppush/pack.h"

#include "oci/manifest.h"
#include "oci/module_tar.h"
#include "ocicrypt/form.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UNKNOWN_ARTIFACT "application/vnd.unknown.artifact.v1"
#define UNKNOWN_CONFIG "application/vnd.unknown.config.v1+json"
#define EMPTY_CONFIG "application/vnd.oci.empty.v1+json"
#define TAR_LAYER "application/vnd.oci.image.layer.v1.tar"
#define CREATED "org.opencontainers.image.created"
#define TAR_HEADER 512
#define SEND_TRIES 3

int proppush_form_parse(const char *text, enum proppush_form *ret, struct prop_err *err)
{
    static const struct {
        const char *name;
        enum proppush_form form;
    } forms[] = { { "wasm-to-oci", PROPPUSH_FORM_WASM_TO_OCI },
                  { "propeller", PROPPUSH_FORM_WASM_TO_OCI },
                  { "cncf", PROPPUSH_FORM_CNCF },
                  { "tar", PROPPUSH_FORM_TAR },
                  { "oras", PROPPUSH_FORM_ORAS } };

    for (size_t i = 0; i < PROP_ARRAY_LEN(forms); i++)
        if (strcmp(text, forms[i].name) == 0) {
            *ret = forms[i].form;
            return 0;
        }
    prop_err_set_id(err, PROP_E_USAGE, "bad-form", "'%s' is no form of an artifact", text);
    return prop_err_hint(err, "wasm-to-oci, cncf, tar or oras");
}

/* --- files and annotations as typed --- */

int proppush_file_read(const char *text, struct proppush_file *ret, struct prop_err *err)
{
    const char *colon = strrchr(text, ':');
    bool typed = colon != NULL && colon != text && strchr(colon, '/') != NULL &&
                 access(text, F_OK) != 0;
    prop_auto_free char *path =
        prop_strndup(text, typed ? (size_t)(colon - text) : strlen(text));
    prop_auto_free char *type = typed ? prop_strdup(colon + 1) : NULL;
    prop_auto_free char *title = NULL;
    const char *slash;

    if (path == NULL || (typed && type == NULL))
        return prop_err_nomem(err);
    slash = strrchr(path, '/');
    title = prop_strdup(strcmp(path, "-") == 0 ? "module.wasm" : slash != NULL ? slash + 1 : path);
    if (title == NULL)
        return prop_err_nomem(err);
    *ret = (struct proppush_file){ PROP_TAKE(path), PROP_TAKE(type), PROP_TAKE(title) };
    return 0;
}

void proppush_file_release(struct proppush_file *f)
{
    prop_free(f->path);
    prop_free(f->type);
    prop_free(f->title);
}

int proppush_annotations_read(const struct prop_strs *texts, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *all = json_object();

    if (all == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < texts->n; i++) {
        const char *equals = strchr(texts->items[i], '=');
        prop_auto_free char *key = NULL;

        if (equals == NULL || equals == texts->items[i]) {
            prop_err_set_id(err, PROP_E_USAGE, "bad-annotation", "'%s' is no annotation",
                            texts->items[i]);
            return prop_err_hint(err, "KEY=VALUE");
        }
        key = prop_strndup(texts->items[i], (size_t)(equals - texts->items[i]));
        if (key == NULL)
            return prop_err_nomem(err);
        if (json_object_get(all, key) != NULL)
            return prop_err_set_id(err, PROP_E_USAGE, "bad-annotation",
                                   "the annotation '%s' is given twice", key);
        if (json_object_set_new(all, key, json_string(equals + 1)) < 0)
            return prop_err_set_id(err, PROP_E_USAGE, "bad-annotation",
                                   "the annotation '%s' is not UTF-8 text", key);
    }
    *ret = PROP_TAKE(all);
    return 0;
}

/* --- one layer --- */

/* A file's bytes on their way: hashed, looked at, perhaps sent. */
struct layer {
    struct prop_src *src;
    bool tar;
    struct prop_hash *hash;
    struct prop_wasm_scan *scan;
    uint64_t skip; /* the tar header, which is no part of the module */
    uint64_t size;
    struct prop_dst_blob *blob; /* NULL: only looked at */
    struct prop_digest digest;
};

static int layer_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct layer *l = ctx;
    size_t skip = len < l->skip ? len : (size_t)l->skip;
    int rc = prop_hash_update(l->hash, data, len, err);

    l->skip -= skip;
    l->size += len;
    if (rc == 0)
        rc = prop_wasm_scan_update(l->scan, (const uint8_t *)data + skip, len - skip, err);
    return rc == 0 && l->blob != NULL ? prop_dst_blob_write(l->blob, data, len, err) : rc;
}

static int layer_read(struct layer *l, struct prop_err *err)
{
    int rc;

    prop_wasm_scan_free(PROP_TAKE(l->scan));
    prop_hash_free(PROP_TAKE(l->hash));
    l->size = 0;
    l->skip = l->tar ? TAR_HEADER : 0;
    rc = prop_wasm_scan_new(&l->scan, err);
    if (rc == 0)
        rc = prop_hash_new(PROP_SHA256, &l->hash, err);
    if (rc == 0)
        rc = l->tar ? prop_module_tar_stream(l->src, layer_sink, l, err)
                    : prop_src_bare_read(l->src, layer_sink, l, err);
    return rc == 0 ? prop_hash_final(l->hash, &l->digest, err) : rc;
}

static void layer_release(struct layer *l)
{
    prop_wasm_scan_free(l->scan);
    prop_hash_free(l->hash);
    prop_src_free(l->src);
}
#define auto_layer __attribute__((cleanup(layer_release)))

static int layer_send_once(struct layer *l, struct prop_dst *dst, uint64_t size,
                           struct prop_err *err)
{
    struct prop_digest before = l->digest;
    bool known = size != UINT64_MAX;
    int rc = prop_dst_blob_begin(dst, size, &l->blob, err);

    if (rc < 0)
        return rc;
    rc = layer_read(l, err);
    if (rc == 0 && known && !prop_digest_equal(&before, &l->digest))
        rc = prop_err_set_id(err, PROP_E_IO, "source-changed", "it changed while it was read");
    if (rc == 0)
        return prop_dst_blob_finish(PROP_TAKE(l->blob), &l->digest, err);
    prop_dst_blob_abort(PROP_TAKE(l->blob));
    return rc;
}

/* An upload that broke is begun anew where the bytes can be read again. */
static int layer_send(struct layer *l, struct prop_dst *dst, uint64_t size, struct prop_err *err)
{
    for (unsigned tries = 1;; tries++) {
        struct prop_err failure = PROP_ERR_INIT;
        int rc = layer_send_once(l, dst, size, &failure);

        if (rc < 0 && strcmp(prop_err_id(&failure), "upload-lost") == 0) {
            if (size != UINT64_MAX && tries < SEND_TRIES)
                continue;
            if (size == UINT64_MAX)
                prop_err_hint(&failure, "what came through the pipe cannot be read again: run it "
                                        "again, or push a file");
        }
        if (rc < 0 && err != NULL)
            *err = failure;
        return rc;
    }
}

static int layer_check(const struct layer *l, enum proppush_form form, struct prop_err *err)
{
    enum prop_wasm_kind kind = prop_wasm_scan_kind(l->scan);

    if (form != PROPPUSH_FORM_ORAS && kind == PROP_WASM_NONE) {
        prop_err_set_id(err, PROP_E_INPUT, "not-wasm", "it is no WebAssembly module or component");
        return prop_err_hint(err, "--form oras holds any file");
    }
    return 0;
}

/* Count a blob that the destination lacks. */
static int count(const struct proppush_pack *p, const struct prop_digest *digest, uint64_t size,
                 struct prop_err *err)
{
    bool there = false;
    int rc = prop_dst_has_blob(p->ask, digest, size, &there, err);

    if (rc == 0 && !there) {
        *p->new_blobs += 1;
        *p->new_bytes += size;
    }
    return rc;
}

static int layer_put(struct layer *l, const struct proppush_pack *p, struct prop_dst *dst,
                     struct prop_err *err)
{
    enum proppush_form form = p->form;
    uint64_t size = prop_src_bare_size(l->src);
    bool there = false;
    int rc = 0;

    l->tar = form == PROPPUSH_FORM_TAR;
    if (size != UINT64_MAX) {
        rc = layer_read(l, err);
        if (rc == 0)
            rc = layer_check(l, form, err);
        if (rc == 0 && p->ask == NULL)
            rc = prop_dst_has_blob(dst, &l->digest, l->size, &there, err);
        there = there || p->ask != NULL; /* a dry run has read enough */
        size = l->size;
    }
    if (rc == 0 && !there) {
        rc = layer_send(l, dst, size, err);
        if (rc == 0) /* a pipe's content is known only now */
            rc = layer_check(l, form, err);
    }
    return rc == 0 && p->ask != NULL ? count(p, &l->digest, l->size, err) : rc;
}

static const char *layer_type(const struct proppush_pack *p, const struct proppush_file *f,
                              const struct layer *l)
{
    switch (p->form) {
    case PROPPUSH_FORM_WASM_TO_OCI:
        return PROP_MT_WASM_LAYER;
    case PROPPUSH_FORM_CNCF:
        return PROP_MT_CNCF_LAYER;
    case PROPPUSH_FORM_TAR:
        return TAR_LAYER;
    case PROPPUSH_FORM_ORAS:
        break;
    }
    if (f->type != NULL || p->media_type != NULL)
        return f->type != NULL ? f->type : p->media_type;
    return prop_wasm_scan_kind(l->scan) != PROP_WASM_NONE ? PROP_MT_CNCF_LAYER : TAR_LAYER;
}

/* --- config and manifest --- */

struct packing {
    const struct proppush_pack *p;
    const struct prop_oci_options *oci;
    struct prop_dst *dst;
    json_t *manifest; /* owned */
};

static int set(json_t *object, const char *key, json_t *value, struct prop_err *err)
{
    return json_object_set_new(object, key, value) < 0 ? prop_err_nomem(err) : 0;
}

static int put_bytes(struct packing *k, const void *data, size_t len, const char *type,
                     json_t **ret, struct prop_err *err)
{
    struct prop_digest digest;
    int rc = prop_digest_of(PROP_SHA256, data, len, &digest, err);

    if (rc == 0)
        rc = k->p->ask != NULL ? count(k->p, &digest, len, err)
                               : prop_dst_blob_put(k->dst, data, len, &digest, err);
    if (rc < 0)
        return rc;
    *ret = prop_descriptor_new(type, &digest, len);
    return *ret == NULL ? prop_err_nomem(err) : 0;
}

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static int open_file(struct packing *k, const struct proppush_file *f, struct prop_src **ret,
                     struct prop_err *err)
{
    struct prop_location loc = { .transport = PROP_T_FILE, .path = f->path, .text = f->path };

    return prop_src_open(&loc, k->oci, ret, err);
}

static int given_config(struct packing *k, json_t **ret, struct prop_err *err)
{
    const struct proppush_file *f = k->p->config;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    prop_auto_src struct prop_src *src = NULL;
    int rc = open_file(k, f, &src, err);

    if (rc == 0)
        rc = prop_src_bare_read(src, collect, &bytes, err);
    return rc == 0 ? put_bytes(k, prop_buf_str(&bytes), bytes.len,
                               f->type != NULL ? f->type : UNKNOWN_CONFIG, ret, err)
                   : rc;
}

static int oras_config(struct packing *k, json_t **ret, struct prop_err *err)
{
    int rc;

    if (k->p->config != NULL)
        return given_config(k, ret, err);
    rc = put_bytes(k, prop_wasm_config_blob, 2, EMPTY_CONFIG, ret, err);
    return rc == 0 ? set(*ret, "data", json_string("e30="), err) : rc;
}

/* The CNCF config names an author; its members keep their order. */
static int set_author(const char *author, struct prop_buf *config, struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    prop_auto_free char *text = NULL;
    int rc = prop_json_parse(prop_buf_str(config), config->len, "the config", &doc, err);

    if (rc < 0)
        return rc;
    if (json_object_set_new(doc, "author", json_string(author)) < 0)
        return prop_err_set(err, PROP_E_USAGE, "the author's name is not UTF-8 text");
    text = prop_json_compact(doc);
    prop_buf_clear(config);
    return text == NULL ? prop_err_nomem(err) : prop_buf_puts(config, text, err);
}

/* The manifest of a form that is made for one module, around its layer. */
static int module_manifest(struct packing *k, const struct layer *l, const char *title,
                           struct prop_err *err)
{
    static const enum prop_form forms[] = { [PROPPUSH_FORM_WASM_TO_OCI] = PROP_FORM_PROPELLER,
                                            [PROPPUSH_FORM_CNCF] = PROP_FORM_CNCF,
                                            [PROPPUSH_FORM_TAR] = PROP_FORM_TAR };
    enum prop_form form = forms[k->p->form];
    prop_auto_buf struct prop_buf config = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    prop_auto_json json_t *unused = NULL;
    struct prop_digest digest;
    int rc = prop_form_config(form, &l->digest, l->scan, &config, err);

    if (rc == 0 && k->p->author != NULL)
        rc = set_author(k->p->author, &config, err);
    if (rc == 0)
        rc = put_bytes(k, config.data, config.len, "-", &unused, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, config.data, config.len, &digest, err);
    if (rc < 0)
        return rc;
    /* a tar under the module's name would be taken for the module */
    k->manifest = prop_form_manifest(form, &digest, config.len, &l->digest, l->size,
                                     form == PROP_FORM_TAR ? NULL : title);
    return k->manifest == NULL ? prop_err_nomem(err) : 0;
}

static int begin_oras(struct packing *k, struct prop_err *err)
{
    const char *type = k->p->artifact_type;
    json_t *config = NULL;
    int rc = oras_config(k, &config, err);

    if (rc < 0)
        return rc;
    if (type == NULL && k->p->config == NULL)
        type = UNKNOWN_ARTIFACT;
    k->manifest = json_pack("{s:i, s:s, s:s*, s:o, s:[]}", "schemaVersion", 2, "mediaType",
                            PROP_MT_OCI_MANIFEST, "artifactType", type, "config", config, "layers");
    return k->manifest == NULL ? prop_err_nomem(err) : 0;
}

static int add_layer(struct packing *k, const struct proppush_file *f, struct prop_err *err)
{
    auto_layer struct layer l = { .src = NULL };
    const char *title = f->title[0] != '\0' ? f->title : NULL;
    json_t *d;
    int rc = open_file(k, f, &l.src, err);

    if (rc == 0)
        rc = layer_put(&l, k->p, k->dst, err);
    if (rc < 0)
        return prop_err_wrap(err, "'%s'", f->path);
    if (k->p->form != PROPPUSH_FORM_ORAS)
        return module_manifest(k, &l, title, err);
    d = prop_descriptor_new(layer_type(k->p, f, &l), &l.digest, l.size);
    if (d == NULL || json_array_append_new(json_object_get(k->manifest, "layers"), d) < 0)
        return prop_err_nomem(err);
    return title != NULL ? prop_descriptor_annotate(d, PROP_ANNOTATION_TITLE, title, err) : 0;
}

static int finish(struct packing *k, struct prop_err *err)
{
    const struct proppush_pack *p = k->p;
    prop_auto_json json_t *all = json_deep_copy(p->annotations);
    char created[21];
    int rc = 0;

    if (all == NULL)
        return prop_err_nomem(err);
    prop_form_created(created);
    if (p->form == PROPPUSH_FORM_ORAS && json_object_get(all, CREATED) == NULL)
        rc = set(all, CREATED, json_string(created), err);
    if (rc == 0 && p->artifact_type != NULL)
        rc = set(k->manifest, "artifactType", json_string(p->artifact_type), err);
    if (rc == 0 && p->subject != NULL)
        rc = set(k->manifest, "subject", json_incref(p->subject), err);
    if (rc == 0 && json_object_size(all) > 0)
        rc = set(k->manifest, "annotations", json_incref(all), err);
    return rc;
}

static int check(const struct proppush_pack *p, struct prop_err *err)
{
    bool module = p->form != PROPPUSH_FORM_ORAS;

    if (module && (p->n != 1 || p->files[0].type != NULL || p->media_type != NULL ||
                   p->config != NULL)) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-form",
                        p->n != 1 ? "this form holds one module"
                                  : "this form has its own media types and config");
        return prop_err_hint(err, "--form oras holds any files under any types");
    }
    if (p->author != NULL && p->form != PROPPUSH_FORM_CNCF)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-form", "--author is for --form cncf");
    for (size_t i = 0; i < p->n; i++)
        for (size_t j = 0; j < i; j++)
            if (p->files[i].title[0] != '\0' &&
                strcmp(p->files[i].title, p->files[j].title) == 0) {
                prop_err_set_id(err, PROP_E_USAGE, "same-title",
                                "two files would have the title '%s'", p->files[i].title);
                return prop_err_hint(err, "--keep-path keeps the folders in the titles");
            }
    return 0;
}

int proppush_pack_put(const struct proppush_pack *p, const struct prop_oci_options *oci,
                      struct prop_dst *dst, struct prop_buf *manifest, struct prop_digest *ret,
                      struct prop_err *err)
{
    struct packing k = { p, oci, dst, NULL };
    int rc = check(p, err);

    if (rc == 0 && p->form == PROPPUSH_FORM_ORAS)
        rc = begin_oras(&k, err);
    for (size_t i = 0; rc == 0 && i < p->n; i++)
        rc = add_layer(&k, &p->files[i], err);
    if (rc == 0)
        rc = finish(&k, err);
    if (rc == 0)
        rc = prop_manifest_write(k.manifest, manifest, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, manifest->data, manifest->len, ret, err);
    json_decref(k.manifest);
    return rc == 0 ? prop_dst_manifest(dst, manifest->data, manifest->len, PROP_MT_OCI_MANIFEST,
                                       ret, err)
                   : rc;
}
