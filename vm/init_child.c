#include "vm/init.h"

#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failed(struct prop_err *err, const char *what)
{
    (void)prop_err_sys(err, PROP_E_IO, "%s", what);
    if (err)
        err->id = "init-child";
    return PROP_E_IO;
}

static pid_t start(const struct prop_init_child *c, int out, int errors)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(errors, 2) < 0)
        _exit(70);
    (void)setsid();
    (void)execve("/proc/self/exe", c->argv, c->env);
    _exit(70);
}

/* The end of what it said, for the reason that is given when it fails. */
static void keep_tail(struct prop_init_child *c, const char *data, size_t len)
{
    size_t have = strlen(c->tail);
    size_t room = sizeof c->tail - 1;

    if (len > room) {
        data += len - room;
        len = room;
    }
    if (have + len > room) {
        size_t drop = have + len - room;
        memmove(c->tail, c->tail + drop, have - drop);
        have -= drop;
    }
    memcpy(c->tail + have, data, len);
    c->tail[have + len] = '\0';
}

static void pass_on(struct prop_init_child *c, char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] == '\0')
            data[i] = ' ';
    keep_tail(c, data, len);
    if (c->log_fd >= 0 && prop_write_all(c->log_fd, data, len) != 0)
        c->log_fd = -1; /* nobody listens any more */
    if (c->console_fd >= 0)
        prop_init_console_log(c->console_fd, &c->console_mid, data, len);
}

/* One piece from a pipe; false at its end. */
static bool take(struct prop_init_child *c, int fd, bool is_out, int *rc, struct prop_err *err)
{
    char piece[16384];
    ssize_t n = read(fd, piece, sizeof piece);

    if (n < 0 && errno == EINTR)
        return true;
    if (n <= 0)
        return false;
    if (!is_out || !c->keep_out)
        pass_on(c, piece, (size_t)n);
    else if (*rc == 0)
        *rc = prop_buf_add(&c->out, piece, (size_t)n, err);
    return true;
}

int prop_init_child_run(struct prop_init_child *c, struct prop_err *err)
{
    int out[2] = { -1, -1 };
    int errors[2] = { -1, -1 };
    int rc = 0;

    c->out = (struct prop_buf)PROP_BUF_INIT(PROP_INIT_RESULT_MAX);
    c->tail[0] = '\0';
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0)
        return failed(err, "a pipe");
    pid_t pid = start(c, out[1], errors[1]);
    (void)close(out[1]);
    (void)close(errors[1]);
    if (pid < 0)
        rc = failed(err, "start the workload");
    struct pollfd p[3] = { { .fd = out[0], .events = POLLIN }, { .fd = errors[0], .events = POLLIN },
                           { .fd = c->power_fd, .events = POLLIN } };
    while (rc != PROP_E_IO && (p[0].fd >= 0 || p[1].fd >= 0)) {
        if (poll(p, 3, -1) < 0) {
            if (errno != EINTR)
                break;
            continue;
        }
        if (p[2].revents & POLLIN && prop_init_power_pressed(c->power_fd) && pid > 0)
            (void)kill(pid, SIGTERM);
        else if (p[2].revents & (POLLERR | POLLHUP))
            p[2].fd = -1;
        for (int i = 0; i < 2; i++)
            if (p[i].fd >= 0 && p[i].revents && !take(c, p[i].fd, i == 0, &rc, err))
                p[i].fd = -1;
    }
    if (c->console_mid)
        (void)prop_write_all(c->console_fd, "\n", 1);
    (void)close(out[0]);
    (void)close(errors[0]);
    while (pid > 0 && waitpid(pid, &c->status, 0) < 0 && errno == EINTR)
        ;
    return rc;
}
