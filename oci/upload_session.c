/* The registry's half of an upload: beginning it, asking how far it got, dropping it. The newest Location
 * always counts. */
#include "oci/upload_internal.h"

#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DROP_MS 3000u
#define DROP_STOPPED_MS 900u /* somebody waits for the process to end */

int prop_upload_location(const struct prop_session *s, const struct prop_http_answer *a,
                         char **location, struct prop_err *err)
{
    const char *said = prop_http_header(a, "location", 0);
    char *url = NULL;
    char host[256] = "?";
    int rc;

    if (said == NULL)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-location",
                               "the registry goes on with an upload without a Location");
    rc = prop_url_resolve(a->effective_url, said, &url, err);
    if (rc < 0)
        return rc;
    if (!prop_url_same_origin(url, s->origin)) {
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

/* OCI-Chunk-Min-Length asks for chunks, and for chunks that long. */
static void heed_chunks(struct prop_upload *u, const struct prop_http_answer *a)
{
    const char *text = prop_http_header(a, "oci-chunk-min-length", 0);
    uint64_t least;

    if (text == NULL || prop_parse_u64(text, "OCI-Chunk-Min-Length", &least, NULL) < 0 || least == 0)
        return;
    u->chunk_min = least;
    /* of a body whose length is unknown a chunk must be at hand before its length can be said */
    u->must_chunk = u->size != UINT64_MAX || least <= u->window.max / 2;
    u->chunked = u->chunked || u->must_chunk;
}

int prop_upload_open(struct prop_upload *u, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_session *s = u->to.session;
    prop_auto_free char *url = NULL;
    /* an upload session that nobody uses costs little, so asking twice is fine */
    struct prop_http_request rq = { .method = "POST", .idempotent = true,
                                    .grace_ms = PROP_UPLOAD_GRACE_MS };
    int rc;

    if (u->location != NULL)
        return 0;
    url = prop_session_url(s, u->to.path, "blobs/uploads/");
    if (url == NULL)
        return prop_err_nomem(err);
    rq.url = url;
    rc = prop_session_do(s, &rq, u->to.scope, &a, err);
    if (rc < 0)
        return rc;
    if (a.status != 202)
        return prop_session_refused(s, &a, "begin upload", "repository-not-found", err);
    heed_chunks(u, &a);
    return prop_upload_location(s, &a, &u->location, err);
}

bool prop_upload_range(const struct prop_http_answer *a, uint64_t *ret)
{
    const char *text = prop_http_header(a, "range", 0);
    uint64_t last;

    if (text == NULL)
        return false;
    if (strncmp(text, "bytes=", 6) == 0)
        text += 6;
    if (strncmp(text, "0-", 2) != 0 || prop_parse_u64(text + 2, "Range", &last, NULL) < 0 ||
        last == 0 || last == UINT64_MAX)
        return false;
    *ret = last + 1;
    return true;
}

int prop_upload_ask(struct prop_upload *u, uint64_t *ret_offset, bool *ret, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_http_request rq = { .method = "GET", .url = u->location, .idempotent = true };
    uint64_t n = 0;
    int rc = prop_session_do(u->to.session, &rq, u->to.scope, &a, err);

    *ret = false;
    if (rc < 0)
        return rc;
    if (a.status == 401 || a.status == 403)
        return prop_session_refused(u->to.session, &a, "upload", "upload-session-lost", err);
    if (a.status != 204 && a.status != 200 && a.status != 202)
        return 0;
    if (prop_http_header(&a, "location", 0) != NULL) {
        rc = prop_upload_location(u->to.session, &a, &u->location, err);
        if (rc < 0)
            return rc;
    }
    if (!prop_upload_range(&a, &n))
        return 0;
    if (n > u->sent)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-range",
                               "the registry says it has %" PRIu64 " bytes of the %" PRIu64
                               " it was sent", n, u->sent);
    *ret_offset = n;
    *ret = true;
    return 0;
}

/* Some registries want more than "push" for it: what the 401 names is asked for then. */
static void delete_by(struct prop_http *h, const struct prop_upload_to *to, const char *location)
{
    struct prop_session *s = to->session;
    prop_auto_free char *more = prop_asprintf("repository:%s:delete", to->path);
    prop_auto_free char *scope = more != NULL ? prop_scope_unite(to->scope, more) : NULL;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_http_request rq = { .method = "DELETE", .url = location, .idempotent = true };
    bool again = false;
    int rc;

    if (scope == NULL)
        return;
    rq.authorization = prop_session_authorization(s, scope);
    if (rq.authorization == NULL)
        rq.authorization = prop_session_authorization(s, to->scope);
    rc = prop_http_do(h, &rq, &a, NULL);
    if (rc == 0)
        rc = prop_session_renew_by(s, h, &a, rq.authorization, scope, &again, NULL);
    if (rc == 0 && again) {
        rq.authorization = prop_session_authorization(s, scope);
        rc = prop_http_do(h, &rq, &a, NULL);
    }
    if (rc == PROP_E_NETWORK)
        atomic_store(&s->deaf, true);
}

void prop_upload_drop(const struct prop_upload_to *to, const char *location)
{
    struct prop_http_config config = to->session->config;
    uint64_t ms = prop_stop_requested() ? DROP_STOPPED_MS : DROP_MS;
    struct prop_http *h = NULL;

    if (atomic_load(&to->session->deaf))
        return;
    config.cancel = NULL;
    config.max_retries = 1;
    config.connect_timeout_ms = ms;
    config.deadline_ms = prop_now_ms() + ms;
    prop_stop_hold();
    if (prop_http_new(&config, &h, NULL) == 0)
        delete_by(h, to, location);
    prop_stop_release();
    prop_http_free(h);
}

void prop_upload_close(struct prop_upload *u)
{
    if (u->location != NULL)
        prop_upload_drop(&u->to, u->location);
    prop_free(u->location);
    u->location = NULL;
}

int prop_upload_is_there(const struct prop_upload_to *to, const struct prop_digest *digest,
                         uint64_t size, bool *ret, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    char text[PROP_DIGEST_TEXT];
    prop_auto_free char *rest = prop_asprintf("blobs/%s", prop_digest_format(digest, text));
    prop_auto_free char *url = rest ? prop_session_url(to->session, to->path, rest) : NULL;
    struct prop_http_request rq = { .method = "HEAD", .url = url, .idempotent = true,
                                    .follow = true };
    const char *length;
    uint64_t n;
    int rc = url == NULL ? prop_err_nomem(err)
                         : prop_session_do(to->session, &rq, to->scope, &a, err);

    if (rc < 0)
        return rc;
    if (a.status == 404) {
        *ret = false;
        return 0;
    }
    if (a.status != 200)
        return prop_session_refused(to->session, &a, "blob", "blob-not-found", err);
    length = prop_http_header(&a, "content-length", 0);
    *ret = length == NULL || prop_parse_u64(length, "Content-Length", &n, NULL) < 0 || n == size;
    return 0;
}
