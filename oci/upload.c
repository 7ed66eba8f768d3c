/* The bytes of an upload: into PATCH requests, and into the window in case they are needed again. */
#include "oci/upload_internal.h"

#include "oci/registry_put.h"
#include "util/mem.h"
#include "util/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES (16u << 20)
#define PIECE_BYTES (128u << 10) /* at most half of any window */
#define COMMIT_TRIES 3
#define REWINDS_MAX 5

static void free_upload(struct prop_upload *u)
{
    prop_http_upload_abort(u->patch);
    prop_session_give_http(u->to.session, u->http);
    prop_window_release(&u->window);
    prop_free(u->location);
    prop_free(u);
}

int prop_upload_begin(const struct prop_upload_to *to, char *location, uint64_t size,
                      struct prop_upload **ret, struct prop_err *err)
{
    struct prop_upload *u = prop_zalloc(sizeof(*u));
    int rc;

    if (u == NULL) {
        prop_free(location);
        return prop_err_nomem(err);
    }
    u->to = *to;
    u->location = location;
    u->size = size;
    u->window.max = to->window > 0         ? to->window
                    : size == UINT64_MAX ? PROP_UPLOAD_WINDOW_PIPE
                                         : PROP_UPLOAD_WINDOW;
    u->chunk = CHUNK_BYTES;
    if (to->limit != NULL && atomic_load(to->limit) > 0) {
        u->chunk = atomic_load(to->limit);
        u->chunked = u->must_chunk = true;
    }
    rc = prop_upload_open(u, err);
    if (rc < 0) {
        free_upload(u);
        return rc;
    }
    *ret = u;
    return 0;
}

void prop_upload_abort(struct prop_upload *u)
{
    if (u == NULL)
        return;
    prop_http_upload_abort(PROP_TAKE(u->patch));
    prop_upload_close(u);
    free_upload(u);
}

/* How long the next PATCH is; 0 = not yet, more has to come first. */
static uint64_t next_length(const struct prop_upload *u, bool last)
{
    uint64_t left = u->size == UINT64_MAX ? UINT64_MAX : u->size - u->sent;
    uint64_t chunk = u->chunk > u->chunk_min ? u->chunk : u->chunk_min;

    if (!u->chunked)
        return left;
    if (left != UINT64_MAX)
        return chunk < left ? chunk : left;
    /* a length must be stated, so it must be at hand */
    if (chunk > u->window.max / 2)
        chunk = u->window.max / 2;
    left = u->written - u->sent;
    return left >= chunk ? chunk : last ? left : 0;
}

static int begin_patch(struct prop_upload *u, uint64_t length, struct prop_err *err)
{
    char range[80];
    const char *const headers[] = { "Content-Type: application/octet-stream",
                                    u->chunked && length > 0 ? range : NULL, NULL };
    struct prop_http_request rq = { .method = "PATCH", .headers = headers, .body_total = length };
    int rc = prop_upload_open(u, err);

    if (rc == 0 && u->http == NULL)
        rc = prop_session_take_http(u->to.session, &u->http, err);
    if (rc < 0)
        return rc;
    (void)snprintf(range, sizeof(range), "Content-Range: %" PRIu64 "-%" PRIu64, u->sent,
                   u->sent + length - 1);
    u->authorization = prop_session_authorization(u->to.session, u->to.scope);
    rq.url = u->location;
    rq.authorization = u->authorization;
    u->first = u->sent;
    u->end = length == UINT64_MAX ? UINT64_MAX : u->sent + length;
    u->patched = true;
    return prop_http_upload_begin(u->http, &rq, &u->patch, err);
}

