/* The service's life: everything is made, runs until a signal, is drained and taken down again. The
 * main thread keeps the timers: results that are held back, the watchdog, the end. */
#include "guest/service_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "guest/notify.h"
#include "util/mem.h"
#include "util/text.h"

#define LINE_MAX_BYTES 1024
#define FLUSH_MS 10000u     /* for the last results, once nothing runs any more */
#define TICK_MS 1000u
#define STUCK_MS 30000u     /* of the connection's thread: then the watchdog is not fed */

static _Atomic(int) signals;
static _Atomic(int) signal_fd = -1;

void prop_service_signal(void)
{
    uint64_t one = 1;
    int saved = errno, fd = atomic_load(&signal_fd);

    atomic_fetch_add(&signals, 1);
    if (fd >= 0)
        (void)!write(fd, &one, sizeof one);
    errno = saved;
}

void prop_service_wake(struct prop_service *s)
{
    uint64_t one = 1;

    (void)!write(s->wake_fd, &one, sizeof one);
}

void prop_service_log(struct prop_service *s, enum prop_service_level level, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    char clean[LINE_MAX_BYTES + 256];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    s->c->log(s->c->log_ctx, level, prop_printable(line, len, clean, sizeof clean));
}

/* ---- made ---------------------------------------------------------------------------------------------- */

static void init_sync(struct prop_service *s)
{
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->to_prepare, &attr);
    (void)pthread_cond_init(&s->to_run, &attr);
    (void)pthread_cond_init(&s->to_beat, &attr);
    (void)pthread_condattr_destroy(&attr);
    s->queue.end = &s->queue.first;
    s->ready.end = &s->ready.first;
}

static int make_mqtt(struct prop_service *s, struct prop_err *err)
{
    struct prop_mqtt_config m = s->c->mqtt;

    prop_service_events(s, &m.events);
    int rc = prop_mqtt_new(&m, &s->mqtt, err);
    if (rc == 0)
        prop_service_log(s, PROP_LOG_INFO, "MQTT client created (TLS: %s)",
                         m.address.tls ? "true" : "false");
    return rc;
}

static int start_status(struct prop_service *s, struct prop_err *err)
{
    struct prop_status_config c = { s->c->status_listen, prop_service_metrics_text,
                                    prop_service_health_text, s };
    struct prop_err why = PROP_ERR_INIT;

    if (!c.listen)
        return 0;
    int rc = prop_status_start(&c, &s->status, &why);
    if (rc == PROP_E_NETWORK && !s->c->status_must) {
        prop_service_log(s, PROP_LOG_WARN, "There are no metrics: %s", why.message);
        return 0;
    }
    if (rc)
        *err = why;
    else
        prop_service_log(s, PROP_LOG_INFO, "Metrics and health on http://%s",
                         prop_status_where(s->status));
    return rc;
}

static int make(struct prop_service *s, struct prop_err *err)
{
    struct prop_outbox_config out;
    int rc = 0;

    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return prop_err_sys(err, PROP_E_IO, "eventfd");
    atomic_store(&signal_fd, s->wake_fd);
    s->heard_ms = prop_now_ms();
    rc = prop_service_topics(s, err);
    if (rc == 0)
        rc = make_mqtt(s, err);
    prop_service_outbox_config(s, &out);
    if (rc == 0)
        rc = prop_outbox_new(&out, &s->outbox, err);
    if (rc == 0)
        rc = prop_cache_new(s->c->cache_bytes, &s->stats, &s->cache, err);
    if (rc == 0)
        rc = start_status(s, err);
    if (rc == 0)
        rc = prop_service_work_start(s, err);
    if (rc == 0)
        rc = prop_service_beat_start(s, err);
    if (rc == 0) {
        prop_service_log(s, PROP_LOG_INFO, "Starting MQTT event loop");
        rc = prop_mqtt_start(s->mqtt, err);
    }
    return rc;
}

/* ---- taken down ------------------------------------------------------------------------------------------ */

static void stop_threads(struct prop_service *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->quit = s->draining = true;
    (void)pthread_cond_broadcast(&s->to_prepare);
    (void)pthread_cond_broadcast(&s->to_run);
    (void)pthread_cond_broadcast(&s->to_beat);
    (void)pthread_mutex_unlock(&s->lock);
    prop_service_work_end(s);
    prop_service_beat_end(s);
}

static void service_free(struct prop_service *s)
{
    stop_threads(s);
    atomic_store(&signal_fd, -1);
    prop_status_stop(s->status);
    prop_mqtt_free(s->mqtt);
    while (s->jobs)
        prop_job_forget(s, s->jobs);
    while (s->kbs_idle) {
        struct prop_kbs_slot *next = s->kbs_idle->next;
        prop_kbs_free(s->kbs_idle->kbs);
        prop_free(s->kbs_idle);
        s->kbs_idle = next;
    }
    prop_cache_free(s->cache);
    prop_outbox_free(s->outbox);
    for (size_t i = 0; i < PROP_TOPICS; i++)
        prop_free(s->topics[i]);
    if (s->wake_fd >= 0)
        (void)close(s->wake_fd);
    (void)pthread_cond_destroy(&s->to_prepare);
    (void)pthread_cond_destroy(&s->to_run);
    (void)pthread_cond_destroy(&s->to_beat);
    (void)pthread_mutex_destroy(&s->lock);
    prop_free(s);
}

