#include "vm/plan_internal.h"

#include "util/mem.h"
#include "util/text.h"
#include "vm/firmware.h"
#include "vm/mode.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define MEMORY_DEFAULT (1024 * MIB)
#define MEMORY_DISTRO (4096 * MIB)
#define QUOTE_PORT 4050u /* where Intel's quote service listens by default, as the reference has it */

void prop_vm_plan_release(struct prop_vm_plan *p)
{
    for (size_t i = 0; p->files && i < p->vm.n_files; i++) {
        prop_free((void *)(uintptr_t)p->files[i].name);
        prop_free((void *)(uintptr_t)p->files[i].path);
    }
    prop_free(p->files);
    prop_free(p->forwards);
    prop_free(p->firmware);
    prop_free(p->id_block);
    prop_free(p->id_auth);
    prop_qemu_release(&p->qemu);
    prop_guestdir_release(&p->guest);
    prop_distro_release(&p->distro);
    *p = (struct prop_vm_plan)PROP_VM_PLAN_INIT;
}

void prop_plan_note(struct prop_vm_plan *p, enum prop_vm_note_kind kind, const char *fmt, ...)
{
    struct prop_vm_note *n = &p->notes[p->n_notes];
    va_list ap;

    if (p->n_notes == PROP_VM_NOTES_MAX)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(n->text, sizeof n->text, fmt, ap);
    va_end(ap);
    n->kind = kind;
    p->n_notes++;
}

/* A failure of this host: with look_only it is told and passed over. */
static int of_this_host(const struct prop_vm_wish *w, struct prop_vm_plan *p, int rc,
                        struct prop_err *err)
{
    if (rc == 0 || !w->look_only || rc == PROP_E_USAGE || rc == PROP_E_NOMEM)
        return rc;
    prop_plan_note(p, PROP_VM_PROBLEM, "this would not start here: %s", err->message);
    prop_err_clear(err);
    return 0;
}

/* ---- guest, host, QEMU ---------------------------------------------------------------------- */

static int open_guest(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    p->is_distro = prop_distro_is(w->dir);
    int rc = p->is_distro ? prop_distro_open(w->dir, &p->distro, err) :
                            prop_guestdir_open(w->dir, &p->guest, err);
    if (rc)
        return rc;
    p->vm.name = w->name ? w->name : p->is_distro ? p->distro.name : p->guest.name;
    if (p->is_distro) {
        p->vm.disk = p->distro.disk;
        p->vm.seed = p->distro.seed;
    } else {
        p->vm.kernel = p->guest.kernel;
        p->vm.initrd = p->guest.initrd;
        p->vm.append = p->guest.append;
    }
    return 0;
}

/* Confidential guests need drivers of their own, or they stop in the middle of nowhere. */
static int check_drivers(const struct prop_vm_plan *p, struct prop_err *err)
{
    const enum prop_vm_mode mode = p->vm.mode;
    const bool lacks = !p->is_distro && ((mode == PROP_VM_SNP && !p->guest.sev_guest) ||
                                         (mode == PROP_VM_TDX && !p->guest.tdx_guest));

    if (!lacks)
        return 0;
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "kernel-no-driver",
                          "the kernel of this guest (%s) has no driver for %s guests",
                          p->guest.kernel_release, prop_vm_mode_name(mode));
    return prop_err_hint(err, "build it with a kernel that has one: vm build --kernel, e.g. the cloud "
                              "kernel of bookworm-backports");
}

static int choose_mode(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    const char *root = w->host_root ? w->host_root : "";
    const char *wish = w->mode ? w->mode : "auto";
    bool chosen = false;

    prop_vm_host_look(root, PROP_VM_LOOK_NOT_KVM, &p->host);
    int rc = prop_vm_mode_choose(wish, &p->host, &p->vm.mode, &chosen, err);
    if (rc)
        return rc;
    if (p->vm.mode != PROP_VM_NONE || !w->accel || strcmp(w->accel, "tcg") != 0) {
        prop_auto_free char *kvm = prop_asprintf("%s/dev/kvm", root);
        if (!kvm)
            return prop_err_nomem(err);
        p->host.kvm = prop_kvm_try(kvm);
    }
    if (chosen && p->vm.mode == PROP_VM_NONE)
        prop_plan_note(p, PROP_VM_NOTE, "this host starts no confidential guests (kvm_intel's tdx, "
                       "kvm_amd's sev_snp and sev are not Y): mode none, an ordinary VM whose memory "
                       "the host can read");
    else if (chosen)
        prop_plan_note(p, PROP_VM_NOTE, "this host starts %s guests: mode %s",
                       prop_vm_mode_name(p->vm.mode), prop_vm_mode_name(p->vm.mode));
    rc = check_drivers(p, err);
    if (rc == 0)
        rc = of_this_host(w, p, prop_vm_mode_host(p->vm.mode, &p->host, err), err);
    if (rc && chosen)
        (void)prop_err_hint(err, "--mode none starts an ordinary VM, whose memory the host can read");
    return rc;
}

