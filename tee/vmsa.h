/* The state in which a vCPU starts (VMSA), as the VMMs set it: part of the measurement of SEV-ES and
 * SNP guests (attestation.md 5.4). And which CPU models there are. */
#ifndef PROP_TEE_VMSA_H
#define PROP_TEE_VMSA_H

#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

enum prop_vmm { PROP_VMM_QEMU, PROP_VMM_EC2, PROP_VMM_GCE };
/* "qemu", "ec2", "gce". Fails: PROP_E_USAGE (id "bad-vmm"). */
int prop_vmm_parse(const char *word, enum prop_vmm *ret, struct prop_err *err);
const char *prop_vmm_name(enum prop_vmm vmm);

#define PROP_VMSA_RESET 0xfffffff0u /* where vCPU 0 starts */

/* The page of a vCPU that starts at `eip`. `cpu_signature` is CPUID 1 EAX (qemu only), `features` are
 * the SEV features. */
void prop_vmsa_page(enum prop_vmm vmm, uint32_t eip, uint32_t cpu_signature, uint64_t features,
                    uint8_t ret[4096]);

/* QEMU's CPU models for these machines: model i, or NULL past the end. */
struct prop_cpu_model {
    const char *name;
    uint32_t signature;
};
const struct prop_cpu_model *prop_cpu_model(size_t i);
/* The signature of a model by its name (letter case does not matter), or of "0x800f12", or of
 * "FAMILY.MODEL.STEPPING". Fails: PROP_E_USAGE (id "bad-vcpu-type"): the hint lists the models; also
 * "host" and "max", which stand for whatever the machine is. */
int prop_cpu_signature(const char *name, uint32_t *ret, struct prop_err *err);

#endif
