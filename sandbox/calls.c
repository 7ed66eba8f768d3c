/* The system calls that are left to each role, and why. */
#include "sandbox/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "util/mem.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* Names, not numbers: what an architecture or an old libseccomp does not know is left out. */
static int each(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);
        int rc = call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(ctx, action, call, 0);
        if (rc && rc != -EDOM) /* not a call of this architecture */
            return rc;
    }
    return 0;
}
#define EACH(ctx, action, list) each(ctx, action, list, PROP_ARRAY_LEN(list))

/* Memory, threads, time, and descriptors that are open: what any computation needs. */
static const char *const computing[] = {
    "read", "write", "readv", "writev", "close", "lseek", "pread64",
    "munmap", "mremap", "madvise", "brk",
    "futex", "sched_yield", "sched_getaffinity", "set_robust_list", "rseq", "gettid", "getpid",
    "getppid", "exit", "exit_group", "restart_syscall",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "getrandom", "poll", "ppoll", "membarrier",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2",
};

/* What libraries try, and do without: which processors, which limits, what kind of file, a socket
 * for a component that asks for one (it is told "access denied"). */
static const char *const harmless[] = {
    "open", "openat", "openat2", "stat", "lstat", "fstat", "newfstatat", "statx", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "ioctl", "uname", "sysinfo",
    "getuid", "geteuid", "getgid", "getegid", "getrlimit", "prlimit64", "getrusage", "mlock",
    "munlock", "socket", "sched_setaffinity", "sched_getparam", "sched_getscheduler", "mincore", "fadvise64",
    /* by these a process ends itself; without them abort() ends it by a trap */
    "tgkill", "tkill", "kill",
};

/* Opening what Landlock leaves, to look at it and to read it. */
static const char *const loading[] = {
    "open", "openat", "stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat",
};

/* The files of folders that were granted. */
static const char *const files[] = {
    "open", "openat", "openat2", "stat", "lstat", "fstat", "newfstatat", "statx", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64", "pwrite64",
    "preadv", "pwritev", "preadv2", "pwritev2", "ftruncate", "fallocate", "fadvise64", "fsync",
    "fdatasync", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat",
    "renameat2", "link", "linkat", "symlink", "symlinkat", "utimensat", "futimesat", "umask",
    "copy_file_range", "sendfile", "fstatfs", "statfs", "flock",
};

/* What no program that runs modules has to do. */
static const char *const administration[] = {
    "setsid", "setpgid", /* it would leave the group that is killed */
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise",
    "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr", "unshare", "setns", "bpf", "perf_event_open",
    "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key",
    "request_key", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "settimeofday",
    "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname", "iopl", "ioperm",
    "syslog", "nfsservctl", "vhangup", "name_to_handle_at", "open_by_handle_at", "personality",
    "memfd_secret", "fanotify_init", "lookup_dcookie",
};

/* clone() makes threads only; clone3(), whose flags a filter cannot see, "does not exist", which
 * the C library answers by clone(). */
static int threads(scmp_filter_ctx ctx)
{
    const unsigned long flags = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, flags, flags));

    return rc ? rc : seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

/* Code that is in memory stays as it is, and nothing else becomes code. */
static int memory(scmp_filter_ctx ctx, bool executable)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(pkey_mprotect)};

    for (size_t i = 0; i < PROP_ARRAY_LEN(calls); i++) {
        int rc = executable
                     ? seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0)
                     : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 1,
                                        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        if (rc)
            return rc;
    }
    return 0;
}

/* Of these only the forms that touch nobody else: fcntl() could also send signals. */
static int parts(scmp_filter_ctx ctx)
{
    static const int commands[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};
    static const unsigned long options[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(commands); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(options); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, options[i]));
    return rc;
}

/* Closing the next door: calls that only give something up. */
static int closing(scmp_filter_ctx ctx)
{
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(seccomp), 2,
                              SCMP_A0(SCMP_CMP_EQ, SECCOMP_SET_MODE_FILTER),
                              SCMP_A1(SCMP_CMP_EQ, 0));

    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 2,
                              SCMP_A0(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS),
                              SCMP_A1(SCMP_CMP_EQ, 1));
    return rc ? rc : seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 2,
                                      SCMP_A0(SCMP_CMP_EQ, PR_SET_DUMPABLE),
                                      SCMP_A1(SCMP_CMP_EQ, 0));
}

/* What is allowed beyond computing, and "does not work" for the rest of what libraries try. */
static int harmless_rules(scmp_filter_ctx ctx, const char *const *allowed, size_t n)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = each(ctx, SCMP_ACT_ALLOW, &allowed[i], 1);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(harmless); i++) {
        bool taken = false;
        for (size_t j = 0; j < n; j++)
            taken = taken || strcmp(harmless[i], allowed[j]) == 0;
        if (!taken)
            rc = each(ctx, SCMP_ACT_ERRNO(EACCES), &harmless[i], 1);
    }
    return rc;
}

static int guest_rules(scmp_filter_ctx ctx, enum prop_sandbox_role role)
{
    bool loads = role == PROP_SANDBOX_LOAD || role == PROP_SANDBOX_LOAD_DIRS;
    bool dirs = role == PROP_SANDBOX_RUN_DIRS || role == PROP_SANDBOX_LOAD_DIRS;
    int rc = EACH(ctx, SCMP_ACT_ALLOW, computing);

    if (rc == 0)
        rc = harmless_rules(ctx, dirs ? files : loading,
                            dirs ? PROP_ARRAY_LEN(files) : loads ? PROP_ARRAY_LEN(loading) : 0);
    if (rc == 0)
        rc = threads(ctx);
    if (rc == 0)
        rc = memory(ctx, loads || role == PROP_SANDBOX_COMPILE);
    if (rc == 0 && loads)
        rc = closing(ctx);
    return rc ? rc : parts(ctx);
}

/* New namespaces come with rights in them. clone3() as above. */
static int no_namespaces(scmp_filter_ctx ctx)
{
    static const scmp_datum_t flags[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWNET,   CLONE_NEWPID,
                                         CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP};
    int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(flags); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
    return rc;
}

/* A filter sees 64 bits where the kernel takes an int, so what is refused is all that is not exactly
 * the one family that is left: a list of families would be passed by with a bit above the 32nd. */
static int no_network(scmp_filter_ctx ctx)
{
    static const int calls[] = {SCMP_SYS(socket), SCMP_SYS(socketpair)};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(calls); i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EACCES), calls[i], 1,
                              SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    return rc;
}

static int program_rules(scmp_filter_ctx ctx)
{
    int rc = EACH(ctx, SCMP_ACT_ERRNO(EPERM), administration);

    if (rc == 0)
        rc = no_namespaces(ctx);
    return rc ? rc : no_network(ctx);
}

int prop_sandbox_rules(scmp_filter_ctx ctx, enum prop_sandbox_role role)
{
    return role == PROP_SANDBOX_PROGRAM ? program_rules(ctx) : guest_rules(ctx, role);
}
