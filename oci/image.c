/* Places behind one interface: dispatch by transport, the checks every source shares, whole copies. */
#include "oci/image.h"

#include "crypto/digest.h"
#include "oci/place.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

/* --- sources --- */

static int open_src(const struct prop_location *loc, const struct prop_oci_options *opts,
                    struct prop_src **ret, struct prop_err *err)
{
    switch (loc->transport) {
    case PROP_T_DOCKER:
        return prop_src_open_registry(loc, opts, ret, err);
    case PROP_T_OCI:
        return prop_src_open_layout(loc->path, loc->name, ret, err);
    case PROP_T_OCI_ARCHIVE:
        return prop_src_open_archive(loc->path, loc->name, ret, err);
    case PROP_T_DIR:
        return prop_src_open_dir(loc->path, ret, err);
    case PROP_T_FILE:
        return prop_src_open_file(loc->path, ret, err);
    case PROP_T_SINK:
        break;
    }
    return prop_err_set_id(err, PROP_E_USAGE, "bad-location", "'%s' cannot be read from",
                           loc->text);
}

int prop_src_open(const struct prop_location *loc, const struct prop_oci_options *opts,
                  struct prop_src **ret, struct prop_err *err)
{
    struct prop_src *src = NULL;
    int rc = open_src(loc, opts, &src, err);

    if (rc < 0)
        return rc;
    src->progress = opts->progress;
    src->text = prop_strdup(loc->text);
    if (loc->transport == PROP_T_DOCKER)
        src->want = loc->ref.digest;
    if (src->text == NULL) {
        prop_src_free(src);
        return prop_err_nomem(err);
    }
    *ret = src;
    return 0;
}

void prop_src_free(struct prop_src *src)
{
    char *text, *title;

    if (src == NULL)
        return;
    text = src->text;
    title = src->title;
    src->ops->free(src);
    prop_free(text);
    prop_free(title);
}

bool prop_src_is_bare(const struct prop_src *src)
{
    return src->title != NULL;
}

const char *prop_src_bare_title(const struct prop_src *src)
{
    return src->title;
}

int prop_src_set_title(struct prop_src *src, const char *title, struct prop_err *err)
{
    char *copy = prop_strdup(title);

    if (copy == NULL)
        return prop_err_nomem(err);
    prop_free(src->title);
    src->title = copy;
    return 0;
}

int prop_src_expect(struct prop_src *src, const struct prop_digest *digest, struct prop_err *err)
{
    if (prop_src_is_bare(src))
        return prop_err_set(err, PROP_E_USAGE, "'%s' is a bare module: it has no digest to pin",
                            src->text);
    src->want = *digest;
    return 0;
}

int prop_src_manifest(struct prop_src *src, struct prop_buf *out, char **ret_media_type,
                      struct prop_digest *ret_digest, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *said = NULL;
    prop_auto_free char *type = NULL;
    struct prop_digest digest;
    int rc;

    if (prop_src_is_bare(src))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "bare-module",
                               "'%s' is a bare module and has no manifest", src->text);
    rc = src->ops->manifest(src, &bytes, &said, err);
    if (rc == 0)
        rc = prop_digest_of(src->want.len > 0 ? src->want.alg : PROP_SHA256, bytes.data, bytes.len,
                            &digest, err);
    if (rc == 0 && src->want.len > 0)
        rc = prop_digest_check(&digest, &src->want, "the manifest", err);
    if (rc == 0)
        rc = prop_manifest_type(bytes.data, bytes.len, said, "the manifest", &type, err);
    if (rc == 0)
        rc = prop_buf_add(out, bytes.data, bytes.len, err);
    if (rc < 0)
        return prop_err_wrap(err, "'%s'", src->text);
    if (ret_media_type != NULL)
        *ret_media_type = PROP_TAKE(type);
    if (ret_digest != NULL)
        *ret_digest = digest;
    return 0;
}

/* A sink in front of the caller's that counts and hashes. */
struct checked {
    const struct prop_progress *progress;
    const char *what;
    prop_sink_fn sink;
    void *ctx;
    struct prop_hash *hash;
    uint64_t size, done;
};

