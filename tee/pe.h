/* The digest of a PE image as UEFI firmware measures it: Authenticode, in the way edk2 computes it
 * (attestation.md 6.5). Other programs differ: edk2 pads nothing, and bytes behind the last section
 * count in files without a signature too. */
#ifndef PROP_TEE_PE_H
#define PROP_TEE_PE_H

#include "crypto/digest.h"
#include "tee/source.h"
#include "util/err.h"

/* Fails: PROP_E_INPUT (id "kernel-not-pe") no PE image, or a malformed one. */
int prop_pe_authenticode(const struct prop_source *image, enum prop_hash_alg alg,
                         struct prop_digest *ret, struct prop_err *err);

#endif
