/* Whole images from one place to another, and a bare module packed as a plain artifact. */
#include "oci/image.h"

#include "crypto/digest.h"
#include "oci/place.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

#define BLOB_TRIES 3

static int blob_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_dst_blob_write(ctx, data, len, err);
}

bool prop_same_place(const struct prop_src *src, const struct prop_dst *dst)
{
    return src->place != NULL && dst->place != NULL && strcmp(src->place, dst->place) == 0;
}

/* The source's repository, when it is one of the registry that is written to. */
static const char *sibling(const struct prop_src *src, const struct prop_dst *dst)
{
    static const char docker[] = "docker://";
    size_t head = strlen(docker), len;

    if (dst->ops->mount == NULL || src->place == NULL || dst->place == NULL ||
        strncmp(src->place, docker, head) != 0)
        return NULL;
    len = head + strcspn(src->place + head, "/") + 1;
    return strncmp(src->place, dst->place, len) == 0 ? src->place + len : NULL;
}

static int is_there(struct prop_src *src, struct prop_dst *dst, const struct prop_descriptor *d,
                    bool *ret, struct prop_err *err)
{
    const char *from = sibling(src, dst);
    int rc;

    if (!prop_same_place(src, dst)) {
        rc = prop_dst_has_blob(dst, &d->digest, d->size, ret, err);
        return rc == 0 && !*ret && from != NULL
                   ? dst->ops->mount(dst, &d->digest, from, ret, err)
                   : rc;
    }
    *ret = true;
    return dst->ops->keep != NULL ? dst->ops->keep(dst, &d->digest, d->size, ret, err) : 0;
}

/* An upload broke, and what the registry lacks has to be read again. */
static bool lost(const struct prop_err *err)
{
    return strcmp(prop_err_id(err), "upload-lost") == 0;
}

int prop_dst_blob_put_new(struct prop_dst *dst, const void *data, size_t len,
                          const struct prop_digest *digest, struct prop_err *err)
{
    struct prop_dst_blob *b = NULL;
    bool done = false;
    int rc = 0;

    if (dst->ops->blob_put != NULL && len <= PROP_OCI_SMALL)
        rc = dst->ops->blob_put(dst, data, len, digest, &done, err);
    if (rc < 0 || done)
        return rc;
    rc = prop_dst_blob_begin(dst, len, &b, err);
    if (rc < 0)
        return rc;
    for (;;) {
        struct prop_err failure = PROP_ERR_INIT;

        rc = prop_dst_blob_write(b, data, len, &failure);
        if (rc == 0)
            return prop_dst_blob_finish(b, digest, err);
        if (!lost(&failure) || prop_dst_blob_rewind(b, NULL) < 0) {
            prop_dst_blob_abort(b);
            if (err != NULL)
                *err = failure;
            return rc;
        }
    }
}

int prop_dst_blob_put(struct prop_dst *dst, const void *data, size_t len,
                      const struct prop_digest *digest, struct prop_err *err)
{
    bool there = false;
    int rc = prop_dst_has_blob(dst, digest, len, &there, err);

    return rc < 0 || there ? rc : prop_dst_blob_put_new(dst, data, len, digest, err);
}

static int move_blob(struct prop_src *src, struct prop_dst *dst, const struct prop_descriptor *d,
                     struct prop_err *err)
{
    struct prop_dst_blob *b = NULL;
    int rc = prop_dst_blob_begin(dst, d->size, &b, err);

    if (rc < 0)
        return rc;
    for (;;) {
        struct prop_err failure = PROP_ERR_INIT;

        rc = prop_src_blob(src, d, blob_sink, b, &failure);
        if (rc == 0)
            return prop_dst_blob_finish(b, &d->digest, err);
        if (!lost(&failure) || prop_dst_blob_rewind(b, NULL) < 0) {
            prop_dst_blob_abort(b);
            if (err != NULL)
                *err = failure;
            return rc;
        }
    }
}

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static int move_small(struct prop_src *src, struct prop_dst *dst, const struct prop_descriptor *d,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_OCI_SMALL);
    int rc = prop_src_blob(src, d, collect, &bytes, err);

    return rc == 0 ? prop_dst_blob_put_new(dst, bytes.data, bytes.len, &d->digest, err) : rc;
}

