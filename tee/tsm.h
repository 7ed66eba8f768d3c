/* Reports through configfs-tsm, the kernel's one interface to SNP and TDX (Linux 6.7;
 * attestation.md 2.1): one folder is one request slot, made and removed here. */
#ifndef PROP_TEE_TSM_H
#define PROP_TEE_TSM_H

#include "util/buf.h"
#include "util/err.h"

#include <stdint.h>

#define PROP_CONFIGFS "/sys/kernel/config"
#define PROP_TSM_ROOT PROP_CONFIGFS "/tsm/report"
#define PROP_TSM_INBLOB 64       /* bytes of report data, for SNP and TDX alike */
#define PROP_TSM_BLOB_MAX (128u << 10)

struct prop_tsm_report {
    char provider[32];           /* "sev_guest", "tdx_guest", ... */
    struct prop_buf outblob;     /* SNP: 1184-byte report; TDX: quote */
    struct prop_buf auxblob;     /* SNP: certificate table, possibly empty */
};
#define PROP_TSM_REPORT_INIT                                                                       \
    { {0}, PROP_BUF_INIT(PROP_TSM_BLOB_MAX), PROP_BUF_INIT(PROP_TSM_BLOB_MAX) }
void prop_tsm_report_release(struct prop_tsm_report *r);
#define prop_auto_tsm_report __attribute__((cleanup(prop_tsm_report_release)))

/* Name of the provider behind `root` (PROP_TSM_ROOT outside tests), found by making a slot.
 * Fails: PROP_E_UNSUPPORTED (id "no-tsm") no such folder, no provider, or not root. */
int prop_tsm_provider(const char *root, char ret_name[32], struct prop_err *err);

/* One report over `data`. `provider` is the one that must answer. Somebody else writing into the
 * slot is noticed by its generation and tried again, three times in all; a host that is busy is asked
 * again for some seconds. The slot is removed in every case.
 * Fails: PROP_E_UNSUPPORTED as above, or another provider; PROP_E_IO (id "tsm-refused") the host
 * or its firmware did not answer, (id "tsm-busy") others write into the slots; the hint says what to
 * look at. */
int prop_tsm_get_report(const char *root, const char *provider,
                        const uint8_t data[PROP_TSM_INBLOB], struct prop_tsm_report *ret,
                        struct prop_err *err);

#endif
