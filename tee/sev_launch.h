/* The launch digest of plain SEV and SEV-ES guests: one SHA-256 over all that is loaded before the
 * start (attestation.md 5.9). No key broker attests such guests; their owner does, at launch. */
#ifndef PROP_TEE_SEV_LAUNCH_H
#define PROP_TEE_SEV_LAUNCH_H

#include "crypto/digest.h"
#include "tee/kernel_hashes.h"
#include "tee/ovmf.h"
#include "util/err.h"

#include <stdint.h>

/* `kernel` NULL: none is loaded by the VMM. Fails: PROP_E_UNSUPPORTED (id "firmware-cannot-measure"). */
int prop_sev_launch(const struct prop_ovmf *fw, const struct prop_kernel_hashes *kernel,
                    struct prop_digest *ret, struct prop_err *err);
/* The same with the state of `vcpus` vCPUs of that model.
 * Fails: as above; PROP_E_UNSUPPORTED (id "firmware-no-reset") the firmware does not say where vCPUs
 * start. */
int prop_sev_es_launch(const struct prop_ovmf *fw, const struct prop_kernel_hashes *kernel,
                       unsigned vcpus, uint32_t cpu_signature, struct prop_digest *ret,
                       struct prop_err *err);

#endif
