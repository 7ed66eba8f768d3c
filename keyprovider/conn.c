/* Answers leave in one of two forms: headers, message, trailers when a call went well; headers
 * alone (gRPC's Trailers-Only) when it did not. */
#include "keyprovider/conn.h"

#include "keyprovider/frame.h"
#include "keyprovider/status.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum call_state { CALL_RECEIVING, CALL_WORKING, CALL_ANSWERED };

/* One stream; it lives until nghttp2 closes that. */
struct prop_kp_call {
    struct prop_kp_call *next;
    struct prop_kp_conn *conn;
    int32_t stream;
    enum call_state state;
    bool post, grpc, half_closed;
    enum prop_kp_op op; /* ANY: no method of ours */
    char path[96];
    struct prop_kp_pot request;
    struct prop_kp_job *job; /* while WORKING */
    size_t held;             /* bytes of request or answer: its part of the connections' sum */
    struct prop_kp_body body;
    nghttp2_nv trailer;
    uint64_t begun, deadline;
};

/* --- answering -------------------------------------------------------------------------------- */

static const char *method_name(const struct prop_kp_call *k)
{
    return k->op == PROP_KP_WRAP ? "WrapKey" : k->op == PROP_KP_UNWRAP ? "UnWrapKey" : k->path;
}

static void log_call(const struct prop_kp_call *k, enum prop_kp_status status, const char *message)
{
    const struct prop_kp_shared *s = k->conn->shared;
    char path[96], line[900];
    const char *method = method_name(k);
    if (!s->log)
        return;
    (void)snprintf(line, sizeof line, "%s: %s%s%s, %llu ms",
                   prop_printable(method, strlen(method), path, sizeof path),
                   prop_kp_status_name((long)status), message[0] ? ": " : "", message,
                   (unsigned long long)(prop_now_ms() - k->begun));
    s->log(s->log_ctx, line);
}

static void set_held(struct prop_kp_call *k, size_t bytes)
{
    k->conn->shared->held += bytes - k->held;
    k->held = bytes;
}

/* Is this one call too much? Short ones, as nearly all are, always fit: PROP_KP_CALLS of them are
 * a quarter of the sum. */
static bool too_much(const struct prop_kp_call *k)
{
    return k->held > PROP_KP_SHORT && k->conn->shared->held > PROP_KP_HELD_MAX;
}

/* Nobody waits for its request, or its job, any more. */
static void forget_request(struct prop_kp_call *k)
{
    prop_kp_pot_release(&k->request);
    set_held(k, 0);
    if (k->job && prop_kp_worker_withdraw(k->conn->shared->worker, k->job))
        prop_kp_job_free(k->job);
    else if (k->job)
        k->job->owner = NULL; /* only the loop's thread looks at it */
    k->job = NULL;
}

static int refuse_http(struct prop_kp_call *k, const char *http_status, enum prop_kp_status status,
                       const char *message)
{
    char number[12], encoded[600];
    (void)snprintf(number, sizeof number, "%d", (int)status);
    prop_kp_status_encode(message, encoded, sizeof encoded);
    const nghttp2_nv headers[] = {
        prop_kp_link_nv(":status", http_status),
        prop_kp_link_nv("content-type", "application/grpc"),
        prop_kp_link_nv("grpc-status", number),
        prop_kp_link_nv("grpc-message", encoded),
    };
    log_call(k, status, message);
    forget_request(k);
    k->state = CALL_ANSWERED;
    k->deadline = prop_now_ms() + PROP_KP_STALL_MS;
    return nghttp2_submit_response(k->conn->link.h2, k->stream, headers, PROP_ARRAY_LEN(headers),
                                   NULL);
}

/* 0, or what nghttp2 failed with. */
static int refuse(struct prop_kp_call *k, enum prop_kp_status status, const char *message)
{
    return refuse_http(k, "200", status, message);
}