int prop_blob_copy(struct prop_src *src, struct prop_dst *dst, const struct prop_descriptor *d,
                   struct prop_err *err)
{
    bool there = false;
    int rc = is_there(src, dst, d, &there, err);

    if (rc == 0 && there && src->sum != NULL)
        return prop_sum_add(src->sum, (int64_t)d->size, err);
    if (rc < 0 || there)
        return rc;
    if (dst->ops->blob_put != NULL && d->size <= PROP_OCI_SMALL)
        return move_small(src, dst, d, err);
    for (unsigned tries = 1;; tries++) {
        struct prop_err failure = PROP_ERR_INIT;

        rc = move_blob(src, dst, d, &failure);
        if (rc == 0 || !lost(&failure) || tries == BLOB_TRIES) {
            if (rc < 0 && err != NULL)
                *err = failure;
            return rc;
        }
    }
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
    if (rc == 0)
        rc = prop_manifest_blobs_copy(src, dst, &m, err);
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

static int pack_once(struct prop_src *src, struct prop_dst_blob *blob, struct prop_digest *ret,
                     uint64_t *ret_size, struct prop_err *err)
{
    prop_auto_hash struct prop_hash *hash = NULL;
    struct packing p = { .blob = blob };
    int rc = prop_hash_new(PROP_SHA256, &hash, err);

    p.hash = hash;
    if (rc == 0)
        rc = prop_src_bare_read(src, packing_sink, &p, err);
    if (rc == 0 && p.size < sizeof(p.head))
        rc = prop_err_set_id(err, PROP_E_INPUT, "not-wasm", "it is no WebAssembly module");
    if (rc == 0)
        rc = prop_hash_final(hash, ret, err);
    *ret_size = p.size;
    return rc < 0 ? prop_err_wrap(err, "'%s'", src->text) : 0;
}

/* A file can be read again. If it has become another meanwhile, the registry finds the digest wrong. */
static int pack_again(struct prop_src *src, struct prop_dst *dst, struct prop_digest *ret,
                      uint64_t *ret_size, struct prop_err *err)
{
    struct prop_dst_blob *blob = NULL;
    uint64_t size = prop_src_bare_size(src);
    int rc = prop_dst_blob_begin(dst, size, &blob, err);

    if (rc < 0)
        return rc;
    for (;;) {
        struct prop_err failure = PROP_ERR_INIT;

        rc = pack_once(src, blob, ret, ret_size, &failure);
        if (rc == 0)
            return prop_dst_blob_finish(blob, ret, err);
        if (!lost(&failure) || size == UINT64_MAX || prop_dst_blob_rewind(blob, NULL) < 0) {
            prop_dst_blob_abort(blob);
            if (err != NULL)
                *err = failure;
            return rc;
        }
    }
}

static int pack_layer(struct prop_src *src, struct prop_dst *dst, struct prop_digest *ret,
                      uint64_t *ret_size, struct prop_err *err)
{
    for (unsigned tries = 1;; tries++) {
        struct prop_err failure = PROP_ERR_INIT;
        int rc = pack_again(src, dst, ret, ret_size, &failure);

        if (rc < 0 && lost(&failure) && prop_src_bare_size(src) == UINT64_MAX)
            prop_err_hint(&failure, "what came through the pipe cannot be read again: run it again, "
                                    "or push a file");
        else if (rc < 0 && lost(&failure) && tries < BLOB_TRIES)
            continue;
        if (rc < 0 && err != NULL)
            *err = failure;
        return rc;
    }
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
