/* Which mode a VM is started in, and whether this host and this QEMU can do it. A confidential mode that
 * was asked for, or that the host offers, and cannot be had is a failure: never an ordinary VM instead. */
#ifndef PROP_VM_MODE_H
#define PROP_VM_MODE_H

#include "vm/argv.h"
#include "vm/host.h"
#include "vm/qemu_probe.h"

/* "auto": tdx, snp or sev where the host offers it, else none; anything else as it is named.
 * ret_chosen: true when "auto" decided. Fails: PROP_E_USAGE (id "bad-mode"). */
int prop_vm_mode_choose(const char *wish, const struct prop_vm_host *host, enum prop_vm_mode *ret,
                        bool *ret_chosen, struct prop_err *err);

/* Does the QEMU know this mode, its machine and the processor model?
 * Fails: PROP_E_UNSUPPORTED (ids "qemu-too-old", naming the first release that does; "qemu-lacks" for a
 * build without it); PROP_E_USAGE (id "unknown-cpu"). */
int prop_vm_mode_qemu(enum prop_vm_mode mode, const char *cpu, const struct prop_qemu *q,
                      struct prop_err *err);

/* Can the host start this mode? Fails: PROP_E_UNSUPPORTED (ids "no-kvm", "host-no-tdx", "host-no-snp",
 * "host-no-sev", "host-no-sev-es"), PROP_E_DENIED (id "no-sev-device"). */
int prop_vm_mode_host(enum prop_vm_mode mode, const struct prop_vm_host *host,
                      struct prop_err *err);

/* "auto", "kvm" or "tcg" for this mode: a static text. ret_slow: "auto" chose tcg.
 * Fails: PROP_E_USAGE (id "bad-accel"; "accel-not-confidential" for tcg in a confidential mode),
 * PROP_E_UNSUPPORTED (ids "no-kvm", "qemu-lacks"). */
int prop_vm_accel_choose(const char *wish, enum prop_vm_mode mode, const struct prop_vm_host *host,
                         const struct prop_qemu *q, const char **ret, bool *ret_slow,
                         struct prop_err *err);

/* The processor model where none is named: one that measurements name, the host's where the mode wants
 * it, everything TCG can do. */
const char *prop_vm_cpu_default(enum prop_vm_mode mode, const char *accel,
                                const struct prop_vm_host *host);

#endif
