/* The quote service's messages: a big-endian length, then a little-endian header and body. */
#include "tee/qgs.h"

#include "tee/tsm.h"
#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME = 4, HEADER = 16, COUNTS = 8, MAJOR = 1, GET_QUOTE = 0, GOT_QUOTE = 1 };

static uint8_t *put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    return put16(put16(p, v & 0xffff), v >> 16);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int send_request(int fd, const uint8_t report[PROP_TDX_REPORT])
{
    uint8_t m[FRAME + HEADER + COUNTS + PROP_TDX_REPORT] = { 0 };
    uint32_t size = sizeof(m) - FRAME;
    m[2] = (uint8_t)(size >> 8);
    m[3] = (uint8_t)size;
    uint8_t *p = put16(put16(m + FRAME, MAJOR), 0);
    p = put32(put32(put32(p, GET_QUOTE), size), 0);
    p = put32(put32(p, PROP_TDX_REPORT), 0);
    memcpy(p, report, PROP_TDX_REPORT);
    for (size_t sent = 0; sent < sizeof(m);) {
        ssize_t n = send(fd, m + sent, sizeof(m) - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return -1;
        sent += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int read_all(int fd, uint8_t *p, size_t len)
{
    while (len) {
        ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ECONNRESET : errno;
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int silent(struct prop_err *err)
{
    prop_err_sys(err, PROP_E_IO, "ask the host's quote service");
    if (err)
        err->id = "qgs-refused";
    return prop_err_hint(err, "look at the quote service (qgsd) of the host");
}

static int take_quote(const uint8_t *m, size_t len, struct prop_buf *quote, struct prop_err *err)
{
    if (len < HEADER || (m[0] | m[1] << 8) != MAJOR || get32(m + 4) != GOT_QUOTE || get32(m + 8) != len)
        return prop_err_set_id(err, PROP_E_INPUT, "qgs-answer",
                               "the host's quote service answered with something else");
    if (get32(m + 12)) {
        prop_err_set_id(err, PROP_E_IO, "qgs-refused", "the host's quote service refused: error 0x%x",
                        (unsigned)get32(m + 12));
        return prop_err_hint(err, "look at the quote service (qgsd) of the host");
    }
    uint64_t id = len < HEADER + COUNTS ? UINT32_MAX : get32(m + HEADER);
    uint64_t size = len < HEADER + COUNTS ? 0 : get32(m + HEADER + 4);
    if (HEADER + COUNTS + id + size != len)
        return prop_err_set_id(err, PROP_E_INPUT, "qgs-answer",
                               "the host's quote service answered with wrong lengths");
    return prop_buf_add(quote, m + HEADER + COUNTS + id, (size_t)size, err);
}

static int converse(int fd, const uint8_t report[PROP_TDX_REPORT], struct prop_buf *quote,
                    struct prop_err *err)
{
    uint8_t frame[FRAME];
    if (send_request(fd, report) < 0 || read_all(fd, frame, sizeof(frame)) < 0)
        return silent(err);
    size_t len = (size_t)frame[0] << 24 | (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
    if (len > PROP_TSM_BLOB_MAX)
        return prop_err_set_id(err, PROP_E_INPUT, "qgs-answer",
                               "the host's quote service announces %zu bytes", len);
    prop_auto_free uint8_t *m = prop_alloc(len);
    if (!m)
        return prop_err_nomem(err);
    return read_all(fd, m, len) < 0 ? silent(err) : take_quote(m, len, quote, err);
}

int prop_qgs_quote(const struct prop_tee_machine *m, const uint8_t report[PROP_TDX_REPORT],
                   struct prop_buf *quote, struct prop_err *err)
{
    prop_auto_fd int fd = prop_tee_calls_of(m)->connect_host(PROP_QGS_PORT);
    if (fd >= 0)
        return converse(fd, report, quote, err);
    prop_err_sys(err, PROP_E_UNSUPPORTED, "reach the host's quote service (vsock port %u)",
                 PROP_QGS_PORT);
    if (err)
        err->id = "no-qgs";
    return prop_err_hint(err, "quotes come through configfs-tsm (Linux 6.7), or from a quote service of "
                              "the host on vsock");
}
