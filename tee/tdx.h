/* Intel TDX evidence: a quote, and the event log if it replays to the quote's registers
 * (kbs.md 2.5, attestation.md 3.4). */
#ifndef PROP_TEE_TDX_H
#define PROP_TEE_TDX_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where things stand in the body of a quote, versions 4 and 5. */
enum prop_tdx_body {
    PROP_TDX_BODY_LEN = 584,
    PROP_TDX_BODY_RTMR = 328,
    PROP_TDX_BODY_REPORT_DATA = 520
};

/* The body of a quote; NULL (PROP_E_INPUT, id "tdx-quote") when it is not one of version 4 or 5. */
const uint8_t *prop_tdx_quote_body(const uint8_t *quote, size_t len, struct prop_err *err);

/* Does the log (without end mark) replay to the quote's four registers? */
bool prop_tdx_log_fits(const uint8_t *body, const uint8_t *log, size_t log_len);

/* {"quote":b64,"cc_eventlog":b64|null}. `log` as prop_eventlog_join makes it, NULL for none; the end
 * mark is added here. A log that does not replay to the quote's registers is left out: the server
 * refuses evidence with a wrong log, and takes evidence without one.
 * Fails: PROP_E_INPUT (id "tdx-quote") not such a quote. */
int prop_tdx_evidence(const uint8_t *quote, size_t len, const uint8_t *log, size_t log_len,
                      json_t **ret, struct prop_err *err);

#endif
