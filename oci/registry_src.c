/* Reading from a registry: docker://. Blobs resume with Range after a broken connection; every
 * byte is hashed by the caller (image.c), and a range that does not fit is refused here. */
#include "oci/place.h"
#include "oci/registry.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RESUMES_MAX 3 /* that delivered nothing new */
#define STALLS_MAX 2
#define TOTAL_MAX 64

const char *const prop_registry_accept[] = {
    "Accept: " PROP_MT_OCI_MANIFEST ", " PROP_MT_OCI_INDEX ", " PROP_MT_DOCKER_MANIFEST
    ", " PROP_MT_DOCKER_LIST,
    NULL
};

struct registry_src {
    struct prop_src src;
    struct prop_session *session;
    char *path, *scope, *target;
};

char *prop_registry_scope(const char *path, const char *actions)
{
    return prop_asprintf("repository:%s:%s", path, actions);
}

const char *prop_ref_target(const struct prop_ref *ref, char buf[PROP_DIGEST_TEXT])
{
    return ref->digest.len > 0 ? prop_digest_format(&ref->digest, buf) : ref->tag;
}

/* Docker-Content-Digest, where it is sent, must be the digest of the body. */
static int check_said_digest(const struct prop_http_answer *a, struct prop_err *err)
{
    const char *said = prop_http_header(a, "docker-content-digest", 0);
    struct prop_digest want, got;
    int rc;

    if (said == NULL)
        return 0;
    rc = prop_digest_parse(said, &want, err);
    if (rc < 0)
        return prop_err_wrap(err, "Docker-Content-Digest");
    rc = prop_digest_of(want.alg, a->body.data, a->body.len, &got, err);
    return rc == 0 ? prop_digest_check(&got, &want, "the manifest", err) : rc;
}

int prop_registry_manifest(struct prop_session *s, const char *path, const char *scope,
                           const char *reference, struct prop_buf *out, char **ret_said,
                           struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *rest = prop_asprintf("manifests/%s", reference);
    prop_auto_free char *url = rest != NULL ? prop_session_url(s, path, rest) : NULL;
    struct prop_http_request rq = { .method = "GET", .url = url, .headers = prop_registry_accept,
                                    .max_body = PROP_LIMIT_MANIFEST, .idempotent = true,
                                    .follow = true };
    const char *type;
    int rc;

    if (url == NULL)
        return prop_err_nomem(err);
    rc = prop_session_do(s, &rq, scope, &a, err);
    if (rc < 0)
        return rc;
    if (a.status != 200)
        return prop_session_refused(s, &a, "manifest", "image-not-found", err);
    rc = check_said_digest(&a, err);
    if (rc == 0)
        rc = prop_buf_add(out, a.body.data, a.body.len, err);
    type = prop_http_header(&a, "content-type", 0);
    if (rc == 0 && type != NULL) {
        *ret_said = prop_strdup(type);
        rc = *ret_said == NULL ? prop_err_nomem(err) : 0;
    }
    return rc;
}

static int src_manifest(struct prop_src *src, struct prop_buf *out, char **ret_said,
                        struct prop_err *err)
{
    struct registry_src *r = (struct registry_src *)src;

    return prop_registry_manifest(r->session, r->path, r->scope, r->target, out, ret_said, err);
}

static int src_child(struct prop_src *src, const struct prop_descriptor *d, struct prop_buf *out,
                     char **ret_said, struct prop_err *err)
{
    struct registry_src *r = (struct registry_src *)src;
    char digest[PROP_DIGEST_TEXT];

    return prop_registry_manifest(r->session, r->path, r->scope,
                                  prop_digest_format(&d->digest, digest), out, ret_said, err);
}

/* A blob on its way, perhaps over several connections. */
struct fetch {
    prop_sink_fn sink;
    void *ctx;
    uint64_t size, done;
    uint64_t skip; /* bytes of this answer that were delivered before */
    uint64_t seen; /* bytes of all answers, delivered or skipped */
    bool stopped;  /* by the sink: nothing is wrong with the connection */
    bool whole;    /* ranges are not served: the blob comes from its start each time */
};

static int check_range(const char *range, const struct fetch *f, struct prop_err *err)
{
    unsigned long long first = 0, last = 0, total = 0;
    int n = range != NULL ? sscanf(range, "bytes %llu-%llu/%llu", &first, &last, &total) : 0;

    if (n < 2 || first != f->done || (n == 3 && total != f->size) || last + 1 > f->size)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-range",
                               "the registry answered with another range than asked for");
    return 0;
}

static int fetch_begin(void *ctx, const struct prop_http_answer *head, struct prop_err *err)
{
    struct fetch *f = ctx;
    const char *length = prop_http_header(head, "content-length", 0);
    uint64_t n, expected = f->size;

    f->skip = 0;
    if (head->status == 206) {
        int rc = check_range(prop_http_header(head, "content-range", 0), f, err);

        if (rc < 0)
            return rc;
        expected = f->size - f->done;
    } else {
        f->skip = f->done;
    }
    if (length != NULL && prop_parse_u64(length, "Content-Length", &n, NULL) == 0 && n != expected)
        return prop_err_set_id(err, PROP_E_VERIFY, "size-mismatch",
                               "the registry sends %" PRIu64 " bytes, the descriptor states %" PRIu64,
                               n, expected);
    return 0;
}

