/* Places behind one interface: dispatch by transport, the checks every source shares, whole copies. */
#include "oci/image.h"

#include "crypto/digest.h"
#include "crypto/parhash.h"
#include "oci/place.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>
#include <sys/stat.h>

/* A name that two locations share when they are one place; NULL when they cannot be compared. */
static char *place_of(const struct prop_location *loc)
{
    struct stat st;

    if (loc->transport == PROP_T_DOCKER)
        return prop_asprintf("docker://%s/%s", loc->ref.domain, loc->ref.path);
    if ((loc->transport != PROP_T_OCI && loc->transport != PROP_T_DIR) ||
        stat(loc->path, &st) < 0)
        return NULL;
    return prop_asprintf("%s:%llx:%llx", loc->transport == PROP_T_OCI ? "oci" : "dir",
                         (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}

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
    src->place = place_of(loc);
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
    char *text, *title, *place;

    if (src == NULL)
        return;
    text = src->text;
    title = src->title;
    place = src->place;
    src->ops->free(src);
    prop_free(text);
    prop_free(title);
    prop_free(place);
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

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static int read_child(struct prop_src *src, const struct prop_descriptor *d, struct prop_buf *out,
                      char **ret_said, struct prop_err *err)
{
    if (d->size > PROP_LIMIT_MANIFEST)
        return prop_err_set(err, PROP_E_LIMIT, "the manifest is larger than %u bytes",
                            PROP_LIMIT_MANIFEST);
    return src->ops->child != NULL ? src->ops->child(src, d, out, ret_said, err)
                                   : src->ops->blob(src, d, collect, out, err);
}

int prop_src_child(struct prop_src *src, const struct prop_descriptor *d, struct prop_buf *out,
                   char **ret_media_type, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *said = NULL;
    prop_auto_free char *type = NULL;
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    int rc = read_child(src, d, &bytes, &said, err);

    if (rc == 0 && bytes.len != d->size)
        rc = prop_err_set_id(err, PROP_E_VERIFY, "size-mismatch",
                             "it has %zu bytes, its descriptor states %llu", bytes.len,
                             (unsigned long long)d->size);
    if (rc == 0)
        rc = prop_digest_of(d->digest.alg, bytes.data, bytes.len, &digest, err);
    if (rc == 0)
        rc = prop_digest_check(&digest, &d->digest, "the manifest", err);
    if (rc == 0)
        rc = prop_manifest_type(bytes.data, bytes.len, said != NULL ? said : d->media_type,
                                "the manifest", &type, err);
    if (rc == 0)
        rc = prop_buf_add(out, bytes.data, bytes.len, err);
    if (rc < 0)
        return prop_err_wrap(err, "'%s': image %.19s", src->text,
                             prop_digest_format(&d->digest, text));
    if (ret_media_type != NULL)
        *ret_media_type = PROP_TAKE(type);
    return 0;
}

/* A sink in front of the caller's that counts and hashes. */
struct checked {
    const struct prop_progress *progress;
    const char *what;
    struct prop_sum *sum; /* instead of progress of its own */
    prop_sink_fn sink;
    void *ctx;
    struct prop_hash *hash;    /* a small blob's, or one of several; or */
    struct prop_parhash *ring; /* hashed beside the caller */
    size_t index;
    uint64_t size, done;
};

static int checked_begin(struct checked *c, const struct prop_descriptor *d, struct prop_err *err)
{
    struct prop_hash *hash = NULL;
    int rc = prop_hash_new(d->digest.alg, &hash, err);

    if (rc < 0)
        return rc;
    if (d->size <= PROP_PARHASH_CHUNK || (c->sum != NULL && c->sum->lean)) {
        c->hash = hash;
        return 0;
    }
    rc = prop_parhash_new(1, &c->ring, err);
    if (rc < 0) {
        prop_hash_free(hash);
        return rc;
    }
    return prop_parhash_add(c->ring, 0, hash, &c->index, err);
}

static void checked_release(struct checked *c)
{
    prop_hash_free(c->hash);
    prop_parhash_free(c->ring);
}

static int checked_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct checked *c = ctx;
    int rc;

    if (len > c->size - c->done)
        return prop_err_set_id(err, PROP_E_VERIFY, "size-mismatch",
                               "it is longer than the %llu bytes its descriptor states",
                               (unsigned long long)c->size);
    rc = c->ring != NULL ? prop_parhash_write(c->ring, data, len, err)
                         : prop_hash_update(c->hash, data, len, err);
    if (rc < 0)
        return rc;
    c->done += len;
    if (c->sum != NULL)
        rc = prop_sum_add(c->sum, (int64_t)len, err);
    else
        prop_progress_report(c->progress, c->what, c->done, c->size);
    return rc < 0 ? rc : c->sink(c->ctx, data, len, err);
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
    rc = c->ring != NULL ? prop_parhash_final(c->ring, c->index, &got, err)
                         : prop_hash_final(c->hash, &got, err);
    return rc == 0 ? prop_digest_check(&got, want, "the blob", err) : rc;
}

int prop_src_blob(struct prop_src *src, const struct prop_descriptor *d, prop_sink_fn sink,
                  void *ctx, struct prop_err *err)
{
    struct checked c = { .progress = src->progress, .what = "read", .sum = src->sum, .sink = sink,
                         .ctx = ctx, .size = d->size };
    char text[PROP_DIGEST_TEXT];
    int rc = checked_begin(&c, d, err);

    if (rc == 0)
        rc = src->ops->blob(src, d, checked_sink, &c, err);
    /* a server that closes early is told apart from one that sends something else */
    if (rc == PROP_E_REMOTE && strcmp(prop_err_id(err), "truncated") == 0 && err != NULL)
        err->id = "blob-truncated";
    if (rc == 0)
        rc = check_whole(src, &c, &d->digest, err);
    checked_release(&c);
    if (rc < 0 && c.sum != NULL) /* what comes again is not counted twice */
        (void)prop_sum_add(c.sum, -(int64_t)c.done, NULL);
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
    dst->parallel = opts->parallel > 0 ? opts->parallel : PROP_OCI_PARALLEL;
    dst->text = prop_strdup(loc->text);
    dst->place = place_of(loc);
    if (dst->text == NULL) {
        prop_dst_free(dst);
        return prop_err_nomem(err);
    }
    *ret = dst;
    return 0;
}

void prop_dst_free(struct prop_dst *dst)
{
    char *text, *place;

    if (dst == NULL)
        return;
    text = dst->text;
    place = dst->place;
    dst->ops->free(dst);
    prop_free(text);
    prop_free(place);
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

int prop_dst_blob_rewind(struct prop_dst_blob *b, struct prop_err *err)
{
    int rc = b->dst->ops->blob_rewind != NULL
                 ? b->dst->ops->blob_rewind(b, err)
                 : prop_err_set(err, PROP_E_BUG, "a blob was rewound that cannot be");

    if (rc == 0)
        b->written = 0;
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

int prop_dst_child(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                   const struct prop_digest *digest, struct prop_err *err)
{
    int rc = dst->ops->child != NULL
                 ? dst->ops->child(dst, bytes, len, media_type, digest, err)
                 : prop_dst_blob_put(dst, bytes, len, digest, err);

    return rc < 0 ? prop_err_wrap(err, "'%s': manifest of an image", dst->text) : 0;
}

int prop_dst_read_back(struct prop_dst *dst, const struct prop_digest *digest, struct prop_buf *out,
                       struct prop_err *err)
{
    struct prop_digest got;
    int rc;

    if (dst->ops->read_back == NULL)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "image-not-found", "'%s' holds nothing",
                               dst->text);
    prop_buf_clear(out);
    rc = dst->ops->read_back(dst, digest, out, err);
    if (rc == 0)
        rc = prop_digest_of(digest->alg, out->data, out->len, &got, err);
    if (rc == 0)
        rc = prop_digest_check(&got, digest, "the manifest read back", err);
    return rc < 0 ? prop_err_wrap(err, "'%s'", dst->text) : 0;
}
