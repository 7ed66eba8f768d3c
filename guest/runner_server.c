/* The fork server: one thread, no secret, a loop over requests, children and their ends. */
#include "guest/runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/wasm.h"
#include "guest/runner_child.h"
#include "guest/runner_server.h"
#include "util/mem.h"
#include "util/secret.h"

struct job {
    pid_t pid;
    int ctl;
};

struct server {
    struct runner_house house;
    int signals;       /* signalfd of SIGCHLD */
    int swaps;         /* prop_sandbox_watch_swap */
    struct job *jobs;
    struct pollfd *polls; /* [0] control, [1] signals, then one per job */
    size_t n_jobs, room;
};

static void tell(int ctl, const struct runner_event *event, int fd)
{
    /* who does not read what it was promised has gone away */
    (void)runner_send(ctl, event, sizeof *event, &fd, fd >= 0 ? 1 : 0, MSG_DONTWAIT);
}

/* ---- children -------------------------------------------------------------------------------- */

static void become_child(const struct server *s, const struct runner_request *req, const int *fds)
{
    sigset_t none; /* what the server ignores its children ignore too */

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    runner_child(&s->house, req, fds);
}

static bool make_room(struct server *s)
{
    if (s->n_jobs < s->room)
        return true;
    size_t room = s->room ? 2 * s->room : 16;
    struct job *jobs = prop_realloc_array(s->jobs, room, sizeof *jobs);
    if (jobs)
        s->jobs = jobs;
    struct pollfd *polls = prop_realloc_array(s->polls, room + 2, sizeof *polls);
    if (polls)
        s->polls = polls;
    if (!jobs || !polls)
        return false;
    s->room = room;
    return true;
}

