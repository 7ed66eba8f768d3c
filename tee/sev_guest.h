/* SNP reports through the older device interface, for kernels without configfs-tsm (Linux 5.19 to 6.6;
 * attestation.md 2.2). */
#ifndef PROP_TEE_SEV_GUEST_H
#define PROP_TEE_SEV_GUEST_H

#include "tee/machine.h"
#include "tee/tsm.h"

#include <stdint.h>

/* One report over `data` at VMPL 0 into ret->outblob, and the host's certificate table, if it has one,
 * into ret->auxblob. At most three calls reach the driver, unless the host says that it is busy: after
 * an unclear failure the driver throws its key away, and every later call fails until the reboot.
 * Fails: PROP_E_UNSUPPORTED (id "no-sev-guest") no such device, or not root; PROP_E_IO (id
 * "sev-guest-refused") host or firmware refused, (id "vmpck-lost") the key is gone, (id
 * "sev-guest-busy"); PROP_E_INPUT (id "sev-guest-answer") an answer that is no report. */
int prop_sev_guest_get_report(const struct prop_tee_machine *m,
                              const uint8_t data[PROP_TSM_INBLOB], struct prop_tsm_report *ret,
                              struct prop_err *err);

/* The driver's structures (include/uapi/linux/sev-guest.h), here for tests that answer in its place. */
#define PROP_SNP_GET_REPORT 0xc0205300ul
#define PROP_SNP_GET_EXT_REPORT 0xc0205302ul
#define PROP_SNP_VMM_LENGTH 1u /* the certificate buffer is too short */
#define PROP_SNP_VMM_BUSY 2u

struct prop_snp_call {
    uint8_t msg_version;
    uint8_t pad[7];
    uint64_t request, response;   /* addresses */
    uint64_t exitinfo2;           /* low half: firmware's error; high half: the VMM's */
};
struct prop_snp_request {
    uint8_t user_data[64];
    uint32_t vmpl;
    uint8_t reserved[28];
};
struct prop_snp_ext_request {
    struct prop_snp_request plain;
    uint64_t certs;               /* address */
    uint32_t certs_len;
    uint32_t pad;
};
struct prop_snp_response {
    uint32_t status, report_size;
    uint8_t reserved[24];
    uint8_t report[4000 - 32];
};

#endif
