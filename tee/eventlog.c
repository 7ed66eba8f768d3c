/* Reads TCG2 crypto-agile event logs: the first entry in the old form, the others with digest lists. */
#include "tee/eventlog.h"

#include "crypto/digest.h"

#include <stdbool.h>
#include <string.h>

enum { EV_NO_ACTION = 3, ALG_SHA384 = 0x000c, END_MARK = 8, HEADER = 32, MAX_DIGESTS = 16 };

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

/* R = SHA-384(R || digest) */
static int extend(uint8_t rtmr[PROP_RTMR_LEN], const uint8_t *digest, struct prop_err *err)
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

static int one_event(struct cursor *c, uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN],
                     struct prop_err *err)
{
    const uint8_t *sha384 = NULL;
    uint32_t reg = take_u32(c);
    uint32_t type = take_u32(c);
    uint32_t n = take_u32(c);
    if (n > MAX_DIGESTS)
        c->bad = true;
    for (uint32_t i = 0; i < n && !c->bad; i++) {
        uint16_t alg = take_u16(c);
        size_t len = alg_len(alg);
        const uint8_t *d = take(c, len);
        if (!len)
            c->bad = true;
        if (alg == ALG_SHA384)
            sha384 = d;
    }
    (void)take(c, take_u32(c));
    /* Register 0 is MRTD, which the firmware does not extend; EV_NO_ACTION extends nothing. */
    if (c->bad || !sha384 || reg < 1 || reg > PROP_RTMRS || type == EV_NO_ACTION)
        return 0;
    return extend(rtmr[reg - 1], sha384, err);
}

int prop_eventlog_replay(const uint8_t *table, size_t len, size_t *ret_len,
                         uint8_t ret_rtmr[PROP_RTMRS][PROP_RTMR_LEN], struct prop_err *err)
{
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN] = { { 0 } };
    struct cursor c = { table, len, false };
    (void)take_u32(&c);
    if (take_u32(&c) != EV_NO_ACTION)
        c.bad = true;
    (void)take(&c, HEADER - 12);
    (void)take(&c, take_u32(&c));
    while (!c.bad && !at_end(&c)) {
        int rc = one_event(&c, rtmr, err);
        if (rc < 0)
            return rc;
    }
    if (c.bad)
        return prop_err_set_id(err, PROP_E_INPUT, "event-log", "the event log is malformed");
    *ret_len = len - c.left;
    memcpy(ret_rtmr, rtmr, sizeof(rtmr));
    return 0;
}
