/* What this machine can start: facts of the host, for the launch side only. They say nothing about a
 * machine from the inside (tee/machine.h does), and CPU flags say nothing here: /proc/cpuinfo shows
 * "sev" on a host whose firmware has it switched off. */
#ifndef PROP_VM_HOST_H
#define PROP_VM_HOST_H

#include "util/err.h"

#include <stdbool.h>

enum prop_kvm {
    PROP_KVM_OK,
    PROP_KVM_ABSENT,   /* no device: no driver, or the machine's firmware has virtualization off */
    PROP_KVM_DENIED,   /* the device is there, and we may not open it */
    PROP_KVM_BROKEN,   /* it opens, and makes no VM */
    PROP_KVM_EMULATED  /* it makes a VM whose instructions are emulated one by one: slower than TCG */
};

struct prop_vm_host {
    enum prop_kvm kvm;
    bool tdx;                  /* kvm_intel loaded with tdx=Y */
    bool sev, sev_es, snp;     /* kvm_amd's parameters of these names */
    bool sev_device;           /* /dev/sev can be opened */
    bool vsock;                /* /dev/vhost-vsock can be opened */
    bool nested;               /* this host is a virtual machine itself */
    unsigned cbit;             /* position of the C-bit: 51 where the processor does not say */
};

/* Look at this machine. `root` is put before /dev and /sys ("" outside tests). Never fails: what cannot
 * be read is not there. Without trying KVM it counts as absent. */
enum prop_vm_look { PROP_VM_LOOK_ALL, PROP_VM_LOOK_NOT_KVM };
void prop_vm_host_look(const char *root, enum prop_vm_look what, struct prop_vm_host *ret);

/* "kvm is not there" and so on, for messages. */
const char *prop_kvm_text(enum prop_kvm kvm);
/* What to do about it. */
const char *prop_kvm_hint(enum prop_kvm kvm);

/* Start a VM of a few bytes through a KVM device, in a child process, and see how it does. */
enum prop_kvm prop_kvm_try(const char *device);

#endif
