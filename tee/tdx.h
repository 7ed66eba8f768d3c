/* Intel TDX evidence: a quote, and the event log if it replays to the quote's registers
 * (kbs.md 2.5, attestation.md 3.4). */
#ifndef PROP_TEE_TDX_H
#define PROP_TEE_TDX_H

#include "util/err.h"
#include "util/json.h"

#include <stddef.h>
#include <stdint.h>

/* {"quote":b64,"cc_eventlog":b64|null}. The quote (version 4 or 5) must hold `report_data`.
 * `log` is the CCEL table, NULL for none. A log that does not replay to the quote's registers is
 * left out: the server refuses evidence with a wrong log, and takes evidence without one.
 * Fails: PROP_E_INPUT (id "tdx-quote") not such a quote; PROP_E_VERIFY (id "report-data"). */
int prop_tdx_evidence(const uint8_t *quote, size_t len, const uint8_t *log, size_t log_len,
                      const uint8_t report_data[64], json_t **ret, struct prop_err *err);

#endif
