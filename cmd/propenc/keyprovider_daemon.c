#include "cmd/propenc/keyprovider_daemon.h"

#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's word, or its end. */
static int wait_ready(int fd, pid_t child)
{
    char byte;
    int status = 0;
    ssize_t n;
    while ((n = read(fd, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (n == 1)
        return 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int propenc_daemon_start(int *ret_status, int *ret_ready, struct prop_err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return prop_err_sys(err, PROP_E_IO, "pipe");
    pid_t child = fork();
    if (child < 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return prop_err_sys(err, PROP_E_IO, "fork");
    }
    (void)close(ends[child > 0 ? 1 : 0]);
    if (child > 0) {
        *ret_status = wait_ready(ends[0], child);
        (void)close(ends[0]);
        return 0;
    }
    (void)setsid();
    *ret_status = -1;
    *ret_ready = ends[1];
    return 0;
}

static int leave_terminal(const char *log_path, struct prop_err *err)
{
    prop_auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    prop_auto_fd int out = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                                0600);
    if (out < 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", log_path);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0)
        return prop_err_sys(err, PROP_E_IO, "standard descriptors");
    return 0;
}

int propenc_daemon_ready(int ready, struct prop_err *err)
{
    prop_auto_free char *dir = NULL;
    char pid[24];
    int rc = prop_xdg_dir(PROP_XDG_STATE, &dir, err);
    if (rc != 0)
        return rc;
    prop_auto_free char *log_path = prop_path_join(dir, "keyprovider.log");
    prop_auto_free char *pid_path = prop_path_join(dir, "keyprovider.pid");
    if (!log_path || !pid_path)
        return prop_err_nomem(err);
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if ((rc = prop_file_write(pid_path, pid, (size_t)n, 0644, true, err)) != 0 ||
        (rc = leave_terminal(log_path, err)) != 0)
        return rc;
    rc = prop_write_all(ready, "r", 1) == 0 ? 0 : prop_err_sys(err, PROP_E_IO, "pipe");
    (void)close(ready);
    return rc;
}
