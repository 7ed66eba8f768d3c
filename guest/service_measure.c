/* What tasks and the service itself use (propeller.md 1.7), and the texts of /metrics and /health. */
#include "guest/service_internal.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/text.h"

/* RFC 3339 with milliseconds, in UTC: a manager keeps no other form. */
#define STAMP 48
static void timestamp(char out[STAMP])
{
    struct timespec ts;
    char seconds[21];

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    prop_rfc3339(ts.tv_sec, seconds);
    (void)snprintf(out, STAMP, "%.19s.%03ldZ", seconds, ts.tv_nsec / 1000000);
}

static json_t *integer(uint64_t n)
{
    return json_integer((json_int_t)(n & INT64_MAX));
}

/* ---- tasks ---------------------------------------------------------------------------------------------- */

struct sample {
    double cpu_percent;
    struct prop_procstat p;
    double uptime_s;
};

static void account(struct prop_job_metrics *m, const struct prop_procstat *p, uint64_t now_ms,
                    struct sample *ret)
{
    double cpu_s = p->user_s + p->system_s;
    double past_s = (double)(now_ms - (m->samples ? m->last_ms : m->started_ms)) / 1000;

    *ret = (struct sample){ .p = *p, .uptime_s = (double)(now_ms - m->started_ms) / 1000 };
    if (past_s > 0 && cpu_s >= m->last_cpu_s)
        ret->cpu_percent = (cpu_s - m->last_cpu_s) / past_s * 100;
    m->last_cpu_s = cpu_s;
    m->last_ms = now_ms;
    m->samples++;
    m->cpu_sum += ret->cpu_percent;
    m->cpu_max = ret->cpu_percent > m->cpu_max ? ret->cpu_percent : m->cpu_max;
    m->memory_sum += p->rss_bytes;
    m->memory_max = p->rss_bytes > m->memory_max ? p->rss_bytes : m->memory_max;
}

static json_t *sample_json(const struct prop_task_profile *f, const struct sample *x)
{
    uint64_t total = prop_procstat_total_memory();
    uint64_t rss = f->memory ? x->p.rss_bytes : 0;

    return json_pack("{s:f,s:o,s:f,s:o,s:o,s:I,s:o,s:o}", "cpu_percent", f->cpu ? x->cpu_percent : 0.0,
                     "memory_bytes", integer(rss), "memory_percent",
                     total ? (double)rss / (double)total * 100 : 0.0, "disk_read_bytes",
                     integer(f->disk ? x->p.read_bytes : 0), "disk_write_bytes",
                     integer(f->disk ? x->p.write_bytes : 0), "uptime_seconds",
                     (json_int_t)x->uptime_s, "thread_count",
                     integer(f->threads ? x->p.threads : 0), "file_descriptor_count",
                     integer(f->descriptors ? x->p.descriptors : 0));
}

static json_t *aggregated_json(const struct prop_task_profile *f, const struct prop_job_metrics *m,
                               const struct sample *x)
{
    double n = (double)m->samples;

    return json_pack("{s:f,s:f,s:o,s:o,s:o,s:o,s:o}", "avg_cpu_usage", f->cpu ? m->cpu_sum / n : 0.0,
                     "max_cpu_usage", f->cpu ? m->cpu_max : 0.0, "avg_memory_usage",
                     integer(f->memory ? m->memory_sum / m->samples : 0), "max_memory_usage",
                     integer(f->memory ? m->memory_max : 0), "total_disk_read",
                     integer(f->disk ? x->p.read_bytes : 0), "total_disk_write",
                     integer(f->disk ? x->p.write_bytes : 0), "sample_count", integer(m->samples));
}

static void measure_task(struct prop_service *s, struct prop_job *j, pid_t pid, uint64_t now_ms)
{
    const struct prop_task *t = j->latent ? &j->latent->task : &j->task;
    struct prop_procstat p;
    struct sample x;
    char when[STAMP];

    if (!prop_procstat_read(pid, &p))
        return; /* it has just ended */
    account(&j->metrics, &p, now_ms, &x);
    j->metrics.next_ms = now_ms + t->profile.interval_ms;
    timestamp(when);
    (void)prop_service_publish(s, PROP_TOPIC_TASK_METRICS,
                               json_pack("{s:s,s:s,s:o,s:o,s:s}", "task_id", j->id, "proplet_id",
                                         s->c->proplet_id, "metrics", sample_json(&t->profile, &x),
                                         "aggregated", aggregated_json(&t->profile, &j->metrics, &x),
                                         "timestamp", when));
}

