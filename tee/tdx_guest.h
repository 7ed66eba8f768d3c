/* What a TD can read of itself without a quote: its registers, by the driver's TD report or through
 * sysfs (attestation.md 2.3); and the one way to extend a register. */
#ifndef PROP_TEE_TDX_GUEST_H
#define PROP_TEE_TDX_GUEST_H

#include "tee/fields.h"
#include "tee/machine.h"

#include <stdint.h>

#define PROP_TDX_REPORT 1024
#define PROP_TDX_GET_REPORT0 0xc4405401ul /* include/uapi/linux/tdx-guest.h */

/* The driver's buffer for one TD report. */
struct prop_tdx_report_request {
    uint8_t report_data[64];
    uint8_t report[PROP_TDX_REPORT];
};

/* The TD report over `data`: MAC'ed by the processor for this platform only, so nobody elsewhere can
 * check it.
 * Fails: PROP_E_UNSUPPORTED (id "no-tdx-guest") no such device, or not root; PROP_E_IO (id
 * "tdx-guest-refused"). */
int prop_tdx_get_report(const struct prop_tee_machine *m, const uint8_t data[64],
                        uint8_t ret[PROP_TDX_REPORT], struct prop_err *err);
/* Its registers (attributes, xfam, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMRs, report data). */
void prop_tdx_report_fields(const uint8_t report[PROP_TDX_REPORT], struct prop_tdx_fields *ret);

/* One of "mrtd:sha384", "rtmr0:sha384", ..., "mrconfigid" from sysfs.
 * Fails: PROP_E_UNSUPPORTED (id "no-measurements") this kernel has no such file (Linux 6.16);
 * PROP_E_IO. */
int prop_tdx_read_register(const struct prop_tee_machine *m, const char *name,
                           uint8_t ret[PROP_RTMR_LEN], struct prop_err *err);
/* Extend RTMR3 by a digest. Fails: as above. */
int prop_tdx_extend_rtmr3(const struct prop_tee_machine *m, const uint8_t digest[PROP_RTMR_LEN],
                          struct prop_err *err);

#endif
