/* The sandbox: each thing that must not be possible, tried by a child of its own. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

static struct prop_sandbox *sandbox;
static char work[] = "/tmp/prop-sandbox-XXXXXX";

/* ---- what a child tries: 0 it could, else errno ---------------------------------------------- */

#define TRY(name, call)                                                                            \
    static int name(void)                                                                          \
    {                                                                                              \
        errno = 0;                                                                                 \
        return (call) < 0 ? errno : 0;                                                             \
    }

TRY(try_open, syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY))
TRY(try_open_self, syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR))
TRY(try_create, syscall(SYS_openat, AT_FDCWD, "new", O_CREAT | O_WRONLY, 0600))
TRY(try_unlink, unlink("/tmp/x"))
TRY(try_stat, syscall(SYS_newfstatat, AT_FDCWD, "/etc", NULL, 0))
TRY(try_inet, socket(AF_INET, SOCK_STREAM, 0))
TRY(try_inet_by_bits, syscall(SYS_socket, (1ul << 32) | AF_INET, SOCK_STREAM, 0))
TRY(try_other_family, socket(AF_X25, SOCK_SEQPACKET, 0))
TRY(try_unix, socket(AF_UNIX, SOCK_STREAM, 0))
TRY(try_clone_user, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL))
TRY(try_netlink, socket(AF_NETLINK, SOCK_RAW, 0))
TRY(try_pair, socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){-1, -1}))
TRY(try_kill_parent, kill(getppid(), SIGTERM))
TRY(try_kill_all, kill(-1, 0))
TRY(try_tgkill, syscall(SYS_tgkill, 1, 1, 0))
TRY(try_queue, syscall(SYS_rt_sigqueueinfo, 1, SIGTERM, NULL))
TRY(try_ptrace, ptrace(PTRACE_ATTACH, 1, NULL, NULL))
TRY(try_traceme, ptrace(PTRACE_TRACEME, 0, NULL, NULL))
TRY(try_peek, process_vm_readv(1, NULL, 0, NULL, 0, 0))
TRY(try_poke, process_vm_writev(1, NULL, 0, NULL, 0, 0))
TRY(try_pidfd, syscall(SYS_pidfd_open, 1, 0))
TRY(try_mount, syscall(SYS_mount, "x", "/", "tmpfs", 0, NULL))
TRY(try_unshare, unshare(CLONE_NEWUSER))
TRY(try_bpf, syscall(SYS_bpf, 0, NULL, 0))
TRY(try_uring, syscall(SYS_io_uring_setup, 8, NULL))
TRY(try_memfd, memfd_create("x", 0))
TRY(try_dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
TRY(try_limits, prlimit(0, RLIMIT_DATA, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}, NULL))
TRY(try_owner, fcntl(0, F_SETOWN, 1))
TRY(try_type, ioctl(0, TIOCSTI, "x"))
TRY(try_setsid, (int)setsid())
TRY(try_setpgid, setpgid(0, 0))
TRY(try_uid, (int)syscall(SYS_setuid, 0))
TRY(try_chroot, chroot("/"))
TRY(try_keyctl, (int)syscall(SYS_keyctl, 0, 0, 0, 0, 0))
TRY(try_fork, (int)syscall(SYS_clone, SIGCHLD, 0, NULL, NULL, 0) == 0 ? (_exit(0), 0) : 0)
TRY(try_clone3, (int)syscall(SYS_clone3, NULL, 0))
TRY(try_personality, (int)syscall(SYS_personality, 0x0400000))

static int try_exec(void)
{
    static char name[] = "true";
    char *argv[] = {name, NULL};

    (void)execve("/bin/true", argv, NULL);
    return errno;
}

static int try_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? errno : 0;
}

static int try_code_later(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED || mprotect(p, 4096, PROT_READ | PROT_EXEC) ? errno : 0;
}

static int try_memory(void)
{
    void *p = mmap(NULL, 1u << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? errno : 0;
}

/* Wasmtime reserves far more than it uses */
static int try_reserve(void)
{
    void *p = mmap(NULL, 64ull << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);

    return p == MAP_FAILED ? errno : mprotect(p, 1u << 20, PROT_READ | PROT_WRITE) ? errno : 0;
}

static void *nothing(void *arg)
{
    return arg;
}

static int try_thread(void)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, nothing, NULL);

    return rc ? rc : pthread_join(t, NULL);
}

