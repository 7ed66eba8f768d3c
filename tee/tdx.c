/* TDX quotes, as far as evidence needs them. */
#include "tee/tdx.h"

#include "tee/eventlog.h"
#include "util/encode.h"
#include "util/mem.h"

#include <string.h>

/* In version 5 the body is announced by its type (2: TDX 1.0, 3: TDX 1.5) and size. */
enum { HEADER = 48, BODY_V4 = 48, BODY_V5 = 54, TEE_TDX = 0x81, TYPE_TDX_1_0 = 2, TYPE_TDX_1_5 = 3,
       SIZE_TDX_1_5 = 648 };

static const uint8_t end_mark[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Where the body begins; 0 when this is no quote that is known. */
static size_t body_offset(const uint8_t *quote, size_t len)
{
    if (len < BODY_V5 || quote[1] || le32(quote + 4) != TEE_TDX)
        return 0;
    if (quote[0] == 4)
        return len >= BODY_V4 + PROP_TDX_BODY_LEN ? BODY_V4 : 0;
    unsigned type = (unsigned)quote[48] | (unsigned)quote[49] << 8;
    uint32_t want = type == TYPE_TDX_1_0   ? PROP_TDX_BODY_LEN
                    : type == TYPE_TDX_1_5 ? SIZE_TDX_1_5 : 0;
    uint32_t size = le32(quote + 50);
    return quote[0] == 5 && want && size == want && len >= BODY_V5 + (size_t)want ? BODY_V5 : 0;
}

const uint8_t *prop_tdx_quote_body(const uint8_t *quote, size_t len, struct prop_err *err)
{
    size_t at = body_offset(quote, len);
    if (at)
        return quote + at;
    prop_err_set_id(err, PROP_E_INPUT, "tdx-quote", "not a TDX quote of version 4 or 5");
    return NULL;
}

bool prop_tdx_log_fits(const uint8_t *body, const uint8_t *log, size_t log_len)
{
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    size_t used = 0;
    return prop_eventlog_replay(log, log_len, &used, rtmr, NULL) == 0 && used == log_len &&
           memcmp(rtmr, body + PROP_TDX_BODY_RTMR, sizeof(rtmr)) == 0;
}

/* The log as base64 with its end mark, or JSON null. */
static json_t *log_json(const uint8_t *body, const uint8_t *log, size_t log_len,
                        struct prop_err *err)
{
    if (!log || !prop_tdx_log_fits(body, log, log_len))
        return json_null();
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(2 * PROP_EVENTLOG_MAX + sizeof(end_mark));
    if (prop_buf_add(&b, log, log_len, err) < 0 ||
        prop_buf_add(&b, end_mark, sizeof(end_mark), err) < 0)
        return NULL;
    prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, b.data, b.len);
    return text ? json_string(text) : NULL;
}

int prop_tdx_evidence(const uint8_t *quote, size_t len, const uint8_t *log, size_t log_len,
                      json_t **ret, struct prop_err *err)
{
    const uint8_t *body = prop_tdx_quote_body(quote, len, err);
    if (!body)
        return PROP_E_INPUT;
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, quote, len);
    json_t *events = log_json(body, log, log_len, err);
    json_t *o = b64 ? json_pack("{s:o?,s:s}", "cc_eventlog", events, "quote", b64) : NULL;
    if (!events || !o) {
        json_decref(o);
        return prop_err_nomem(err);
    }
    *ret = o;
    return 0;
}