static int checked_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct checked *c = ctx;
    int rc;

    if (len > c->size - c->done)
        return prop_err_set_id(err, PROP_E_VERIFY, "size-mismatch",
                               "it is longer than the %llu bytes its descriptor states",
                               (unsigned long long)c->size);
    rc = prop_hash_update(c->hash, data, len, err);
    if (rc < 0)
        return rc;
    c->done += len;
    prop_progress_report(c->progress, c->what, c->done, c->size);
    return c->sink(c->ctx, data, len, err);
}

static int check_whole(struct prop_src *src, struct checked *c, const struct prop_digest *want,
                       struct prop_err *err)
{
    struct prop_digest got;
    int rc;

    if (c->done < c->size)
        return prop_err_set_id(err, src->ops->remote ? PROP_E_REMOTE : PROP_E_VERIFY,
                               "blob-truncated", "it ends after %llu of %llu bytes",
                               (unsigned long long)c->done, (unsigned long long)c->size);
    rc = prop_hash_final(c->hash, &got, err);
    return rc == 0 ? prop_digest_check(&got, want, "the blob", err) : rc;
}

int prop_src_blob(struct prop_src *src, const struct prop_descriptor *d, prop_sink_fn sink,
                  void *ctx, struct prop_err *err)
{
    prop_auto_hash struct prop_hash *hash = NULL;
    struct checked c = { src->progress, "read", sink, ctx, NULL, d->size, 0 };
    char text[PROP_DIGEST_TEXT];
    int rc = prop_hash_new(d->digest.alg, &hash, err);

    if (rc < 0)
        return rc;
    c.hash = hash;
    rc = src->ops->blob(src, d, checked_sink, &c, err);
    /* a server that closes early is told apart from one that sends something else */
    if (rc == PROP_E_REMOTE && strcmp(prop_err_id(err), "truncated") == 0 && err != NULL)
        err->id = "blob-truncated";
    if (rc == 0)
        rc = check_whole(src, &c, &d->digest, err);
    if (rc < 0 && rc != PROP_E_INTERRUPTED)
        prop_err_wrap(err, "blob %.19s", prop_digest_format(&d->digest, text));
    return rc;
}

/* --- destinations --- */

static int open_dst(const struct prop_location *loc, const struct prop_oci_options *opts,
                    struct prop_dst **ret, struct prop_err *err)
{
    switch (loc->transport) {
    case PROP_T_DOCKER:
        return prop_dst_open_registry(loc, opts, ret, err);
    case PROP_T_OCI:
        return prop_dst_open_layout(loc->path, loc->name, ret, err);
    case PROP_T_OCI_ARCHIVE:
        return prop_dst_open_archive(loc->path, loc->name, ret, err);
    case PROP_T_DIR:
        return prop_dst_open_dir(loc->path, ret, err);
    case PROP_T_SINK:
        return prop_dst_open_sink(ret, err);
    case PROP_T_FILE:
        break;
    }
    prop_err_set_id(err, PROP_E_USAGE, "bad-location", "'%s' is a file and cannot hold an image",
                    loc->text);
    return prop_err_hint(err, "name the destination docker://HOST/NAME:TAG, oci:FOLDER:TAG or "
                              "dir:FOLDER");
}

int prop_dst_open(const struct prop_location *loc, const struct prop_oci_options *opts,
                  struct prop_dst **ret, struct prop_err *err)
{
    struct prop_dst *dst = NULL;
    int rc = open_dst(loc, opts, &dst, err);

    if (rc < 0)
        return rc;
    dst->progress = opts->progress;
    dst->text = prop_strdup(loc->text);
    if (dst->text == NULL) {
        prop_dst_free(dst);
        return prop_err_nomem(err);
    }
    *ret = dst;
    return 0;
}

void prop_dst_free(struct prop_dst *dst)
{
    char *text;

    if (dst == NULL)
        return;
    text = dst->text;
    dst->ops->free(dst);
    prop_free(text);
}

int prop_dst_current(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err)
{
    return dst->ops->current(dst, ret, err);
}

