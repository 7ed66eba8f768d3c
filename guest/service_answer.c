/* Results on their way to the manager (propeller.md 1.5): what they say, and when they go. */
#include "guest/service_internal.h"

#include <string.h>

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#define OUTBOX_COUNT 4096
#define OUTBOX_BYTES (64u << 20)
#define PACKET_ROOM 512 /* of a packet, for all but the payload */

/* What the guest printed, as JSON text. */
static json_t *clean(const void *text, size_t len)
{
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(SIZE_MAX / 2);

    if (prop_utf8_clean(text, len, &b, NULL))
        return NULL;
    return json_stringn(prop_buf_str(&b), b.len);
}

static char *result_payload(const struct prop_service *s, const char *id, const char *invocation,
                            const void *text, size_t len, const char *error)
{
    prop_auto_json json_t *doc = json_object();
    int bad = !doc || json_object_set_new(doc, "task_id", json_string(id));

    if (invocation)
        bad |= json_object_set_new(doc, "invocation_id", json_string(invocation));
    bad |= json_object_set_new(doc, "proplet_id", json_string(s->c->proplet_id));
    bad |= json_object_set_new(doc, "results", clean(text ? text : "", len));
    bad |= json_object_set_new(doc, "error", error ? clean(error, strlen(error)) : json_null());
    return bad ? NULL : prop_json_compact(doc);
}

static void give(struct prop_service *s, const char *id, const char *invocation, uint64_t due_ms,
                 const void *text, size_t len, const char *error)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_free char *label = prop_asprintf("%s%s%s", id, invocation ? "\n" : "",
                                               invocation ? invocation : "");
    char *payload = result_payload(s, id, invocation, text, len, error);
    size_t most = s->c->mqtt.max_packet - PACKET_ROOM;

    if (payload && strlen(payload) > most) {
        char why[128];
        (void)snprintf(why, sizeof why, "the result has %zu bytes, and a message may have %zu",
                       strlen(payload), most);
        prop_free(payload);
        payload = result_payload(s, id, invocation, NULL, 0, why);
    }
    const char *topic = s->topics[invocation ? PROP_TOPIC_INVOKE_RESULTS : PROP_TOPIC_RESULTS];
    int rc = payload && label ? prop_outbox_add(s->outbox, topic, label, payload, due_ms, &err)
                              : prop_err_nomem(&err);
    if (!label && payload)
        prop_free(payload);
    if (rc) {
        prop_stats_add(&s->stats, PROP_STAT_RESULTS_LOST);
        prop_service_log(s, PROP_LOG_ERROR, "The result of task %s is lost: %s", id, err.message);
    }
}

void prop_service_answer(struct prop_service *s, const char *id, uint64_t received_at,
                         const void *text, size_t len, const char *error)
{
    prop_service_log(s, PROP_LOG_INFO, "Publishing result for task %s", id);
    give(s, id, NULL, received_at + s->c->hold_ms, text, len, error);
}

void prop_service_answer_invocation(struct prop_service *s, const char *id, const char *invocation,
                                    const void *text, size_t len, const char *error)
{
    give(s, id, invocation, 0, text, len, error);
}

void prop_service_answer_job(struct prop_service *s, struct prop_job *j, const void *text, size_t len,
                             const char *error)
{
    (void)pthread_mutex_lock(&s->lock);
    bool first = !j->answered;
    j->answered = true;
    (void)pthread_mutex_unlock(&s->lock);
    if (!first)
        return;
    if (j->invocation)
        prop_service_answer_invocation(s, j->id, j->invocation, text, len, error);
    else
        prop_service_answer(s, j->id, j->received_at, text, len, error);
}

/* ---- the outbox's side --------------------------------------------------------------------------- */

static int send_out(void *ctx, const char *topic, const char *payload, size_t len, int *ret_mid,
                    struct prop_err *err)
{
    struct prop_service *s = ctx;

    return prop_mqtt_publish(s->mqtt, topic, payload, len, ret_mid, err);
}

static void done(void *ctx, const char *label, bool lost)
{
    struct prop_service *s = ctx;
    int id = (int)strcspn(label, "\n");

    prop_stats_add(&s->stats, lost ? PROP_STAT_RESULTS_LOST : PROP_STAT_RESULTS_SENT);
    if (lost)
        prop_service_log(s, PROP_LOG_ERROR,
                         "The result of task %.*s is lost: too many wait for the broker", id, label);
    else
        prop_service_log(s, PROP_LOG_INFO, "Successfully published result for task %.*s", id, label);
}

static char *replace(void *ctx, const char *label, size_t len)
{
    struct prop_service *s = ctx;
    size_t n = strcspn(label, "\n");
    prop_auto_free char *id = prop_strndup(label, n);
    prop_auto_free char *why = prop_asprintf("the broker does not take the result of %zu bytes", len);

    prop_service_log(s, PROP_LOG_ERROR,
                     "The broker closes the connection over the result of task %s (%zu bytes)",
                     id ? id : "", len);
    return id && why ? result_payload(s, id, label[n] ? label + n + 1 : NULL, NULL, 0, why) : NULL;
}

static void wake(void *ctx)
{
    prop_service_wake(ctx);
}

void prop_service_outbox_config(struct prop_service *s, struct prop_outbox_config *ret)
{
    *ret = (struct prop_outbox_config){
        .max_count = OUTBOX_COUNT, .max_bytes = OUTBOX_BYTES,
        .window = s->c->mqtt.inflight ? s->c->mqtt.inflight : 10,
        .send = send_out, .done = done, .replace = replace, .wake = wake, .ctx = s,
    };
}
