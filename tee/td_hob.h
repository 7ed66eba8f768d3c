/* The TD HOB: the list of memory that QEMU hands to the firmware of a TD, which measures it into RTMR0
 * (attestation.md 6.4; PI specification, volume 3). */
#ifndef PROP_TEE_TD_HOB_H
#define PROP_TEE_TD_HOB_H

#include "tee/tdvf.h"
#include "util/buf.h"
#include "util/err.h"

#include <stdint.h>

#define PROP_TD_HOB_MAX (64u << 10)

/* Bytes of guest memory below 4 GiB on a q35 machine. */
uint64_t prop_q35_low_memory(uint64_t memory);

/* Append the bytes that are measured (without the END block).
 * Fails: PROP_E_USAGE (id "bad-memory") memory is no multiple of a page, or too little for the
 * firmware's sections. */
int prop_td_hob(const struct prop_tdvf *t, uint64_t memory, struct prop_buf *out,
                struct prop_err *err);

#endif
