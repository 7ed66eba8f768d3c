/* From what a user asks for to a VM that can be started: the guest folder is checked, QEMU and the host
 * are asked, the mode and everything that follows from it is decided, and what cannot be had is refused
 * with its own cause. Nothing is started here. */
#ifndef PROP_VM_PLAN_H
#define PROP_VM_PLAN_H

#include "vm/argv.h"
#include "vm/distro.h"
#include "vm/guestdir.h"
#include "vm/host.h"
#include "vm/qemu_probe.h"

/* As on the command line; NULL, 0: the default. Everything borrowed. */
struct prop_vm_wish {
    const char *dir;            /* guest folder */
    const char *mode, *accel;   /* "auto", ... */
    const char *cpu, *firmware, *name, *dns, *qemu;
    uint64_t memory, cpus, vsock_cid, quote_port;
    bool no_quotes;             /* tdx: no quote service */
    const char *const *forwards;   size_t n_forwards;
    const char *const *hand_over;  size_t n_hand_over;  /* "NAME=FILE" */
    const char *const *qemu_args;  size_t n_qemu_args;
    bool allow_qemu_args;       /* in confidential modes too */
    bool allow_unmeasured;      /* sev: a firmware that does not check the kernel */
    const char *id_block, *id_auth; /* files: raw or base64 */
    const char *assume_qemu;    /* a version, for looking only */
    const char *host_root;      /* tests: where /dev, /sys and /usr/share are looked at */
    bool look_only;             /* what this host cannot do is told, not refused */
};

#define PROP_VM_NOTES_MAX 16
enum prop_vm_note_kind {
    PROP_VM_NOTE,
    PROP_VM_WARNING,
    PROP_VM_PROBLEM /* look_only: it would not start here */
};
struct prop_vm_note {
    enum prop_vm_note_kind kind;
    char text[512];
};

struct prop_vm_plan {
    struct prop_vm vm;            /* borrows from everything below */
    bool is_distro;
    struct prop_guestdir guest;   /* one of these two */
    struct prop_distro distro;
    struct prop_qemu qemu;
    struct prop_vm_host host;
    char *firmware, *id_block, *id_auth;
    struct prop_vm_forward *forwards;
    struct prop_vm_file *files;   /* with owned texts */
    uint8_t pin[48];
    struct prop_vm_note notes[PROP_VM_NOTES_MAX];
    size_t n_notes;
};
#define PROP_VM_PLAN_INIT { .vm = { .name = NULL }, .guest = PROP_GUESTDIR_INIT }

/* Fails: as guestdir.h, distro.h, mode.h, firmware.h and argv.h say, and: PROP_E_UNSUPPORTED (id
 * "kernel-no-driver") the guest's kernel cannot be a guest of that mode; PROP_E_USAGE (ids
 * "secret-not-wanted", "qemu-args-confidential", "bad-qemu-arg", "unmeasured", "bad-id-block").
 * A plan that failed holds its notes all the same, and is released like any other. */
int prop_vm_plan(const struct prop_vm_wish *w, struct prop_vm_plan *ret, struct prop_err *err);
void prop_vm_plan_release(struct prop_vm_plan *p);
#define prop_auto_vm_plan __attribute__((cleanup(prop_vm_plan_release)))

#endif
