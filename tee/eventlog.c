/* Reads TCG2 crypto-agile event logs: the first entry in the old form, the others with digest lists.
 * And writes the entries of runtime events. */
#include "tee/eventlog.h"

#include "crypto/digest.h"
#include "util/mem.h"

#include <stdbool.h>
#include <string.h>

enum { ALG_SHA384 = 0x000c, END_MARK = 8, HEADER = 32, MAX_DIGESTS = 16 };

/* Digest lengths by TCG algorithm id: an entry may carry others beside SHA-384. */
static const struct {
    uint16_t alg;
    uint8_t len;
} algs[] = { { 0x0004, 20 }, { 0x000b, 32 }, { ALG_SHA384, 48 }, { 0x000d, 64 }, { 0x0012, 32 } };

struct cursor {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
    if (c->bad || n > c->left) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += n;
    c->left -= n;
    return p;
}

static uint32_t take_u32(struct cursor *c)
{
    const uint8_t *p = take(c, 4);
    return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24
             : 0;
}

static uint16_t take_u16(struct cursor *c)
{
    const uint8_t *p = take(c, 2);
    return (uint16_t)(p ? (unsigned)p[0] | (unsigned)p[1] << 8 : 0u);
}

static size_t alg_len(uint16_t alg)
{
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
        if (algs[i].alg == alg)
            return algs[i].len;
    return 0;
}

static bool at_end(const struct cursor *c)
{
    size_t n = c->left < END_MARK ? c->left : END_MARK;
    bool zeros = true, ones = true;
    for (size_t i = 0; i < n; i++) {
        zeros = zeros && c->p[i] == 0x00;
        ones = ones && c->p[i] == 0xff;
    }
    return n == 0 || zeros || ones;
}

int prop_rtmr_extend(uint8_t rtmr[PROP_RTMR_LEN], const uint8_t digest[PROP_RTMR_LEN],
                     struct prop_err *err)
{
    uint8_t both[2 * PROP_RTMR_LEN];
    struct prop_digest d;
    memcpy(both, rtmr, PROP_RTMR_LEN);
    memcpy(both + PROP_RTMR_LEN, digest, PROP_RTMR_LEN);
    int rc = prop_digest_of(PROP_SHA384, both, sizeof(both), &d, err);
    if (rc == 0)
        memcpy(rtmr, d.bytes, PROP_RTMR_LEN);
    return rc;
}

static void take_event(struct cursor *c, struct prop_event *e)
{
    *e = (struct prop_event){ .reg = take_u32(c), .type = 0 };
    e->type = take_u32(c);
    uint32_t n = take_u32(c);
    if (n > MAX_DIGESTS)
        c->bad = true;
    for (uint32_t i = 0; i < n && !c->bad; i++) {
        uint16_t alg = take_u16(c);
        size_t len = alg_len(alg);
        const uint8_t *d = take(c, len);
        if (!len || !d)
            c->bad = true;
        else if (alg == ALG_SHA384) {
            memcpy(e->sha384, d, PROP_RTMR_LEN);
            e->has_sha384 = true;
        }
    }
    e->len = take_u32(c);
    e->data = take(c, e->len);
}

/* The first entry, in the old form of TCG PC client logs: it names the digests and is no event. */
static void take_header(struct cursor *c)
{
    (void)take_u32(c);
    if (take_u32(c) != PROP_EVENT_NO_ACTION)
        c->bad = true;
    (void)take(c, HEADER - 12);
    (void)take(c, take_u32(c));
}

static int malformed(struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "event-log", "the event log is malformed");
}

int prop_eventlog_replay(const uint8_t *table, size_t len, size_t *ret_len,
                         uint8_t ret_rtmr[PROP_RTMRS][PROP_RTMR_LEN], struct prop_err *err)
{
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN] = { { 0 } };
    struct cursor c = { table, len, false };
    take_header(&c);
    while (!c.bad && !at_end(&c)) {
        struct prop_event e;
        take_event(&c, &e);
        /* Register 0 is MRTD, which the firmware does not extend. */
        if (c.bad || !e.has_sha384 || e.reg < 1 || e.reg > PROP_RTMRS ||
            e.type == PROP_EVENT_NO_ACTION)
            continue;
        int rc = prop_rtmr_extend(rtmr[e.reg - 1], e.sha384, err);
        if (rc < 0)
            return rc;
    }
    if (c.bad)
        return malformed(err);
    *ret_len = len - c.left;
    memcpy(ret_rtmr, rtmr, sizeof(rtmr));
    return 0;
}

