/* One request and its answer: what libcurl's callbacks collect, and the loop that drives it. Refuses
 * answers whose headers have no end. */
#include "http/internal.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#define HEADER_BYTES_MAX (64u << 10)
#define HEADERS_MAX 256u
#define CURL_BUFFER_BYTES (256L << 10)

static void clear_headers(struct prop_http_answer *a)
{
    for (size_t i = 0; i < a->n_headers; i++) {
        prop_free(a->headers[i].name);
        prop_free(a->headers[i].value);
    }
    prop_free(a->headers);
    a->headers = NULL;
    a->n_headers = 0;
}

void prop_http_answer_release(struct prop_http_answer *a)
{
    clear_headers(a);
    prop_buf_release(&a->body);
    prop_free(a->effective_url);
    a->effective_url = NULL;
}

const char *prop_http_header(const struct prop_http_answer *a, const char *name, size_t nth)
{
    for (size_t i = 0; i < a->n_headers; i++) {
        if (strcmp(a->headers[i].name, name) == 0 && nth-- == 0)
            return a->headers[i].value;
    }
    return NULL;
}

static int add_header(struct prop_http_answer *a, const char *line, size_t len,
                      struct prop_err *err)
{
    const char *colon = memchr(line, ':', len);
    const char *value, *end = line + len;
    struct prop_http_header h, *grown;

    if (colon == NULL || colon == line)
        return 0;
    value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && strchr("\r\n \t", end[-1]) != NULL)
        end--;
    if (a->n_headers == HEADERS_MAX)
        return prop_err_set_id(err, PROP_E_REMOTE, "headers-too-large",
                               "the server sent more than %u headers", HEADERS_MAX);
    grown = prop_realloc_array(a->headers, a->n_headers + 1, sizeof(*grown));
    if (grown == NULL)
        return prop_err_nomem(err);
    a->headers = grown;
    h.name = prop_strndup(line, (size_t)(colon - line));
    h.value = prop_strndup(value, (size_t)(end - value));
    if (h.name == NULL || h.value == NULL) {
        prop_free(h.name);
        prop_free(h.value);
        return prop_err_nomem(err);
    }
    for (char *p = h.name; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    a->headers[a->n_headers++] = h;
    return 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
    struct prop_exchange *ex = userdata;
    size_t len = size * n;

    ex->active_ms = prop_now_ms();
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        clear_headers(&ex->answer); /* a 1xx came before */
        ex->header_bytes = 0;
        ex->head_ended = false;
        return len;
    }
    if (len <= 2 && (data[0] == '\r' || data[0] == '\n'))
        ex->head_ended = true;
    ex->header_bytes += len;
    if (ex->header_bytes > HEADER_BYTES_MAX)
        ex->cb_rc = prop_err_set_id(&ex->cb_err, PROP_E_REMOTE, "headers-too-large",
                                    "the server sent more than %u bytes of headers",
                                    HEADER_BYTES_MAX);
    else
        ex->cb_rc = add_header(&ex->answer, data, len, &ex->cb_err);
    return ex->cb_rc == 0 ? len : 0;
}

static size_t keep_body(struct prop_exchange *ex, const char *data, size_t len, bool refusal)
{
    struct prop_buf *body = &ex->answer.body;

    if (len <= body->max - body->len) {
        ex->cb_rc = prop_buf_add(body, data, len, &ex->cb_err);
        return ex->cb_rc == 0 ? len : 0;
    }
    if (refusal) {
        /* enough of an error page was read: the rest is not worth waiting for */
        ex->cb_rc = prop_buf_add(body, data, body->max - body->len, &ex->cb_err);
        ex->enough = ex->cb_rc == 0;
        return 0;
    }
    ex->cb_rc = prop_err_set_id(&ex->cb_err, PROP_E_LIMIT, "body-too-large",
                                "the answer is larger than %zu bytes", body->max);
    return 0;
}

static size_t feed_sink(struct prop_exchange *ex, const char *data, size_t len, int status)
{
    const struct prop_http_request *rq = ex->rq;

    if (!ex->sink_started && rq->begin != NULL) {
        ex->answer.status = status;
        ex->cb_rc = rq->begin(rq->sink_ctx, &ex->answer, &ex->cb_err);
    }
    ex->sink_started = true;
    if (ex->cb_rc == 0)
        ex->cb_rc = rq->sink(rq->sink_ctx, data, len, &ex->cb_err);
    return ex->cb_rc == 0 ? len : 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
    struct prop_exchange *ex = userdata;
    size_t len = size * n;
    long status = 0;
    bool good;

    if (len == 0)
        return 0;
    curl_easy_getinfo(ex->easy, CURLINFO_RESPONSE_CODE, &status);
    good = status >= 200 && status < 300;
    if (ex->answer.body.max == 0)
        ex->answer.body.max = good && ex->rq->max_body > 0 ? ex->rq->max_body
                                                           : PROP_LIMIT_ERROR_BODY;
    if (!good || ex->rq->sink == NULL)
        len = keep_body(ex, data, len, !good);
    else
        len = feed_sink(ex, data, len, (int)status);
    /* after the sink: what it waited for is not the server's silence */
    ex->active_ms = prop_now_ms();
    return len;
}