static int fetch_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct fetch *f = ctx;
    const uint8_t *p = data;
    int rc;

    f->seen += len;
    if (f->skip > 0) {
        size_t cut = len < f->skip ? len : (size_t)f->skip;

        f->skip -= cut;
        p += cut;
        len -= cut;
        if (len == 0)
            return 0;
    }
    rc = f->sink(f->ctx, p, len, err);
    if (rc == 0)
        f->done += len;
    f->stopped = rc < 0;
    return rc;
}

static int fetch_once(struct registry_src *r, const char *url, struct fetch *f,
                      struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    char range[64];
    const char *const headers[] = { range, NULL };
    struct prop_http_request rq = { .method = "GET", .url = url, .idempotent = true,
                                    .follow = true, .sink = fetch_sink, .sink_ctx = f,
                                    .begin = fetch_begin };
    int rc;

    if (f->done > 0 && !f->whole) {
        snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-", f->done);
        rq.headers = headers;
    }
    rc = prop_session_do(r->session, &rq, r->scope, &a, err);
    if (rc < 0 || a.status == 200 || (a.status == 206 && f->done > 0 && !f->whole))
        return rc;
    if (a.status == 416 && f->done == f->size)
        return 0;
    /* it will not go on in the middle, but may begin again */
    if (rq.headers != NULL && (a.status == 416 || a.status == 400 || a.status == 501)) {
        f->whole = true;
        return fetch_once(r, url, f, err);
    }
    return prop_session_refused(r->session, &a, "blob", "blob-not-found", err);
}

static bool broken(int rc, const struct prop_err *err, unsigned *stalls)
{
    /* each costs the whole time that a silence is borne */
    if (rc == PROP_E_NETWORK && strcmp(prop_err_id(err), "timeout") == 0)
        return ++*stalls <= STALLS_MAX;
    return rc == PROP_E_NETWORK ? strcmp(prop_err_id(err), "tls") != 0
                                : rc == PROP_E_REMOTE && strcmp(prop_err_id(err), "truncated") == 0;
}

static int wait_a_little(struct registry_src *r, unsigned resumes, struct prop_err *err)
{
    struct prop_http *h = NULL;
    int rc = prop_session_take_http(r->session, &h, err);

    if (rc == 0 && resumes > 0)
        rc = prop_http_wait(h, resumes - 1, NULL, err);
    prop_session_give_http(r->session, h);
    return rc;
}

static int src_blob(struct prop_src *src, const struct prop_descriptor *d, prop_sink_fn sink,
                    void *ctx, struct prop_err *err)
{
    struct registry_src *r = (struct registry_src *)src;
    struct fetch f = { .sink = sink, .ctx = ctx, .size = d->size };
    char digest[PROP_DIGEST_TEXT];
    prop_auto_free char *rest = prop_asprintf("blobs/%s", prop_digest_format(&d->digest, digest));
    prop_auto_free char *url = rest != NULL ? prop_session_url(r->session, r->path, rest) : NULL;

    if (url == NULL)
        return prop_err_nomem(err);
    for (unsigned resumes = 0, total = 0, stalls = 0;; resumes++) {
        struct prop_err failure = PROP_ERR_INIT;
        uint64_t before = f.seen, done = f.done;
        int rc = fetch_once(r, url, &f, &failure);

        if (f.done > done)
            resumes = 0;
        /* a connection that brought something is worth another; one that brought nothing had its
         * retries already */
        if (rc < 0 && !f.stopped && broken(rc, &failure, &stalls) && f.seen > before &&
            resumes < RESUMES_MAX && ++total <= TOTAL_MAX) {
            rc = wait_a_little(r, resumes, err);
            if (rc == 0)
                continue;
            return rc;
        }
        if (rc < 0 && err != NULL)
            *err = failure;
        return rc;
    }
}

static void src_cancel(struct prop_src *src, bool cancelled)
{
    atomic_store(&((struct registry_src *)src)->session->cancelled, cancelled);
}

static void src_free(struct prop_src *src)
{
    struct registry_src *r = (struct registry_src *)src;

    prop_session_free(r->session);
    prop_free(r->path);
    prop_free(r->scope);
    prop_free(r->target);
    prop_free(r);
}

int prop_src_open_registry(const struct prop_location *loc, const struct prop_oci_options *opts,
                           struct prop_src **ret, struct prop_err *err)
{
    static const struct prop_src_ops ops = { src_manifest, src_blob, src_free, true, src_child,
                                             true,         src_cancel };
    struct registry_src *r = prop_zalloc(sizeof(*r));
    char digest[PROP_DIGEST_TEXT];
    int rc;

    if (r == NULL)
        return prop_err_nomem(err);
    r->src.ops = &ops;
    r->path = prop_strdup(loc->ref.path);
    r->scope = prop_registry_scope(loc->ref.path, "pull");
    r->target = prop_strdup(prop_ref_target(&loc->ref, digest));
    rc = r->path == NULL || r->scope == NULL || r->target == NULL
             ? prop_err_nomem(err)
             : prop_session_new(loc->ref.domain, loc->ref.path, opts, &r->session, err);
    if (rc < 0) {
        src_free(&r->src);
        return rc;
    }
    *ret = &r->src;
    return 0;
}