static int give(struct prop_kp_call *k, struct prop_kp_job *j)
{
    const nghttp2_nv headers[] = {
        prop_kp_link_nv(":status", "200"),
        prop_kp_link_nv("content-type", "application/grpc"),
    };
    set_held(k, prop_secret_len(j->reply));
    if (too_much(k))
        return refuse(k, PROP_KP_STATUS_RESOURCE_EXHAUSTED, "too many long answers at once");
    k->trailer = prop_kp_link_nv("grpc-status", "0");
    k->body = (struct prop_kp_body){ .bytes = PROP_TAKE(j->reply), .trailers = &k->trailer,
                                     .n_trailers = 1 };
    k->state = CALL_ANSWERED;
    k->deadline = prop_now_ms() + PROP_KP_STALL_MS;
    log_call(k, PROP_KP_STATUS_OK, "");
    const nghttp2_data_provider body = prop_kp_link_provider(&k->body);
    return nghttp2_submit_response(k->conn->link.h2, k->stream, headers, PROP_ARRAY_LEN(headers),
                                   &body);
}

struct prop_kp_conn *prop_kp_conn_answer(struct prop_kp_job *j)
{
    struct prop_kp_call *k = j->owner;
    struct prop_kp_conn *c = k ? k->conn : NULL;
    if (k) {
        k->job = NULL;
        /* A failure to submit is one of memory; the deadline ends such a stream. */
        (void)(j->rc == 0 ? give(k, j)
                          : refuse(k, prop_kp_status_of(j->err.code), j->err.message));
    }
    prop_kp_job_free(j);
    return c;
}

/* --- a request comes in ----------------------------------------------------------------------- */

static void call_free(struct prop_kp_call *k)
{
    struct prop_kp_call **p = &k->conn->calls;
    while (*p != k)
        p = &(*p)->next;
    *p = k->next;
    forget_request(k);
    prop_secret_free(k->body.bytes);
    k->conn->shared->calls--;
    prop_free(k);
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct prop_kp_conn *c = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct prop_kp_call *k = prop_zalloc(sizeof(*k));
    if (!k)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    k->conn = c;
    k->stream = frame->hd.stream_id;
    k->request = (struct prop_kp_pot)PROP_KP_POT_INIT(PROP_KP_LIMIT_FRAME);
    k->begun = prop_now_ms();
    k->deadline = k->begun + PROP_KP_CALL_MS;
    k->next = c->calls;
    c->calls = k;
    c->shared->calls++;
    c->met = true;
    return nghttp2_session_set_stream_user_data(h2, k->stream, k);
}

static bool is_text(const uint8_t *text, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(text, want, len) == 0;
}

/* grpc-timeout: at most 8 digits and a unit. Anything else counts as none. */
static uint64_t timeout_ms(const uint8_t *text, size_t len)
{
    static const char units[] = "HMSmun";
    static const uint64_t us[] = { 3600000000u, 60000000u, 1000000u, 1000u, 1u, 0u };
    uint64_t v = 0;
    if (len < 2 || len > 9)
        return PROP_KP_CALL_MS;
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return PROP_KP_CALL_MS;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    const char *unit = text[len - 1] ? strchr(units, text[len - 1]) : NULL;
    if (!unit)
        return PROP_KP_CALL_MS;
    uint64_t ms = *unit == 'n' ? v / 1000000 : v * us[unit - units] / 1000;
    return ms < PROP_KP_CALL_MS ? ms : PROP_KP_CALL_MS;
}

