/* PAGE_INFO structures, hashed into each other. */
#include "tee/snp_launch.h"

#include "tee/le.h"

#include <string.h>

enum { PAGE_INFO = 0x70 };

int prop_snp_launch_page(uint8_t ld[PROP_LAUNCH_DIGEST], enum prop_snp_page_type type, uint64_t gpa,
                         const uint8_t contents[PROP_LAUNCH_DIGEST], struct prop_err *err)
{
    uint8_t info[PAGE_INFO] = { 0 };
    struct prop_digest d;
    memcpy(info, ld, PROP_LAUNCH_DIGEST);
    if (contents)
        memcpy(info + 48, contents, PROP_LAUNCH_DIGEST);
    prop_put_le16(info + 96, PAGE_INFO);
    info[98] = (uint8_t)type; /* then IMI and the permissions of VMPL 3, 2 and 1: none */
    prop_put_le64(info + 104, gpa);
    int rc = prop_digest_of(PROP_SHA384, info, sizeof info, &d, err);
    if (rc == 0)
        memcpy(ld, d.bytes, PROP_LAUNCH_DIGEST);
    return rc;
}

static int normal_page(uint8_t ld[PROP_LAUNCH_DIGEST], uint64_t gpa, const uint8_t *page,
                       struct prop_err *err)
{
    struct prop_digest d;
    int rc = prop_digest_of(PROP_SHA384, page, PROP_PAGE, &d, err);
    return rc == 0 ? prop_snp_launch_page(ld, PROP_SNP_PAGE_NORMAL, gpa, d.bytes, err) : rc;
}

int prop_snp_launch_firmware(const struct prop_ovmf *fw, uint8_t ret_ld[PROP_LAUNCH_DIGEST],
                             struct prop_err *err)
{
    uint8_t ld[PROP_LAUNCH_DIGEST] = { 0 };
    for (size_t at = 0; at < fw->len; at += PROP_PAGE) {
        int rc = normal_page(ld, prop_ovmf_base(fw) + at, fw->data + at, err);
        if (rc < 0)
            return rc;
    }
    memcpy(ret_ld, ld, sizeof ld);
    return 0;
}

static int hashes_page(const struct prop_ovmf *fw, const struct prop_sev_section *s,
                       const struct prop_kernel_hashes *kernel, uint8_t ld[PROP_LAUNCH_DIGEST],
                       struct prop_err *err)
{
    uint8_t page[PROP_PAGE];
    if (!kernel)
        return prop_snp_launch_page(ld, PROP_SNP_PAGE_ZERO, s->gpa, NULL, err);
    prop_kernel_hashes_page(kernel, fw->hash_gpa % PROP_PAGE, page);
    return normal_page(ld, s->gpa, page, err);
}

static int section(const struct prop_ovmf *fw, const struct prop_sev_section *s, enum prop_vmm vmm,
                   const struct prop_kernel_hashes *kernel, uint8_t ld[PROP_LAUNCH_DIGEST],
                   struct prop_err *err)
{
    enum prop_snp_page_type type = PROP_SNP_PAGE_ZERO;
    switch (s->type) {
    case PROP_SEV_MEM:
        type = vmm == PROP_VMM_GCE ? PROP_SNP_PAGE_UNMEASURED : PROP_SNP_PAGE_ZERO;
        break;
    case PROP_SEV_SECRETS:
        type = PROP_SNP_PAGE_SECRETS;
        break;
    case PROP_SEV_CPUID:
        type = PROP_SNP_PAGE_CPUID;
        break;
    case PROP_SEV_KERNEL_HASHES:
        return hashes_page(fw, s, kernel, ld, err);
    case PROP_SEV_SVSM_CAA:
        break;
    }
    for (uint32_t at = 0; at < s->size; at += PROP_PAGE) {
        int rc = prop_snp_launch_page(ld, type, (uint64_t)s->gpa + at, NULL, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int prop_snp_launch_sections(const struct prop_ovmf *fw, const struct prop_sev_metadata *m,
                             enum prop_vmm vmm, const struct prop_kernel_hashes *kernel,
                             uint8_t ld[PROP_LAUNCH_DIGEST], struct prop_err *err)
{
    int rc = kernel ? prop_ovmf_can_hash_kernel(fw, m, err) : 0;
    /* EC2 adds the CPUID page behind all others. */
    for (int last = 0; last <= 1; last++)
        for (size_t i = 0; rc == 0 && i < m->n; i++) {
            bool late = vmm == PROP_VMM_EC2 && m->section[i].type == PROP_SEV_CPUID;
            if (late == (last == 1))
                rc = section(fw, &m->section[i], vmm, kernel, ld, err);
        }
    return rc;
}

static int vmsa_digest(enum prop_vmm vmm, uint32_t eip, uint32_t signature, uint64_t features,
                       struct prop_digest *ret, struct prop_err *err)
{
    uint8_t page[PROP_PAGE];
    prop_vmsa_page(vmm, eip, signature, features, page);
    return prop_digest_of(PROP_SHA384, page, sizeof page, ret, err);
}

int prop_snp_vcpus_begin(const uint8_t ld[PROP_LAUNCH_DIGEST], enum prop_vmm vmm, uint32_t eip,
                         uint32_t cpu_signature, uint64_t features, struct prop_snp_vcpus *ret,
                         struct prop_err *err)
{
    struct prop_snp_vcpus v = { .n = 0 };
    memcpy(v.ld, ld, sizeof v.ld);
    int rc = vmsa_digest(vmm, PROP_VMSA_RESET, cpu_signature, features, &v.first, err);
    if (rc == 0)
        rc = vmsa_digest(vmm, eip, cpu_signature, features, &v.others, err);
    if (rc == 0)
        *ret = v;
    return rc;
}

int prop_snp_vcpus_add(struct prop_snp_vcpus *v, struct prop_err *err)
{
    const struct prop_digest *page = v->n == 0 ? &v->first : &v->others;
    int rc = prop_snp_launch_page(v->ld, PROP_SNP_PAGE_VMSA, PROP_SNP_VMSA_GPA, page->bytes, err);
    v->n += rc == 0;
    return rc;
}
