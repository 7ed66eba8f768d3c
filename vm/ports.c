/* Ports of this host for forwards, on loopback. */
#include "vm/launch.h"

#include "util/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* As QEMU will bind it: 127.0.0.1, and a port in TIME_WAIT is no obstacle. */
static int bind_one(struct prop_vm_forward *f, int *ret_fd, struct prop_err *err)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(f->host_port) };
    socklen_t len = sizeof a;
    const int yes = 1;
    prop_auto_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes))
        return prop_err_sys(err, PROP_E_IO, "open a socket");
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) || listen(fd, 1)) {
        if (errno == EACCES)
            return prop_err_sys(err, PROP_E_DENIED, "listen on port %u", f->host_port);
        (void)prop_err_sys(err, PROP_E_EXISTS, "listen on 127.0.0.1:%u", f->host_port);
        err->id = "port-in-use";
        return prop_err_hint(err, "forward another port; 0:%u takes any free one", f->guest_port);
    }
    if (getsockname(fd, (struct sockaddr *)&a, &len))
        return prop_err_sys(err, PROP_E_IO, "look at a socket");
    f->host_port = ntohs(a.sin_port);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int prop_vm_forwards_bind(struct prop_vm_forward *forwards, size_t n, struct prop_err *err)
{
    int held[64]; /* kept until all are chosen: no port twice */
    size_t done = 0;
    int rc = 0;

    if (n > 64)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-forward", "more than 64 forwards");
    while (rc == 0 && done < n) {
        rc = bind_one(&forwards[done], &held[done], err);
        done += rc == 0;
    }
    while (done > 0)
        (void)close(held[--done]);
    return rc;
}