static int try_compute(void)
{
    char *p = malloc(100000);
    char random[8];
    struct timespec now;

    if (!p || syscall(SYS_getrandom, random, sizeof random, 0) != 8 ||
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now))
        return errno;
    memset(p, 1, 100000);
    free(p);
    return write(STDERR_FILENO, "", 0) < 0 ? errno : 0;
}

/* ---- children -------------------------------------------------------------------------------- */

#define SIGNAL 1000 /* + the signal that ended it */

static const struct prop_sandbox_limits limits = {
    .memory = 512u << 20, .cpu_ms = 20000, .file_size = 0, .files = 32};

static int wait_for(pid_t pid)
{
    int status = 0;

    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int in_child(enum prop_sandbox_role role, int (*attempt)(void))
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid)
        return wait_for(pid);
    if (prop_sandbox_limit(&limits, parent, NULL) || prop_sandbox_close(sandbox, role, NULL))
        _exit(99);
    _exit(attempt());
}

struct attempt {
    const char *name;
    int (*go)(void);
    int want;
};
#define ATTEMPT(f, want) { #f, f, want }
#define KILLED (SIGNAL + SIGSYS)

static void try_all(enum prop_sandbox_role role, const struct attempt *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int got = in_child(role, list[i].go);
        if (got != list[i].want)
            fail_msg("role %d, %s: %d, wanted %d", (int)role, list[i].name, got, list[i].want);
    }
}

static void test_guests(void **state)
{
    (void)state;
    static const struct attempt common[] = {
        ATTEMPT(try_compute, 0), ATTEMPT(try_thread, 0), ATTEMPT(try_inet, EACCES),
        ATTEMPT(try_unix, EACCES), ATTEMPT(try_netlink, EACCES), ATTEMPT(try_pair, KILLED),
        ATTEMPT(try_kill_parent, EACCES), ATTEMPT(try_kill_all, EACCES),
        ATTEMPT(try_tgkill, EACCES),
        ATTEMPT(try_queue, KILLED), ATTEMPT(try_ptrace, KILLED), ATTEMPT(try_traceme, KILLED),
        ATTEMPT(try_peek, KILLED), ATTEMPT(try_poke, KILLED), ATTEMPT(try_pidfd, KILLED),
        ATTEMPT(try_mount, KILLED), ATTEMPT(try_unshare, KILLED), ATTEMPT(try_bpf, KILLED),
        ATTEMPT(try_uring, KILLED), ATTEMPT(try_memfd, KILLED), ATTEMPT(try_dumpable, KILLED),
        ATTEMPT(try_limits, EACCES), ATTEMPT(try_owner, KILLED), ATTEMPT(try_type, EACCES),
        ATTEMPT(try_setsid, KILLED), ATTEMPT(try_setpgid, KILLED), ATTEMPT(try_uid, KILLED),
        ATTEMPT(try_chroot, KILLED), ATTEMPT(try_keyctl, KILLED), ATTEMPT(try_fork, KILLED),
        ATTEMPT(try_clone3, ENOSYS), ATTEMPT(try_personality, KILLED), ATTEMPT(try_exec, KILLED),
        ATTEMPT(try_open_self, EACCES),
    };
    static const struct attempt closed[] = {
        ATTEMPT(try_open, EACCES), ATTEMPT(try_create, EACCES), ATTEMPT(try_unlink, KILLED),
        ATTEMPT(try_stat, EACCES),
    };
    static const struct attempt no_code[] = {ATTEMPT(try_code, KILLED),
                                             ATTEMPT(try_code_later, KILLED)};
    static const struct attempt code[] = {ATTEMPT(try_code, 0), ATTEMPT(try_code_later, 0)};

    try_all(PROP_SANDBOX_COMPILE, common, PROP_ARRAY_LEN(common));
    try_all(PROP_SANDBOX_COMPILE, closed, PROP_ARRAY_LEN(closed));
    try_all(PROP_SANDBOX_COMPILE, code, PROP_ARRAY_LEN(code));
    try_all(PROP_SANDBOX_RUN, common, PROP_ARRAY_LEN(common));
    try_all(PROP_SANDBOX_RUN, closed, PROP_ARRAY_LEN(closed));
    try_all(PROP_SANDBOX_RUN, no_code, PROP_ARRAY_LEN(no_code));
    try_all(PROP_SANDBOX_RUN_DIRS, common, PROP_ARRAY_LEN(common) - 1); /* Landlock's */
    try_all(PROP_SANDBOX_RUN_DIRS, no_code, PROP_ARRAY_LEN(no_code));
}