/* ---- the loop ---------------------------------------------------------------------------------------------- */

/* Where the end stands. */
struct ending {
    int seen;               /* signals */
    uint64_t kill_at_ms;    /* what still runs is killed then; 0 = not draining */
    uint64_t leave_at_ms;   /* and results are given up on then; 0 = something runs */
};

static void begin_drain(struct prop_service *s, struct ending *e, uint64_t now_ms)
{
    prop_notify("STOPPING=1\nSTATUS=finishing running tasks");
    prop_service_log(s, PROP_LOG_INFO, "Shutting down: running tasks have %.0f s to finish",
                     (double)s->c->drain_ms / 1000);
    prop_service_drain(s);
    e->kill_at_ms = now_ms + s->c->drain_ms + 1;
}

/* True when it is time to go. */
static bool step_ending(struct prop_service *s, struct ending *e, uint64_t now_ms)
{
    int n = atomic_load(&signals);

    if (n > e->seen && e->seen == 0)
        begin_drain(s, e, now_ms);
    if (n > 1)
        e->kill_at_ms = now_ms;
    e->seen = n;
    if (!e->kill_at_ms)
        return false;
    if (now_ms >= e->kill_at_ms)
        prop_service_kill_all(s);
    if (!prop_service_is_idle(s))
        return false;
    if (!e->leave_at_ms)
        e->leave_at_ms = now_ms + FLUSH_MS;
    return prop_outbox_count(s->outbox) == 0 || now_ms >= e->leave_at_ms;
}

struct watchdog {
    uint64_t every_ms, next_ms;
};

static void feed(struct prop_service *s, struct watchdog *w, uint64_t now_ms)
{
    if (!w->every_ms || now_ms < w->next_ms || !prop_mqtt_is_live(s->mqtt, STUCK_MS))
        return;
    prop_notify("WATCHDOG=1");
    w->next_ms = now_ms + w->every_ms;
}

static void wait_for_work(struct prop_service *s, uint64_t now_ms, uint64_t until_ms)
{
    struct pollfd p = { s->wake_fd, POLLIN, 0 };
    uint64_t ms = until_ms > now_ms ? until_ms - now_ms : 0, count = 0;

    (void)poll(&p, 1, (int)(ms < TICK_MS ? ms : TICK_MS));
    (void)!read(s->wake_fd, &count, sizeof count);
}

static void loop(struct prop_service *s)
{
    struct ending end = { 0, 0, 0 };
    struct watchdog dog = { prop_notify_watchdog_ms() / 3, 0 };

    for (;;) {
        uint64_t now = prop_now_ms();
        (void)pthread_mutex_lock(&s->lock);
        uint64_t quiet = s->quiet_ms;
        (void)pthread_mutex_unlock(&s->lock);
        uint64_t next = now < quiet ? quiet : prop_outbox_pump(s->outbox, now);
        if (step_ending(s, &end, now))
            return;
        (void)pthread_mutex_lock(&s->lock);
        prop_job_purge(s, now);
        bool gone = s->runner_gone;
        (void)pthread_mutex_unlock(&s->lock);
        if (gone && !end.kill_at_ms)
            prop_service_signal();
        feed(s, &dog, now);
        if (end.kill_at_ms && end.kill_at_ms > now && end.kill_at_ms < next)
            next = end.kill_at_ms;
        if (dog.every_ms && dog.next_ms < next)
            next = dog.next_ms;
        wait_for_work(s, now, next);
    }
}

int prop_service_run(const struct prop_service_config *config, struct prop_err *err)
{
    struct prop_service *s = prop_zalloc(sizeof *s);

    if (!s)
        return prop_err_nomem(err);
    s->c = config;
    s->wake_fd = -1;
    init_sync(s);
    prop_service_log(s, PROP_LOG_INFO, "Starting Proplet (propcvm %s) - Client ID: %s", PROP_VERSION,
                     config->proplet_id);
    int rc = make(s, err);
    if (rc == 0) {
        if (config->kbs && config->attest.tee != PROP_TEE_NONE)
            prop_service_log(s, PROP_LOG_INFO, "TEE runtime initialized successfully (%s)",
                             prop_tee_name(config->attest.tee));
        prop_service_log(s, PROP_LOG_INFO, "Starting PropletService");
        prop_notify("READY=1\nSTATUS=waiting for tasks");
        loop(s);
        if (s->runner_gone)
            rc = prop_err_set_id(err, PROP_E_IO, "runner-gone", "the process that runs modules has ended");
        prop_service_log(s, PROP_LOG_INFO, "Proplet stopped");
    }
    service_free(s);
    return rc;
}