static void read_path(struct prop_kp_call *k, const uint8_t *value, size_t len)
{
    if (is_text(value, len, PROP_KP_PATH_WRAP))
        k->op = PROP_KP_WRAP;
    else if (is_text(value, len, PROP_KP_PATH_UNWRAP))
        k->op = PROP_KP_UNWRAP;
    (void)snprintf(k->path, sizeof k->path, "%.*s", (int)(len < 95 ? len : 95),
                   (const char *)value);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *user)
{
    struct prop_kp_call *k = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    (void)flags;
    (void)user;
    if (!k || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (is_text(name, name_len, ":method"))
        k->post = is_text(value, len, "POST");
    else if (is_text(name, name_len, ":path"))
        read_path(k, value, len);
    else if (is_text(name, name_len, "content-type"))
        k->grpc = len >= 16 && memcmp(value, "application/grpc", 16) == 0 &&
                  (len == 16 || value[16] == '+' || value[16] == ';');
    else if (is_text(name, name_len, "grpc-timeout"))
        k->deadline = k->begun + timeout_ms(value, len);
    return 0;
}

/* All headers of a request are there. */
static int check_headers(struct prop_kp_call *k)
{
    if (!k->post)
        return refuse_http(k, "405", PROP_KP_STATUS_UNKNOWN, "only POST is understood");
    if (!k->grpc)
        return refuse_http(k, "415", PROP_KP_STATUS_UNKNOWN,
                           "only content-type application/grpc is understood");
    if (k->op == PROP_KP_ANY)
        return refuse(k, PROP_KP_STATUS_UNIMPLEMENTED, "there is no such method");
    if (k->conn->shared->calls > PROP_KP_CALLS)
        return refuse(k, PROP_KP_STATUS_RESOURCE_EXHAUSTED, "too many calls at once");
    return 0;
}

static int complete(struct prop_kp_call *k)
{
    struct prop_kp_job *j = prop_zalloc(sizeof(*j));
    if (!j || prop_kp_pot_take(&k->request, &j->request, NULL) != 0) {
        prop_kp_job_free(j);
        return refuse(k, PROP_KP_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    }
    j->op = k->op;
    j->owner = k;
    k->job = j;
    k->state = CALL_WORKING;
    prop_kp_worker_submit(k->conn->shared->worker, j);
    return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct prop_kp_call *k = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    int rc = 0;
    (void)user;
    if (!k || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        k->half_closed = true;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        rc = check_headers(k);
    if (rc == 0 && k->half_closed && k->state == CALL_RECEIVING)
        rc = complete(k);
    return rc == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t len, void *user)
{
    struct prop_kp_call *k = nghttp2_session_get_stream_user_data(h2, stream);
    int rc = 0;
    (void)flags;
    (void)user;
    if (!k || k->state != CALL_RECEIVING)
        return 0;
    int added = prop_kp_pot_add(&k->request, data, len, NULL);
    set_held(k, prop_kp_pot_held(&k->request));
    if (added == PROP_E_LIMIT)
        rc = refuse(k, PROP_KP_STATUS_RESOURCE_EXHAUSTED, "the request is too long");
    else if (added != 0 || too_much(k))
        rc = refuse(k, PROP_KP_STATUS_RESOURCE_EXHAUSTED, "too many long requests at once");
    return rc == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *h2, int32_t stream, uint32_t error_code, void *user)
{
    struct prop_kp_call *k = nghttp2_session_get_stream_user_data(h2, stream);
    (void)error_code;
    (void)user;
    if (k)
        call_free(k);
    return 0;
}

/* --- the connection --------------------------------------------------------------------------- */

static int open_session(struct prop_kp_conn *c)
{
    static const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, PROP_KP_STREAMS },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16 << 10 },
    };
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *option = NULL;
    int rc = nghttp2_session_callbacks_new(&cb);
    if (rc == 0)
        rc = nghttp2_option_new(&option);
    if (rc == 0) {
        prop_kp_link_callbacks(cb);
        nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
        nghttp2_option_set_no_closed_streams(option, 1);
        rc = nghttp2_session_server_new2(&c->link.h2, cb, &c->link, option);
    }
    if (rc == 0)
        rc = nghttp2_submit_settings(c->link.h2, NGHTTP2_FLAG_NONE, settings,
                                     PROP_ARRAY_LEN(settings));
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return rc;
}

