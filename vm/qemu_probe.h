/* What a QEMU is and knows: asked of the program itself, so that the argument vector fits the version
 * at hand and a mode it cannot do is refused before anything starts. */
#ifndef PROP_VM_QEMU_PROBE_H
#define PROP_VM_QEMU_PROBE_H

#include "util/err.h"

#include <stdbool.h>

/* The first releases that can start each kind of guest (attestation.md 5.7, 6.6). */
#define PROP_QEMU_SEV 602 /* sev-guest itself is older; its kernel-hashes= is not */
#define PROP_QEMU_SNP 901
#define PROP_QEMU_TDX 1001

struct prop_qemu {
    char *program;      /* as it is started, owned */
    char *cpus;         /* its CPU models, each between two line feeds, owned */
    char version[32];   /* "7.2.22" */
    unsigned release;   /* major * 100 + minor: 702 */
    bool sev_guest, snp_guest, tdx_guest; /* objects */
    bool memfd;         /* memory-backend-memfd */
    bool kvm, tcg;      /* accelerators that were built in */
    bool q35;           /* machine */
    bool sandbox;       /* built with seccomp filters of its own */
};
#define PROP_QEMU_INIT { .program = NULL }

/* What it prints when asked. */
struct prop_qemu_help {
    const char *version, *objects, *accels, *machines, *cpus; /* --version, -object help, ... */
    const char *options;                                      /* --help */
};

/* Find (NULL: qemu-system-x86_64) and ask it. The program is run six times at once, without a shell.
 * Fails: PROP_E_NOTFOUND (id "no-qemu"); PROP_E_UNSUPPORTED (id "not-qemu") another program. */
int prop_qemu_probe(const char *program, struct prop_qemu *ret, struct prop_err *err);
/* The same from answers at hand; `program` is only kept. */
int prop_qemu_read(const char *program, const struct prop_qemu_help *help, struct prop_qemu *ret,
                   struct prop_err *err);
/* What a QEMU of that version knows as its makers release it ("10.1"), without asking one: for looking
 * at the argument vector of another machine. Fails: PROP_E_USAGE (id "bad-version"). */
int prop_qemu_assume(const char *version, struct prop_qemu *ret, struct prop_err *err);
void prop_qemu_release(struct prop_qemu *q);
#define prop_auto_qemu __attribute__((cleanup(prop_qemu_release)))

/* Does it know this model ("EPYC-v4"; what follows a comma is not looked at)? */
bool prop_qemu_has_cpu(const struct prop_qemu *q, const char *model);

#endif
