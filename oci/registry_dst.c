/* Writing to a registry: docker://. Blobs go up through upload.c. Several may be under way at once. */
#include "oci/place.h"
#include "oci/registry.h"
#include "oci/registry_put.h"
#include "oci/upload.h"

#include "util/limits.h"
#include "util/mem.h"

#include <pthread.h>
#include <string.h>

struct registry_dst {
    struct prop_dst dst;
    struct prop_session *session;
    struct prop_ref ref;
    char *scope;
    atomic_ullong limit;      /* of an upload's body */
    pthread_mutex_t lock;     /* over the location */
    char **spares;            /* upload sessions that refused mounts left behind */
    size_t n_spares;
    struct prop_buf manifest; /* kept for the tag: the same bytes under another name */
    char *media_type;
};

struct registry_blob {
    struct prop_dst_blob blob;
    struct prop_upload *upload;
};

static struct registry_dst *of(struct prop_dst *dst)
{
    return (struct registry_dst *)dst;
}

static char *dst_url(const struct registry_dst *r, const char *what, const char *name)
{
    prop_auto_free char *rest = prop_asprintf("%s/%s", what, name);

    return rest != NULL ? prop_session_url(r->session, r->ref.path, rest) : NULL;
}

static int head(struct registry_dst *r, const char *what, const char *name,
                struct prop_http_answer *ret, struct prop_err *err)
{
    prop_auto_free char *url = dst_url(r, what, name);
    struct prop_http_request rq = { .method = "HEAD", .url = url,
                                    .headers = prop_registry_accept, .idempotent = true,
                                    .follow = true };

    return url == NULL ? prop_err_nomem(err) : prop_session_do(r->session, &rq, r->scope, ret, err);
}

static struct prop_upload_to to(struct registry_dst *r)
{
    return (struct prop_upload_to){ r->session, r->ref.path, r->scope, r->dst.window, &r->limit };
}

static int dst_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                        bool *ret, struct prop_err *err)
{
    const struct prop_upload_to here = to(of(dst));

    return prop_upload_is_there(&here, digest, size, ret, err);
}

static int dst_current(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err)
{
    struct registry_dst *r = of(dst);
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_buf struct prop_buf body = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *said_type = NULL;
    char text[PROP_DIGEST_TEXT];
    const char *name = r->ref.tag != NULL ? r->ref.tag : prop_digest_format(&r->ref.digest, text);
    const char *said;
    int rc = head(r, "manifests", name, &a, err);

    if (rc < 0)
        return rc;
    if (a.status == 404)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "image-not-found", "'%s' does not exist yet",
                               dst->text);
    if (a.status != 200)
        return prop_session_refused(r->session, &a, "manifest", "image-not-found", err);
    said = prop_http_header(&a, "docker-content-digest", 0);
    if (said != NULL)
        return prop_digest_parse(said, ret, err);
    rc = prop_registry_manifest(r->session, r->ref.path, r->scope, name, &body, &said_type, err);
    return rc == 0 ? prop_digest_of(PROP_SHA256, body.data, body.len, ret, err) : rc;
}

