/* sd_notify(3) and sd_watchdog_enabled(3), as far as a service needs them. */
#include "guest/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/file.h"
#include "util/text.h"

void prop_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = { .sun_family = AF_UNIX };

    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (to.sun_path[0] == '@') /* an abstract name */
        to.sun_path[0] = 0;
    prop_auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    ssize_t sent = -1;
    do
        sent = fd < 0 ? -1
                      : sendto(fd, state, strlen(state), MSG_NOSIGNAL,
                               (const struct sockaddr *)(const void *)&to, len);
    while (sent < 0 && fd >= 0 && errno == EINTR);
}

uint64_t prop_notify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t us = 0, who = 0;

    if (!usec || prop_parse_u64(usec, "WATCHDOG_USEC", &us, NULL))
        return 0;
    if (pid && (prop_parse_u64(pid, "WATCHDOG_PID", &who, NULL) || who != (uint64_t)getpid()))
        return 0;
    return us / 1000;
}
