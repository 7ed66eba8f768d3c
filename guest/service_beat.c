/* The beat: signs of life and metrics, on a thread that does nothing else, so that no load of the
 * service makes the manager take it for dead. */
#include "guest/service_internal.h"

#include <errno.h>
#include <time.h>

#include "util/mem.h"
#include "util/text.h"

#define TASKS_MS 500u                /* how often running tasks are looked at */
#define SILENCE_MS (5u * 60 * 1000)  /* of the manager, after which it may have forgotten us */

/* Beats that were missed (the machine slept) are not made up for. */
static uint64_t following(uint64_t due, uint64_t every, uint64_t now)
{
    return due + every > now ? due + every : now + every;
}

static void wait_until(struct prop_service *s, uint64_t now_ms, uint64_t until_ms)
{
    struct timespec ts;
    uint64_t ms = until_ms > now_ms ? until_ms - now_ms : 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += (time_t)(ms / 1000);
    ts.tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&s->to_beat, &s->lock, &ts);
}

static void sign_of_life(struct prop_service *s)
{
    (void)prop_service_publish(s, PROP_TOPIC_ALIVE,
                               json_pack("{s:s,s:s,s:s}", "proplet_id", s->c->proplet_id, "status",
                                         "alive", "namespace", s->c->namespace));
}

/* Without the lock. Returns when to come again. */
static uint64_t beat(struct prop_service *s, uint64_t *alive_ms, uint64_t *self_ms, bool running,
                     bool silent)
{
    uint64_t now = prop_now_ms();

    if (now >= *alive_ms) {
        sign_of_life(s);
        *alive_ms = following(*alive_ms, s->c->heartbeat_ms, now);
    }
    if (silent)
        prop_service_discover(s);
    if (s->c->metrics_ms && now >= *self_ms) {
        prop_service_measure_self(s);
        *self_ms = following(*self_ms, s->c->metrics_ms, now);
    }
    if (running)
        prop_service_measure_tasks(s, now);
    uint64_t next = running && now + TASKS_MS < *alive_ms ? now + TASKS_MS : *alive_ms;
    return s->c->metrics_ms && *self_ms < next ? *self_ms : next;
}

static void *run(void *ctx)
{
    struct prop_service *s = ctx;
    uint64_t alive_ms = 0, self_ms = prop_now_ms() + s->c->metrics_ms;
    bool was_connected = false;

    (void)pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        bool running = s->running || s->daemons;
        bool silent = prop_now_ms() - s->heard_ms > SILENCE_MS;
        bool connected = prop_mqtt_is_connected(s->mqtt);
        if (silent)
            s->heard_ms = prop_now_ms();
        if (connected && !was_connected)
            alive_ms = 0; /* a new connection: at once */
        was_connected = connected;
        (void)pthread_mutex_unlock(&s->lock);
        uint64_t next = beat(s, &alive_ms, &self_ms, running && connected, silent && connected);
        (void)pthread_mutex_lock(&s->lock);
        if (!s->quit && was_connected == prop_mqtt_is_connected(s->mqtt))
            wait_until(s, prop_now_ms(), next);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

int prop_service_beat_start(struct prop_service *s, struct prop_err *err)
{
    errno = pthread_create(&s->beat, NULL, run, s);
    if (errno)
        return prop_err_sys(err, PROP_E_NOMEM, "start a thread");
    s->beat_started = true;
    return 0;
}

void prop_service_beat_end(struct prop_service *s)
{
    if (s->beat_started)
        (void)pthread_join(s->beat, NULL);
    s->beat_started = false;
}