static size_t on_read(char *out, size_t size, size_t n, void *userdata)
{
    struct prop_exchange *ex = userdata;
    size_t room = size * n;
    int64_t got;

    ex->active_ms = prop_now_ms();
    ex->body_read_started = true;
    if (ex->pushed) {
        if (ex->push_len == 0) {
            ex->paused = !ex->push_end;
            return ex->push_end ? 0 : CURL_READFUNC_PAUSE;
        }
        room = room < ex->push_len ? room : ex->push_len;
        memcpy(out, ex->push, room);
        ex->push += room;
        ex->push_len -= room;
        return room;
    }
    got = ex->rq->body_read(ex->rq->body_ctx, out, room, &ex->cb_err);
    ex->active_ms = prop_now_ms();
    if (got < 0) {
        ex->cb_rc = ex->cb_err.code != PROP_OK ? (int)ex->cb_err.code : PROP_E_IO;
        return CURL_READFUNC_ABORT;
    }
    return (size_t)got;
}

static int add_line(struct prop_exchange *ex, const char *line, struct prop_err *err)
{
    struct curl_slist *grown = curl_slist_append(ex->headers, line);

    if (grown == NULL)
        return prop_err_nomem(err);
    ex->headers = grown;
    return 0;
}

static bool names_header(const char *line, const char *name)
{
    size_t len = strlen(name);

    return strncasecmp(line, name, len) == 0 && line[len] == ':';
}

static int add_authorization(struct prop_exchange *ex, struct prop_err *err)
{
    const struct prop_secret *s = ex->rq->authorization;
    size_t len = prop_secret_len(s), head = strlen("Authorization: ");
    char *line = prop_alloc(head + len + 1);
    int rc;

    if (line == NULL)
        return prop_err_nomem(err);
    memcpy(line, "Authorization: ", head);
    memcpy(line + head, prop_secret_data(s), len);
    line[head + len] = '\0';
    if (strlen(line) != head + len || strpbrk(line, "\r\n") != NULL)
        rc = prop_err_set_id(err, PROP_E_INPUT, "bad-credentials",
                             "credentials hold a line break or a 0 byte");
    else
        rc = add_line(ex, line, err);
    prop_wipe(line, head + len);
    prop_free(line);
    return rc;
}

static int setup_headers(struct prop_exchange *ex, bool same_origin, struct prop_err *err)
{
    const struct prop_http_request *rq = ex->rq;
    bool typed = false;
    int rc = add_line(ex, "Expect:", err); /* one round trip less; refusals come early anyway */

    for (size_t i = 0; rc == 0 && rq->headers != NULL && rq->headers[i] != NULL; i++) {
        const char *line = rq->headers[i];

        if (!same_origin && (names_header(line, "authorization") || names_header(line, "cookie")))
            continue;
        typed = typed || names_header(line, "content-type");
        rc = add_line(ex, line, err);
    }
    if (rc == 0 && !typed)
        rc = add_line(ex, "Content-Type:", err); /* libcurl's guess is a web form */
    if (rc == 0 && same_origin && rq->authorization != NULL)
        rc = add_authorization(ex, err);
    if (rc == 0)
        curl_easy_setopt(ex->easy, CURLOPT_HTTPHEADER, ex->headers);
    return rc;
}

static void setup_method(struct prop_exchange *ex)
{
    const struct prop_http_request *rq = ex->rq;
    CURL *e = ex->easy;

    if (strcmp(rq->method, "HEAD") == 0) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    }
    if (ex->pushed || rq->body_read != NULL) {
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(e, CURLOPT_READDATA, ex);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE,
                         rq->body != NULL ? (curl_off_t)rq->body_len
                         : rq->body_total > INT64_MAX ? (curl_off_t)-1
                                                      : (curl_off_t)rq->body_total);
        curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, CURL_BUFFER_BYTES);
    } else if (rq->body != NULL || strcmp(rq->method, "POST") == 0 ||
               strcmp(rq->method, "PUT") == 0 || strcmp(rq->method, "PATCH") == 0) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, rq->body != NULL ? (const char *)rq->body : "");
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE,
                         rq->body != NULL ? (curl_off_t)rq->body_len : (curl_off_t)0);
    }
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, rq->method);
}