/* The PATCH is over, as `rc`, `failure` and `a` tell. 0: accepted, or mended. */
static int judge_patch(struct prop_upload *u, int rc, const struct prop_http_answer *a,
                       const struct prop_err *failure, bool whole, struct prop_err *err)
{
    uint64_t kept = u->sent;

    prop_session_give_http(u->to.session, PROP_TAKE(u->http));
    if (rc < 0 || a->status / 100 != 2 || !whole)
        return prop_upload_recover(u, rc, a, failure, err);
    prop_session_heed(u->to.session, a);
    rc = prop_upload_location(u->to.session, a, &u->location, err);
    if (rc < 0 || !prop_upload_range(a, &kept) || kept == u->sent)
        return rc;
    if (kept > u->sent)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-range",
                               "the registry says it has %" PRIu64 " bytes of the %" PRIu64
                               " it was sent", kept, u->sent);
    return prop_upload_recover(u, 0, a, failure, err);
}

static int end_patch(struct prop_upload *u, bool whole, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_err failure = PROP_ERR_INIT;
    int rc = prop_http_upload_finish(PROP_TAKE(u->patch), &a, &failure);

    return judge_patch(u, rc, &a, &failure, whole, err);
}

/* Some of what the window holds beyond `sent`. */
static int send_piece(struct prop_upload *u, struct prop_err *err)
{
    struct prop_err failure = PROP_ERR_INIT;
    size_t len = 0;
    const uint8_t *p = prop_window_at(&u->window, u->sent, &len);
    int rc;

    if (len > u->end - u->sent)
        len = (size_t)(u->end - u->sent);
    rc = prop_http_upload_write(u->patch, p, len, &failure);
    u->sent += len; /* at most: what a failed write brought there is not known */
    if (rc == 0)
        return u->sent == u->end ? end_patch(u, true, err) : 0;
    if (rc == PROP_E_REMOTE && strcmp(prop_err_id(&failure), "early-answer") == 0)
        return end_patch(u, false, err);
    prop_http_upload_abort(PROP_TAKE(u->patch));
    return judge_patch(u, rc, NULL, &failure, false, err);
}

/* Send what is there. `last`: nothing will follow. */
static int pump(struct prop_upload *u, bool last, struct prop_err *err)
{
    int rc = prop_stop_check(err);

    if (u->sent < u->window.begin) /* only when memory is out and the window small */
        return prop_err_nomem(err);
    while (rc == 0 && u->sent < u->written) {
        uint64_t length = u->patch != NULL ? 1 : next_length(u, last);

        if (length == 0)
            break;
        if (u->patch == NULL)
            rc = begin_patch(u, length, err);
        if (rc == 0)
            rc = send_piece(u, err);
    }
    return rc;
}

int prop_upload_write(struct prop_upload *u, const void *data, size_t len, struct prop_err *err)
{
    const uint8_t *in = data;
    int rc = 0;

    if (u->lost)
        return prop_err_set(err, PROP_E_BUG, "an upload was written to after it failed");
    if (u->written < u->window.begin) { /* written again: so far the registry has it */
        size_t skip = len < u->window.begin - u->written ? len
                                                         : (size_t)(u->window.begin - u->written);

        u->written += skip;
        in += skip;
        len -= skip;
    }
    while (rc == 0 && len > 0) {
        size_t n = len < PIECE_BYTES ? len : PIECE_BYTES;

        rc = prop_window_keep(&u->window, in, n, err);
        u->written += n;
        if (rc == 0)
            rc = pump(u, false, err);
        in += n;
        len -= n;
    }
    return rc;
}

int prop_upload_rewind(struct prop_upload *u, struct prop_err *err)
{
    if (!u->lost || ++u->rewinds > REWINDS_MAX)
        return prop_err_set_id(err, PROP_E_NETWORK, "upload-lost",
                               "the upload broke more than %d times", REWINDS_MAX);
    u->lost = false;
    u->written = 0;
    prop_window_reset(&u->window, u->sent);
    return 0;
}

/* --- naming it --- */

char *prop_upload_commit_url(const char *location, const struct prop_digest *digest)
{
    char text[PROP_DIGEST_TEXT];
    size_t len = strcspn(location, "#");

    return prop_asprintf("%.*s%cdigest=%s", (int)len, location,
                         memchr(location, '?', len) != NULL ? '&' : '?',
                         prop_digest_format(digest, text));
}

