#include "vm/child.h"

#include "util/file.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- starting ------------------------------------------------------------------------------ */

struct pipes {
    int out[2], err[2], why[2]; /* `why` carries errno when the program cannot be executed */
};

static void close_pipes(struct pipes *p)
{
    int *all[] = { p->out, p->err, p->why };

    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++)
            if (all[i][k] >= 0)
                (void)close(all[i][k]);
}

static int open_pipes(struct pipes *p, struct prop_err *err)
{
    *p = (struct pipes){ { -1, -1 }, { -1, -1 }, { -1, -1 } };
    if (pipe2(p->out, O_CLOEXEC) || pipe2(p->err, O_CLOEXEC) || pipe2(p->why, O_CLOEXEC))
        return prop_err_sys(err, PROP_E_IO, "make a pipe");
    return 0;
}

/* Put the descriptors in their places: first out of the way of one another, then 0, 1, 2, 3, ... */
static int place(const int *from, size_t n)
{
    int high[3 + PROP_CHILD_FDS];

    for (size_t i = 0; i < n; i++) {
        high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 64);
        if (high[i] < 0)
            return errno;
    }
    for (size_t i = 0; i < n; i++)
        if (dup2(high[i], (int)i) < 0)
            return errno;
    return 0;
}

/* In the child, up to the new program. Only what is safe after fork. */
static _Noreturn void become(const char *const *argv, const int *fds, size_t n_fds,
                             const struct pipes *p, pid_t parent)
{
    const struct rlimit no_core = { 0, 0 }; /* a core would hold the guest's memory */
    const struct sigaction as_usual = { .sa_handler = SIG_DFL };
    char *const *args = (char *const *)(uintptr_t)argv; /* execvp takes it without const */
    int all[3 + PROP_CHILD_FDS] = { open("/dev/null", O_RDONLY), p->out[1], p->err[1] };
    const int why = fcntl(p->why[1], F_DUPFD_CLOEXEC, 64); /* above what is placed */

    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* it went before the line above */
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)sigaction(SIGPIPE, &as_usual, NULL); /* being ignored would be inherited */
    for (size_t i = 0; i < n_fds; i++)
        all[3 + i] = fds[i];
    int failed = place(all, 3 + n_fds);
    (void)close_range((unsigned)(3 + n_fds), ~0u, CLOSE_RANGE_CLOEXEC);
    if (!failed) {
        (void)execvp(argv[0], args);
        failed = errno;
    }
    (void)prop_write_all(why, &failed, sizeof failed);
    _exit(127);
}

/* Waits until the program runs: the pipe closes by itself then. */
static int exec_failed(int fd)
{
    int why = 0;
    ssize_t n = 0;

    do
        n = read(fd, &why, sizeof why);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof why ? why : 0;
}

int prop_child_start(const char *const *argv, const int *fds, size_t n_fds, struct prop_child *ret,
                     struct prop_err *err)
{
    struct pipes p;
    pid_t self = getpid();
    int rc = open_pipes(&p, err);
    pid_t pid = rc ? -1 : fork();

    if (pid == 0)
        become(argv, fds, n_fds < PROP_CHILD_FDS ? n_fds : PROP_CHILD_FDS, &p, self);
    if (pid < 0) {
        if (rc == 0)
            rc = prop_err_sys(err, PROP_E_IO, "start '%s'", argv[0]);
        close_pipes(&p);
        return rc;
    }
    (void)setpgid(pid, pid); /* here too: whoever comes first */
    (void)close(p.why[1]);
    p.why[1] = -1;
    int why = exec_failed(p.why[0]);
    if (why) {
        (void)waitpid(pid, NULL, 0);
        close_pipes(&p);
        errno = why;
        rc = prop_err_sys(err, why == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "start '%s'", argv[0]);
        err->id = "no-program";
        return rc;
    }
    *ret = (struct prop_child){ pid, p.out[0], p.err[0], 0 };
    p.out[0] = p.err[0] = -1;
    close_pipes(&p);
    return 0;
}

/* ---- ending -------------------------------------------------------------------------------- */

bool prop_child_ended(struct prop_child *c, uint64_t wait_ms)
{
    const uint64_t until = prop_now_ms() + wait_ms;

    while (c->pid > 0) {
        pid_t got = waitpid(c->pid, &c->status, WNOHANG);
        if (got == c->pid || (got < 0 && errno == ECHILD)) {
            c->pid = 0;
            break;
        }
        if (prop_now_ms() >= until)
            return false;
        (void)poll(NULL, 0, 5);
    }
    return true;
}

void prop_child_kill(struct prop_child *c)
{
    if (c->pid > 0) {
        (void)kill(-c->pid, SIGKILL);
        while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
            ;
        c->pid = 0;
    }
    prop_close_fd_p(&c->out);
    prop_close_fd_p(&c->err);
    c->out = c->err = -1;
}

/* ---- asking -------------------------------------------------------------------------------- */

static int read_all(int fd, const char *what, uint64_t until, struct prop_buf *out,
                    struct prop_err *err)
{
    char piece[4096];

    for (;;) {
        struct pollfd p = { fd, POLLIN, 0 };
        uint64_t now = prop_now_ms();
        if (now >= until)
            return prop_err_set_id(err, PROP_E_TIMEOUT, "no-answer", "'%s' does not answer", what);
        if (poll(&p, 1, (int)(until - now < 1000 ? until - now : 1000)) <= 0)
            continue;
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? prop_err_sys(err, PROP_E_IO, "read from '%s'", what) : 0;
        int rc = prop_buf_add(out, piece, (size_t)n, err);
        if (rc)
            return rc;
    }
}

/* The last line of what was printed, for an error. */
static void last_line(const struct prop_buf *b, char line[160])
{
    size_t end = b->len;

    while (end > 0 && (b->data[end - 1] == '\n' || b->data[end - 1] == '\r'))
        end--;
    size_t start = end;
    while (start > 0 && b->data[start - 1] != '\n')
        start--;
    (void)prop_printable(end ? (const char *)b->data + start : "", end - start, line, 160);
}

int prop_child_collect(struct prop_child *c, const char *what, uint64_t timeout_ms,
                       struct prop_buf *out, struct prop_err *err)
{
    const uint64_t until = prop_now_ms() + timeout_ms;
    char line[160];
    int rc = read_all(c->out, what, until, out, err);

    if (rc == 0)
        rc = read_all(c->err, what, until, out, err);
    if (rc == 0 && !prop_child_ended(c, timeout_ms))
        rc = prop_err_set_id(err, PROP_E_TIMEOUT, "no-answer", "'%s' does not end", what);
    if (rc)
        return rc;
    if (WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0)
        return 0;
    last_line(out, line);
    if (WIFSIGNALED(c->status))
        return prop_err_set_id(err, PROP_E_IO, "program-failed", "'%s' was killed by signal %d",
                               what, WTERMSIG(c->status));
    return prop_err_set_id(err, PROP_E_IO, "program-failed", "'%s' ended with status %d: %s", what,
                           WEXITSTATUS(c->status), line);
}
