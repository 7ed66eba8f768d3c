/* What a child gives up before it looks at anything: session, descriptors, environment, resources. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/secret.h"

/* The sanitizers reserve terabytes, and report through their own descriptors. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

/* `more`: how far the hard limit lies above, for those that speak before they kill. */
static int set_limit(int what, uint64_t value, uint64_t more, const char *name,
                     struct prop_err *err)
{
    struct rlimit now;
    struct rlimit want;

    if (getrlimit((__rlimit_resource_t)what, &now))
        return prop_err_sys(err, PROP_E_IO, "%s", name);
    want.rlim_cur = value < now.rlim_max ? (rlim_t)value : now.rlim_max;
    want.rlim_max = value + more < now.rlim_max ? (rlim_t)(value + more) : now.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &want) ? prop_err_sys(err, PROP_E_IO, "%s", name)
                                                       : 0;
}

static int set_limits(const struct prop_sandbox_limits *l, struct prop_err *err)
{
    int rc = set_limit(RLIMIT_CORE, PROP_SECRET_CORE_LIMIT, 0, "RLIMIT_CORE", err);

    if (rc == 0 && !SANITIZED)
        rc = set_limit(RLIMIT_FSIZE, l->file_size, 0, "RLIMIT_FSIZE", err);
    if (rc == 0)
        rc = set_limit(RLIMIT_NOFILE, l->files, 0, "RLIMIT_NOFILE", err);
    if (rc == 0 && l->memory && !SANITIZED)
        rc = set_limit(RLIMIT_DATA, l->memory, 0, "RLIMIT_DATA", err);
    if (rc == 0 && l->cpu_ms)
        rc = set_limit(RLIMIT_CPU, l->cpu_ms / 1000 + 1, 5, "RLIMIT_CPU", err);
    return rc;
}

int prop_sandbox_limit(const struct prop_sandbox_limits *limits, pid_t parent,
                       struct prop_err *err)
{
    if (setsid() < 0 && getpgrp() != getpid())
        return prop_err_sys(err, PROP_E_IO, "a session of its own");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return prop_err_sys(err, PROP_E_UNSUPPORTED, "no new privileges");
    if (getppid() != parent) /* it died before its death could be told */
        return prop_err_set(err, PROP_E_INTERRUPTED, "the parent is gone");
    (void)signal(SIGXFSZ, SIG_IGN); /* a write that is too long fails; it does not kill */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)clearenv();
    return set_limits(limits, err);
}

int prop_sandbox_close_fds(const int *keep, size_t n_keep, struct prop_err *err)
{
    unsigned from = 0;

    for (size_t i = 0; i < n_keep; i++) {
        unsigned fd = (unsigned)keep[i];
        if (fd > from && close_range(from, fd - 1, 0))
            return prop_err_sys(err, PROP_E_IO, "close descriptors");
        from = fd + 1;
    }
    return close_range(from, ~0u, 0) ? prop_err_sys(err, PROP_E_IO, "close descriptors") : 0;
}

/* /proc/swaps is a header line, and one line more for each device. */
int prop_sandbox_watch_swap(void)
{
    return open("/proc/swaps", O_RDONLY | O_CLOEXEC);
}

bool prop_sandbox_has_swap(int watch)
{
    char text[512];
    ssize_t n = watch < 0 ? 0 : pread(watch, text, sizeof text, 0);
    const char *nl = n > 0 ? memchr(text, '\n', (size_t)n) : NULL;

    return nl && nl + 1 < text + n;
}

bool prop_sandbox_may_lock(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    /* With a finite limit later allocations would fail one day: all or nothing. */
    return setrlimit(RLIMIT_MEMLOCK, &limit) == 0 ||
           (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
}

bool prop_sandbox_lock_memory(void)
{
    return prop_sandbox_may_lock() && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}
