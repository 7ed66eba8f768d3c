/* The firmware's event log of a TD (CCEL), and what its replay gives (attestation.md 3.4). */
#ifndef PROP_TEE_EVENTLOG_H
#define PROP_TEE_EVENTLOG_H

#include "util/buf.h"
#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

#define PROP_RTMRS 4
#define PROP_RTMR_LEN 48
#define PROP_EVENTLOG_MAX (1u << 20)

/* Length of the log proper inside the table the firmware leaves, which is filled up with 0x00 or
 * 0xff; and the four registers its SHA-384 digests replay to.
 * Fails: PROP_E_INPUT (id "event-log") an entry that runs over the end, or no such header. */
int prop_eventlog_replay(const uint8_t *table, size_t len, size_t *ret_len,
                         uint8_t ret_rtmr[PROP_RTMRS][PROP_RTMR_LEN], struct prop_err *err);

#endif