/* A mount that was refused has begun an upload session: a blob uses it. Takes `location`. */
static void keep_spare(struct registry_dst *r, char *location)
{
    const struct prop_upload_to here = to(r);
    char **grown;

    (void)pthread_mutex_lock(&r->lock);
    grown = prop_realloc_array(r->spares, r->n_spares + 1, sizeof(*grown));
    if (grown != NULL) {
        r->spares = grown;
        r->spares[r->n_spares++] = location;
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (grown == NULL) {
        prop_upload_drop(&here, location);
        prop_free(location);
    }
}

static char *take_spare(struct registry_dst *r)
{
    char *location = NULL;

    (void)pthread_mutex_lock(&r->lock);
    if (r->n_spares > 0)
        location = r->spares[--r->n_spares];
    (void)pthread_mutex_unlock(&r->lock);
    return location;
}

static void drop_spares(struct registry_dst *r)
{
    char *location;

    while ((location = take_spare(r)) != NULL) {
        const struct prop_upload_to here = to(r);

        prop_upload_drop(&here, location);
        prop_free(location);
    }
    prop_free(r->spares);
}

/* Ask the registry to take the blob over from another of its repositories (registry.md 2.3). It need
 * not: then the blob is uploaded as usual, and what is wrong shows there. */
static int dst_mount(struct prop_dst *dst, const struct prop_digest *digest, const char *from,
                     bool *ret, struct prop_err *err)
{
    struct registry_dst *r = of(dst);
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    char text[PROP_DIGEST_TEXT];
    prop_auto_free char *rest = prop_asprintf("blobs/uploads/?mount=%s&from=%s",
                                              prop_digest_format(digest, text), from);
    prop_auto_free char *url = rest ? prop_session_url(r->session, r->ref.path, rest) : NULL;
    prop_auto_free char *scope = prop_asprintf("%s repository:%s:pull", r->scope, from);
    prop_auto_free char *location = NULL;
    struct prop_http_request rq = { .method = "POST", .url = url, .idempotent = true,
                                    .grace_ms = PROP_UPLOAD_GRACE_MS };

    *ret = false;
    if (url == NULL || scope == NULL)
        return prop_err_nomem(err);
    if (prop_session_do(r->session, &rq, scope, &a, NULL) < 0)
        return 0;
    *ret = a.status == 201 &&
           prop_registry_committed(r->session, &a, digest, "mount", NULL) == 0;
    if (a.status == 202 && prop_upload_location(r->session, &a, &location, NULL) == 0)
        keep_spare(r, PROP_TAKE(location));
    return 0;
}

static int dst_put(struct prop_dst *dst, const void *data, size_t len,
                   const struct prop_digest *digest, bool *ret, struct prop_err *err)
{
    const struct prop_upload_to here = to(of(dst));

    return prop_upload_put(&here, take_spare(of(dst)), data, len, digest, ret, err);
}

static int dst_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                     struct prop_err *err)
{
    struct registry_dst *r = of(dst);
    const struct prop_upload_to here = to(r);
    struct registry_blob *b = prop_zalloc(sizeof(*b));
    int rc;

    if (b == NULL)
        return prop_err_nomem(err);
    rc = prop_upload_begin(&here, take_spare(r), size, &b->upload, err);
    if (rc < 0) {
        prop_free(b);
        return rc;
    }
    *ret = &b->blob;
    return 0;
}

static int dst_write(struct prop_dst_blob *blob, const void *data, size_t len,
                     struct prop_err *err)
{
    return prop_upload_write(((struct registry_blob *)blob)->upload, data, len, err);
}

static int dst_rewind(struct prop_dst_blob *blob, struct prop_err *err)
{
    return prop_upload_rewind(((struct registry_blob *)blob)->upload, err);
}

static void dst_abort(struct prop_dst_blob *blob)
{
    prop_upload_abort(((struct registry_blob *)blob)->upload);
    prop_free(blob);
}

static int dst_finish(struct prop_dst_blob *blob, const struct prop_digest *digest,
                      struct prop_err *err)
{
    int rc = prop_upload_finish(((struct registry_blob *)blob)->upload, digest, err);

    prop_free(blob);
    return rc;
}

static void dst_cancel(struct prop_dst *dst, bool cancelled)
{
    atomic_store(&of(dst)->session->cancelled, cancelled);
}

/* The manifest kept for naming, under `name`. */
static int put_kept(struct registry_dst *r, const char *name, const struct prop_digest *digest,
                    struct prop_err *err)
{
    const struct prop_registry_put m = { name, r->manifest.data, r->manifest.len, r->media_type,
                                         digest };

    return prop_registry_put_manifest(r->session, r->ref.path, r->scope, &m, err);
}

static int dst_child(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                     const struct prop_digest *digest, struct prop_err *err)
{
    char name[PROP_DIGEST_TEXT];
    const struct prop_registry_put m = { prop_digest_format(digest, name), bytes, len, media_type,
                                         digest };

    return prop_registry_put_manifest(of(dst)->session, of(dst)->ref.path, of(dst)->scope, &m, err);
}