static void start(struct server *s, const struct runner_request *req, const int *fds)
{
    struct runner_event event = {.magic = RUNNER_MAGIC, .kind = RUNNER_STARTED};
    s->house.swap = prop_sandbox_has_swap(s->swaps);
    pid_t pid = make_room(s) ? fork() : -1;

    if (pid == 0)
        become_child(s, req, fds);
    if (pid < 0) {
        event.kind = RUNNER_ENDED;
        event.failed = errno ? errno : ENOMEM;
        tell(fds[RUNNER_FD_CTL], &event, -1);
        (void)close(fds[RUNNER_FD_CTL]);
        return;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    event.pid = pid;
    tell(fds[RUNNER_FD_CTL], &event, pidfd);
    if (pidfd >= 0)
        (void)close(pidfd);
    s->jobs[s->n_jobs++] = (struct job){pid, fds[RUNNER_FD_CTL]};
}

/* The child leads its group, and its number is nobody else's until it was waited for. */
static void kill_group(pid_t pid)
{
    (void)kill(-pid, SIGKILL);
    (void)kill(pid, SIGKILL); /* it may not have made its group yet */
}

static void ended(struct server *s, pid_t pid)
{
    struct runner_event event = {.magic = RUNNER_MAGIC, .kind = RUNNER_ENDED, .pid = pid};
    int status = 0;

    (void)kill(-pid, SIGKILL); /* what it may have left behind */
    if (waitpid(pid, &status, 0) != pid)
        return;
    event.status = status;
    for (size_t i = 0; i < s->n_jobs; i++)
        if (s->jobs[i].pid == pid) {
            if (s->jobs[i].ctl >= 0) {
                tell(s->jobs[i].ctl, &event, -1);
                (void)close(s->jobs[i].ctl);
            }
            s->jobs[i] = s->jobs[--s->n_jobs];
            return;
        }
}

static void reap(struct server *s)
{
    struct signalfd_siginfo info[16];
    siginfo_t child;

    while (read(s->signals, info, sizeof info) == (ssize_t)sizeof info)
        ;
    for (;;) {
        child.si_pid = 0;
        if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) || child.si_pid == 0)
            return;
        ended(s, child.si_pid);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static _Noreturn void leave(struct server *s, int status)
{
    for (size_t i = 0; i < s->n_jobs; i++)
        kill_group(s->jobs[i].pid);
    _exit(status);
}

static void take_request(struct server *s)
{
    struct runner_request req;
    int fds[RUNNER_MAX_FDS];
    size_t n = RUNNER_MAX_FDS;
    ssize_t got = runner_recv(RUNNER_CONTROL_FD, &req, sizeof req, fds, &n, 0);
    size_t want = RUNNER_N_FDS - 1;

    if (got <= 0)
        leave(s, 0); /* the caller is gone */
    if (got == (ssize_t)sizeof req && req.has_stdin)
        want = RUNNER_N_FDS;
    if (got != (ssize_t)sizeof req || req.magic != RUNNER_MAGIC || n != want ||
        req.what < RUNNER_COMPILE || req.what > RUNNER_EXTERNAL)
        leave(s, 70);
    start(s, &req, fds);
    for (size_t i = RUNNER_FD_CTL + 1; i < n; i++)
        (void)close(fds[i]);
}

static void serve(struct server *s)
{
    for (;;) {
        s->polls[0] = (struct pollfd){RUNNER_CONTROL_FD, POLLIN, 0};
        s->polls[1] = (struct pollfd){s->signals, POLLIN, 0};
        size_t n = s->n_jobs;
        for (size_t i = 0; i < n; i++)
            s->polls[2 + i] = (struct pollfd){s->jobs[i].ctl, 0, 0};
        if (poll(s->polls, (nfds_t)(n + 2), -1) < 0 && errno != EINTR)
            leave(s, 70);
        for (size_t i = 0; i < n; i++)
            if (s->polls[2 + i].revents) { /* nobody waits for it any more */
                kill_group(s->jobs[i].pid);
                (void)close(s->jobs[i].ctl);
                s->jobs[i].ctl = -1;
            }
        if (s->polls[1].revents)
            reap(s);
        if (s->polls[0].revents)
            take_request(s);
    }
}

/* ---- its beginning --------------------------------------------------------------------------- */

static void ignore_signals(struct server *s)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    sigset_t set;

    /* A stop is the caller's to decide, also where a signal is sent to everybody. */
    for (size_t i = 0; i < PROP_ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* HELLO: a text with the guests' names of the folders, one after another, and the folders. */
static int take_hello(struct server *s, bool *ret_external, struct prop_err *err)
{
    struct {
        struct runner_request req;
        char names[8192];
    } hello;
    size_t n = RUNNER_MAX_FDS;
    int fds[RUNNER_MAX_FDS];
    ssize_t got = runner_recv(RUNNER_CONTROL_FD, &hello, sizeof hello, fds, &n, 0);

    if (got < (ssize_t)sizeof hello.req || hello.req.magic != RUNNER_MAGIC ||
        hello.req.what != RUNNER_HELLO || n > RUNNER_MAX_DIRS)
        return prop_err_set(err, PROP_E_BUG, "the runner was not greeted");
    size_t left = (size_t)got - sizeof hello.req;
    const char *at = hello.names;
    for (size_t i = 0; i < n; i++) {
        const char *end = memchr(at, 0, left);
        if (!end)
            return prop_err_set(err, PROP_E_BUG, "the runner was not greeted");
        s->house.dirs[i].guest = prop_strdup(at);
        s->house.dir_fds[i] = fds[i];
        if (!s->house.dirs[i].guest)
            return prop_err_nomem(err);
        left -= (size_t)(end + 1 - at);
        at = end + 1;
    }
    s->house.n_dirs = n;
    *ret_external = hello.req.external != 0;
    return 0;
}

static int prepare(struct server *s, struct runner_event *event, struct prop_err *err)
{
    struct rlimit files;
    bool external = false;
    struct prop_sandbox_walls walls = {false, false};
    int rc = take_hello(s, &external, err);

    if (rc)
        return rc;
    s->house.pid = getpid();
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    s->swaps = prop_sandbox_watch_swap();
    prop_sandbox_isolate(s->house.dir_fds, s->house.n_dirs, external, &walls);
    prop_secret_harden_process();
    event->network = walls.network;
    event->files = walls.files;
    event->swap = prop_sandbox_has_swap(s->swaps) && !prop_sandbox_may_lock();
    rc = prop_sandbox_new(&s->house.sandbox, err);
    if (rc == 0 && !external)
        prop_wasm_prepare();
    return rc == 0 && !make_room(s) ? prop_err_nomem(err) : rc;
}

_Noreturn static void server_main(void)
{
    static struct server s;
    struct runner_event event = {.magic = RUNNER_MAGIC, .kind = RUNNER_READY};
    struct prop_err err = PROP_ERR_INIT;

    ignore_signals(&s);
    if (prepare(&s, &event, &err)) {
        event.failed = err.code;
        (void)snprintf(event.message, sizeof event.message, "%s", err.message);
    }
    tell(RUNNER_CONTROL_FD, &event, -1);
    if (event.failed)
        _exit(1);
    serve(&s);
    _exit(70);
}

static bool is_our_socket(int fd)
{
    int type = 0;
    int domain = 0;
    socklen_t size = sizeof type;

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

void prop_runner_main(int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], RUNNER_ARGV0) == 0 && is_our_socket(RUNNER_CONTROL_FD))
        server_main();
}
