#include "keyprovider/remote.h"

#include "keyprovider/address.h"
#include "keyprovider/frame.h"
#include "keyprovider/link.h"
#include "keyprovider/pot.h"
#include "keyprovider/status.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 100, STATUS_NONE = -1 };

struct call {
    struct prop_kp_link link; /* first: it is the session's user data */
    const char *target;
    int32_t stream;
    struct prop_kp_body body;
    struct prop_kp_pot answer;
    bool closed;
    int kept; /* 0 while all of the answer so far was kept */
    long http_status, status;
    char said[400];
    uint64_t deadline;
};

static bool is_name(const uint8_t *name, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(name, want, len) == 0;
}

static long small_number(const uint8_t *text, size_t len)
{
    long v = 0;
    for (size_t i = 0; i < len; i++) {
        if (len > 4 || text[i] < '0' || text[i] > '9')
            return PROP_KP_STATUS_UNKNOWN;
        v = v * 10 + (text[i] - '0');
    }
    return v;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *user)
{
    struct call *c = user;
    (void)h2;
    (void)flags;
    if (frame->hd.stream_id != c->stream)
        return 0;
    if (is_name(name, name_len, ":status"))
        c->http_status = small_number(value, len);
    else if (is_name(name, name_len, "grpc-status"))
        c->status = small_number(value, len);
    else if (is_name(name, name_len, "grpc-message"))
        prop_kp_status_decode((const char *)value, len, c->said, sizeof c->said);
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t len, void *user)
{
    struct call *c = user;
    (void)flags;
    if (stream != c->stream || c->kept != 0)
        return 0;
    c->kept = prop_kp_pot_add(&c->answer, data, len, NULL);
    if (c->kept == 0)
        return 0;
    return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *h2, int32_t stream, uint32_t error_code, void *user)
{
    struct call *c = user;
    (void)h2;
    (void)error_code;
    c->closed = c->closed || stream == c->stream;
    return 0;
}

static int open_session(struct call *c, struct prop_err *err)
{
    nghttp2_session_callbacks *cb = NULL;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return prop_err_nomem(err);
    prop_kp_link_callbacks(cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    static const nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 } };
    int rc = nghttp2_session_client_new(&c->link.h2, cb, &c->link);
    if (rc == 0)
        rc = nghttp2_submit_settings(c->link.h2, NGHTTP2_FLAG_NONE, settings, 1);
    nghttp2_session_callbacks_del(cb);
    return rc == 0 ? 0 : prop_err_nomem(err);
}

static int submit(struct call *c, enum prop_kp_op op, const char *authority, uint64_t timeout_ms,
                  struct prop_err *err)
{
    char timeout[24];
    (void)snprintf(timeout, sizeof timeout, "%llum", (unsigned long long)timeout_ms);
    const nghttp2_nv headers[] = {
        prop_kp_link_nv(":method", "POST"),
        prop_kp_link_nv(":scheme", "http"),
        prop_kp_link_nv(":path", op == PROP_KP_WRAP ? PROP_KP_PATH_WRAP : PROP_KP_PATH_UNWRAP),
        prop_kp_link_nv(":authority", authority),
        prop_kp_link_nv("te", "trailers"),
        prop_kp_link_nv("content-type", "application/grpc"),
        prop_kp_link_nv("grpc-timeout", timeout),
        prop_kp_link_nv("user-agent", "propenc/" PROP_VERSION),
    };
    const nghttp2_data_provider body = prop_kp_link_provider(&c->body);
    c->stream = nghttp2_submit_request(c->link.h2, NULL, headers, PROP_ARRAY_LEN(headers), &body,
                                       NULL);
    return c->stream > 0 ? 0 : prop_err_nomem(err);
}

static int broken(const struct call *c, struct prop_err *err)
{
    if (c->link.starved)
        return prop_err_nomem(err);
    return prop_err_set_id(err, PROP_E_NETWORK, "provider-unreachable",
                           "'%s' closed the connection, or speaks no gRPC", c->target);
}

static int converse(struct call *c, struct prop_err *err)
{
    while (!c->closed) {
        int rc = prop_stop_check(err);
        if (rc != 0)
            return rc;
        if (prop_now_ms() >= c->deadline)
            return prop_err_set_id(err, PROP_E_NETWORK, "provider-timeout",
                                   "'%s' did not answer in time", c->target);
        if (prop_kp_link_write(&c->link) != 0 ||
            (!nghttp2_session_want_read(c->link.h2) && !prop_kp_link_wants_write(&c->link)))
            return broken(c, err);
        bool full = prop_kp_link_wants_write(&c->link);
        struct pollfd p = { c->link.fd, (short)(full ? POLLIN | POLLOUT : POLLIN), 0 };
        if (poll(&p, 1, TICK_MS) > 0 && (p.revents & ~POLLOUT) &&
            prop_kp_link_read(&c->link) < 0 && !c->closed)
            return broken(c, err);
    }
    return 0;
}

static int judge(struct call *c, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *frame = NULL;
    if (c->kept == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (c->kept != 0)
        return prop_err_set_id(err, PROP_E_REMOTE, "provider-failed", "'%s': too long an answer",
                               c->target);
    if (c->status == STATUS_NONE)
        return prop_err_set_id(err, PROP_E_REMOTE, "provider-failed",
                               "'%s': no gRPC status (HTTP status %ld)", c->target, c->http_status);
    if (c->status != PROP_KP_STATUS_OK) {
        (void)prop_err_set_id(err, PROP_E_REMOTE, "provider-failed", "'%s': %s (%ld)%s%s",
                              c->target, prop_kp_status_name(c->status), c->status,
                              c->said[0] ? ": " : "", c->said);
        if (c->status == PROP_KP_STATUS_UNIMPLEMENTED)
            (void)prop_err_hint(err, "coco_keyprovider only wraps keys, and the Confidential Data "
                                     "Hub only unwraps them");
        return PROP_E_REMOTE;
    }
    int rc = prop_kp_pot_take(&c->answer, &frame, err);
    if (rc == 0)
        rc = prop_kp_frame_read(frame, ret, err);
    if (rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED) {
        if (err) {
            err->code = PROP_E_REMOTE;
            err->id = "provider-failed";
        }
        rc = PROP_E_REMOTE;
    }
    return rc;
}

int prop_kp_remote_call(const char *target, enum prop_kp_op op, const struct prop_secret *request,
                        uint64_t timeout_ms, struct prop_secret **ret_reply, struct prop_err *err)
{
    struct call c = {
        .link = PROP_KP_LINK_INIT,
        .target = target,
        .answer = PROP_KP_POT_INIT(PROP_KP_LIMIT_FRAME),
        .status = STATUS_NONE,
        .deadline = prop_now_ms() + timeout_ms,
    };
    char *authority = NULL;
    int rc = prop_kp_frame_write(request, &c.body.bytes, err);
    if (rc == 0)
        rc = prop_kp_connect(target, c.deadline, &c.link.fd, &authority, err);
    if (rc == 0)
        rc = open_session(&c, err);
    if (rc == 0)
        rc = submit(&c, op, authority, timeout_ms, err);
    if (rc == 0)
        rc = converse(&c, err);
    if (rc == 0)
        rc = judge(&c, ret_reply, err);
    prop_kp_link_release(&c.link);
    prop_kp_pot_release(&c.answer);
    prop_secret_free(c.body.bytes);
    prop_free(authority);
    return rc;
}
