/* Whole requests: retries (what and when: retry.c), redirects followed by hand so that
 * credentials stay with their origin, and the handle that owns the connections. */
#include "http/internal.h"

#include "util/limits.h"
#include "util/mem.h"

#include <pthread.h>
#include <string.h>

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started;

static void start_curl(void)
{
    curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int fill(struct prop_http *h, const struct prop_http_config *c, struct prop_err *err)
{
    h->allow_http = c->allow_http;
    h->no_proxy = c->no_proxy;
    h->connect_timeout_ms = c->connect_timeout_ms > 0 && c->connect_timeout_ms < 3600000
                                ? (long)c->connect_timeout_ms
                                : 10000;
    h->stall_timeout_ms = c->stall_timeout_ms > 0 ? c->stall_timeout_ms : 60000;
    h->max_retries = c->max_retries;
    h->deadline_ms = c->deadline_ms;
    h->cancel = c->cancel;
    h->tls_facts = c->tls_facts;
    h->any_time = c->any_time && c->ca_cert != NULL;
    h->user_agent = prop_strdup(c->user_agent != NULL ? c->user_agent : "prop/" PROP_VERSION);
    h->multi = curl_multi_init();
    h->easy = curl_easy_init();
    if (h->user_agent == NULL || h->multi == NULL || h->easy == NULL)
        return prop_err_nomem(err);
    return prop_tls_load(h, c, err);
}

int prop_http_new(const struct prop_http_config *config, struct prop_http **ret,
                  struct prop_err *err)
{
    struct prop_http *h;
    int rc;

    pthread_once(&curl_once, start_curl);
    if (curl_started != CURLE_OK)
        return prop_err_set(err, PROP_E_BUG, "libcurl does not start: %s",
                            curl_easy_strerror(curl_started));
    h = prop_zalloc(sizeof(*h));
    if (h == NULL)
        return prop_err_nomem(err);
    rc = fill(h, config, err);
    if (rc < 0) {
        prop_http_free(h);
        return rc;
    }
    *ret = h;
    return 0;
}

void prop_http_free(struct prop_http *h)
{
    if (h == NULL)
        return;
    curl_easy_cleanup(h->easy);
    curl_multi_cleanup(h->multi);
    prop_free(h->user_agent);
    prop_tls_release(h);
    prop_free(h);
}

/* One try. On success `ret` holds the answer. */
static int try_once(struct prop_http *h, const struct prop_http_request *rq, const char *url,
                    bool same_origin, struct prop_http_answer *ret, bool *ret_started,
                    struct prop_err *err)
{
    struct prop_exchange ex = { .h = h, .rq = rq, .easy = h->easy };
    int rc;

    *ret_started = false;
    rc = prop_http_may_go_on(h, err);
    if (rc < 0)
        return rc;
    curl_easy_reset(h->easy);
    rc = prop_exchange_setup(&ex, url, same_origin, err);
    if (rc == 0) {
        if (curl_multi_add_handle(h->multi, h->easy) != CURLM_OK)
            rc = prop_err_set(err, PROP_E_BUG, "a request was begun inside another");
        else {
            rc = prop_exchange_drive(&ex, err);
            curl_multi_remove_handle(h->multi, h->easy);
        }
    }
    if (rc == 0)
        rc = prop_exchange_verdict(&ex, err);
    *ret_started = ex.sink_started || ex.body_read_started;
    if (rc == 0) {
        prop_http_answer_release(ret);
        *ret = ex.answer;
        memset(&ex.answer, 0, sizeof(ex.answer));
    }
    curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, NULL);
    prop_exchange_release(&ex);
    return rc;
}

static int try_again(struct prop_http *h, const struct prop_http_request *rq, const char *url,
                     bool same_origin, struct prop_http_answer *ret, struct prop_err *err)
{
    unsigned retries = rq->idempotent ? h->max_retries : 0;
    struct prop_err failure = PROP_ERR_INIT;
    int rc;

    for (unsigned attempt = 0;; attempt++) {
        bool started = false;
        int waited;

        prop_err_clear(&failure);
        rc = try_once(h, rq, url, same_origin, ret, &started, &failure);
        if (attempt >= retries || started || !prop_http_transient(rc, ret, &failure))
            break;
        waited = prop_http_wait(h, attempt, rc == 0 ? ret : NULL, err);
        if (waited < 0)
            return waited;
    }
    if (rc < 0 && err != NULL) {
        char brief[256];

        *err = failure;
        prop_err_wrap(err, "%s %s", rq->method, prop_url_brief(url, brief, sizeof(brief)));
    }
    return rc;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool may_follow(const struct prop_http_request *rq)
{
    return rq->follow && (strcmp(rq->method, "GET") == 0 || strcmp(rq->method, "HEAD") == 0);
}

/* Where a redirect leads; refuses the step down from https. */
static int next_url(const struct prop_http *h, const char *url, const struct prop_http_answer *a,
                    char **ret, struct prop_err *err)
{
    const char *location = prop_http_header(a, "location", 0);
    prop_auto_free char *next = NULL;
    struct prop_url from, to;
    int rc;

    if (location == NULL)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-location", "status %d without a Location",
                               a->status);
    rc = prop_url_resolve(url, location, &next, err);
    if (rc == 0)
        rc = prop_url_read(url, &from, err);
    if (rc < 0)
        return rc;
    if (prop_url_read(next, &to, NULL) < 0)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-location",
                               "a redirect leads to what is no http or https URL");
    if (!to.https && (from.https || prop_url_allowed(h, &to, NULL) < 0))
        return prop_err_set_id(err, PROP_E_REMOTE, "insecure-redirect",
                               "a redirect to plain http ('%s') is refused", to.host);
    *ret = PROP_TAKE(next);
    return 0;
}

int prop_http_do(struct prop_http *h, const struct prop_http_request *rq,
                 struct prop_http_answer *ret, struct prop_err *err)
{
    prop_auto_free char *url = prop_strdup(rq->url);
    prop_auto_answer struct prop_http_answer answer = PROP_HTTP_ANSWER_INIT;
    bool same_origin = true;
    int rc;

    if (url == NULL)
        return prop_err_nomem(err);
    for (unsigned hops = 0;; hops++) {
        char *next = NULL;

        rc = try_again(h, rq, url, same_origin, &answer, err);
        if (rc < 0)
            return rc;
        if (!may_follow(rq) || !is_redirect(answer.status))
            break;
        if (hops == PROP_LIMIT_REDIRECTS)
            return prop_err_set_id(err, PROP_E_REMOTE, "redirects", "more than %d redirects",
                                   PROP_LIMIT_REDIRECTS);
        rc = next_url(h, url, &answer, &next, err);
        if (rc < 0)
            return rc;
        /* once away, credentials stay away, even when a later step leads back */
        same_origin = same_origin && prop_url_same_origin(rq->url, next);
        prop_free(url);
        url = next;
    }
    prop_http_answer_release(ret);
    *ret = answer;
    memset(&answer, 0, sizeof(answer));
    return 0;
}