static int dst_read_back(struct prop_dst *dst, const struct prop_digest *digest,
                         struct prop_buf *out, struct prop_err *err)
{
    struct registry_dst *r = of(dst);
    prop_auto_free char *said = NULL;
    char name[PROP_DIGEST_TEXT];

    return prop_registry_manifest(r->session, r->ref.path, r->scope,
                                  prop_digest_format(digest, name), out, &said, err);
}

static int dst_manifest(struct prop_dst *dst, const void *bytes, size_t len,
                        const char *media_type, const struct prop_digest *digest,
                        struct prop_err *err)
{
    struct registry_dst *r = of(dst);
    char name[PROP_DIGEST_TEXT];
    char *type = prop_strdup(media_type);
    int rc;

    if (type == NULL)
        return prop_err_nomem(err);
    prop_free(r->media_type);
    r->media_type = type;
    prop_buf_clear(&r->manifest);
    rc = prop_buf_add(&r->manifest, bytes, len, err);
    if (rc == 0 && r->ref.digest.len > 0)
        rc = prop_digest_check(digest, &r->ref.digest, "the manifest to push", err);
    return rc == 0 ? put_kept(r, prop_digest_format(digest, name), digest, err) : rc;
}

static int dst_tag(struct prop_dst *dst, struct prop_err *err)
{
    struct registry_dst *r = of(dst);
    struct prop_digest digest;
    int rc;

    if (r->ref.tag == NULL)
        return 0; /* pushed by digest, as asked */
    rc = prop_digest_of(PROP_SHA256, r->manifest.data, r->manifest.len, &digest, err);
    if (rc == 0)
        rc = put_kept(r, r->ref.tag, &digest, err);
    return rc < 0 ? prop_err_wrap(err, "tag '%s'", dst->text) : 0;
}

static void dst_free(struct prop_dst *dst)
{
    struct registry_dst *r = of(dst);

    drop_spares(r);
    prop_session_free(r->session);
    prop_ref_release(&r->ref);
    (void)pthread_mutex_destroy(&r->lock);
    prop_free(r->scope);
    prop_free(r->media_type);
    prop_buf_release(&r->manifest);
    prop_free(r);
}

static int copy_ref(const struct prop_ref *from, struct prop_ref *to)
{
    to->domain = prop_strdup(from->domain);
    to->path = prop_strdup(from->path);
    to->tag = from->tag != NULL ? prop_strdup(from->tag) : NULL;
    to->digest = from->digest;
    return to->domain == NULL || to->path == NULL || (from->tag != NULL && to->tag == NULL) ? -1
                                                                                           : 0;
}

int prop_dst_open_registry(const struct prop_location *loc, const struct prop_oci_options *opts,
                           struct prop_dst **ret, struct prop_err *err)
{
    static const struct prop_dst_ops ops = { dst_current, dst_has_blob, dst_begin,
                                             dst_write,   dst_finish,   dst_abort,
                                             dst_manifest, dst_tag,     dst_free,
                                             NULL,        dst_child,   dst_read_back,
                                             dst_mount,   dst_rewind,  dst_cancel,
                                             true,        dst_put };
    struct registry_dst *r = prop_zalloc(sizeof(*r));
    int rc;

    if (r == NULL)
        return prop_err_nomem(err);
    if (pthread_mutex_init(&r->lock, NULL) != 0) {
        prop_free(r);
        return prop_err_set(err, PROP_E_NOMEM, "no more locks");
    }
    r->dst.ops = &ops;
    r->manifest.max = PROP_LIMIT_MANIFEST;
    r->scope = prop_registry_scope(loc->ref.path, "pull,push");
    rc = r->scope == NULL || copy_ref(&loc->ref, &r->ref) < 0
             ? prop_err_nomem(err)
             : prop_session_new(loc->ref.domain, loc->ref.path, opts, &r->session, err);
    if (rc < 0) {
        dst_free(&r->dst);
        return rc;
    }
    *ret = &r->dst;
    return 0;
}
