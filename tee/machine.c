/* The machine we run on. In a file of its own: test programs put another one in its place. */
#include "tee/machine.h"

#include "tee/tsm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

enum { CONFIGFS_MAGIC = 0x62656570, QUOTE_SECONDS = 30 };

static int open_device(const char *path)
{
    return open(path, O_RDWR | O_CLOEXEC);
}

static int device_ioctl(int fd, unsigned long code, void *arg)
{
    return ioctl(fd, code, arg) < 0 ? -1 : 0;
}

/* The file's offset is the register's number (msr(4)). */
static int read_msr(const char *path, uint32_t msr, uint64_t *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = pread(fd, ret, sizeof(*ret), (off_t)msr);
    int number = n < 0 ? errno : EIO;
    (void)close(fd);
    errno = number;
    return n == (ssize_t)sizeof(*ret) ? 0 : -1;
}

static bool cpuid(uint32_t leaf, uint32_t ret[4])
{
#if defined(__x86_64__) || defined(__i386__)
    __cpuid_count(leaf, 0, ret[0], ret[1], ret[2], ret[3]);
    return true;
#else
    (void)leaf;
    (void)ret;
    return false;
#endif
}

static bool is_configfs(const char *path)
{
    struct statfs s;
    return statfs(path, &s) == 0 && (unsigned long)s.f_type == CONFIGFS_MAGIC;
}

static int connect_host(unsigned port)
{
    struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port };
    struct timeval limit = { .tv_sec = QUOTE_SECONDS };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
        connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    int number = errno;
    (void)close(fd);
    errno = number;
    return -1;
}

static void pause_ms(unsigned ms)
{
    struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000L };
    (void)nanosleep(&t, NULL);
}

const struct prop_tee_calls prop_tee_real_calls = {
    .open = open_device,
    .close = close,
    .ioctl = device_ioctl,
    .read_msr = read_msr,
    .cpuid = cpuid,
    .is_configfs = is_configfs,
    .connect_host = connect_host,
    .pause = pause_ms,
};

struct prop_tee_machine prop_tee_machine_here(void)
{
    const char *aael = getenv("AAEL_PATH");
    return (struct prop_tee_machine){
        .tsm_root = PROP_TSM_ROOT,
        .sev_guest = "/dev/sev-guest",
        .tdx_guest = "/dev/tdx_guest",
        .ccel = "/sys/firmware/acpi/tables/data/CCEL",
        .aael = aael && *aael ? aael : "/run/attestation-agent/eventlog",
        .sev_platform = "/sys/devices/platform/sev-guest",
        .measurements = "/sys/devices/virtual/misc/tdx_guest/measurements",
        .configfs = PROP_CONFIGFS,
        .cpuinfo = "/proc/cpuinfo",
        .msr = "/dev/cpu/0/msr",
        .calls = &prop_tee_real_calls,
    };
}
