/* How much of a packet has come in that is not whole yet. libmosquitto takes any packet up to the
 * protocol's own 256 MiB before it tells; this looks at what the socket counted instead. */
#ifndef PROP_MQTT_GAUGE_H
#define PROP_MQTT_GAUGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_mqtt_gauge {
    int fd;
    uint64_t limit, mark;
};

/* Of a connected TCP socket; `limit` is the packet's, room for TLS's records is added. */
void prop_mqtt_gauge_begin(struct prop_mqtt_gauge *g, int fd, size_t limit);
/* A packet came in whole. */
void prop_mqtt_gauge_mark(struct prop_mqtt_gauge *g);
bool prop_mqtt_gauge_is_over(const struct prop_mqtt_gauge *g);

#endif