static int then_run(int (*attempt)(void))
{
    return prop_sandbox_close(sandbox, PROP_SANDBOX_RUN, NULL) ? 98 : attempt();
}

static int run_open(void)
{
    return then_run(try_open);
}

static int run_code(void)
{
    return then_run(try_code);
}

/* Before it runs: files may be opened and code may come, nothing else; and the next door closes. */
static void test_loading(void **state)
{
    (void)state;
    static const struct attempt attempts[] = {
        ATTEMPT(try_compute, 0), ATTEMPT(try_open, 0), ATTEMPT(try_code, 0),
        ATTEMPT(try_inet, EACCES), ATTEMPT(try_unix, EACCES), ATTEMPT(try_kill_parent, EACCES),
        ATTEMPT(try_fork, KILLED), ATTEMPT(try_exec, KILLED), ATTEMPT(try_ptrace, KILLED),
        ATTEMPT(try_peek, KILLED), ATTEMPT(try_mount, KILLED), ATTEMPT(try_unshare, KILLED),
        ATTEMPT(try_bpf, KILLED), ATTEMPT(try_uring, KILLED), ATTEMPT(try_memfd, KILLED),
        ATTEMPT(try_dumpable, KILLED), ATTEMPT(try_unlink, KILLED), ATTEMPT(try_keyctl, KILLED),
        ATTEMPT(run_open, EACCES), ATTEMPT(run_code, KILLED),
    };

    try_all(PROP_SANDBOX_LOAD, attempts, PROP_ARRAY_LEN(attempts));
}

static int alone_then_kill_parent(void)
{
    if (!prop_sandbox_alone())
        return 97;
    if (kill(getpid(), 0) || kill(getppid(), 0) == 0)
        return 1;
    return errno;
}

static void test_alone(void **state)
{
    (void)state;
    pid_t pid = fork();

    if (pid == 0)
        _exit(alone_then_kill_parent());
    int got = wait_for(pid);
    if (got == 97)
        skip(); /* this kernel's Landlock knows no signals */
    assert_int_equal(got, EPERM);
}

