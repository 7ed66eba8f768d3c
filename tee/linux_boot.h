/* The setup header of an x86 Linux kernel (Linux Documentation/arch/x86/boot.rst): the release it
 * names, and what QEMU before 10.2 writes into it when it loads a kernel (attestation.md 6.5), which
 * makes the measured kernel depend on memory size, initrd and command line. */
#ifndef PROP_TEE_LINUX_BOOT_H
#define PROP_TEE_LINUX_BOOT_H

#include "tee/source.h"
#include "util/err.h"

#include <stdbool.h>
#include <stdint.h>

#define PROP_LINUX_HEADER 1024 /* bytes of the file that QEMU may change */

/* The release ("6.1.0-37-cloud-amd64"); an empty text when the file does not say. */
int prop_linux_release(const struct prop_source *kernel, char ret[64], struct prop_err *err);
/* Does a release come before `major`.`minor`? False when it cannot be read. */
bool prop_linux_before(const char *release, unsigned major, unsigned minor);

/* Does the EFI stub in this kernel measure command line and initrd into RTMR2? Linux does since 6.9; a
 * kernel that names an older release does where the stub knows the firmware's interface for it (vendors
 * carry the change back). Files that name no release are taken at their word: true. */
int prop_linux_measures(const struct prop_source *kernel, const char *release, bool *ret,
                        struct prop_err *err);

struct prop_linux_boot {
    uint64_t memory;     /* bytes of guest memory */
    bool has_initrd;
    uint64_t initrd_len;
    const char *cmdline; /* NULL = none */
};
/* The first bytes of the kernel as they reach the firmware.
 * Fails: PROP_E_UNSUPPORTED (id "kernel-not-linux") no kernel of boot protocol 2.02 or later that is
 * loaded high; PROP_E_USAGE (id "bad-vga", "initrd-too-large"). */
int prop_linux_patch(const struct prop_source *kernel, const struct prop_linux_boot *boot,
                     uint8_t ret[PROP_LINUX_HEADER], struct prop_err *err);

#endif
