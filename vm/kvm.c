/* A VM of 16 bytes: does KVM run it, or emulate it?
 *
 * A device that opens is not enough. Under some hypervisors /dev/kvm is there and a VM can be made,
 * but code outside of a paravirtual guest is emulated: firmware and an ordinary kernel then take hours.
 * The guest counts down ten million; a processor needs some 5 ms for it, an emulator tens of seconds.
 * It happens in a child process, whose processor time the kernel limits. */
#include "vm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST_AT 0x1000u
#define BUDGET_US 300000 /* of processor time, many times what is needed */
#define WALL_S 20  /* whatever happens */

/* mov ecx, 10000000; again: dec ecx; jnz again; hlt (real mode, so with operand-size prefixes) */
static const uint8_t guest[] = { 0x66, 0xb9, 0x80, 0x96, 0x98, 0x00, 0x66, 0x49, 0x75, 0xfc, 0xf4 };

enum { STATUS_OK, STATUS_BROKEN, STATUS_DENIED, STATUS_ABSENT };

static int set_up(int kvm, int *ret_cpu, struct kvm_run **ret_run)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = { .rip = GUEST_AT, .rflags = 2 };
    struct kvm_userspace_memory_region region = { .guest_phys_addr = GUEST_AT,
                                                  .memory_size = 4096 };
    int vm = ioctl(kvm, KVM_CREATE_VM, 0L);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0L);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (vm < 0 || size <= 0 || page == MAP_FAILED)
        return -1;
    memcpy(page, guest, sizeof guest);
    region.userspace_addr = (uintptr_t)page;
    int cpu = ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0L);
    if (cpu < 0 || ioctl(cpu, KVM_GET_SREGS, &sregs))
        return -1;
    sregs.cs.base = sregs.cs.selector = 0;
    void *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (run == MAP_FAILED || ioctl(cpu, KVM_SET_SREGS, &sregs) || ioctl(cpu, KVM_SET_REGS, &regs))
        return -1;
    *ret_cpu = cpu;
    *ret_run = run;
    return 0;
}

static int run_guest(const char *device)
{
    const struct itimerval budget = { { 0, 0 }, { 0, BUDGET_US } };
    struct kvm_run *run = NULL;
    int cpu = -1;
    int kvm = open(device, O_RDWR | O_CLOEXEC);

    if (kvm < 0)
        return errno == EACCES || errno == EPERM ? STATUS_DENIED : STATUS_ABSENT;
    if (ioctl(kvm, KVM_GET_API_VERSION, 0L) != KVM_API_VERSION || set_up(kvm, &cpu, &run))
        return STATUS_BROKEN;
    (void)signal(SIGPROF, SIG_DFL); /* ends this process */
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(WALL_S);
    if (setitimer(ITIMER_PROF, &budget, NULL))
        return STATUS_BROKEN;
    while (ioctl(cpu, KVM_RUN, 0L) < 0 && errno == EINTR)
        ;
    return run->exit_reason == KVM_EXIT_HLT ? STATUS_OK : STATUS_BROKEN;
}

enum prop_kvm prop_kvm_try(const char *device)
{
    static const enum prop_kvm of_status[] = { PROP_KVM_OK, PROP_KVM_BROKEN, PROP_KVM_DENIED,
                                               PROP_KVM_ABSENT };
    int status = 0;

    if (access(device, F_OK))
        return PROP_KVM_ABSENT;
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(run_guest(device));
    }
    if (pid < 0)
        return PROP_KVM_BROKEN;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return PROP_KVM_BROKEN;
    if (WIFSIGNALED(status))
        return PROP_KVM_EMULATED;
    return (size_t)WEXITSTATUS(status) < 4 ? of_status[WEXITSTATUS(status)] : PROP_KVM_BROKEN;
}
