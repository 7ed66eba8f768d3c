/* A request whose body is written to, not read from: libcurl's read callback pauses while nothing
 * is there, and each write drives the transfer until its bytes were taken. */
#include "http/internal.h"

#include "util/mem.h"
#include "util/text.h"

#include <string.h>

struct prop_http_upload {
    struct prop_http_request rq;
    struct prop_exchange ex;
    uint64_t written;
    bool added;
};

void prop_http_upload_abort(struct prop_http_upload *u)
{
    if (u == NULL)
        return;
    if (u->added)
        curl_multi_remove_handle(u->ex.h->multi, u->ex.easy);
    curl_easy_cleanup(u->ex.easy);
    prop_exchange_release(&u->ex);
    prop_free(u);
}

int prop_http_upload_begin(struct prop_http *h, const struct prop_http_request *rq,
                           struct prop_http_upload **ret, struct prop_err *err)
{
    struct prop_http_upload *u = prop_zalloc(sizeof(*u));
    int rc;

    if (u == NULL)
        return prop_err_nomem(err);
    u->rq = *rq;
    u->ex.h = h;
    u->ex.rq = &u->rq;
    u->ex.pushed = true;
    u->ex.easy = curl_easy_init();
    rc = u->ex.easy == NULL ? prop_err_nomem(err)
                            : prop_exchange_setup(&u->ex, rq->url, true, err);
    if (rc == 0 && curl_multi_add_handle(h->multi, u->ex.easy) != CURLM_OK)
        rc = prop_err_set(err, PROP_E_BUG, "a request was begun inside another");
    if (rc < 0) {
        prop_http_upload_abort(u);
        return rc;
    }
    u->added = true;
    /* borrowed from the caller for the call only, and no longer needed */
    u->rq.url = u->ex.answer.effective_url;
    u->rq.headers = NULL;
    u->rq.authorization = NULL;
    *ret = u;
    return 0;
}

static int drive(struct prop_http_upload *u, struct prop_err *err)
{
    char brief[256];
    int rc;

    if (u->ex.paused) {
        u->ex.paused = false;
        curl_easy_pause(u->ex.easy, CURLPAUSE_CONT);
    }
    rc = prop_exchange_drive(&u->ex, err);
    if (rc < 0 && rc != PROP_E_INTERRUPTED)
        prop_err_wrap(err, "%s %s", u->rq.method,
                      prop_url_brief(u->ex.answer.effective_url, brief, sizeof(brief)));
    return rc;
}

static int verdict(struct prop_http_upload *u, struct prop_err *err)
{
    char brief[256];
    int rc = prop_exchange_verdict(&u->ex, err);

    if (rc < 0)
        prop_err_wrap(err, "%s %s", u->rq.method,
                      prop_url_brief(u->ex.answer.effective_url, brief, sizeof(brief)));
    return rc;
}

int prop_http_upload_write(struct prop_http_upload *u, const void *data, size_t len,
                           struct prop_err *err)
{
    int rc;

    if (u->rq.body_total <= INT64_MAX && len > u->rq.body_total - u->written)
        return prop_err_set(err, PROP_E_BUG, "more is uploaded than was announced");
    u->written += len;
    if (!u->ex.done) {
        u->ex.push = data;
        u->ex.push_len = len;
        u->ex.active_ms = prop_now_ms();
        rc = drive(u, err);
        u->ex.push = NULL;
        if (rc < 0)
            return rc;
        if (!u->ex.done)
            return 0;
    }
    u->ex.push_len = 0;
    rc = verdict(u, err);
    if (rc < 0)
        return rc;
    /* all announced bytes were taken and the answer is here already: nothing early about it */
    if (u->written == u->rq.body_total)
        return 0;
    prop_err_set_id(err, PROP_E_REMOTE, "early-answer",
                    "the server answered %d before it had the whole body", u->ex.answer.status);
    if (err != NULL)
        err->http_status = u->ex.answer.status;
    return PROP_E_REMOTE;
}

int prop_http_upload_finish(struct prop_http_upload *u, struct prop_http_answer *ret,
                            struct prop_err *err)
{
    int rc = 0;

    if (!u->ex.done) {
        if (u->rq.body_total <= INT64_MAX && u->written != u->rq.body_total)
            rc = prop_err_set(err, PROP_E_BUG, "less was uploaded than was announced");
        u->ex.push_end = true;
        u->ex.active_ms = prop_now_ms();
        if (rc == 0)
            rc = drive(u, err);
    }
    if (rc == 0)
        rc = verdict(u, err);
    if (rc == 0) {
        prop_http_answer_release(ret);
        *ret = u->ex.answer;
        memset(&u->ex.answer, 0, sizeof(u->ex.answer));
    }
    prop_http_upload_abort(u);
    return rc;
}
