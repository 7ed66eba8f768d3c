/* The socket's own count of what was read from it. */
#include "mqtt/gauge.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Bytes that were received and taken from the socket; 0 where the kernel does not tell (before 4.1). */
static uint64_t taken(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    int waiting = 0;

    if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received ||
        ioctl(fd, FIONREAD, &waiting) != 0 || waiting < 0)
        return 0;
    uint64_t received = info.tcpi_bytes_received, left = (uint64_t)(unsigned)waiting;
    return received > left ? received - left : 0;
}

void prop_mqtt_gauge_begin(struct prop_mqtt_gauge *g, int fd, size_t limit)
{
    *g = (struct prop_mqtt_gauge){ fd, limit + limit / 8 + (64u << 10), taken(fd) };
}

void prop_mqtt_gauge_mark(struct prop_mqtt_gauge *g)
{
    g->mark = taken(g->fd);
}

bool prop_mqtt_gauge_is_over(const struct prop_mqtt_gauge *g)
{
    uint64_t now = taken(g->fd);

    return now > g->mark && now - g->mark > g->limit;
}
