/* A client of an MQTT 3.1.1 broker (libmosquitto): one connection on a thread of its own, made again
 * whenever it breaks, with a clean session each time. There is no last will (a manager of Propeller's
 * takes any message on that topic for a sign of life). What was published and not yet acknowledged
 * when a connection ends is forgotten here: who publishes keeps it until it is told. */
#ifndef PROP_MQTT_MQTT_H
#define PROP_MQTT_MQTT_H

#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a broker is (propeller.md 1.1). */
struct prop_mqtt_address {
    char host[256];
    unsigned port;
    bool tls;
};
/* "tcp://h:p", "mqtt://h:p" plain, "ssl://", "tls://", "mqtts://" TLS, "h:p", "h", "[v6]:p" plain; the
 * ports default to 1883 and 8883. Fails: PROP_E_INPUT (id "mqtt-address"). */
int prop_mqtt_address_parse(const char *text, struct prop_mqtt_address *ret, struct prop_err *err);
/* "localhost", 127.0.0.0/8 or ::1: nothing that is sent there leaves the machine. */
bool prop_mqtt_address_is_loopback(const struct prop_mqtt_address *a);

/* All are called on the connection's own thread, and may publish and subscribe. */
struct prop_mqtt_events {
    void (*connected)(void *ctx);
    /* The connection ended, or could not be made; `why` is one line. The next try is in retry_ms. */
    void (*lost)(void *ctx, const char *why, uint64_t retry_ms);
    void (*message)(void *ctx, const char *topic, const char *payload, size_t len);
    /* Something was too large to be taken, or was a retained message; `why` is one line. */
    void (*refused)(void *ctx, const char *why);
    /* The broker has taken over what was published under this number. */
    void (*published)(void *ctx, int mid);
    void *ctx;
};

struct prop_mqtt_config {
    struct prop_mqtt_address address;
    bool plain_ok;              /* no TLS, to other machines too */
    const char *client_id, *username;
    const struct prop_secret *password; /* borrowed until prop_mqtt_free */
    const char *ca;             /* PEM; NULL = the system's roots */
    const char *cert, *key;     /* PEM, to show to the broker; both or neither */
    unsigned keepalive_s;       /* 0 = 30 */
    unsigned inflight;          /* published and not yet acknowledged, at most; 0 = 10 */
    int qos;                    /* of everything */
    size_t max_packet;          /* bytes, either way; 0 = 10 MiB */
    struct prop_mqtt_events events;
};
#define PROP_MQTT_MAX_PACKET (10u << 20)

struct prop_mqtt;
/* Checks the configuration; strings are copied. Nothing is sent yet.
 * Fails: PROP_E_DENIED (id "mqtt-plain") without TLS to another machine; PROP_E_USAGE (id
 * "mqtt-client-cert") a certificate without its key or the other way round; PROP_E_IO. */
int prop_mqtt_new(const struct prop_mqtt_config *config, struct prop_mqtt **ret,
                  struct prop_err *err);
/* Begin to connect, on a thread of its own. */
int prop_mqtt_start(struct prop_mqtt *m, struct prop_err *err);
/* Disconnect, wait for the thread's end, free. No event comes after this returns. */
void prop_mqtt_free(struct prop_mqtt *m);
PROP_DEFINE_AUTO(struct prop_mqtt *, prop_mqtt_free)

bool prop_mqtt_is_connected(struct prop_mqtt *m);
/* Does the thread still turn? False when it was stuck for longer than `within_ms`; trying to connect
 * does not count as that. */
bool prop_mqtt_is_live(struct prop_mqtt *m, uint64_t within_ms);

/* Hand a message over, from any thread; copied. ret_mid (may be NULL) is the number that `published`
 * will tell. Fails: PROP_E_NETWORK (id "not-connected"), PROP_E_LIMIT (id "mqtt-packet") over the
 * limit. */
int prop_mqtt_publish(struct prop_mqtt *m, const char *topic, const void *payload, size_t len,
                      int *ret_mid, struct prop_err *err);
int prop_mqtt_subscribe(struct prop_mqtt *m, const char *topic, struct prop_err *err);

/* "libmosquitto 2.0.11" */
const char *prop_mqtt_version(void);

#endif
