/* Small blobs: the whole body with the first request, or with the second (registry.md 2.1, 2.3). What goes
 * wrong here is left to the upload in pieces, which knows how to go on after a failure. */
#include "oci/upload_internal.h"

#include "oci/registry_put.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

static const char *const octets[] = { "Content-Type: application/octet-stream", NULL };

struct putting {
    const struct prop_upload_to *to;
    const void *data;
    size_t len;
    const struct prop_digest *digest;
    char *location;
    bool whole; /* the registry has the bytes already */
};

/* Where the session lives, when this answer is one of a session that can be used. */
static int take_session(struct putting *p, const struct prop_http_answer *a, struct prop_err *err)
{
    uint64_t kept = 0;
    int rc = prop_upload_location(p->to->session, a, &p->location, err);

    if (rc == 0 && prop_upload_range(a, &kept) && kept != p->len) {
        prop_upload_drop(p->to, p->location);
        prop_free(PROP_TAKE(p->location));
    }
    p->whole = kept == p->len;
    return rc;
}

/* POST with the body. `ret` true: that was all. */
static int post_whole(struct putting *p, bool *ret, struct prop_err *err)
{
    struct prop_session *s = p->to->session;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *plain = prop_session_url(s, p->to->path, "blobs/uploads/");
    prop_auto_free char *url = plain ? prop_upload_commit_url(plain, p->digest) : NULL;
    struct prop_http_request rq = { .method = "POST", .url = url, .headers = octets,
                                    .body = p->data, .body_len = p->len, .idempotent = true,
                                    .grace_ms = PROP_UPLOAD_GRACE_MS };
    int rc = url == NULL ? prop_err_nomem(err) : prop_session_do(s, &rq, p->to->scope, &a, err);

    if (rc < 0)
        return rc;
    if (a.status == 401 || a.status == 403 || prop_http_transient(0, &a, NULL))
        return prop_session_refused(s, &a, "begin upload", "repository-not-found", err);
    atomic_store(&s->single, a.status == 201 ? PROP_SINGLE_YES : PROP_SINGLE_NO);
    if (a.status == 202)
        return take_session(p, &a, err);
    if (a.status != 201)
        return 0;
    *ret = true;
    return prop_registry_committed(s, &a, p->digest, "upload", err);
}

/* The plain POST, as upload.c's. */
static int post_empty(struct putting *p, struct prop_err *err)
{
    struct prop_upload u = { .to = *p->to, .size = p->len };
    int rc = prop_upload_open(&u, err);

    p->location = u.location;
    return rc;
}

/* PUT with the body. `ret` false: unclear, or not in this way. */
static int put_whole(struct putting *p, bool *ret, struct prop_err *err)
{
    struct prop_session *s = p->to->session;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *url = prop_upload_commit_url(p->location, p->digest);
    struct prop_http_request rq = { .method = "PUT", .url = url, .headers = octets,
                                    .body = p->whole ? NULL : p->data,
                                    .body_len = p->whole ? 0 : p->len, .once = true };
    int rc = url == NULL ? prop_err_nomem(err) : prop_session_do(s, &rq, p->to->scope, &a, err);

    if (rc == PROP_E_NETWORK || rc == PROP_E_REMOTE ||
        (rc == 0 && (prop_http_transient(0, &a, NULL) || a.status == 404))) {
        (void)prop_upload_is_there(p->to, p->digest, p->len, ret, NULL);
        return 0;
    }
    if (rc < 0)
        return rc;
    if (a.status == 401 || a.status == 403)
        return prop_session_refused(s, &a, "upload", "upload-session-lost", err);
    if (a.status / 100 != 2)
        return 0;
    rc = prop_registry_committed(s, &a, p->digest, "upload", err);
    *ret = rc == 0;
    return rc;
}

int prop_upload_put(const struct prop_upload_to *to, char *location, const void *data, size_t len,
                    const struct prop_digest *digest, bool *ret, struct prop_err *err)
{
    struct putting p = { .to = to, .data = len > 0 ? data : "", .len = len, .digest = digest,
                         .location = location };
    bool done = false;
    int rc = 0;

    if (p.location == NULL && atomic_load(&to->session->single) != PROP_SINGLE_NO)
        rc = post_whole(&p, &done, err);
    if (rc == 0 && !done && p.location == NULL)
        rc = post_empty(&p, err);
    if (rc == 0 && !done)
        rc = put_whole(&p, &done, err);
    if (p.location != NULL && !done)
        prop_upload_drop(to, p.location);
    prop_free(p.location);
    *ret = rc == 0 && done;
    return rc;
}
