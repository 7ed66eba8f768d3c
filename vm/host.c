#include "vm/host.h"

#include <cpuid.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CBIT_DEFAULT 51 /* Zen 3 and later (attestation.md 5.8) */
#define CPUID_SEV 0x8000001fu /* AMD APM volume 3, E.4.17: EAX bit 1 SEV, EBX 5:0 C-bit */

static bool says_yes(const char *root, const char *file)
{
    char path[512], c = 0;

    if ((size_t)snprintf(path, sizeof path, "%s%s", root, file) >= sizeof path)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, &c, 1);
    (void)close(fd);
    return n == 1 && (c == 'Y' || c == 'y' || c == '1');
}

static bool opens(const char *root, const char *file)
{
    char path[512];

    if ((size_t)snprintf(path, sizeof path, "%s%s", root, file) >= sizeof path)
        return false;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static unsigned c_bit(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;

    if (__get_cpuid(CPUID_SEV, &a, &b, &c, &d) && (a & 2) && (b & 0x3f))
        return b & 0x3f;
    return CBIT_DEFAULT;
}

static bool in_a_vm(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;

    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 31 & 1);
}

void prop_vm_host_look(const char *root, enum prop_vm_look what, struct prop_vm_host *ret)
{
    char kvm[512];

    memset(ret, 0, sizeof *ret);
    (void)snprintf(kvm, sizeof kvm, "%s/dev/kvm", root);
    ret->kvm = what == PROP_VM_LOOK_ALL ? prop_kvm_try(kvm) : PROP_KVM_ABSENT;
    ret->tdx = says_yes(root, "/sys/module/kvm_intel/parameters/tdx");
    ret->sev = says_yes(root, "/sys/module/kvm_amd/parameters/sev");
    ret->sev_es = says_yes(root, "/sys/module/kvm_amd/parameters/sev_es");
    ret->snp = says_yes(root, "/sys/module/kvm_amd/parameters/sev_snp");
    ret->sev_device = opens(root, "/dev/sev");
    ret->vsock = opens(root, "/dev/vhost-vsock");
    ret->cbit = *root ? CBIT_DEFAULT : c_bit();
    ret->nested = !*root && in_a_vm();
}

const char *prop_kvm_text(enum prop_kvm kvm)
{
    switch (kvm) {
    case PROP_KVM_OK: return "kvm works";
    case PROP_KVM_ABSENT: return "there is no /dev/kvm";
    case PROP_KVM_DENIED: return "/dev/kvm may not be opened by this user";
    case PROP_KVM_BROKEN: return "/dev/kvm is there, but makes no virtual machine";
    case PROP_KVM_EMULATED: return "/dev/kvm only emulates, instruction by instruction";
    }
    return "kvm is not usable";
}

const char *prop_kvm_hint(enum prop_kvm kvm)
{
    switch (kvm) {
    case PROP_KVM_DENIED: return "add the user to the group kvm, and log in again";
    case PROP_KVM_EMULATED:
    case PROP_KVM_BROKEN: return "this machine is a guest itself: use a host with real virtualization";
    case PROP_KVM_OK:
    case PROP_KVM_ABSENT: break;
    }
    return "switch virtualization on in the machine's firmware and load kvm_intel or kvm_amd";
}
