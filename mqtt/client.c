/* One connection to a broker, kept up. Each attempt begins with a handle of its own: nothing of an
 * earlier session, half a packet or an unacknowledged message, reaches the next one. */
#include "mqtt/mqtt.h"

#include "mqtt/gauge.h"
#include "util/text.h"

#include <errno.h>
#include <mosquitto.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define RETRY_MIN_MS 1000u
#define RETRY_MAX_MS 60000u
#define TURN_MS 1000          /* longest wait of one turn of the loop */
#define GOODBYE_MS 2000u
#define STEADY_MS 10000u    /* a connection that held so long was a good one */
#define BRIEF 2             /* so many others in a row: somebody else has our name, perhaps */

struct prop_mqtt {
    struct prop_mqtt_config c;
    char *client_id, *username, *ca, *cert, *key;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;     /* over `handle`, and the wait between attempts */
    pthread_cond_t wake;
    struct mosquitto *handle; /* replaced by the thread only; NULL between attempts */
    _Atomic(bool) stop, connected, connecting;
    _Atomic(uint64_t) turned_ms;
    int wake_fd;              /* there is something to send */
    struct prop_mqtt_gauge gauge;
    char why[256];            /* the last connection's end; the thread's */
    uint64_t retry_ms, up_ms; /* up_ms: since when there is a connection; 0 = none; the thread's */
    unsigned brief;           /* connections in a row that ended soon */
};

static void init_once(void)
{
    (void)mosquitto_lib_init();
}

const char *prop_mqtt_version(void)
{
    static char text[48];
    int major = 0, minor = 0, revision = 0;

    (void)mosquitto_lib_version(&major, &minor, &revision);
    (void)snprintf(text, sizeof text, "libmosquitto %d.%d.%d", major, minor, revision);
    return text;
}

/* ---- what the library tells ------------------------------------------------------------------ */

static void on_connect(struct mosquitto *handle, void *ctx, int rc)
{
    struct prop_mqtt *m = ctx;

    (void)handle;
    if (rc != 0) {
        (void)snprintf(m->why, sizeof m->why, "the broker says: %s", mosquitto_connack_string(rc));
        return;
    }
    m->up_ms = prop_now_ms();
    atomic_store(&m->connected, true);
    m->c.events.connected(m->c.events.ctx);
}

static void on_message(struct mosquitto *handle, void *ctx, const struct mosquitto_message *msg)
{
    struct prop_mqtt *m = ctx;

    (void)handle;
    prop_mqtt_gauge_mark(&m->gauge);
    if (msg->retain) { /* said at another time; taken for new it would be so after each connect */
        m->c.events.refused(m->c.events.ctx, "the broker had kept it from earlier (it is retained)");
        return;
    }
    if (msg->payloadlen < 0 || (size_t)msg->payloadlen > m->c.max_packet) {
        char why[128];
        (void)snprintf(why, sizeof why, "a message of %d bytes is over the limit of %zu",
                       msg->payloadlen, m->c.max_packet);
        m->c.events.refused(m->c.events.ctx, why);
        return;
    }
    m->c.events.message(m->c.events.ctx, msg->topic, msg->payloadlen ? msg->payload : "",
                        (size_t)msg->payloadlen);
}

static void on_publish(struct mosquitto *handle, void *ctx, int mid)
{
    struct prop_mqtt *m = ctx;

    (void)handle;
    prop_mqtt_gauge_mark(&m->gauge);
    m->c.events.published(m->c.events.ctx, mid);
}

/* Every packet that came in whole is told here, "Client X received PUBLISH (...)", and nowhere else. */
static void on_log(struct mosquitto *handle, void *ctx, int level, const char *text)
{
    struct prop_mqtt *m = ctx;

    (void)handle;
    if (level == MOSQ_LOG_DEBUG && strstr(text, " received "))
        prop_mqtt_gauge_mark(&m->gauge);
}

/* ---- one session ------------------------------------------------------------------------------- */

