/* The broker's side of the service: topics, discovery, and what happens when a connection comes and
 * goes. */
#include "guest/service_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#define QUIET_MS 2000u /* after a connection came back */

static const char *const suffix[PROP_TOPICS] = {
    [PROP_TOPIC_CREATE] = "control/proplet/create",
    [PROP_TOPIC_ALIVE] = "control/proplet/alive",
    [PROP_TOPIC_METRICS] = "control/proplet/metrics",
    [PROP_TOPIC_TASK_METRICS] = "control/proplet/task_metrics",
    [PROP_TOPIC_RESULTS] = "control/proplet/results",
    [PROP_TOPIC_INVOKE_RESULTS] = "control/proplet/invoke_results",
    [PROP_TOPIC_START] = "control/manager/start",
    [PROP_TOPIC_STOP] = "control/manager/stop",
    [PROP_TOPIC_INVOKE] = "control/manager/invoke",
};

/* A topic part with a separator or a wildcard in it would be another topic. */
static int check_part(const char *what, const char *text, struct prop_err *err)
{
    if (text && *text && !strpbrk(text, "/+#") && strlen(text) <= PROP_TASK_ID_MAX)
        return 0;
    return prop_err_set_id(err, PROP_E_USAGE, "mqtt-name",
                           "the %s '%s' cannot stand in an MQTT topic", what, text ? text : "");
}

int prop_service_topics(struct prop_service *s, struct prop_err *err)
{
    int rc = check_part("tenant id", s->c->tenant, err);

    if (rc == 0)
        rc = check_part("channel id", s->c->channel, err);
    if (rc == 0)
        rc = check_part("entity id", s->c->proplet_id, err);
    for (size_t i = 0; rc == 0 && i < PROP_TOPICS; i++) {
        s->topics[i] = prop_asprintf("m/%s/c/%s/%s", s->c->tenant, s->c->channel, suffix[i]);
        rc = s->topics[i] ? 0 : prop_err_nomem(err);
    }
    return rc;
}

bool prop_service_publish(struct prop_service *s, enum prop_topic topic, json_t *doc)
{
    prop_auto_json json_t *owned = doc;
    prop_auto_free char *text = owned ? prop_json_compact(owned) : NULL;

    return text &&
           prop_mqtt_publish(s->mqtt, s->topics[topic], text, strlen(text), NULL, NULL) == 0;
}

/* ---- discovery ------------------------------------------------------------------------------------ */

/* The address this machine would use to the outside; nothing is sent to find it out. */
static bool own_address(char *out, size_t size)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(53) };
    struct sockaddr_in is;
    socklen_t len = sizeof is;
    prop_auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(0x08080808);
    memset(&is, 0, sizeof is);
    return fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&to, sizeof to) == 0 &&
           getsockname(fd, (struct sockaddr *)(void *)&is, &len) == 0 &&
           inet_ntop(AF_INET, &is.sin_addr, out, (socklen_t)size);
}

static int add(json_t *map, const char *name, const char *value)
{
    return value && *value ? json_object_set_new(map, name, json_string(value)) : 0;
}

static int add_system(const struct prop_service *s, json_t *m)
{
    struct utsname u;
    char ip[INET_ADDRSTRLEN] = "", host[256] = "";
    uint64_t memory = prop_procstat_total_memory();
    int bad = 0;

    if (own_address(ip, sizeof ip))
        bad |= add(m, "ip", ip);
    bad |= add(m, "environment", access("/.dockerenv", F_OK) == 0 ? "docker" : "binary");
    bad |= add(m, "os", "linux");
    if (gethostname(host, sizeof host - 1) == 0)
        bad |= add(m, "hostname", host);
    if (uname(&u) == 0)
        bad |= add(m, "cpu_arch", u.machine);
    if (memory)
        bad |= json_object_set_new(m, "total_memory_bytes", json_integer((json_int_t)memory));
    bad |= add(m, "proplet_version", PROP_VERSION);
    return bad | add(m, "wasm_runtime", s->c->about.wasm_runtime);
}

