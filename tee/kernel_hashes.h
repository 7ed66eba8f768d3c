/* The table of hashes that QEMU leaves for the firmware when it loads a kernel into an SEV guest with
 * kernel-hashes=on (attestation.md 5.5): the firmware checks what it gets against it. */
#ifndef PROP_TEE_KERNEL_HASHES_H
#define PROP_TEE_KERNEL_HASHES_H

#include "tee/source.h"
#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

#define PROP_KERNEL_HASHES 176 /* bytes of the table, with its padding */

struct prop_kernel_hashes {
    uint8_t cmdline[32], initrd[32], kernel[32]; /* SHA-256 */
};

/* Hash the three. The command line (NULL: none) counts with its NUL, an initrd that is NULL as no
 * bytes at all; the kernel counts as the file is. */
int prop_kernel_hashes_of(const struct prop_source *kernel, const struct prop_source *initrd,
                          const char *cmdline, struct prop_kernel_hashes *ret, struct prop_err *err);

void prop_kernel_hashes_table(const struct prop_kernel_hashes *h, uint8_t ret[PROP_KERNEL_HASHES]);
/* A page of 4096 bytes, zero but for the table at `offset` (at most 4096 - PROP_KERNEL_HASHES). */
void prop_kernel_hashes_page(const struct prop_kernel_hashes *h, size_t offset, uint8_t ret[4096]);

#endif
