/* Writing to a registry: docker://. A blob goes up in one streamed PATCH, so its digest need not be
 * known before its last byte (registry.md 2.3). Always the newest Location counts, and one on
 * another origin is refused. */
#include "oci/place.h"
#include "oci/registry.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMMIT_TRIES 3

struct registry_dst {
    struct prop_dst dst;
    struct prop_session *session;
    struct prop_ref ref;
    char *scope;
    struct prop_buf manifest; /* kept for the tag: the same bytes under another name */
    char *media_type;
};

struct registry_blob {
    struct prop_dst_blob blob;
    char *location; /* of the upload session; NULL = none */
    struct prop_http_upload *upload;
    bool broken;    /* the connection is gone; nobody is there to take a DELETE */
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

static int dst_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                        bool *ret, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    char text[PROP_DIGEST_TEXT];
    const char *length;
    uint64_t n;
    int rc = head(of(dst), "blobs", prop_digest_format(digest, text), &a, err);

    if (rc < 0)
        return rc;
    if (a.status == 404) {
        *ret = false;
        return 0;
    }
    if (a.status != 200)
        return prop_session_refused(of(dst)->session, &a, "blob", "blob-not-found", err);
    length = prop_http_header(&a, "content-length", 0);
    *ret = length == NULL || prop_parse_u64(length, "Content-Length", &n, NULL) < 0 || n == size;
    return 0;
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

/* The Location of an answer, resolved; refused when it leads to another origin. */
static int take_location(struct registry_dst *r, const struct prop_http_answer *a, char **location,
                         struct prop_err *err)
{
    const char *said = prop_http_header(a, "location", 0);
    char *url = NULL;
    char host[256] = "?";
    int rc;

    if (said == NULL)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-location",
                               "the registry began an upload without a Location");
    rc = prop_url_resolve(a->effective_url, said, &url, err);
    if (rc < 0)
        return rc;
    if (!prop_url_same_origin(url, r->session->origin)) {
        (void)prop_url_host(url, host, sizeof(host), NULL);
        prop_free(url);
        return prop_err_set_id(err, PROP_E_REMOTE, "foreign-location",
                               "the registry sends the upload to another server ('%s'): refused",
                               host);
    }
    prop_free(*location);
    *location = url;
    return 0;
}

static int start_session(struct registry_dst *r, struct registry_blob *b, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *url = prop_session_url(r->session, r->ref.path, "blobs/uploads/");
    /* an upload session that nobody uses costs nothing, so asking twice is fine */
    struct prop_http_request rq = { .method = "POST", .url = url, .idempotent = true };
    int rc;

    if (url == NULL)
        return prop_err_nomem(err);
    rc = prop_session_do(r->session, &rq, r->scope, &a, err);
    if (rc < 0)
        return rc;
    if (a.status != 202)
        return prop_session_refused(r->session, &a, "begin upload", "repository-not-found", err);
    return take_location(r, &a, &b->location, err);
}

static void blob_free(struct registry_blob *b)
{
    prop_http_upload_abort(b->upload);
    prop_free(b->location);
    prop_free(b);
}

static int dst_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                     struct prop_err *err)
{
    static const char *const headers[] = { "Content-Type: application/octet-stream", NULL };
    struct registry_dst *r = of(dst);
    struct registry_blob *b = prop_zalloc(sizeof(*b));
    int rc;

    if (b == NULL)
        return prop_err_nomem(err);
    rc = start_session(r, b, err);
    if (rc == 0) {
        struct prop_http_request rq = {
            .method = "PATCH", .url = b->location, .headers = headers, .body_total = size,
            .authorization = prop_session_authorization(r->session, r->scope)
        };

        rc = prop_http_upload_begin(r->session->http, &rq, &b->upload, err);
    }
    if (rc < 0) {
        blob_free(b);
        return rc;
    }
    *ret = &b->blob;
    return 0;
}

static int patch_refused(struct registry_dst *r, const struct prop_http_answer *a,
                         struct prop_err *err)
{
    return prop_session_refused(r->session, a, "upload", "upload-lost", err);
}

static int dst_write(struct prop_dst_blob *blob, const void *data, size_t len,
                     struct prop_err *err)
{
    struct registry_blob *b = (struct registry_blob *)blob;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    int rc;

    if (b->upload == NULL)
        return prop_err_set(err, PROP_E_BUG, "an upload was written to after it failed");
    rc = prop_http_upload_write(b->upload, data, len, err);
    if (rc == PROP_E_REMOTE && strcmp(prop_err_id(err), "early-answer") == 0) {
        rc = prop_http_upload_finish(PROP_TAKE(b->upload), &a, err);
        return rc == 0 ? patch_refused(of(blob->dst), &a, err) : rc;
    }
    b->broken = b->broken || rc == PROP_E_NETWORK;
    return rc;
}