void prop_service_measure_tasks(struct prop_service *s, uint64_t now_ms)
{
    struct prop_job *due[32];
    pid_t pids[32];
    size_t n = 0;

    (void)pthread_mutex_lock(&s->lock);
    for (struct prop_job *j = s->jobs; j && n < PROP_ARRAY_LEN(due); j = j->next) {
        const struct prop_task *t = j->latent ? &j->latent->task : &j->task;
        pid_t pid = atomic_load(&j->handle.pid);
        if (j->state != PROP_JOB_RUNNING || pid <= 0 || !t->profile.enabled ||
            !t->profile.export_to_mqtt || j->metrics.next_ms > now_ms)
            continue;
        if (!j->metrics.started_ms)
            j->metrics.started_ms = now_ms;
        j->refs++;
        pids[n] = pid;
        due[n++] = j;
    }
    (void)pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++)
        measure_task(s, due[i], pids[i], now_ms);
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n; i++)
        prop_job_unref(due[i]);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- the service ------------------------------------------------------------------------------------------ */

void prop_service_measure_self(struct prop_service *s)
{
    struct prop_procstat p;
    uint64_t usage = 0, limit = 0, now = prop_now_ms();
    char when[STAMP];

    if (!prop_procstat_read(getpid(), &p))
        return;
    double cpu_s = p.user_s + p.system_s;
    double percent = s->self_ms && now > s->self_ms
                         ? (cpu_s - s->self_cpu_s) / ((double)(now - s->self_ms) / 1000) * 100 : 0;
    s->self_cpu_s = cpu_s;
    s->self_ms = now;
    prop_procstat_container(&usage, &limit);
    timestamp(when);
    json_t *memory = json_pack("{s:o,s:i,s:i,s:i}", "rss_bytes", integer(p.rss_bytes),
                               "heap_alloc_bytes", 0, "heap_sys_bytes", 0, "heap_inuse_bytes", 0);
    if (memory && usage)
        (void)json_object_set_new(memory, "container_usage_bytes", integer(usage));
    if (memory && limit)
        (void)json_object_set_new(memory, "container_limit_bytes", integer(limit));
    (void)prop_service_publish(s, PROP_TOPIC_METRICS,
                               json_pack("{s:s,s:s,s:s,s:{s:f,s:f,s:f},s:o}", "proplet_id",
                                         s->c->proplet_id, "namespace", s->c->namespace, "timestamp",
                                         when, "cpu_metrics", "user_seconds", p.user_s,
                                         "system_seconds", p.system_s, "percent", percent,
                                         "memory_metrics", memory));
}

/* ---- /metrics and /health ----------------------------------------------------------------------------------- */

static void gauges(struct prop_service *s, uint64_t out[PROP_GAUGES])
{
    (void)pthread_mutex_lock(&s->lock);
    out[PROP_GAUGE_RUNNING] = s->running;
    out[PROP_GAUGE_WAITING] = s->waiting;
    out[PROP_GAUGE_DAEMONS] = s->daemons;
    out[PROP_GAUGE_LATENT] = s->latents;
    (void)pthread_mutex_unlock(&s->lock);
    out[PROP_GAUGE_RESULTS_HELD] = prop_outbox_count(s->outbox);
    out[PROP_GAUGE_CONNECTED] = prop_mqtt_is_connected(s->mqtt);
    out[PROP_GAUGE_CACHE_BYTES] = prop_cache_bytes(s->cache);
}

int prop_service_metrics_text(void *ctx, struct prop_buf *out, struct prop_err *err)
{
    struct prop_service *s = ctx;
    struct prop_procstat p = { .user_s = 0 };
    uint64_t values[PROP_GAUGES] = { 0 };

    gauges(s, values);
    (void)prop_procstat_read(getpid(), &p);
    int rc = prop_stats_text(&s->stats, values, out, err);
    if (rc == 0)
        rc = prop_buf_printf(out, err,
                             "# HELP proplet_memory_rss_bytes memory of the service itself\n"
                             "# TYPE proplet_memory_rss_bytes gauge\nproplet_memory_rss_bytes %llu\n"
                             "# HELP proplet_cpu_user_seconds processor time of the service itself\n"
                             "# TYPE proplet_cpu_user_seconds gauge\nproplet_cpu_user_seconds %.2f\n"
                             "# HELP proplet_cpu_system_seconds processor time in the kernel\n"
                             "# TYPE proplet_cpu_system_seconds gauge\n"
                             "proplet_cpu_system_seconds %.2f\n",
                             (unsigned long long)p.rss_bytes, p.user_s, p.system_s);
    return rc;
}

int prop_service_health_text(void *ctx, struct prop_buf *out, bool *ret_well, struct prop_err *err)
{
    struct prop_service *s = ctx;

    (void)pthread_mutex_lock(&s->lock);
    unsigned running = s->running;
    bool draining = s->draining, gone = s->runner_gone;
    (void)pthread_mutex_unlock(&s->lock);
    *ret_well = !gone;
    return prop_buf_printf(out, err,
                           "{\"status\":\"%s\",\"running_tasks\":%u,\"broker_connected\":%s}\n",
                           gone ? "failed" : draining ? "draining" : "ok", running,
                           prop_mqtt_is_connected(s->mqtt) ? "true" : "false");
}