static int set_up(struct prop_mqtt *m, struct mosquitto *h)
{
    const char *password = m->c.password ? (const char *)prop_secret_data(m->c.password) : NULL;
    int rc = mosquitto_username_pw_set(h, m->username, password);

    if (rc == 0 && m->c.address.tls && !m->ca)
        rc = mosquitto_int_option(h, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
    if (rc == 0 && m->c.address.tls)
        rc = mosquitto_tls_set(h, m->ca, m->ca ? NULL : "/etc/ssl/certs", m->cert, m->key, NULL);
    if (rc == 0)
        rc = mosquitto_int_option(h, MOSQ_OPT_TCP_NODELAY, 1);
    if (rc == 0)
        rc = mosquitto_max_inflight_messages_set(h, m->c.inflight);
    if (rc == 0)
        rc = mosquitto_threaded_set(h, true);
    mosquitto_connect_callback_set(h, on_connect);
    mosquitto_message_callback_set(h, on_message);
    mosquitto_publish_callback_set(h, on_publish);
    mosquitto_log_callback_set(h, on_log);
    return rc;
}

static void say(struct prop_mqtt *m, const char *what, int rc, int saved)
{
    if (!m->why[0])
        (void)snprintf(m->why, sizeof m->why, "%s: %s", what,
                       rc == MOSQ_ERR_ERRNO ? strerror(saved) : mosquitto_strerror(rc));
}

static void give_handle(struct prop_mqtt *m, struct mosquitto *h)
{
    (void)pthread_mutex_lock(&m->lock);
    m->handle = h;
    (void)pthread_mutex_unlock(&m->lock);
}

static void wake(struct prop_mqtt *m)
{
    uint64_t one = 1;

    (void)!write(m->wake_fd, &one, sizeof one);
}

/* One turn of mosquitto_loop(3), which itself cannot wait for descriptors above 1023. */
static int loop_once(struct prop_mqtt *m, struct mosquitto *h)
{
    short want = mosquitto_want_write(h) ? POLLIN | POLLOUT : POLLIN;
    struct pollfd p[] = { { mosquitto_socket(h), want, 0 }, { m->wake_fd, POLLIN, 0 } };
    uint64_t count = 0;
    int rc = MOSQ_ERR_SUCCESS;

    if (poll(p, PROP_ARRAY_LEN(p), TURN_MS) > 0) {
        if (p[1].revents)
            (void)!read(m->wake_fd, &count, sizeof count);
        if (p[0].revents & ~POLLOUT)
            rc = mosquitto_loop_read(h, 1);
        if (rc == MOSQ_ERR_SUCCESS && mosquitto_want_write(h))
            rc = mosquitto_loop_write(h, 1);
    }
    return rc == MOSQ_ERR_SUCCESS && mosquitto_socket(h) >= 0 ? mosquitto_loop_misc(h) : rc;
}

/* From the socket's being there until it breaks. To stop, DISCONNECT is queued behind what else goes
 * out (prop_mqtt_free), and the library ends the connection behind it. */
static void turn(struct prop_mqtt *m, struct mosquitto *h)
{
    uint64_t leave_ms = 0;

    prop_mqtt_gauge_begin(&m->gauge, mosquitto_socket(h), m->c.max_packet);
    for (;;) {
        int rc = loop_once(m, h);
        int saved = errno;
        atomic_store(&m->turned_ms, prop_now_ms());
        if (rc != 0) {
            say(m, "the connection broke", rc, saved);
            return;
        }
        if (prop_mqtt_gauge_is_over(&m->gauge)) {
            (void)snprintf(m->why, sizeof m->why,
                           "a packet of more than %zu bytes was on its way, so the connection was cut",
                           m->c.max_packet);
            m->c.events.refused(m->c.events.ctx, m->why);
            return;
        }
        if (atomic_load(&m->stop) && leave_ms == 0)
            leave_ms = prop_now_ms() + GOODBYE_MS;
        if (leave_ms && (mosquitto_socket(h) < 0 || prop_now_ms() >= leave_ms))
            return;
    }
}

/* A connection that breaks soon after it was made is not tried again at once: two clients of one name
 * would go on throwing each other out. */
static void judge(struct prop_mqtt *m)
{
    bool up = m->up_ms != 0, steady = up && prop_now_ms() - m->up_ms >= STEADY_MS;
    size_t n = strlen(m->why);

    m->up_ms = 0;
    m->brief = up && !steady ? m->brief + 1 : 0;
    if (steady)
        m->retry_ms = 0;
    if (m->brief >= BRIEF)
        (void)snprintf(m->why + n, sizeof m->why - n, " (again; is another client connected as '%s'?)",
                       m->client_id);
}

static void session(struct prop_mqtt *m)
{
    struct mosquitto *h = mosquitto_new(m->client_id, true, m);

    m->why[0] = 0;
    if (!h) {
        (void)snprintf(m->why, sizeof m->why, "out of memory");
        return;
    }
    int rc = set_up(m, h);
    int saved = errno;
    if (rc == 0) {
        atomic_store(&m->connecting, true);
        give_handle(m, h);
        rc = mosquitto_connect(h, m->c.address.host, (int)m->c.address.port,
                               (int)m->c.keepalive_s);
        saved = errno;
        atomic_store(&m->connecting, false);
        atomic_store(&m->turned_ms, prop_now_ms());
    }
    if (rc != 0)
        say(m, "cannot connect", rc, saved);
    else
        turn(m, h);
    atomic_store(&m->connected, false);
    judge(m);
    give_handle(m, NULL);
    mosquitto_destroy(h);
}

/* Doubling, and anywhere in the upper half: many clients of one broker do not come back at once. */
static uint64_t next_retry(struct prop_mqtt *m)
{
    uint32_t random = 0;

    m->retry_ms = m->retry_ms == 0 ? RETRY_MIN_MS : m->retry_ms * 2;
    if (m->retry_ms > RETRY_MAX_MS)
        m->retry_ms = RETRY_MAX_MS;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = (uint32_t)prop_now_ms();
    return m->retry_ms / 2 + random % (m->retry_ms / 2 + 1);
}

static void wait_for_stop(struct prop_mqtt *m, uint64_t ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&m->lock);
    while (!atomic_load(&m->stop) &&
           pthread_cond_timedwait(&m->wake, &m->lock, &until) != ETIMEDOUT)
        ;
    (void)pthread_mutex_unlock(&m->lock);
}