static void dst_abort(struct prop_dst_blob *blob)
{
    struct registry_blob *b = (struct registry_blob *)blob;
    struct registry_dst *r = of(blob->dst);
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_http_request rq = { .method = "DELETE", .url = b->location };

    prop_http_upload_abort(PROP_TAKE(b->upload));
    /* a courtesy: the registry would drop the session by itself some day */
    if (b->location != NULL && !b->broken)
        (void)prop_session_do(r->session, &rq, r->scope, &a, NULL);
    blob_free(b);
}

static char *commit_url(const char *location, const struct prop_digest *digest)
{
    char text[PROP_DIGEST_TEXT];
    size_t len = strcspn(location, "#");

    return prop_asprintf("%.*s%cdigest=%s", (int)len, location,
                         memchr(location, '?', len) != NULL ? '&' : '?',
                         prop_digest_format(digest, text));
}

static int check_committed(struct registry_dst *r, const struct prop_http_answer *a,
                           const struct prop_digest *digest, const char *what,
                           struct prop_err *err)
{
    const char *said = prop_http_header(a, "docker-content-digest", 0);
    struct prop_digest got;

    if (a->status != 201 && a->status != 200 && a->status != 204)
        return prop_session_refused(r->session, a, what, "upload-lost", err);
    if (said == NULL || prop_digest_parse(said, &got, NULL) < 0 || got.alg != digest->alg)
        return 0;
    return prop_digest_check(&got, digest, what, err);
}

static bool unclear(int rc, const struct prop_http_answer *a)
{
    return rc == PROP_E_NETWORK || rc == PROP_E_REMOTE ||
           (rc == 0 && (a->status == 404 || a->status == 408 || a->status == 429 ||
                        a->status >= 500));
}

/* The empty PUT that names a blob. After an unclear answer the registry is asked before it is sent
 * again (registry.md 2.5). A 404 is unclear too: the session is gone, perhaps because an earlier
 * PUT, whose answer was lost with its connection, has done the work. */
static int commit(struct registry_dst *r, struct registry_blob *b,
                  const struct prop_digest *digest, struct prop_err *err)
{
    prop_auto_free char *url = commit_url(b->location, digest);
    struct prop_http_request rq = { .method = "PUT", .url = url };
    int rc;

    if (url == NULL)
        return prop_err_nomem(err);
    for (unsigned tries = 1;; tries++) {
        prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
        struct prop_err failure = PROP_ERR_INIT;
        bool there = false;

        rc = prop_session_do(r->session, &rq, r->scope, &a, &failure);
        if (!unclear(rc, &a) || tries == COMMIT_TRIES) {
            if (rc == 0)
                return check_committed(r, &a, digest, "commit upload", err);
            if (err != NULL)
                *err = failure;
            return rc;
        }
        if (dst_has_blob(&r->dst, digest, b->blob.written, &there, NULL) == 0 && there)
            return 0;
    }
}

static int dst_finish(struct prop_dst_blob *blob, const struct prop_digest *digest,
                      struct prop_err *err)
{
    struct registry_blob *b = (struct registry_blob *)blob;
    struct registry_dst *r = of(blob->dst);
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    int rc;

    if (b->upload == NULL) {
        blob_free(b);
        return prop_err_set(err, PROP_E_BUG, "an upload was finished after it failed");
    }
    rc = prop_http_upload_finish(PROP_TAKE(b->upload), &a, err);
    b->broken = rc < 0;
    if (rc == 0 && a.status != 202 && a.status != 204 && a.status != 201)
        rc = patch_refused(r, &a, err);
    if (rc == 0)
        rc = take_location(r, &a, &b->location, err);
    if (rc == 0)
        rc = commit(r, b, digest, err);
    if (rc < 0) {
        dst_abort(blob);
        return rc;
    }
    blob_free(b);
    return 0;
}

static int put_manifest(struct registry_dst *r, const char *name, const struct prop_digest *digest,
                        struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *url = dst_url(r, "manifests", name);
    prop_auto_free char *type = prop_asprintf("Content-Type: %s", r->media_type);
    const char *headers[] = { type, NULL };
    struct prop_http_request rq = { .method = "PUT", .url = url, .headers = headers,
                                    .body = r->manifest.data, .body_len = r->manifest.len,
                                    .idempotent = true };
    int rc;

    if (url == NULL || type == NULL)
        return prop_err_nomem(err);
    rc = prop_session_do(r->session, &rq, r->scope, &a, err);
    return rc == 0 ? check_committed(r, &a, digest, "manifest", err) : rc;
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
    return rc == 0 ? put_manifest(r, prop_digest_format(digest, name), digest, err) : rc;
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
        rc = put_manifest(r, r->ref.tag, &digest, err);
    return rc < 0 ? prop_err_wrap(err, "tag '%s'", dst->text) : 0;
}

static void dst_free(struct prop_dst *dst)
{
    struct registry_dst *r = of(dst);

    prop_session_free(r->session);
    prop_ref_release(&r->ref);
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
                                             dst_manifest, dst_tag,     dst_free };
    struct registry_dst *r = prop_zalloc(sizeof(*r));
    int rc;

    if (r == NULL)
        return prop_err_nomem(err);
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
