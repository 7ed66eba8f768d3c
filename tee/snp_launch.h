/* The launch digest of an SEV-SNP guest, page by page as the firmware of the processor computes it
 * (SEV-SNP firmware ABI 8.17; attestation.md 5.1, 5.2). */
#ifndef PROP_TEE_SNP_LAUNCH_H
#define PROP_TEE_SNP_LAUNCH_H

#include "crypto/digest.h"
#include "tee/kernel_hashes.h"
#include "tee/ovmf.h"
#include "tee/vmsa.h"
#include "util/err.h"

#include <stdint.h>

#define PROP_LAUNCH_DIGEST 48

enum prop_snp_page_type {
    PROP_SNP_PAGE_NORMAL = 1,
    PROP_SNP_PAGE_VMSA = 2,
    PROP_SNP_PAGE_ZERO = 3,
    PROP_SNP_PAGE_UNMEASURED = 4,
    PROP_SNP_PAGE_SECRETS = 5,
    PROP_SNP_PAGE_CPUID = 6
};

/* One step: `ld` becomes the hash over itself and the page. `contents` is the SHA-384 of the page for
 * the first two types, NULL for the others. For VMSA pages `gpa` is PROP_SNP_VMSA_GPA. */
#define PROP_SNP_VMSA_GPA UINT64_C(0xfffffffff000)
int prop_snp_launch_page(uint8_t ld[PROP_LAUNCH_DIGEST], enum prop_snp_page_type type, uint64_t gpa,
                         const uint8_t contents[PROP_LAUNCH_DIGEST], struct prop_err *err);

/* The digest after the firmware's own pages. */
int prop_snp_launch_firmware(const struct prop_ovmf *fw, uint8_t ret_ld[PROP_LAUNCH_DIGEST],
                             struct prop_err *err);
/* ... and after the sections of its metadata. `kernel` NULL: no kernel is loaded by the VMM. */
int prop_snp_launch_sections(const struct prop_ovmf *fw, const struct prop_sev_metadata *m,
                             enum prop_vmm vmm, const struct prop_kernel_hashes *kernel,
                             uint8_t ld[PROP_LAUNCH_DIGEST], struct prop_err *err);

/* vCPUs one by one: the digest of a launch with n of them is `ld` after n calls of _add. */
struct prop_snp_vcpus {
    uint8_t ld[PROP_LAUNCH_DIGEST];
    unsigned n;
    struct prop_digest first, others; /* of their VMSA pages */
};
/* `eip` is where the others start (struct prop_ovmf). */
int prop_snp_vcpus_begin(const uint8_t ld[PROP_LAUNCH_DIGEST], enum prop_vmm vmm, uint32_t eip,
                         uint32_t cpu_signature, uint64_t features, struct prop_snp_vcpus *ret,
                         struct prop_err *err);
int prop_snp_vcpus_add(struct prop_snp_vcpus *v, struct prop_err *err);

#endif