static json_t *metadata(const struct prop_service *s)
{
    const struct prop_service_about *a = &s->c->about;
    json_t *m = json_object();
    int bad = !m || add(m, "description", a->description);

    if (m && a->n_tags) {
        json_t *tags = json_array();
        for (size_t i = 0; i < a->n_tags; i++)
            bad |= json_array_append_new(tags, json_string(a->tags[i]));
        bad |= json_object_set_new(m, "tags", tags);
    }
    bad |= !m || add(m, "location", a->location);
    if (!bad && a->system_info)
        bad |= add_system(s, m);
    if (bad) {
        json_decref(m);
        return NULL;
    }
    return m;
}

void prop_service_discover(struct prop_service *s)
{
    json_t *m = metadata(s);

    if (m && prop_service_publish(s, PROP_TOPIC_CREATE,
                                  json_pack("{s:s,s:s,s:o}", "proplet_id", s->c->proplet_id,
                                            "namespace", s->c->namespace, "metadata", m)))
        prop_service_log(s, PROP_LOG_INFO, "Published discovery message");
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void connected(void *ctx)
{
    static const enum prop_topic wanted[] = { PROP_TOPIC_START, PROP_TOPIC_STOP, PROP_TOPIC_INVOKE };
    struct prop_service *s = ctx;

    prop_stats_add(&s->stats, PROP_STAT_CONNECTS);
    prop_service_log(s, PROP_LOG_INFO, "Connected to the MQTT broker");
    prop_service_discover(s);
    for (size_t i = 0; i < PROP_ARRAY_LEN(wanted); i++) {
        if (prop_mqtt_subscribe(s->mqtt, s->topics[wanted[i]], NULL) == 0)
            prop_service_log(s, PROP_LOG_INFO, "Subscribed to topic: %s", s->topics[wanted[i]]);
        else
            prop_service_log(s, PROP_LOG_ERROR, "Cannot subscribe to topic: %s",
                             s->topics[wanted[i]]);
    }
    (void)pthread_mutex_lock(&s->lock);
    s->heard_ms = prop_now_ms();
    s->quiet_ms = s->was_connected && !s->draining ? prop_now_ms() + QUIET_MS : 0;
    s->was_connected = true;
    (void)pthread_cond_broadcast(&s->to_beat); /* a sign of life at once */
    (void)pthread_mutex_unlock(&s->lock);
    prop_service_wake(s);
}

static void lost(void *ctx, const char *why, uint64_t retry_ms)
{
    struct prop_service *s = ctx;

    prop_outbox_lost(s->outbox);
    prop_service_log(s, PROP_LOG_WARN, "No connection to the MQTT broker: %s; trying again in %.1f s",
                     why, (double)retry_ms / 1000);
}

static void refused(void *ctx, const char *why)
{
    struct prop_service *s = ctx;

    prop_stats_add(&s->stats, PROP_STAT_UNREADABLE);
    prop_service_log(s, PROP_LOG_ERROR, "Refused an MQTT message: %s", why);
}

static void message(void *ctx, const char *topic, const char *payload, size_t len)
{
    struct prop_service *s = ctx;

    (void)pthread_mutex_lock(&s->lock);
    s->heard_ms = prop_now_ms();
    (void)pthread_mutex_unlock(&s->lock);
    if (strcmp(topic, s->topics[PROP_TOPIC_START]) == 0)
        prop_service_start_message(s, payload, len);
    else if (strcmp(topic, s->topics[PROP_TOPIC_STOP]) == 0)
        prop_service_stop_message(s, payload, len);
    else if (strcmp(topic, s->topics[PROP_TOPIC_INVOKE]) == 0)
        prop_service_invoke_message(s, payload, len);
}

static void published(void *ctx, int mid)
{
    struct prop_service *s = ctx;

    prop_outbox_published(s->outbox, mid);
}

void prop_service_events(struct prop_service *s, struct prop_mqtt_events *ret)
{
    *ret = (struct prop_mqtt_events){ connected, lost, message, refused, published, s };
}