/* The empty PUT. */
static int put_once(struct prop_upload *u, const struct prop_digest *digest,
                    struct prop_http_answer *a, struct prop_err *err)
{
    prop_auto_free char *url = prop_upload_commit_url(u->location, digest);
    struct prop_http_request rq = { .method = "PUT", .url = url };

    return url == NULL ? prop_err_nomem(err)
                       : prop_session_do(u->to.session, &rq, u->to.scope, a, err);
}

static int wait_to_ask(struct prop_upload *u, unsigned tries, const struct prop_http_answer *a,
                       struct prop_err *err)
{
    struct prop_http *h = NULL;
    int rc = prop_session_take_http(u->to.session, &h, err);

    if (rc == 0)
        rc = prop_http_wait(h, tries, a, err);
    prop_session_give_http(u->to.session, h);
    return rc;
}

/* After an unclear answer the registry is asked before the PUT is sent again (registry.md 2.5). A 404 is
 * unclear too: the session is gone, perhaps because an earlier PUT, whose answer was lost with its
 * connection, has done the work; if it has not, `ret_gone` tells it. */
static int commit(struct prop_upload *u, const struct prop_digest *digest, bool *ret_gone,
                  struct prop_err *err)
{
    for (unsigned tries = 1;; tries++) {
        prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
        struct prop_err failure = PROP_ERR_INIT;
        bool there = false, gone;
        int rc = put_once(u, digest, &a, &failure);

        gone = rc == 0 && a.status == 404;
        if (rc == 0 && !gone && !prop_http_transient(0, &a, NULL))
            return prop_registry_committed(u->to.session, &a, digest, "commit upload", err);
        if ((gone || rc == 0 || rc == PROP_E_NETWORK || rc == PROP_E_REMOTE) &&
            prop_upload_is_there(&u->to, digest, u->written, &there, NULL) == 0 && there) {
            prop_upload_close(u); /* it may be there by another's doing */
            return 0;
        }
        if (rc == 0 && (gone || tries == COMMIT_TRIES)) {
            *ret_gone = gone;
            return prop_session_refused(u->to.session, &a, "commit upload", "upload-session-lost",
                                        err);
        }
        if (tries == COMMIT_TRIES || (rc < 0 && !prop_http_transient(rc, NULL, &failure))) {
            if (err != NULL)
                *err = failure;
            return rc;
        }
        rc = wait_to_ask(u, tries - 1, rc == 0 ? &a : NULL, err);
        if (rc < 0)
            return rc;
    }
}

/* The rest, its end, and an empty body where there was none. */
static int send_rest(struct prop_upload *u, struct prop_err *err)
{
    int rc = pump(u, true, err);

    while (rc == 0 && (u->patch != NULL || (u->written == 0 && !u->patched))) {
        if (u->patch == NULL)
            rc = begin_patch(u, 0, err);
        if (rc == 0)
            rc = end_patch(u, true, err);
        if (rc == 0)
            rc = pump(u, true, err);
    }
    return rc;
}

static int finish(struct prop_upload *u, const struct prop_digest *digest, struct prop_err *err)
{
    for (;;) {
        struct prop_err why = PROP_ERR_INIT;
        bool gone = false;
        int rc = send_rest(u, err);

        if (rc == 0)
            rc = commit(u, digest, &gone, &why);
        else
            return rc;
        if (rc == 0)
            return 0;
        if (gone) {
            u->patched = u->written > 0;
            rc = prop_upload_start_over(u, &why, err);
            if (rc == 0)
                continue;
            return rc;
        }
        if (err != NULL)
            *err = why;
        return rc;
    }
}

int prop_upload_finish(struct prop_upload *u, const struct prop_digest *digest, struct prop_err *err)
{
    int rc = u->lost ? prop_err_set(err, PROP_E_BUG, "an upload was finished after it failed")
                     : finish(u, digest, err);

    if (rc == 0)
        atomic_store(&u->to.session->stalls, 0);
    if (rc < 0)
        prop_upload_abort(u);
    else
        free_upload(u);
    return rc;
}