int prop_dst_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                      bool *ret, struct prop_err *err)
{
    return dst->ops->has_blob(dst, digest, size, ret, err);
}

int prop_dst_blob_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                        struct prop_err *err)
{
    struct prop_dst_blob *b = NULL;
    int rc = dst->ops->blob_begin(dst, size, &b, err);

    if (rc < 0)
        return rc;
    if (b->dst == NULL) /* an archive's blobs belong to the layout inside */
        b->dst = dst;
    b->size = size;
    b->written = 0;
    *ret = b;
    return 0;
}

int prop_dst_blob_write(struct prop_dst_blob *b, const void *data, size_t len, struct prop_err *err)
{
    int rc;

    if (len == 0)
        return 0;
    if (b->size != UINT64_MAX && len > b->size - b->written)
        return prop_err_set(err, PROP_E_BUG, "a blob grew past its announced %llu bytes",
                            (unsigned long long)b->size);
    rc = b->dst->ops->blob_write(b, data, len, err);
    if (rc == 0)
        b->written += len;
    return rc;
}

int prop_dst_blob_finish(struct prop_dst_blob *b, const struct prop_digest *digest,
                         struct prop_err *err)
{
    struct prop_dst *dst = b->dst;

    if (b->size != UINT64_MAX && b->written != b->size) {
        prop_dst_blob_abort(b);
        return prop_err_set(err, PROP_E_BUG, "a blob ended before its announced length");
    }
    return dst->ops->blob_finish(b, digest, err);
}

void prop_dst_blob_abort(struct prop_dst_blob *b)
{
    if (b != NULL)
        b->dst->ops->blob_abort(b);
}

int prop_dst_blob_put(struct prop_dst *dst, const void *data, size_t len,
                      const struct prop_digest *digest, struct prop_err *err)
{
    struct prop_dst_blob *b = NULL;
    bool there = false;
    int rc = prop_dst_has_blob(dst, digest, len, &there, err);

    if (rc < 0 || there)
        return rc;
    rc = prop_dst_blob_begin(dst, len, &b, err);
    if (rc < 0)
        return rc;
    rc = prop_dst_blob_write(b, data, len, err);
    if (rc < 0) {
        prop_dst_blob_abort(b);
        return rc;
    }
    return prop_dst_blob_finish(b, digest, err);
}

int prop_dst_manifest(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                      const struct prop_digest *digest, struct prop_err *err)
{
    int rc;

    if (len > PROP_LIMIT_MANIFEST)
        return prop_err_set(err, PROP_E_LIMIT, "the manifest is larger than %u bytes",
                            PROP_LIMIT_MANIFEST);
    rc = dst->ops->manifest(dst, bytes, len, media_type, digest, err);
    if (rc < 0)
        return prop_err_wrap(err, "'%s': manifest", dst->text);
    dst->have_manifest = true;
    return 0;
}

int prop_dst_tag(struct prop_dst *dst, struct prop_err *err)
{
    if (!dst->have_manifest)
        return prop_err_set(err, PROP_E_BUG, "a name was to be given before its manifest");
    return dst->ops->tag(dst, err);
}

/* --- whole images --- */

static int blob_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_dst_blob_write(ctx, data, len, err);
}

static int copy_blob(struct prop_src *src, struct prop_dst *dst, const struct prop_descriptor *d,
                     struct prop_err *err)
{
    struct prop_dst_blob *b = NULL;
    bool there = false;
    int rc = prop_dst_has_blob(dst, &d->digest, d->size, &there, err);

    if (rc < 0 || there)
        return rc;
    rc = prop_dst_blob_begin(dst, d->size, &b, err);
    if (rc < 0)
        return rc;
    rc = prop_src_blob(src, d, blob_sink, b, err);
    if (rc < 0) {
        prop_dst_blob_abort(b);
        return rc;
    }
    return prop_dst_blob_finish(b, &d->digest, err);
}

