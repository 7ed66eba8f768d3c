/* The argument vector of a VM: a pure function of what is wanted and of what the QEMU at hand knows.
 * Nothing is read, opened or asked here, so that the vectors of every mode and version can be compared
 * with files (tests/vectors/qemu; docs/vm-arguments.md has the reason for each argument). */
#ifndef PROP_VM_ARGV_H
#define PROP_VM_ARGV_H

#include "util/buf.h"
#include "util/err.h"
#include "vm/qemu_probe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum prop_vm_mode { PROP_VM_NONE, PROP_VM_SEV, PROP_VM_SEV_ES, PROP_VM_SNP, PROP_VM_TDX };
const char *prop_vm_mode_name(enum prop_vm_mode mode);
/* "none", "sev", "sev-es", "snp", "tdx". PROP_E_USAGE (id "bad-mode"). */
int prop_vm_mode_parse(const char *text, enum prop_vm_mode *ret, struct prop_err *err);

struct prop_vm_forward {
    uint16_t host_port, guest_port; /* on 127.0.0.1 */
};
/* "HOST:GUEST" or "127.0.0.1:HOST:GUEST"; HOST 0 = a free one, chosen at launch.
 * Fails: PROP_E_USAGE (id "bad-forward"; "forward-not-loopback" for another address). */
int prop_vm_forward_parse(const char *text, struct prop_vm_forward *ret, struct prop_err *err);

struct prop_vm_file {
    const char *name, *path; /* fw_cfg name, file */
};

/* What is wanted; everything borrowed. NULL and 0 = not. */
struct prop_vm {
    const char *name;
    enum prop_vm_mode mode;
    const char *accel;           /* "kvm", "tcg" */
    const char *cpu;             /* model, maybe with ",flags" */
    unsigned cpus;
    uint64_t memory;             /* bytes, whole MiB */
    const char *firmware;        /* NULL = QEMU's own SeaBIOS, for mode none */
    const char *kernel, *initrd, *append; /* direct boot */
    bool kernel_hashes;          /* sev, snp: the firmware checks them against measured hashes */
    const char *disk, *seed;     /* or boot from a qcow2 disk with a cloud-init seed */
    const uint8_t *pin;          /* of the init-data: 32 bytes HOSTDATA (snp), 48 MRCONFIGID (tdx) */
    const char *id_block, *id_auth; /* snp: base64 of 96 and of 4096 bytes */
    bool author_key;             /* the ID auth block names one */
    uint64_t policy;             /* snp guest policy; 0 = 0x30000 */
    unsigned cbit;               /* sev, snp */
    const struct prop_vm_file *files; /* handed over by fw_cfg */
    size_t n_files;
    const struct prop_vm_forward *forwards;
    size_t n_forwards;
    const char *dns;             /* name server for the guest; NULL = the host's, through QEMU */
    uint32_t vsock_cid;          /* 0 = no vsock device */
    uint32_t quote_port;         /* tdx: vsock port of the quote service on this host; 0 = none */
    const char *const *extra;    /* arguments of the user's, put last */
    size_t n_extra;
};

/* Descriptors that QEMU is started with: connected sockets. They have no names in any folder, so
 * nobody else can speak to the VM, and nothing of them stays behind. */
enum { PROP_VM_FD_QMP = 3, PROP_VM_FD_RESULT, PROP_VM_FD_LOG, PROP_VM_FD_END };
#define PROP_VM_SNP_POLICY 0x30000u /* attestation.md 5.8: SMT allowed, no debug, no migration agent */

struct prop_argv {
    char **items; /* owned, NULL-ended */
    size_t n;
};
void prop_argv_release(struct prop_argv *a);
#define prop_auto_argv __attribute__((cleanup(prop_argv_release)))

/* Fails: PROP_E_USAGE (ids "bad-memory", "bad-cpus", "bad-dns", "bad-text"), PROP_E_NOMEM. */
int prop_vm_argv(const struct prop_vm *vm, const struct prop_qemu *q, struct prop_argv *ret,
                 struct prop_err *err);

/* One argument as a POSIX shell wants it, appended to `out`. */
int prop_argv_quote(const char *arg, struct prop_buf *out, struct prop_err *err);

#endif