int prop_kp_conn_new(int fd, struct prop_kp_shared *shared, struct prop_kp_conn **ret,
                     struct prop_err *err)
{
    struct prop_kp_conn *c = prop_zalloc(sizeof(*c));
    struct prop_kp_link link = PROP_KP_LINK_INIT;
    link.fd = fd;
    if (!c) {
        prop_kp_link_release(&link);
        return prop_err_nomem(err);
    }
    c->link = link;
    c->shared = shared;
    c->since_ms = c->progress_ms = prop_now_ms();
    if (open_session(c) != 0) {
        prop_kp_conn_free(c);
        return prop_err_nomem(err);
    }
    *ret = c;
    return 0;
}

void prop_kp_conn_free(struct prop_kp_conn *c)
{
    if (!c)
        return;
    while (c->calls)
        call_free(c->calls);
    /* nghttp2 tells nobody about the streams it drops here. */
    prop_kp_link_release(&c->link);
    prop_free(c);
}

int prop_kp_conn_io(struct prop_kp_conn *c, bool readable)
{
    uint64_t before = c->link.moved;
    if ((readable && prop_kp_link_read(&c->link) < 0) || prop_kp_link_write(&c->link) != 0)
        return -1;
    if (c->link.moved != before)
        c->progress_ms = prop_now_ms();
    bool over = !nghttp2_session_want_read(c->link.h2) && !prop_kp_link_wants_write(&c->link);
    return over ? -1 : 0;
}

/* When a call must have come further. Who was answered before all of the request was sent may send
 * the rest, into nothing: clients take a reset for a failure, even the one RFC 9113 section 8.1
 * has for this. A stream that then does not end is cut off. */
static uint64_t due(const struct prop_kp_call *k)
{
    uint64_t received = k->begun + PROP_KP_RECEIVE_MS;
    return k->state == CALL_RECEIVING && received < k->deadline ? received : k->deadline;
}

static void overdue(struct prop_kp_call *k, uint64_t now)
{
    if (k->state == CALL_ANSWERED) {
        k->deadline = now + PROP_KP_STALL_MS;
        (void)nghttp2_submit_rst_stream(k->conn->link.h2, NGHTTP2_FLAG_NONE, k->stream,
                                        NGHTTP2_CANCEL);
        return;
    }
    (void)refuse(k, PROP_KP_STATUS_DEADLINE_EXCEEDED,
                 k->state == CALL_RECEIVING ? "the request did not come in time"
                                            : "the answer did not come in time");
}

static uint64_t conn_due(const struct prop_kp_conn *c)
{
    if (prop_kp_link_wants_write(&c->link))
        return c->progress_ms + PROP_KP_STALL_MS;
    return c->met ? c->progress_ms + PROP_KP_IDLE_MS : c->since_ms + PROP_KP_HELLO_MS;
}

int prop_kp_conn_tick(struct prop_kp_conn *c, uint64_t now, uint64_t *ret_next)
{
    uint64_t next = UINT64_MAX;
    bool late = false;
    for (struct prop_kp_call *k = c->calls; k; k = k->next) {
        if (now >= due(k)) {
            overdue(k, now);
            late = true;
        }
        next = due(k) < next ? due(k) : next;
    }
    if (late && prop_kp_conn_io(c, false) != 0)
        return -1;
    if (!c->calls || prop_kp_link_wants_write(&c->link)) {
        if (now >= conn_due(c) || (c->leaving && !c->calls && !prop_kp_link_wants_write(&c->link)))
            return -1;
        next = conn_due(c) < next ? conn_due(c) : next;
    }
    *ret_next = next < *ret_next ? next : *ret_next;
    return 0;
}

void prop_kp_conn_leave(struct prop_kp_conn *c)
{
    if (c->leaving)
        return;
    c->leaving = true;
    (void)nghttp2_submit_goaway(c->link.h2, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(c->link.h2),
                                NGHTTP2_NO_ERROR, NULL, 0);
}
