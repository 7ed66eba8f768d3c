#include "vm/mode.h"

#include "util/text.h"

#include <string.h>

int prop_vm_mode_choose(const char *wish, const struct prop_vm_host *host, enum prop_vm_mode *ret,
                        bool *ret_chosen, struct prop_err *err)
{
    *ret_chosen = strcmp(wish, "auto") == 0;
    if (!*ret_chosen)
        return prop_vm_mode_parse(wish, ret, err);
    *ret = host->tdx ? PROP_VM_TDX : host->snp ? PROP_VM_SNP : host->sev ? PROP_VM_SEV : PROP_VM_NONE;
    return 0;
}

/* ---- QEMU ----------------------------------------------------------------------------------- */

struct need {
    const char *what;    /* "SEV-SNP" */
    const char *object;
    unsigned release;    /* first that can */
    bool has;
};

static struct need need_of(enum prop_vm_mode mode, const struct prop_qemu *q)
{
    switch (mode) {
    case PROP_VM_SEV:
    case PROP_VM_SEV_ES: return (struct need){ "SEV", "sev-guest", PROP_QEMU_SEV, q->sev_guest };
    case PROP_VM_SNP: return (struct need){ "SEV-SNP", "sev-snp-guest", PROP_QEMU_SNP, q->snp_guest };
    case PROP_VM_TDX: return (struct need){ "TDX", "tdx-guest", PROP_QEMU_TDX, q->tdx_guest };
    case PROP_VM_NONE: break;
    }
    return (struct need){ "ordinary", NULL, 0, true };
}

static int lacks(const struct prop_qemu *q, const char *what, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "qemu-lacks",
                           "'%s' (QEMU %s) was built without %s", q->program, q->version, what);
}

int prop_vm_mode_qemu(enum prop_vm_mode mode, const char *cpu, const struct prop_qemu *q,
                      struct prop_err *err)
{
    const struct need need = need_of(mode, q);

    if (q->release < need.release) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "qemu-too-old",
                              "QEMU %s ('%s') starts no %s guests as they are wanted here: %u.%u is "
                              "the first that does", q->version, q->program, need.what,
                              need.release / 100, need.release % 100);
        return prop_err_hint(err, "install QEMU %u.%u or later, or name one with --qemu",
                             need.release / 100, need.release % 100);
    }
    if (!need.has)
        return lacks(q, need.object, err);
    if (!q->q35)
        return lacks(q, "the machine q35", err);
    if (mode != PROP_VM_NONE && !q->memfd)
        return lacks(q, "memory-backend-memfd", err);
    if (!prop_qemu_has_cpu(q, cpu)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "unknown-cpu",
                              "QEMU %s knows no processor model '%s'", q->version, cpu);
        return prop_err_hint(err, "'%s -cpu help' lists them", q->program);
    }
    return 0;
}

/* ---- the host ------------------------------------------------------------------------------- */

static int no_kvm(const char *why, const struct prop_vm_host *host, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-kvm", "%s needs KVM, and %s", why,
                          prop_kvm_text(host->kvm));
    return prop_err_hint(err, "%s", prop_kvm_hint(host->kvm));
}

static int cannot(const char *id, const char *what, const char *parameter, const char *hint,
                  struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, id,
                          "this host starts no %s guests: /sys/module/%s is not Y", what, parameter);
    return prop_err_hint(err, "%s", hint);
}

static int check_sev(enum prop_vm_mode mode, const struct prop_vm_host *host, struct prop_err *err)
{
    static const char hint[] = "switch SEV and SNP on in the machine's firmware; Linux 6.11 or later "
                               "starts SNP guests";

    if (mode == PROP_VM_SNP && !host->snp)
        return cannot("host-no-snp", "SEV-SNP", "kvm_amd/parameters/sev_snp", hint, err);
    if (mode == PROP_VM_SEV_ES && !host->sev_es)
        return cannot("host-no-sev-es", "SEV-ES", "kvm_amd/parameters/sev_es", hint, err);
    if (mode != PROP_VM_SNP && !host->sev)
        return cannot("host-no-sev", "SEV", "kvm_amd/parameters/sev", hint, err);
    if (!host->sev_device) {
        (void)prop_err_set_id(err, PROP_E_DENIED, "no-sev-device",
                              "/dev/sev cannot be opened by this user");
        return prop_err_hint(err, "give a group of yours read and write access to /dev/sev (udev)");
    }
    return 0;
}

int prop_vm_mode_host(enum prop_vm_mode mode, const struct prop_vm_host *host, struct prop_err *err)
{
    int rc = 0;

    if (mode == PROP_VM_NONE)
        return 0;
    if (mode == PROP_VM_TDX && !host->tdx)
        rc = cannot("host-no-tdx", "TDX", "kvm_intel/parameters/tdx",
                    "switch TDX on in the machine's firmware and start Linux 6.16 or later with "
                    "kvm_intel.tdx=1", err);
    else if (mode != PROP_VM_TDX)
        rc = check_sev(mode, host, err);
    if (rc == 0 && host->kvm != PROP_KVM_OK)
        rc = no_kvm("a confidential guest", host, err);
    return rc;
}

/* ---- accelerator and processor -------------------------------------------------------------- */

static int use_kvm(const struct prop_vm_host *host, const struct prop_qemu *q, struct prop_err *err)
{
    if (!q->kvm)
        return lacks(q, "KVM", err);
    return host->kvm == PROP_KVM_OK ? 0 : no_kvm("--accel kvm", host, err);
}

int prop_vm_accel_choose(const char *wish, enum prop_vm_mode mode, const struct prop_vm_host *host,
                         const struct prop_qemu *q, const char **ret, bool *ret_slow,
                         struct prop_err *err)
{
    const bool automatic = strcmp(wish, "auto") == 0, kvm = strcmp(wish, "kvm") == 0;

    *ret_slow = false;
    if (!automatic && !kvm && strcmp(wish, "tcg") != 0)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-accel", "'%s' is none of auto, kvm, tcg", wish);
    if (mode != PROP_VM_NONE && !automatic && !kvm)
        return prop_err_set_id(err, PROP_E_USAGE, "accel-not-confidential",
                               "a confidential guest runs under KVM only, not under tcg");
    if (mode != PROP_VM_NONE || kvm) {
        *ret = "kvm";
        /* What a confidential mode needs of the host is asked by prop_vm_mode_host. */
        return mode != PROP_VM_NONE ? (q->kvm ? 0 : lacks(q, "KVM", err)) : use_kvm(host, q, err);
    }
    *ret = automatic && q->kvm && host->kvm == PROP_KVM_OK ? "kvm" : "tcg";
    *ret_slow = automatic && strcmp(*ret, "tcg") == 0;
    return strcmp(*ret, "kvm") == 0 || q->tcg ? 0 : lacks(q, "TCG", err);
}

const char *prop_vm_cpu_default(enum prop_vm_mode mode, const char *accel,
                                const struct prop_vm_host *host)
{
    switch (mode) {
    case PROP_VM_TDX: return "host,pmu=off";
    case PROP_VM_SNP:
    case PROP_VM_SEV:
    case PROP_VM_SEV_ES: return "EPYC-v4"; /* "host" would make the measurement the machine's */
    case PROP_VM_NONE: break;
    }
    if (strcmp(accel, "tcg") == 0)
        return "max";
    /* Some hypervisors show this register and refuse to have it set (propeller.md 4). */
    return host->nested ? "host,-arch-capabilities" : "host";
}
