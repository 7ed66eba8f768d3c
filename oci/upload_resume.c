/* What to do when a PATCH did not go through. What may be tried again is in registry.md 2.3 and 2.5;
 * how often is bounded twice: in a row without getting further, and in all. */
#include "oci/upload_internal.h"

#include "util/mem.h"

#include <string.h>

#define TRIES_MAX 3      /* without the registry getting further */
#define FAILURES_MAX 64  /* in all */
#define SESSIONS_MAX 3
#define STALLS_MAX 2 /* until a blob is done; each costs the whole time that a silence is borne */
#define CHUNK_LEAST (64u << 10)

static int fail_as(const struct prop_err *why, struct prop_err *err)
{
    if (err != NULL)
        *err = *why;
    return (int)why->code;
}

static int lost(struct prop_upload *u, const struct prop_err *why, struct prop_err *err)
{
    u->lost = true;
    prop_err_set_id(err, PROP_E_NETWORK, "upload-lost",
                    "the registry lacks bytes that were sent and are gone here: %s", why->message);
    if (err != NULL)
        err->http_status = why->http_status;
    return PROP_E_NETWORK;
}

/* Send from here on; 0 unless those bytes are gone. */
static int go_back(struct prop_upload *u, uint64_t offset, const struct prop_err *why,
                   struct prop_err *err)
{
    u->sent = offset;
    if (offset > u->reached) {
        u->reached = offset;
        u->tries = 0;
        u->renewed = false;
    }
    return offset >= u->window.begin ? 0 : lost(u, why, err);
}

int prop_upload_start_over(struct prop_upload *u, const struct prop_err *why, struct prop_err *err)
{
    prop_upload_close(u);
    if (++u->sessions >= SESSIONS_MAX)
        return fail_as(why, err);
    /* some registries take one PATCH only: once more as a stream, then in pieces */
    if (u->sessions == 1)
        u->chunked = u->must_chunk;
    return go_back(u, 0, why, err);
}

/* A body that is too large, or that broke without leaving anything: smaller ones may pass. */
static bool shrink(struct prop_upload *u)
{
    uint64_t len = u->end == UINT64_MAX ? u->chunk : u->end - u->first;
    uint64_t least = u->chunk_min > CHUNK_LEAST ? u->chunk_min : CHUNK_LEAST;

    if (len <= least)
        return false;
    u->chunk = u->chunk < len / 2 ? u->chunk : len / 2;
    if (u->chunk < least)
        u->chunk = least;
    return true;
}

static int resync(struct prop_upload *u, const struct prop_err *why, struct prop_err *err)
{
    uint64_t offset = 0;
    bool known = false;
    int rc = prop_upload_ask(u, &offset, &known, err);

    if (rc < 0)
        return rc;
    return known ? go_back(u, offset, why, err) : prop_upload_start_over(u, why, err);
}

static int refused(const struct prop_upload *u, const struct prop_http_answer *a,
                   struct prop_err *err)
{
    return prop_session_refused(u->to.session, a, "upload", "upload-session-lost", err);
}

/* Is the answer one after which the registry may be asked how far it got? */
static int judge(struct prop_upload *u, const struct prop_http_answer *a, struct prop_err *err)
{
    bool renewed = false;
    int rc = 0;

    switch (a->status) {
    case 401: /* a token that ran out: one new one, until the registry gets further */
        if (!u->renewed)
            rc = prop_session_renew(u->to.session, a, u->authorization, u->to.scope, &renewed, err);
        u->renewed = true;
        return rc < 0 ? rc : renewed ? 0 : refused(u, a, err);
    case 411: /* a chunked coding where a length is wanted */
        if (u->chunked)
            return refused(u, a, err);
        u->must_chunk = true;
        return 0;
    case 413:
        if (!shrink(u))
            return refused(u, a, err);
        u->must_chunk = true;
        if (u->to.limit != NULL)
            atomic_store(u->to.limit, u->chunk);
        return 0;
    case 404:
    case 416:
        return 0;
    default:
        /* 2xx: accepted, but not all of it */
        return prop_http_transient(0, a, NULL) || a->status / 100 == 2 ? 0 : refused(u, a, err);
    }
}

/* What is told when it cannot be mended. */
static int reason(const struct prop_upload *u, const struct prop_http_answer *a,
                  struct prop_err *err)
{
    return a->status / 100 == 2
               ? prop_err_set_id(err, PROP_E_REMOTE, "bad-range",
                                 "the registry keeps less of the blob than it was sent")
               : refused(u, a, err);
}

static int wait_a_little(struct prop_upload *u, const struct prop_http_answer *a,
                         struct prop_err *err)
{
    struct prop_http *h = NULL;
    int rc = prop_session_take_http(u->to.session, &h, err);

    if (rc == 0)
        rc = prop_http_wait(h, u->tries - 1, a, err);
    prop_session_give_http(u->to.session, h);
    return rc;
}

/* A registry that stopped reading, or does not answer: a new connection may do. (When the time is over the
 * wait before it tells.) */
static bool is_stall(struct prop_upload *u, int rc, const struct prop_err *failure)
{
    return rc == PROP_E_NETWORK && strcmp(prop_err_id(failure), "timeout") == 0 &&
           atomic_fetch_add(&u->to.session->stalls, 1) < STALLS_MAX;
}

int prop_upload_recover(struct prop_upload *u, int rc, const struct prop_http_answer *a,
                        const struct prop_err *failure, struct prop_err *err)
{
    struct prop_err why = PROP_ERR_INIT;
    bool answered = rc == 0;

    if (answered) {
        rc = judge(u, a, err);
        (void)reason(u, a, &why);
    } else {
        why = *failure;
        if (!prop_http_transient(rc, NULL, failure) && !is_stall(u, rc, failure))
            return fail_as(&why, err);
        if (u->tries > 0) /* twice in a row: perhaps an answer that a reset swallowed */
            (void)shrink(u);
        rc = 0;
    }
    if (rc < 0)
        return rc;
    u->chunked = u->chunked || u->must_chunk || !answered || a->status / 100 == 5;
    if (++u->tries > TRIES_MAX || ++u->failures > FAILURES_MAX)
        return fail_as(&why, err);
    if (!answered || prop_http_transient(0, a, NULL))
        rc = wait_a_little(u, answered ? a : NULL, err);
    if (rc < 0)
        return rc;
    if (answered && a->status == 404)
        return prop_upload_start_over(u, &why, err);
    return resync(u, &why, err);
}