static void test_other_programs(void **state)
{
    (void)state;
    static const struct attempt attempts[] = {
        ATTEMPT(try_compute, 0), ATTEMPT(try_thread, 0), ATTEMPT(try_exec, 0),
        ATTEMPT(try_inet, EACCES), ATTEMPT(try_netlink, EACCES), ATTEMPT(try_unix, 0),
        ATTEMPT(try_ptrace, EPERM), ATTEMPT(try_peek, EPERM), ATTEMPT(try_poke, EPERM),
        ATTEMPT(try_setsid, EPERM), ATTEMPT(try_setpgid, EPERM), ATTEMPT(try_mount, EPERM),
        ATTEMPT(try_unshare, EPERM), ATTEMPT(try_bpf, EPERM), ATTEMPT(try_uring, EPERM),
        ATTEMPT(try_keyctl, EPERM), ATTEMPT(try_chroot, EPERM), ATTEMPT(try_code, 0),
        ATTEMPT(try_inet_by_bits, EACCES), ATTEMPT(try_other_family, EACCES),
        ATTEMPT(try_clone_user, EPERM), ATTEMPT(try_clone3, ENOSYS), ATTEMPT(try_pair, 0),
    };

    try_all(PROP_SANDBOX_PROGRAM, attempts, PROP_ARRAY_LEN(attempts));
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int limits_hold(void)
{
    struct rlimit core;

    (void)getrlimit(RLIMIT_CORE, &core);
    if (core.rlim_max > 1 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 1;
    if (getsid(0) != getpid() || getpgrp() != getpid() || getenv("PATH"))
        return 2;
    int fd = open("written", O_CREAT | O_RDWR, 0600);
    if (fd < 0 || write(fd, "x", 1) >= 0 || errno != EFBIG)
        return 3;
    for (int i = 0; i < 64; i++)
        if (dup(0) < 0)
            return errno == EMFILE ? 0 : 4;
    return 5;
}

static void test_limits(void **state)
{
    (void)state;
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        if (chdir(work) || prop_sandbox_limit(&limits, parent, NULL))
            _exit(99);
        _exit(limits_hold());
    }
#ifndef __SANITIZE_ADDRESS__ /* which needs its terabytes, and to write what it finds */
    assert_int_equal(wait_for(pid), 0);
    assert_int_equal(in_child(PROP_SANDBOX_RUN, try_memory), ENOMEM);
#else
    (void)wait_for(pid);
    (void)try_memory;
#endif
    assert_int_equal(in_child(PROP_SANDBOX_RUN, try_reserve), 0);
}

/* The parent dies: so does the child. */
static void test_death_with_the_parent(void **state)
{
    (void)state;
    int ends[2];
    char byte = 0;

    assert_int_equal(pipe(ends), 0);
    pid_t middle = fork();
    if (middle == 0) {
        pid_t me = getpid();
        if (fork() == 0) {
            if (prop_sandbox_limit(&limits, me, NULL) || write(ends[1], "x", 1) != 1)
                _exit(99);
            for (;;)
                (void)pause();
        }
        for (;;)
            (void)pause();
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1); /* it is there */
    assert_int_equal(kill(middle, SIGKILL), 0);
    assert_int_equal(wait_for(middle), SIGNAL + SIGKILL);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody holds the pipe any more */
    (void)close(ends[0]);
}

static void test_a_parent_that_is_gone(void **state)
{
    (void)state;
    pid_t pid = fork();

    if (pid == 0)
        _exit(prop_sandbox_limit(&limits, 1 + getppid(), NULL) ? 7 : 0);
    assert_int_equal(wait_for(pid), 7);
}

static void test_descriptors(void **state)
{
    (void)state;
    pid_t pid = fork();

    if (pid == 0) {
        const int keep[] = {0, 1, 2, 7, 9};
        struct stat st;
        int bad = 0;
        for (int fd = 5; fd < 20; fd++)
            (void)dup2(0, fd);
        if (prop_sandbox_close_fds(keep, PROP_ARRAY_LEN(keep), NULL))
            _exit(99);
        for (int fd = 0; fd < 20; fd++)
            bad += (fstat(fd, &st) == 0) != (fd <= 2 || fd == 7 || fd == 9);
        _exit(bad);
    }
    assert_int_equal(wait_for(pid), 0);
}

/* ---- walls ----------------------------------------------------------------------------------- */

static bool reaches_loopback(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    /* refused would mean that there is somebody to refuse it */
    return connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == ECONNREFUSED;
}

static bool opens(const char *path)
{
    int fd = open(path, O_RDONLY);

    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static bool makes(int dir, const char *name)
{
    return openat(dir, name, O_CREAT | O_WRONLY, 0600) >= 0;
}

/* In order: what stands first is what is wrong. */
static int look_around(bool dirs, bool programs)
{
    struct prop_sandbox_walls walls = {false, false};
    int dir = open(work, O_RDONLY | O_DIRECTORY);

    prop_sandbox_isolate(&dir, dirs ? 1 : 0, programs, &walls);
    if (walls.network && reaches_loopback())
        return 1;
    if (walls.files && (opens("/etc/passwd") != programs || makes(dir, "../prop-not-here")))
        return 2;
    if (walls.files && dirs != makes(dir, dirs ? "in" : "not"))
        return 3;
    if (prctl(PR_CAPBSET_READ, 21 /* CAP_SYS_ADMIN */, 0, 0, 0) > 0 && geteuid() == 0)
        return 4;
    if (walls.files && makes(AT_FDCWD, "/tmp/prop-not-here"))
        return 5;
    return 0;
}

static void test_walls(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(look_around(i & 1, i & 2));
        assert_int_equal(wait_for(pid), 0);
    }
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(work) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[128];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/in", work);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/written", work);
    (void)unlink(path);
    return rmdir(work);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guests),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_other_programs),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_death_with_the_parent),
        cmocka_unit_test(test_a_parent_that_is_gone),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_walls),
    };
    struct prop_err err = PROP_ERR_INIT;

    if (prop_sandbox_new(&sandbox, &err)) {
        (void)fprintf(stderr, "sandbox: %s\n", err.message);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, make_folder, remove_folder);
    prop_sandbox_free(sandbox);
    return failed;
}
