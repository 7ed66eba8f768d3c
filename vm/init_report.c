/* Results and logs to the host: it is told what it is meant to know, over a channel of its own. */
#include "vm/init.h"

#include "util/mem.h"
#include "util/text.h"
#include "vm/guestdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define PORTS "/sys/class/virtio-ports"

static int connect_vsock(unsigned port, uint64_t timeout_ms)
{
    struct sockaddr_vm to = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int failed = 0;
    socklen_t len = sizeof failed;

    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ||
        (errno == EINPROGRESS && poll(&p, 1, (int)timeout_ms) == 1 &&
         getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) == 0 && failed == 0)) {
        (void)fcntl(fd, F_SETFL, 0);
        return fd;
    }
    (void)close(fd);
    return -1;
}

/* /sys/class/virtio-ports/vport0p1/name tells which port is which. */
static int open_port(const char *wanted)
{
    DIR *d = opendir(PORTS);
    int fd = -1;

    for (struct dirent *e; d && fd < 0 && (e = readdir(d)) != NULL;) {
        char path[320];
        char name[128] = "";
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, PORTS "/%s/name", e->d_name);
        FILE *f = fopen(path, "re");
        bool is_it = f && fgets(name, sizeof name, f) &&
                     strncmp(name, wanted, strlen(wanted)) == 0 && name[strlen(wanted)] == '\n';
        if (f)
            (void)fclose(f);
        if (!is_it)
            continue;
        (void)snprintf(path, sizeof path, "/dev/%s", e->d_name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
    }
    if (d)
        (void)closedir(d);
    return fd;
}

int prop_init_report_open(enum prop_report_to what, uint64_t timeout_ms, int *ret_fd,
                          struct prop_err *err)
{
    bool result = what == PROP_REPORT_RESULT;
    int fd = connect_vsock(result ? PROP_VSOCK_PORT_RESULT : PROP_VSOCK_PORT_LOG, timeout_ms);

    if (fd < 0)
        fd = open_port(result ? PROP_SERIAL_RESULT : PROP_SERIAL_LOG);
    if (fd < 0) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-report",
                              "this VM has no vsock and no virtio-serial port for %s",
                              result ? "results" : "logs");
        return prop_err_hint(err, "or build the guest with --console-result");
    }
    *ret_fd = fd;
    return 0;
}
