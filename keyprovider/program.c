/* One poll loop feeds the program and reads both of its outputs, so that neither side can wait for
 * the other for ever. */
#include "keyprovider/program.h"

#include "keyprovider/message.h"
#include "keyprovider/pot.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STDERR_KEPT = 8 << 10, TICK_MS = 100, CHUNK = 16 << 10 };

extern char **environ;

struct program {
    pid_t pid; /* 0 = not running */
    int in, out, errs, ended; /* our ends; -1 = closed. `ended` is readable once it exited */
    int status;
    const struct prop_secret *input;
    size_t sent;
    struct prop_kp_pot output;
    struct prop_buf talk;
    uint64_t deadline;
    const char *name;
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* --- starting --------------------------------------------------------------------------------- */

struct pipes {
    int in[2], out[2], errs[2];
};

static void pipes_close(struct pipes *p)
{
    for (int i = 0; i < 2; i++) {
        close_end(&p->in[i]);
        close_end(&p->out[i]);
        close_end(&p->errs[i]);
    }
}

static int pipes_open(struct pipes *p, struct prop_err *err)
{
    *p = (struct pipes){ { -1, -1 }, { -1, -1 }, { -1, -1 } };
    if (pipe2(p->in, O_CLOEXEC) == 0 && pipe2(p->out, O_CLOEXEC) == 0 &&
        pipe2(p->errs, O_CLOEXEC) == 0 && fcntl(p->in[1], F_SETFL, O_NONBLOCK) == 0 &&
        fcntl(p->out[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(p->errs[0], F_SETFL, O_NONBLOCK) == 0)
        return 0;
    int rc = prop_err_sys(err, PROP_E_IO, "pipe");
    pipes_close(p);
    return rc;
}

/* What the child begins with: the default for SIGPIPE, which tools ignore, nothing blocked, and no
 * descriptor of ours, whoever opened it without O_CLOEXEC. */
static int spawn(const struct pipes *p, const char *const *argv, pid_t *ret)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t defaults, none;
    char *const *args = (char *const *)(uintptr_t)argv; /* posix_spawn lacks the const */
    (void)sigemptyset(&none);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    if (posix_spawn_file_actions_init(&fa) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&attr) != 0) {
        (void)posix_spawn_file_actions_destroy(&fa);
        return ENOMEM;
    }
    int rc = posix_spawn_file_actions_adddup2(&fa, p->in[0], STDIN_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&fa, p->out[1], STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&fa, p->errs[1], STDERR_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&fa, STDERR_FILENO + 1);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(&attr, &defaults);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(&attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    if (rc == 0)
        rc = posix_spawnp(ret, argv[0], &fa, &attr, args, environ);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&fa);
    return rc;
}

static int start(struct program *p, const char *const *argv, struct prop_err *err)
{
    struct pipes pipes;
    int rc = pipes_open(&pipes, err);
    if (rc != 0)
        return rc;
    int failed = spawn(&pipes, argv, &p->pid);
    if (failed != 0) {
        pipes_close(&pipes);
        errno = failed;
        bool missing = failed == ENOENT || failed == ENOTDIR;
        rc = prop_err_sys(err, missing ? PROP_E_NOTFOUND : PROP_E_IO, "run '%s'", p->name);
        if (missing && err)
            err->id = "provider-missing";
        return rc;
    }
    p->in = pipes.in[1];
    p->out = pipes.out[0];
    p->errs = pipes.errs[0];
    pipes.in[1] = pipes.out[0] = pipes.errs[0] = -1;
    pipes_close(&pipes);
    p->ended = pidfd_open(p->pid, 0); /* without it (old kernels) the ticks find out */
    return 0;
}

/* --- talking ---------------------------------------------------------------------------------- */

static void feed(struct program *p)
{
    size_t left = prop_secret_len(p->input) - p->sent;
    ssize_t n = write(p->in, prop_secret_data(p->input) + p->sent, left);
    if (n > 0)
        p->sent += (size_t)n;
    /* One that answers without reading all of it is fine. */
    if (p->sent == prop_secret_len(p->input) || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_end(&p->in);
}

/* Read what is there from one of its outputs; the end, or a failure, closes it. */
static ssize_t drain(int *fd, uint8_t *bytes)
{
    ssize_t n = read(*fd, bytes, CHUNK);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_end(fd);
    return n;
}

static int read_output(struct program *p, struct prop_err *err)
{
    uint8_t bytes[CHUNK];
    int rc = 0;
    ssize_t n = drain(&p->out, bytes);
    if (n > 0)
        rc = prop_kp_pot_add(&p->output, bytes, (size_t)n, err);
    prop_wipe(bytes, sizeof bytes);
    if (rc == PROP_E_LIMIT)
        return prop_err_set_id(err, PROP_E_REMOTE, "provider-failed",
                               "'%s' wrote more than %u bytes", p->name, PROP_KP_LIMIT_MESSAGE);
    return rc;
}

static void read_talk(struct program *p)
{
    uint8_t bytes[CHUNK];
    ssize_t n = drain(&p->errs, bytes);
    size_t room = p->talk.max - p->talk.len;
    if (n > 0) /* the rest of a long lament is read and left out */
        (void)prop_buf_add(&p->talk, bytes, (size_t)n < room ? (size_t)n : room, NULL);
}

static int wait_for_io(struct program *p, struct prop_err *err)
{
    struct pollfd fds[4] = {
        { p->in, POLLOUT, 0 }, { p->out, POLLIN, 0 }, { p->errs, POLLIN, 0 },
        { p->ended, POLLIN, 0 },
    };
    int rc = prop_stop_check(err);
    if (rc != 0)
        return rc;
    if (prop_now_ms() >= p->deadline)
        return prop_err_set_id(err, PROP_E_NETWORK, "provider-timeout",
                               "'%s' did not answer in time", p->name);
    if (poll(fds, PROP_ARRAY_LEN(fds), TICK_MS) <= 0) /* a negative descriptor is passed over */
        return 0;
    if (fds[0].revents)
        feed(p);
    if (fds[1].revents)
        rc = read_output(p, err);
    if (fds[2].revents)
        read_talk(p);
    return rc;
}

/* Has it ended? Its status is taken then. */
static bool has_ended(struct program *p)
{
    pid_t got = waitpid(p->pid, &p->status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR))
        return false;
    if (got < 0)
        p->status = -1; /* somebody else took it */
    p->pid = 0;
    return true;
}

static int converse(struct program *p, struct prop_err *err)
{
    int rc = 0;
    while (rc == 0 && !has_ended(p))
        rc = wait_for_io(p, err);
    /* What it left in the pipes; a grandchild may hold them open and write on. */
    for (size_t had = SIZE_MAX; rc == 0 && p->out >= 0 && p->output.len != had;) {
        had = p->output.len;
        rc = read_output(p, err);
    }
    for (size_t had = SIZE_MAX; p->errs >= 0 && p->talk.len != had;) {
        had = p->talk.len;
        read_talk(p);
    }
    return rc;
}

static void release(struct program *p)
{
    if (p->pid > 0) {
        (void)kill(p->pid, SIGKILL);
        while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR)
            ;
    }
    close_end(&p->in);
    close_end(&p->out);
    close_end(&p->errs);
    close_end(&p->ended);
    prop_kp_pot_release(&p->output);
    prop_buf_release(&p->talk);
}