/* A body that cannot be rewound is not sent again; without a body only a connection of its own helps. */
static void setup_once(struct prop_exchange *ex)
{
    if (ex->rq->body == NULL || ex->rq->body_len == 0) {
        curl_easy_setopt(ex->easy, CURLOPT_FRESH_CONNECT, 1L);
        return;
    }
    ex->pushed = ex->push_end = true;
    ex->push = ex->rq->body;
    ex->push_len = ex->rq->body_len;
}

int prop_exchange_setup(struct prop_exchange *ex, const char *url, bool same_origin,
                        struct prop_err *err)
{
    struct prop_url u;
    CURL *e = ex->easy;
    int rc = prop_url_read(url, &u, err);

    if (rc == 0)
        rc = prop_url_allowed(ex->h, &u, err);
    if (rc == 0)
        rc = setup_headers(ex, same_origin, err);
    if (rc < 0)
        return rc;
    ex->answer.effective_url = prop_strdup(url);
    if (ex->answer.effective_url == NULL)
        return prop_err_nomem(err);
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L); /* there may be other threads */
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, ex->h->user_agent);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, ex->curl_error);
    curl_easy_setopt(e, CURLOPT_PRIVATE, ex);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, ex);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, ex);
    if (ex->rq->sink != NULL) /* only what is streamed here needs much room */
        curl_easy_setopt(e, CURLOPT_BUFFERSIZE, CURL_BUFFER_BYTES);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, ex->h->connect_timeout_ms);
    if (ex->rq->once)
        setup_once(ex);
    setup_method(ex);
    prop_proxy_apply(ex->h, e, &u);
    rc = prop_tls_apply(ex, err);
    if (rc < 0)
        return rc;
    if (ex->h->tls_facts) {
        curl_easy_setopt(e, CURLOPT_CERTINFO, 1L);
        curl_easy_setopt(e, CURLOPT_VERBOSE, 1L); /* goes to the function, not to a terminal */
        curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, prop_tls_overhear);
        curl_easy_setopt(e, CURLOPT_DEBUGDATA, ex->h);
    }
    ex->active_ms = prop_now_ms();
    return 0;
}

static void collect_done(struct prop_http *h)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(h->multi, &left)) != NULL) {
        struct prop_exchange *ex = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &ex);
        ex->result = msg->data.result;
        ex->done = true;
    }
}

static int check_stall(struct prop_exchange *ex, struct prop_err *err)
{
    curl_off_t up = 0, down = 0;

    curl_easy_getinfo(ex->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(ex->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    if (up + down != ex->moved) {
        ex->moved = up + down;
        ex->active_ms = prop_now_ms();
    }
    if (prop_now_ms() - ex->active_ms < ex->h->stall_timeout_ms)
        return 0;
    return prop_err_set_id(err, PROP_E_NETWORK, "timeout", "the server was silent for %llu ms",
                           (unsigned long long)ex->h->stall_timeout_ms);
}

/* 0, or what ends this one. */
static int may_go_on(struct prop_exchange *ex, struct prop_err *err)
{
    int rc = prop_http_may_go_on(ex->h, err);

    if (rc != PROP_E_INTERRUPTED || ex->rq->grace_ms == 0)
        return rc;
    if (ex->grace_end_ms == 0)
        ex->grace_end_ms = prop_now_ms() + ex->rq->grace_ms;
    return prop_now_ms() < ex->grace_end_ms ? 0 : rc;
}

int prop_exchange_drive(struct prop_exchange *ex, struct prop_err *err)
{
    int running = 0, rc;

    for (;;) {
        if (curl_multi_perform(ex->h->multi, &running) != CURLM_OK)
            return prop_err_set(err, PROP_E_BUG, "libcurl refused to go on");
        collect_done(ex->h);
        if (ex->done || (ex->pushed && !ex->push_end && ex->push_len == 0))
            return 0;
        rc = may_go_on(ex, err);
        if (rc == 0)
            rc = check_stall(ex, err);
        if (rc < 0)
            return rc;
        curl_multi_poll(ex->h->multi, NULL, 0, prop_http_poll_ms(ex->h), NULL);
    }
}

void prop_exchange_release(struct prop_exchange *ex)
{
    for (struct curl_slist *l = ex->headers; l != NULL; l = l->next)
        prop_wipe(l->data, strlen(l->data)); /* one of them is the token */
    curl_slist_free_all(ex->headers);
    ex->headers = NULL;
    prop_http_answer_release(&ex->answer);
}
