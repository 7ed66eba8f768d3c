/* What an OVMF firmware file says about itself in the tables at its end (attestation.md 5.3): where
 * the VMM puts measured pages, and where vCPUs start. Everything is checked before it is used: a VMM
 * that reads a doubtful table in another way would launch something else than what was measured. */
#ifndef PROP_TEE_OVMF_H
#define PROP_TEE_OVMF_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_PAGE 4096u
#define PROP_OVMF_MAX (64u << 20)   /* bytes of a firmware file */
#define PROP_OVMF_SECTIONS_MAX 64
#define PROP_4GIB (UINT64_C(1) << 32) /* firmware ends here in guest memory */

/* Builds that can measure a kernel that the VMM loads, for hints. */
#define PROP_OVMF_SEV_BUILD "edk2's OvmfPkg/AmdSev/AmdSevX64.dsc, edk2-stable202402 or later"
#define PROP_OVMF_TDX_BUILD "edk2's OvmfPkg/OvmfPkgX64.dsc or IntelTdxX64.dsc, edk2-stable202305 or later"

struct prop_ovmf {
    const uint8_t *data; /* borrowed */
    size_t len;
    const char *what;    /* borrowed; names it in errors */
    bool has_table;      /* the footer is there; nothing below is without it */
    bool has_hash_area, has_reset, has_sev, has_tdx, has_igvm;
    uint32_t hash_gpa, hash_size;       /* SEV hash table area; 0, 0 in builds that have none */
    uint32_t reset_eip;                 /* where vCPUs but the first start (SEV-ES, SNP) */
    uint32_t sev_distance, tdx_distance; /* of the metadata from the end of the file */
};

/* Where the file's first byte lies in guest memory. */
uint64_t prop_ovmf_base(const struct prop_ovmf *fw);

/* Check the file and read its table of GUIDs. A file without the table is fine here.
 * Fails: PROP_E_INPUT (id "firmware-size") empty or no multiple of 4096 bytes; (id "firmware-table") a
 * table that is malformed; PROP_E_LIMIT. */
int prop_ovmf_parse(const uint8_t *data, size_t len, const char *what, struct prop_ovmf *ret,
                    struct prop_err *err);

/* Sections of the SEV metadata, in their order (attestation.md 5.2). */
enum prop_sev_section_type {
    PROP_SEV_MEM = 1,
    PROP_SEV_SECRETS = 2,
    PROP_SEV_CPUID = 3,
    PROP_SEV_SVSM_CAA = 4,
    PROP_SEV_KERNEL_HASHES = 0x10
};
struct prop_sev_section {
    uint32_t gpa, size;
    enum prop_sev_section_type type;
};
struct prop_sev_metadata {
    size_t n;
    struct prop_sev_section section[PROP_OVMF_SECTIONS_MAX];
};
/* Fails: PROP_E_UNSUPPORTED (id "firmware-no-sev") there is none; PROP_E_INPUT (id "firmware-sev"). */
int prop_ovmf_sev(const struct prop_ovmf *fw, struct prop_sev_metadata *ret, struct prop_err *err);

/* The section that is to hold the kernel's hashes, or NULL. */
const struct prop_sev_section *prop_sev_hashes_section(const struct prop_sev_metadata *m);

/* Can an SNP launch with this firmware measure kernel, initrd and command line? With `snp` the hash
 * table needs a section of its own. Fails: PROP_E_UNSUPPORTED (id "firmware-cannot-measure"; the hint
 * names the build that can). */
int prop_ovmf_can_hash_kernel(const struct prop_ovmf *fw, const struct prop_sev_metadata *snp,
                              struct prop_err *err);

#endif