/* Its last words, without the line ends around them. */
static int failed(struct program *p, struct prop_err *err)
{
    const char *talk = prop_buf_str(&p->talk);
    size_t len = p->talk.len;
    char how[48], said[400];
    while (len && strchr(" \t\r\n", talk[len - 1]))
        len--;
    if (p->status >= 0 && WIFSIGNALED(p->status))
        (void)snprintf(how, sizeof how, "ended by signal %d", WTERMSIG(p->status));
    else
        (void)snprintf(how, sizeof how, "exit %d", p->status < 0 ? -1 : WEXITSTATUS(p->status));
    (void)prop_printable(talk, len, said, sizeof said);
    return prop_err_set_id(err, PROP_E_REMOTE, "provider-failed", "'%s': %s%s%s", p->name, how,
                           said[0] ? ": " : "", said);
}

/* SIGPIPE of our writes, whatever the process does with it: held back here, and taken away. */
static bool pipe_signal_hold(sigset_t *old)
{
    sigset_t pipe_only, pending;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, old);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void pipe_signal_release(bool was_pending, const sigset_t *old)
{
    static const struct timespec at_once = { 0, 0 };
    sigset_t pipe_only;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    while (!was_pending && sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
        ;
    (void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

int prop_kp_program_run(const char *const *argv, const struct prop_secret *input,
                        uint64_t timeout_ms, struct prop_secret **ret_output, struct prop_err *err)
{
    struct program p = {
        .in = -1, .out = -1, .errs = -1, .ended = -1, .name = argv[0], .input = input,
        .output = PROP_KP_POT_INIT(PROP_KP_LIMIT_MESSAGE),
        .talk = PROP_BUF_INIT(STDERR_KEPT),
        .deadline = prop_now_ms() + timeout_ms,
    };
    sigset_t old;
    bool was_pending = pipe_signal_hold(&old);
    int rc = start(&p, argv, err);
    if (rc == 0)
        rc = converse(&p, err);
    if (rc == 0 && (p.status < 0 || !WIFEXITED(p.status) || WEXITSTATUS(p.status) != 0))
        rc = failed(&p, err);
    if (rc == 0)
        rc = prop_kp_pot_take(&p.output, ret_output, err);
    release(&p);
    pipe_signal_release(was_pending, &old);
    return rc;
}
