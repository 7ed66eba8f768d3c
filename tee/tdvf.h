/* Intel TDX launch: the metadata in the firmware, and MRTD, the digest of what the VMM loads before a
 * TD starts (attestation.md 6.1, 6.2; Intel TDX Virtual Firmware Design Guide, chapter 11). */
#ifndef PROP_TEE_TDVF_H
#define PROP_TEE_TDVF_H

#include "tee/ovmf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_MRTD 48

enum prop_tdvf_type { PROP_TDVF_BFV, PROP_TDVF_CFV, PROP_TDVF_HOB, PROP_TDVF_TEMP_MEM };
struct prop_tdvf_section {
    uint32_t data_offset, raw_size; /* in the file */
    uint64_t gpa, mem_size;
    enum prop_tdvf_type type;
    bool extend;                    /* MR.EXTEND: the contents count, not just the addresses */
};
struct prop_tdvf {
    size_t n;
    struct prop_tdvf_section section[PROP_OVMF_SECTIONS_MAX];
};

/* Fails: PROP_E_UNSUPPORTED (id "firmware-no-tdx") there is none; PROP_E_INPUT (id "firmware-tdx"). */
int prop_tdvf_parse(const struct prop_ovmf *fw, struct prop_tdvf *ret, struct prop_err *err);

/* The one section of a type, or the first of several; NULL when there is none. */
const struct prop_tdvf_section *prop_tdvf_find(const struct prop_tdvf *t, enum prop_tdvf_type type);

enum prop_mrtd_order {
    PROP_MRTD_PAGES,   /* each page is added and extended: Linux since 6.16 */
    PROP_MRTD_TWO_PASS /* all pages of a section are added, then extended: older vendor stacks */
};
int prop_mrtd(const struct prop_ovmf *fw, const struct prop_tdvf *t, enum prop_mrtd_order order,
              uint8_t ret[PROP_MRTD], struct prop_err *err);

/* Does the firmware measure what it starts into RTMR0 to RTMR2? Builds before edk2-stable202305 that
 * carry TDX metadata do not; they are known by their SEV metadata (the generic build, before 202405)
 * together with an early code that cannot compute SHA-384.
 * Fails: PROP_E_UNSUPPORTED (id "firmware-cannot-measure"; the hint names the builds that can). */
int prop_tdvf_can_measure(const struct prop_ovmf *fw, struct prop_err *err);

#endif
