#include "vm/init.h"

#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/mem.h"

uint64_t prop_init_uptime_ms(void)
{
    struct timespec t = {.tv_sec = 0};

    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void take_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    for (int i = 0; fd >= 0 && i < 3; i++)
        if (fd != i)
            (void)dup2(fd, i);
    if (fd > 2)
        (void)close(fd);
}

int prop_init_mounts(struct prop_err *err)
{
    static const struct {
        const char *type, *at, *data;
        unsigned long flags;
    } mounts[] = {
        { "devtmpfs", "/dev", "mode=0755", MS_NOSUID | MS_NOEXEC },
        { "proc", "/proc", NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV },
        { "sysfs", "/sys", NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV },
        { "tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV | MS_NOEXEC },
        { "tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV | MS_NOEXEC },
    };

    for (size_t i = 0; i < PROP_ARRAY_LEN(mounts); i++)
        if (mount(mounts[i].type, mounts[i].at, mounts[i].type, mounts[i].flags, mounts[i].data) != 0 &&
            errno != EBUSY) {
            (void)prop_err_sys(err, PROP_E_IO, "mount '%s'", mounts[i].at);
            if (err)
                err->id = "init-mount";
            return PROP_E_IO;
        }
    take_console();
    (void)mkdir("/dev/shm", 01777);
    (void)mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777");
    return prop_mkdir_p(PROP_GUEST_RUN, 0700, err);
}

void prop_init_configfs(void)
{
    (void)mount("configfs", "/sys/kernel/config", "configfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
}

void prop_init_harden(void)
{
    static const struct { const char *file, *value; } settings[] = {
        { "/proc/sys/kernel/core_pattern", "|/bin/false" }, /* no such program: nothing is written */
        { "/proc/sys/kernel/sysrq", "0" },
        { "/proc/sys/kernel/kptr_restrict", "2" },
        { "/proc/sys/kernel/dmesg_restrict", "1" },
        { "/proc/sys/kernel/perf_event_paranoid", "3" },
        { "/proc/sys/kernel/yama/ptrace_scope", "2" },
        { "/proc/sys/kernel/kexec_load_disabled", "1" },
        { "/proc/sys/kernel/unprivileged_bpf_disabled", "1" },
        { "/proc/sys/kernel/modules_disabled", "1" },
        { "/proc/sys/net/ipv4/ip_forward", "0" },
        { "/proc/sys/net/ipv4/conf/all/accept_redirects", "0" },
        { "/proc/sys/net/ipv4/conf/all/rp_filter", "1" },
        { "/proc/sys/net/ipv6/conf/all/accept_ra", "0" }, /* only IPv4 is set up here */
    };
    const struct rlimit none = { 0, 0 };

    for (size_t i = 0; i < PROP_ARRAY_LEN(settings); i++) {
        int fd = open(settings[i].file, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        (void)prop_write_all(fd, settings[i].value, strlen(settings[i].value));
        (void)close(fd);
    }
    (void)setrlimit(RLIMIT_CORE, &none);
}