static int ask_qemu(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    bool slow = false;
    int rc = w->assume_qemu ? prop_qemu_assume(w->assume_qemu, &p->qemu, err) :
                              prop_qemu_probe(w->qemu, &p->qemu, err);

    if (rc == 0)
        rc = prop_vm_accel_choose(w->accel ? w->accel : "auto", p->vm.mode, &p->host, &p->qemu,
                                  &p->vm.accel, &slow, err);
    if (rc)
        return rc;
    if (slow)
        prop_plan_note(p, PROP_VM_NOTE, "%s: the guest is emulated (tcg), which is slow",
                       prop_kvm_text(p->host.kvm));
    p->vm.cpu = w->cpu ? w->cpu : prop_vm_cpu_default(p->vm.mode, p->vm.accel, &p->host);
    return prop_vm_mode_qemu(p->vm.mode, p->vm.cpu, &p->qemu, err);
}

/* ---- firmware and what it measures ---------------------------------------------------------- */

static int firmware(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    const enum prop_vm_mode mode = p->vm.mode;
    const bool sev = mode == PROP_VM_SEV || mode == PROP_VM_SEV_ES;
    bool measured = !p->is_distro && mode != PROP_VM_NONE;

    if (w->allow_unmeasured && !sev)
        return prop_err_set_id(err, PROP_E_USAGE, "unmeasured",
                               "--allow-unmeasured-kernel is for the modes sev and sev-es");
    measured = measured && !w->allow_unmeasured;
    int rc = prop_vm_firmware_find(w->host_root ? w->host_root : "", w->firmware, mode, measured,
                                   &p->firmware, err);
    if (rc)
        return rc;
    p->vm.firmware = p->firmware;
    p->vm.kernel_hashes = measured && mode != PROP_VM_TDX;
    if (sev && !p->is_distro && !measured)
        prop_plan_note(p, PROP_VM_WARNING, "the kernel is not measured: the host can boot another one");
    return 0;
}

/* What a user may think this VM is and it is not. */
static void say_limits(struct prop_vm_plan *p)
{
    const enum prop_vm_mode mode = p->vm.mode;
    const char *tee = p->is_distro ? p->distro.tee : p->guest.tee;

    if (mode == PROP_VM_SEV || mode == PROP_VM_SEV_ES)
        prop_plan_note(p, PROP_VM_WARNING, "%s guests cannot attest themselves: no key broker will "
                       "release a key to this one (mode snp can)", prop_vm_mode_name(mode));
    if (p->is_distro && mode != PROP_VM_NONE)
        prop_plan_note(p, PROP_VM_WARNING, "the guest boots from a disk: kernel, programs and settings "
                       "are not measured, only the firmware is");
    if (mode == PROP_VM_SNP && prop_starts_with(p->vm.cpu, "host"))
        prop_plan_note(p, PROP_VM_WARNING, "with --cpu host the launch digest depends on this machine's "
                       "processor: name a model");
    if (mode == PROP_VM_NONE && tee && strcmp(tee, "sample") != 0)
        prop_plan_note(p, PROP_VM_NOTE, "this guest attests with hardware evidence, of which an ordinary "
                       "VM has none: no key broker will release a key to it");
    if ((mode == PROP_VM_SNP || mode == PROP_VM_TDX) && tee && strcmp(tee, "auto") != 0 &&
        strcmp(tee, prop_vm_mode_name(mode)) != 0)
        prop_plan_note(p, PROP_VM_WARNING, "this guest was built to attest with '%s', and is started as %s",
                       tee, prop_vm_mode_name(mode));
}

static int check_numbers(const struct prop_vm_wish *w, struct prop_err *err)
{
    if (w->cpus > UINT16_MAX)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-cpus", "that is no number of processors");
    if (w->vsock_cid && (w->vsock_cid < 3 || w->vsock_cid >= UINT32_MAX))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-vsock-cid",
                               "a guest's vsock address is 3 to 4294967294");
    if (w->quote_port >= UINT32_MAX)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-quote-port", "that is no vsock port");
    return 0;
}

static int vsock(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    if (!w->vsock_cid)
        return 0;
    p->vm.vsock_cid = (uint32_t)w->vsock_cid;
    if (p->host.vsock)
        return 0;
    int rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-vsock",
                             "/dev/vhost-vsock cannot be opened by this user");
    (void)prop_err_hint(err, "load vhost_vsock and let your group open the device, or leave out "
                             "--vsock-cid");
    return of_this_host(w, p, rc, err);
}

static int make(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    int rc = check_numbers(w, err);

    if (rc == 0)
        rc = open_guest(w, p, err);
    if (rc == 0)
        rc = choose_mode(w, p, err);
    if (rc == 0)
        rc = ask_qemu(w, p, err);
    if (rc == 0)
        rc = firmware(w, p, err);
    if (rc == 0)
        rc = vsock(w, p, err);
    if (rc)
        return rc;
    p->vm.cpus = w->cpus ? (unsigned)w->cpus : 1;
    p->vm.memory = w->memory ? w->memory : p->is_distro ? MEMORY_DISTRO : MEMORY_DEFAULT;
    p->vm.cbit = p->host.cbit;
    p->vm.dns = w->dns;
    p->vm.quote_port = w->no_quotes ? 0 : w->quote_port ? (uint32_t)w->quote_port : QUOTE_PORT;
    say_limits(p);
    return prop_plan_inputs(w, p, err);
}

int prop_vm_plan(const struct prop_vm_wish *w, struct prop_vm_plan *ret, struct prop_err *err)
{
    struct prop_vm_plan *p = ret;

    *p = (struct prop_vm_plan)PROP_VM_PLAN_INIT;
    return make(w, p, err);
}