static void *run(void *ctx)
{
    struct prop_mqtt *m = ctx;

    while (!atomic_load(&m->stop)) {
        session(m);
        if (atomic_load(&m->stop))
            break;
        uint64_t retry_ms = next_retry(m);
        m->c.events.lost(m->c.events.ctx, m->why, retry_ms);
        atomic_store(&m->connecting, true);
        wait_for_stop(m, retry_ms);
        atomic_store(&m->connecting, false);
        atomic_store(&m->turned_ms, prop_now_ms());
    }
    return NULL;
}

/* ---- for others -------------------------------------------------------------------------------- */

static int check_config(const struct prop_mqtt_config *c, struct prop_err *err)
{
    if (!c->address.tls && !c->plain_ok && !prop_mqtt_address_is_loopback(&c->address)) {
        prop_err_set_id(err, PROP_E_DENIED, "mqtt-plain",
                        "'%s' is another machine, and the connection to it would not be encrypted",
                        c->address.host);
        return prop_err_hint(err, "name it tls://%s, or say --insecure-mqtt", c->address.host);
    }
    if (!c->cert != !c->key)
        return prop_err_set_id(err, PROP_E_USAGE, "mqtt-client-cert",
                               "a client certificate and its key for the broker go together");
    const char *const files[] = { c->ca, c->cert, c->key };
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++)
        if (files[i] && access(files[i], R_OK) != 0)
            return prop_err_sys(err, PROP_E_IO, "read '%s'", files[i]);
    return 0;
}

static bool copy(char **to, const char *from)
{
    *to = from ? prop_strdup(from) : NULL;
    return !from || *to;
}

