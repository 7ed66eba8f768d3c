/* The event log of a TD (CCEL, AAEL), and what its replay gives (attestation.md 3.4, 7.2). */
#ifndef PROP_TEE_EVENTLOG_H
#define PROP_TEE_EVENTLOG_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_RTMRS 4
#define PROP_RTMR_LEN 48
#define PROP_EVENTLOG_MAX (1u << 20)
#define PROP_EVENT_NO_ACTION 3u /* extends nothing */
#define PROP_EVENT_TAG 6u       /* EV_EVENT_TAG: runtime events are of this type */

struct prop_event {
    uint32_t reg;                 /* 1 to 4 = RTMR0 to RTMR3; 0 = MRTD */
    uint32_t type;
    bool has_sha384;
    uint8_t sha384[PROP_RTMR_LEN];
    const uint8_t *data;          /* borrowed from the log */
    size_t len;
};

/* Length of the log proper inside the table the firmware leaves, which is filled up with 0x00 or
 * 0xff; and the four registers its SHA-384 digests replay to.
 * Fails: PROP_E_INPUT (id "event-log") an entry that runs over the end, or no such header. */
int prop_eventlog_replay(const uint8_t *table, size_t len, size_t *ret_len,
                         uint8_t ret_rtmr[PROP_RTMRS][PROP_RTMR_LEN], struct prop_err *err);

/* The entries behind the header, in order; the array is the caller's (prop_free), what it points to is
 * in `table`. Fails: as above. */
int prop_eventlog_parse(const uint8_t *table, size_t len, struct prop_event **ret, size_t *ret_n,
                        size_t *ret_len, struct prop_err *err);

/* R = SHA-384(R || digest) */
int prop_rtmr_extend(uint8_t rtmr[PROP_RTMR_LEN], const uint8_t digest[PROP_RTMR_LEN],
                     struct prop_err *err);

/* One log of the firmware's table (`ccel_len` 0: none; a header of our own stands in) and the runtime
 * events of an AAEL file (`aael_len` 0: none), without end mark. Both none: `out` stays empty.
 * Fails: PROP_E_INPUT (id "event-log"), PROP_E_LIMIT. */
int prop_eventlog_join(const uint8_t *ccel, size_t ccel_len, const uint8_t *aael, size_t aael_len,
                       struct prop_buf *out, struct prop_err *err);

/* One entry of an AAEL file: EV_EVENT_TAG on RTMR3 of the text "domain operation content"; its digest
 * into ret_digest (may be NULL).
 * Fails: PROP_E_INPUT (id "event-text") a blank in domain or operation, a line feed in content. */
int prop_eventlog_runtime_entry(const char *domain, const char *operation, const char *content,
                                struct prop_buf *out, uint8_t ret_digest[PROP_RTMR_LEN],
                                struct prop_err *err);

#endif
