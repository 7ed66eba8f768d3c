/* Options of `vm run`, which `vm all` takes too. */
#ifndef PROP_CMD_PROPCVM_VM_RUN_OPTS_H
#define PROP_CMD_PROPCVM_VM_RUN_OPTS_H

#include "cmd/cli/cli.h"

#define PROP_VM_DIR_DEFAULT "propeller-cvm" /* the HAL script's name for its VM */

struct vm_run_opts {
    const char *mode, *accel, *cpu, *firmware, *name, *dns, *qemu, *console, *id_block, *id_auth,
        *assume_qemu, *host_root;
    uint64_t memory, cpus, vsock_cid, quote_port, timeout_ms;
    struct prop_strs forwards, hand_over, qemu_args;
    bool dry_run, allow_qemu_args, allow_unmeasured, no_quotes;
    const char *out; /* vm all only */
    bool force;
};

#define VM_RUN_OPT(name, kind, arg, help, member, env)                                             \
    { name, 0, kind, arg, help, offsetof(struct vm_run_opts, member), env, NULL, false }

#define VM_RUN_OPTIONS                                                                             \
    VM_RUN_OPT("mode", PROP_OPT_STRING, "auto|none|snp|sev|sev-es|tdx",                            \
               "the kind of guest (default auto: what the host can do)", mode, "ENABLE_CVM"),      \
    VM_RUN_OPT("accel", PROP_OPT_STRING, "auto|kvm|tcg", "how QEMU runs it", accel, NULL),         \
    VM_RUN_OPT("memory", PROP_OPT_SIZE, "BYTES", "default 1G; 4G with a distribution's image",     \
               memory, "RAM"),                                                                     \
    VM_RUN_OPT("cpus", PROP_OPT_U64, "N", "virtual processors (default 1)", cpus, "CPU"),          \
    VM_RUN_OPT("cpu", PROP_OPT_STRING, "MODEL",                                                    \
               "processor model (default EPYC-v4 for snp and sev, else the host's, max with tcg)", \
               cpu, NULL),                                                                         \
    VM_RUN_OPT("firmware", PROP_OPT_STRING, "FILE",                                                \
               "OVMF (default: the first in the usual places that can do what the mode needs)",    \
               firmware, "PROP_VM_FIRMWARE"),                                                      \
    VM_RUN_OPT("name", PROP_OPT_STRING, "NAME", "one VM of a name runs at a time (default: the "   \
               "guest's)", name, NULL),                                                            \
    VM_RUN_OPT("forward", PROP_OPT_LIST, "[127.0.0.1:]HOST:GUEST",                                 \
               "a TCP port of this host that reaches the guest; HOST 0 takes a free one "          \
               "(repeatable; none without)", forwards, NULL),                                      \
    VM_RUN_OPT("dns", PROP_OPT_STRING, "IP", "name server the guest is told (default: this host's)", \
               dns, NULL),                                                                         \
    VM_RUN_OPT("timeout", PROP_OPT_DURATION, "TIME", "end the VM after that", timeout_ms, NULL),   \
    VM_RUN_OPT("console", PROP_OPT_STRING, "FILE",                                                 \
               "the console, as it comes, into this file ('-': stdout; default: stderr, made "     \
               "printable)", console, NULL),                                                       \
    VM_RUN_OPT("dry-run", PROP_OPT_FLAG, NULL, "print the argument vector and start nothing",      \
               dry_run, NULL),                                                                     \
    VM_RUN_OPT("hand-over", PROP_OPT_LIST, "NAME=FILE",                                            \
               "give the guest a secret that it was built to take from the host (repeatable)",     \
               hand_over, NULL),                                                                   \
    VM_RUN_OPT("id-block", PROP_OPT_STRING, "FILE", "snp: of `vm measure --id-block`", id_block,   \
               NULL),                                                                              \
    VM_RUN_OPT("id-auth", PROP_OPT_STRING, "FILE", "snp: of `vm measure --id-auth`", id_auth,      \
               NULL),                                                                              \
    VM_RUN_OPT("quote-port", PROP_OPT_U64, "PORT",                                                 \
               "tdx: vsock port of the quote service on this host (default 4050)", quote_port,     \
               NULL),                                                                              \
    VM_RUN_OPT("no-quotes", PROP_OPT_FLAG, NULL, "tdx: start without a quote service", no_quotes,  \
               NULL),                                                                              \
    VM_RUN_OPT("vsock-cid", PROP_OPT_U64, "N", "give the guest a vsock device with this address",  \
               vsock_cid, NULL),                                                                   \
    VM_RUN_OPT("allow-unmeasured-kernel", PROP_OPT_FLAG, NULL,                                     \
               "sev: take a firmware that does not check the kernel", allow_unmeasured, NULL),     \
    VM_RUN_OPT("qemu", PROP_OPT_STRING, "PROGRAM", "default qemu-system-x86_64", qemu,             \
               "PROP_QEMU"),                                                                       \
    VM_RUN_OPT("qemu-arg", PROP_OPT_LIST, "ARG", "one more argument for QEMU (repeatable)",        \
               qemu_args, NULL),                                                                   \
    VM_RUN_OPT("allow-qemu-args", PROP_OPT_FLAG, NULL,                                             \
               "take --qemu-arg in confidential modes too", allow_qemu_args, NULL),                \
    VM_RUN_OPT("assume-qemu", PROP_OPT_STRING, "VERSION",                                          \
               "with --dry-run: for this release of QEMU, asking none", assume_qemu, NULL),        \
    { "host-root", 0, PROP_OPT_STRING, "DIR", "look for /dev, /sys and /usr/share below DIR",      \
      offsetof(struct vm_run_opts, host_root), NULL, NULL, true }

/* Start the guest folder `dir` as the options say, or print how. */
int vm_run_guest(struct prop_cli *cli, const char *dir, const struct vm_run_opts *o,
                 struct prop_err *err);

#endif