int prop_mqtt_new(const struct prop_mqtt_config *config, struct prop_mqtt **ret,
                  struct prop_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_condattr_t attr;
    int rc = check_config(config, err);

    if (rc)
        return rc;
    struct prop_mqtt *m = prop_zalloc(sizeof *m);
    if (!m)
        return prop_err_nomem(err);
    (void)pthread_once(&once, init_once);
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&m->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->c = *config;
    m->c.keepalive_s = m->c.keepalive_s ? m->c.keepalive_s : 30;
    m->c.inflight = m->c.inflight ? m->c.inflight : 10;
    m->c.max_packet = m->c.max_packet ? m->c.max_packet : PROP_MQTT_MAX_PACKET;
    if (!copy(&m->client_id, config->client_id) || !copy(&m->username, config->username) ||
        !copy(&m->ca, config->ca) || !copy(&m->cert, config->cert) || !copy(&m->key, config->key) ||
        m->wake_fd < 0) {
        prop_mqtt_free(m);
        return prop_err_nomem(err);
    }
    *ret = m;
    return 0;
}

int prop_mqtt_start(struct prop_mqtt *m, struct prop_err *err)
{
    atomic_store(&m->turned_ms, prop_now_ms());
    errno = pthread_create(&m->thread, NULL, run, m);
    if (errno)
        return prop_err_sys(err, PROP_E_NOMEM, "start a thread");
    m->started = true;
    return 0;
}

void prop_mqtt_free(struct prop_mqtt *m)
{
    if (!m)
        return;
    (void)pthread_mutex_lock(&m->lock);
    atomic_store(&m->stop, true);
    if (m->handle && atomic_load(&m->connected))
        (void)mosquitto_disconnect(m->handle);
    wake(m);
    (void)pthread_cond_broadcast(&m->wake);
    (void)pthread_mutex_unlock(&m->lock);
    if (m->started)
        (void)pthread_join(m->thread, NULL);
    (void)pthread_cond_destroy(&m->wake);
    (void)pthread_mutex_destroy(&m->lock);
    if (m->wake_fd >= 0)
        (void)close(m->wake_fd);
    prop_free(m->client_id);
    prop_free(m->username);
    prop_free(m->ca);
    prop_free(m->cert);
    prop_free(m->key);
    prop_free(m);
}

bool prop_mqtt_is_connected(struct prop_mqtt *m)
{
    return atomic_load(&m->connected);
}

bool prop_mqtt_is_live(struct prop_mqtt *m, uint64_t within_ms)
{
    return !m->started || atomic_load(&m->connecting) ||
           prop_now_ms() - atomic_load(&m->turned_ms) <= within_ms;
}

static int not_connected(struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_NETWORK, "not-connected", "there is no connection to the broker");
}

int prop_mqtt_publish(struct prop_mqtt *m, const char *topic, const void *payload, size_t len,
                      int *ret_mid, struct prop_err *err)
{
    int rc = MOSQ_ERR_NO_CONN, mid = 0;

    if (len + strlen(topic) + 16 > m->c.max_packet)
        return prop_err_set_id(err, PROP_E_LIMIT, "mqtt-packet",
                               "a message of %zu bytes is over the limit of %zu", len,
                               m->c.max_packet);
    (void)pthread_mutex_lock(&m->lock);
    if (m->handle && atomic_load(&m->connected))
        rc = mosquitto_publish(m->handle, &mid, topic, (int)len, payload, m->c.qos, false);
    (void)pthread_mutex_unlock(&m->lock);
    wake(m);
    if (rc == MOSQ_ERR_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0)
        return not_connected(err);
    if (ret_mid)
        *ret_mid = mid;
    return 0;
}

int prop_mqtt_subscribe(struct prop_mqtt *m, const char *topic, struct prop_err *err)
{
    int rc = MOSQ_ERR_NO_CONN;

    (void)pthread_mutex_lock(&m->lock);
    if (m->handle && atomic_load(&m->connected))
        rc = mosquitto_subscribe(m->handle, NULL, topic, m->c.qos);
    (void)pthread_mutex_unlock(&m->lock);
    return rc == 0 ? 0 : rc == MOSQ_ERR_NOMEM ? prop_err_nomem(err) : not_connected(err);
}
