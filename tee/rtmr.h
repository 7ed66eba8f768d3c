/* The runtime registers of a TD after a direct kernel boot, as far as files determine them
 * (attestation.md 6.3 to 6.5). What is measured in which order changed over the years: a profile says
 * which firmware and VMM are meant. */
#ifndef PROP_TEE_RTMR_H
#define PROP_TEE_RTMR_H

#include "crypto/digest.h"
#include "tee/linux_boot.h"
#include "tee/source.h"
#include "tee/tdvf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_RTMR 48 /* bytes of a register, and of a digest that goes into one */

struct prop_rtmr_profile {
    char name[40];        /* "edk2-202508", "edk2-202411+qemu-10.1" */
    bool patched;         /* QEMU changes the kernel's header before the firmware measures it */
    bool early_separator; /* the separator at ready-to-boot goes into RTMR0, not RTMR1 */
    bool prefix;          /* "initrd=initrd " before the command line, not behind it */
    bool rtmr0_known;     /* this edk2 measures nothing into RTMR0 that files do not tell */
};
/* "edk2-YYYYMM", "edk2-YYYYMM+qemu-X.Y", or "newest". Without a VMM one that leaves kernels alone is
 * meant. Fails: PROP_E_USAGE (id "bad-profile"). */
int prop_rtmr_profile_parse(const char *text, struct prop_rtmr_profile *ret, struct prop_err *err);
/* One name for each combination there is, newest first; NULL past the end. */
const char *prop_rtmr_profile_name(size_t i);

/* A register, event by event. */
#define PROP_RTMR_EVENTS_MAX 16
struct prop_rtmr_event {
    const char *what; /* "kernel", "separator", ... */
    uint8_t digest[PROP_RTMR];
};
struct prop_rtmr {
    uint8_t value[PROP_RTMR];
    size_t n;
    struct prop_rtmr_event event[PROP_RTMR_EVENTS_MAX];
};
int prop_rtmr_add(struct prop_rtmr *r, const char *what, const uint8_t digest[PROP_RTMR],
                  struct prop_err *err);

/* The kernel as the firmware receives it. `boot` counts only for profiles that are patched.
 * Fails: PROP_E_INPUT (id "kernel-not-pe"), and as prop_linux_patch. */
int prop_rtmr_kernel(const struct prop_source *kernel, const struct prop_linux_boot *boot,
                     const struct prop_rtmr_profile *p, struct prop_digest *ret,
                     struct prop_err *err);
/* RTMR1: what is started. `kernel` is the digest of the call above. */
int prop_rtmr1(const struct prop_digest *kernel, const struct prop_rtmr_profile *p,
               struct prop_rtmr *ret, struct prop_err *err);

/* The load options the kernel's EFI stub measures: UTF-16 of the command line, each byte widened, with
 * the word for an initrd and a final NUL. */
int prop_rtmr_load_options(const char *cmdline, bool has_initrd, const struct prop_rtmr_profile *p,
                           struct prop_digest *ret, struct prop_err *err);
/* RTMR2: what the stub of Linux 6.9 and later measures. `initrd` is its SHA-384, NULL without one (an
 * empty file is none to the firmware). Without initrd and command line there are no load options, and
 * what becomes of them is not determined: PROP_E_UNSUPPORTED (id "no-load-options"). */
int prop_rtmr2(const char *cmdline, const struct prop_digest *initrd,
               const struct prop_rtmr_profile *p, struct prop_rtmr *ret, struct prop_err *err);

/* RTMR0 from files: secure boot off, fresh variables, and the three ACPI files of QEMU's fw_cfg.
 * Fails: PROP_E_UNSUPPORTED (id "rtmr0-unknown") with a profile that is not rtmr0_known, or firmware
 * without a variable volume; as prop_td_hob. */
struct prop_rtmr0_files {
    const struct prop_source *table_loader, *rsdp, *tables;
};
int prop_rtmr0(const struct prop_ovmf *fw, const struct prop_tdvf *t, uint64_t memory,
               const struct prop_rtmr0_files *acpi, const struct prop_rtmr_profile *p,
               struct prop_rtmr *ret, struct prop_err *err);

#endif