int prop_eventlog_parse(const uint8_t *table, size_t len, struct prop_event **ret, size_t *ret_n,
                        size_t *ret_len, struct prop_err *err)
{
    prop_auto_free struct prop_event *events = NULL;
    size_t n = 0, room = 0;
    struct cursor c = { table, len, false };
    take_header(&c);
    while (!c.bad && !at_end(&c)) {
        if (n == room) {
            struct prop_event *more =
                prop_realloc_array(events, room = room ? 2 * room : 16, sizeof(*events));
            if (!more)
                return prop_err_nomem(err);
            events = more;
        }
        take_event(&c, &events[n++]);
    }
    if (c.bad)
        return malformed(err);
    *ret = PROP_TAKE(events);
    *ret_n = n;
    *ret_len = len - c.left;
    return 0;
}

/* --- logs of several parts, and entries of our own --------------------------------------------- */

/* What stands before runtime events where the firmware left no log: the header of a log with
 * SHA-384 digests only (attestation.md 3.4). */
static const uint8_t own_header[] = {
    0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    37, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 0, 0, 0x0c, 0, 0x30, 0, 0x12, 0, 0x20, 0, 0,
};

int prop_eventlog_join(const uint8_t *ccel, size_t ccel_len, const uint8_t *aael, size_t aael_len,
                       struct prop_buf *out, struct prop_err *err)
{
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    const uint8_t *first = ccel;
    size_t used = 0;
    int rc = 0;
    if (ccel_len)
        rc = prop_eventlog_replay(ccel, ccel_len, &used, rtmr, err);
    else if (aael_len) {
        first = own_header;
        used = sizeof(own_header);
    }
    if (rc == 0 && used)
        rc = prop_buf_add(out, first, used, err);
    if (rc == 0 && aael_len)
        rc = prop_buf_add(out, aael, aael_len, err);
    return rc;
}

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        *p++ = (uint8_t)(v >> 8 * i);
    return p;
}

int prop_eventlog_runtime_entry(const char *domain, const char *operation, const char *content,
                                struct prop_buf *out, uint8_t ret_digest[PROP_RTMR_LEN],
                                struct prop_err *err)
{
    static const uint8_t tag[4] = { 0x4c, 0x45, 0x41, 0x41 };
    enum { RTMR3 = 4, TAG_LEN = 8, HEAD = 4 + 4 + 4 + 2 + PROP_RTMR_LEN + 4 };
    uint8_t head[HEAD], *p = head;
    struct prop_digest d;
    if (!*domain || strpbrk(domain, " \n") || !*operation || strpbrk(operation, " \n") ||
        strchr(content, '\n'))
        return prop_err_set_id(err, PROP_E_INPUT, "event-text",
                               "a runtime event's domain and operation are words, its content is one line");
    prop_auto_buf struct prop_buf data = PROP_BUF_INIT(PROP_EVENTLOG_MAX);
    uint32_t len = (uint32_t)(strlen(domain) + strlen(operation) + strlen(content) + 2);
    (void)put_u32(head, len);
    int rc = prop_buf_add(&data, tag, sizeof(tag), err);
    if (rc == 0)
        rc = prop_buf_add(&data, head, 4, err);
    if (rc == 0)
        rc = prop_buf_printf(&data, err, "%s %s %s", domain, operation, content);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA384, data.data, data.len, &d, err);
    if (rc < 0)
        return rc;
    p = put_u32(put_u32(put_u32(p, RTMR3), PROP_EVENT_TAG), 1);
    *p++ = ALG_SHA384 & 0xff;
    *p++ = 0;
    memcpy(p, d.bytes, PROP_RTMR_LEN);
    (void)put_u32(p + PROP_RTMR_LEN, len + TAG_LEN);
    rc = prop_buf_add(out, head, sizeof(head), err);
    if (rc == 0)
        rc = prop_buf_add(out, data.data, data.len, err);
    if (rc == 0 && ret_digest)
        memcpy(ret_digest, d.bytes, PROP_RTMR_LEN);
    return rc;
}