static int copy_image(struct prop_src *src, struct prop_dst *dst, struct prop_digest *ret,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { 0 };
    prop_auto_free char *type = NULL;
    int rc = prop_src_manifest(src, &bytes, &type, ret, err);

    if (rc == 0)
        rc = prop_manifest_parse(bytes.data, bytes.len, type, "the manifest", &m, err);
    for (size_t i = 0; rc == 0 && i < m.n_layers; i++) {
        rc = copy_blob(src, dst, &m.layers[i], err);
        if (rc < 0)
            prop_err_wrap(err, "layer %zu of %zu", i + 1, m.n_layers);
    }
    if (rc == 0) {
        rc = copy_blob(src, dst, &m.config, err);
        if (rc < 0)
            prop_err_wrap(err, "config");
    }
    return rc == 0 ? prop_dst_manifest(dst, bytes.data, bytes.len, type, ret, err) : rc;
}

/* A bare module on its way: hashed, counted, and looked at for its magic number. */
struct packing {
    struct prop_dst_blob *blob;
    struct prop_hash *hash;
    uint64_t size;
    uint8_t head[4];
};

static int packing_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct packing *p = ctx;
    const uint8_t *bytes = data;
    int rc;

    for (size_t i = 0; i < len && p->size + i < sizeof(p->head); i++)
        p->head[p->size + i] = bytes[i];
    p->size += len;
    if (p->size >= sizeof(p->head) && memcmp(p->head, "\0asm", 4) != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "not-wasm", "it is no WebAssembly module");
    rc = prop_hash_update(p->hash, data, len, err);
    return rc == 0 ? prop_dst_blob_write(p->blob, data, len, err) : rc;
}

static int pack_layer(struct prop_src *src, struct prop_dst *dst, struct prop_digest *ret,
                      uint64_t *ret_size, struct prop_err *err)
{
    prop_auto_hash struct prop_hash *hash = NULL;
    struct packing p = { .size = 0 };
    int rc = prop_hash_new(PROP_SHA256, &hash, err);

    if (rc == 0)
        rc = prop_dst_blob_begin(dst, prop_src_bare_size(src), &p.blob, err);
    if (rc < 0)
        return rc;
    p.hash = hash;
    rc = prop_src_bare_read(src, packing_sink, &p, err);
    if (rc == 0 && p.size < sizeof(p.head))
        rc = prop_err_set_id(err, PROP_E_INPUT, "not-wasm", "it is no WebAssembly module");
    if (rc == 0)
        rc = prop_hash_final(hash, ret, err);
    if (rc < 0) {
        prop_dst_blob_abort(p.blob);
        return prop_err_wrap(err, "'%s'", src->text);
    }
    *ret_size = p.size;
    return prop_dst_blob_finish(p.blob, ret, err);
}

static int pack_module(struct prop_src *src, struct prop_dst *dst, struct prop_digest *ret,
                       struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_json json_t *manifest = NULL;
    struct prop_digest layer, config;
    uint64_t size = 0;
    int rc = pack_layer(src, dst, &layer, &size, err);

    if (rc == 0)
        rc = prop_wasm_config_digest(&config, err);
    if (rc == 0)
        rc = prop_dst_blob_put(dst, prop_wasm_config_blob, 2, &config, err);
    if (rc < 0)
        return rc;
    manifest = prop_manifest_new_wasm(&layer, size, prop_src_bare_title(src));
    if (manifest == NULL)
        return prop_err_nomem(err);
    rc = prop_manifest_write(manifest, &bytes, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, bytes.data, bytes.len, ret, err);
    return rc == 0 ? prop_dst_manifest(dst, bytes.data, bytes.len, PROP_MT_OCI_MANIFEST, ret, err)
                   : rc;
}

int prop_image_copy(struct prop_src *src, struct prop_dst *dst, struct prop_digest *ret_digest,
                    struct prop_err *err)
{
    struct prop_digest digest;
    int rc = prop_src_is_bare(src) ? pack_module(src, dst, &digest, err)
                                   : copy_image(src, dst, &digest, err);

    if (rc == 0)
        rc = prop_dst_tag(dst, err);
    if (rc == 0 && ret_digest != NULL)
        *ret_digest = digest;
    return rc;
}
