/* TDX quotes, as far as evidence needs them. */
#include "tee/tdx.h"

#include "tee/eventlog.h"
#include "util/encode.h"
#include "util/mem.h"

#include <string.h>

enum { HEADER = 48, BODY_V4 = 48, BODY_V5 = 54, BODY_LEN = 584, TEE_TDX = 0x81,
       IN_BODY_RTMR = 328, IN_BODY_REPORT_DATA = 520 };

static const uint8_t end_mark[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static const uint8_t *quote_body(const uint8_t *quote, size_t len, struct prop_err *err)
{
    size_t at = 0;
    if (len >= HEADER && quote[1] == 0 && quote[4] == TEE_TDX && !quote[5] && !quote[6] && !quote[7])
        at = quote[0] == 4 ? BODY_V4 : quote[0] == 5 ? BODY_V5 : 0;
    if (at && len >= at + BODY_LEN)
        return quote + at;
    prop_err_set_id(err, PROP_E_INPUT, "tdx-quote", "not a TDX quote of version 4 or 5");
    return NULL;
}

/* The log as base64 with its end mark, or JSON null. */
static json_t *log_json(const uint8_t *body, const uint8_t *log, size_t log_len,
                        struct prop_err *err)
{
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    size_t used = 0;
    if (!log || prop_eventlog_replay(log, log_len, &used, rtmr, NULL) < 0 ||
        memcmp(rtmr, body + IN_BODY_RTMR, sizeof(rtmr)) != 0)
        return json_null();
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(PROP_EVENTLOG_MAX + sizeof(end_mark));
    if (prop_buf_add(&b, log, used, err) < 0 ||
        prop_buf_add(&b, end_mark, sizeof(end_mark), err) < 0)
        return NULL;
    prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, b.data, b.len);
    return text ? json_string(text) : NULL;
}

int prop_tdx_evidence(const uint8_t *quote, size_t len, const uint8_t *log, size_t log_len,
                      const uint8_t report_data[64], json_t **ret, struct prop_err *err)
{
    const uint8_t *body = quote_body(quote, len, err);
    if (!body)
        return PROP_E_INPUT;
    if (memcmp(body + IN_BODY_REPORT_DATA, report_data, 64) != 0)
        return prop_err_set_id(err, PROP_E_VERIFY, "report-data",
                               "the quote is bound to other report data than was asked for");
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
