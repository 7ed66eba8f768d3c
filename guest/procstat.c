/* /proc and the control group's files. */
#include "guest/procstat.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "util/file.h"

/* A small file of the kernel's as text; "" when it cannot be read. */
static bool read_small(const char *path, char *out, size_t size)
{
    prop_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

static bool read_proc(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    return read_small(path, out, size);
}

/* proc(5): behind the last ")" come the fields from the third on. */
static bool read_stat(pid_t pid, struct prop_procstat *ret)
{
    char text[1024];
    double tick = (double)sysconf(_SC_CLK_TCK);
    unsigned long long user = 0, sys = 0;
    long long threads = 0, pages = 0;

    if (!read_proc(pid, "stat", text, sizeof text))
        return false;
    const char *p = strrchr(text, ')');
    if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
                            "%lld %*d %*u %*u %lld", &user, &sys, &threads, &pages) != 4)
        return false;
    ret->user_s = tick > 0 ? (double)user / tick : 0;
    ret->system_s = tick > 0 ? (double)sys / tick : 0;
    ret->threads = threads > 0 ? (uint64_t)threads : 0;
    ret->rss_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    return true;
}

static uint64_t member(const char *text, const char *name)
{
    const char *p = strstr(text, name);

    return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

static uint64_t count_descriptors(pid_t pid)
{
    char path[64];
    uint64_t n = 0;

    (void)snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n > 2 ? n - 2 : 0; /* "." and ".." */
}

bool prop_procstat_read(pid_t pid, struct prop_procstat *ret)
{
    struct prop_procstat p = { .user_s = 0 };
    char io[512];

    if (!read_stat(pid, &p))
        return false;
    if (read_proc(pid, "io", io, sizeof io)) {
        p.read_bytes = member(io, "\nread_bytes: ");
        p.write_bytes = member(io, "\nwrite_bytes: ");
    }
    p.descriptors = count_descriptors(pid);
    *ret = p;
    return true;
}

uint64_t prop_procstat_total_memory(void)
{
    struct sysinfo info;

    return sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
}

void prop_procstat_container(uint64_t *ret_usage, uint64_t *ret_limit)
{
    char text[64];

    *ret_usage = *ret_limit = 0;
    if (read_small("/sys/fs/cgroup/memory.current", text, sizeof text))
        *ret_usage = strtoull(text, NULL, 10);
    if (*ret_usage && read_small("/sys/fs/cgroup/memory.max", text, sizeof text))
        *ret_limit = strtoull(text, NULL, 10); /* "max" is 0: none */
}
