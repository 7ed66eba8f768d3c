#include "keyprovider/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUT_SIZE = 40 << 10, IN_SIZE = 16 << 10, FRAME_HEADER = 9 };

void prop_kp_link_release(struct prop_kp_link *l)
{
    nghttp2_session_del(l->h2);
    prop_secret_free(l->out);
    if (l->fd >= 0)
        (void)close(l->fd);
    *l = (struct prop_kp_link)PROP_KP_LINK_INIT;
}

/* Room for `len` bytes, or as much as there is. */
static size_t out_room(struct prop_kp_link *l)
{
    if (!l->out && prop_secret_new(OUT_SIZE, &l->out, NULL) != 0) {
        l->starved = true;
        return 0;
    }
    if (l->out_start > 0) {
        uint8_t *p = prop_secret_bytes(l->out);
        size_t len = l->out_end - l->out_start;
        memmove(p, p + l->out_start, len);
        prop_wipe(p + len, l->out_end - len);
        l->out_start = 0;
        l->out_end = len;
    }
    return OUT_SIZE - l->out_end;
}

static void out_put(struct prop_kp_link *l, const void *data, size_t len)
{
    if (len)
        memcpy(prop_secret_bytes(l->out) + l->out_end, data, len);
    l->out_end += len;
}

/* nghttp2_send_callback */
static ssize_t on_send(nghttp2_session *h2, const uint8_t *data, size_t len, int flags, void *user)
{
    struct prop_kp_link *l = user;
    size_t room = out_room(l);
    (void)h2;
    (void)flags;
    if (room == 0)
        return l->out ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
    size_t n = len < room ? len : room;
    out_put(l, data, n);
    return (ssize_t)n;
}

/* nghttp2_send_data_callback: a whole frame or nothing. */
static int on_send_data(nghttp2_session *h2, nghttp2_frame *frame, const uint8_t *header,
                        size_t len, nghttp2_data_source *source, void *user)
{
    struct prop_kp_link *l = user;
    struct prop_kp_body *body = source->ptr;
    (void)h2;
    (void)frame; /* never padded: no callback asks for it */
    if (out_room(l) < FRAME_HEADER + len)
        return l->out ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
    out_put(l, header, FRAME_HEADER);
    out_put(l, prop_secret_data(body->bytes) + body->sent, len);
    body->sent += len;
    return 0;
}

void prop_kp_link_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
}

/* nghttp2_data_source_read_callback: only says how much; on_send_data takes it. */
static ssize_t on_body(nghttp2_session *h2, int32_t stream, uint8_t *buf, size_t len,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    const struct prop_kp_body *body = source->ptr;
    size_t left = prop_secret_len(body->bytes) - body->sent;
    size_t n = left < len ? left : len;
    (void)buf;
    (void)user;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (n == left && body->n_trailers > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(h2, stream, body->trailers, body->n_trailers) != 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

nghttp2_data_provider prop_kp_link_provider(struct prop_kp_body *body)
{
    nghttp2_data_provider p = { .source = { .ptr = body }, .read_callback = on_body };
    return p;
}

int prop_kp_link_read(struct prop_kp_link *l)
{
    uint8_t bytes[IN_SIZE];
    ssize_t n = recv(l->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    l->moved += (uint64_t)n;
    ssize_t used = nghttp2_session_mem_recv(l->h2, bytes, (size_t)n);
    prop_wipe(bytes, (size_t)n);
    return used == n ? 1 : -1;
}

/* Send what is buffered; 1 when all of it left, 0 when the socket is full, -1 when it is gone. */
static int flush(struct prop_kp_link *l)
{
    while (l->out_start < l->out_end) {
        uint8_t *p = prop_secret_bytes(l->out) + l->out_start;
        ssize_t n = send(l->fd, p, l->out_end - l->out_start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        prop_wipe(p, (size_t)n);
        l->out_start += (size_t)n;
        l->moved += (uint64_t)n;
    }
    l->out_start = l->out_end = 0;
    return 1;
}

int prop_kp_link_write(struct prop_kp_link *l)
{
    for (;;) {
        int sent = flush(l);
        if (sent <= 0)
            return sent;
        if (nghttp2_session_send(l->h2) != 0)
            return -1;
        if (l->out_end == 0)
            return 0;
    }
}

bool prop_kp_link_wants_write(const struct prop_kp_link *l)
{
    return l->out_end > l->out_start || nghttp2_session_want_write(l->h2);
}

nghttp2_nv prop_kp_link_nv(const char *name, const char *value)
{
    nghttp2_nv nv = { (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                      strlen(value), NGHTTP2_NV_FLAG_NONE };
    return nv;
}
