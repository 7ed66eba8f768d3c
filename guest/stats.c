/* Counters and histograms in the text format of Prometheus. */
#include "guest/stats.h"

#include <stdio.h>

static const struct {
    const char *name, *help;
} counts[PROP_STATS] = {
    [PROP_STAT_STARTS] = { "tasks_started_total", "start messages that became tasks" },
    [PROP_STAT_REFUSED] = { "tasks_refused_total", "start messages answered with a refusal" },
    [PROP_STAT_DUPLICATES] = { "starts_dropped_total", "repeated start messages, not answered" },
    [PROP_STAT_UNREADABLE] = { "messages_unreadable_total", "messages without a readable id" },
    [PROP_STAT_COMPLETED] = { "tasks_completed_total", "tasks that ended well" },
    [PROP_STAT_FAILED] = { "tasks_failed_total", "tasks that failed" },
    [PROP_STAT_STOPPED] = { "tasks_stopped_total", "tasks that were stopped" },
    [PROP_STAT_INVOCATIONS] = { "invocations_total", "invocations of latent tasks" },
    [PROP_STAT_PULLS] = { "layer_pulls_total", "layers fetched from a registry" },
    [PROP_STAT_BLOB_HITS] = { "layer_cache_hits_total", "layers found in memory" },
    [PROP_STAT_PROGRAM_HITS] = { "program_cache_hits_total", "compiled programs found in memory" },
    [PROP_STAT_COMPILES] = { "compilations_total", "modules compiled" },
    [PROP_STAT_RESULTS_SENT] = { "results_sent_total", "results the broker took over" },
    [PROP_STAT_RESULTS_LOST] = { "results_lost_total", "results dropped: the broker was away too long" },
    [PROP_STAT_CONNECTS] = { "mqtt_connects_total", "connections made to the broker" },
};
static const struct {
    const char *name, *help;
} gauges_of[PROP_GAUGES] = {
    [PROP_GAUGE_RUNNING] = { "tasks_running", "tasks running now" },
    [PROP_GAUGE_WAITING] = { "tasks_waiting", "tasks accepted and not running yet" },
    [PROP_GAUGE_DAEMONS] = { "daemons_running", "daemon tasks running now" },
    [PROP_GAUGE_LATENT] = { "latent_tasks", "tasks waiting to be invoked" },
    [PROP_GAUGE_RESULTS_HELD] = { "results_held", "results not taken over by the broker yet" },
    [PROP_GAUGE_CONNECTED] = { "broker_connected", "1 while there is a connection to the broker" },
    [PROP_GAUGE_CACHE_BYTES] = { "cache_bytes", "memory of cached layers and programs" },
};
static const struct {
    const char *name, *help;
} spans_of[PROP_SPANS] = {
    [PROP_SPAN_READY] = { "task_ready_seconds", "from the start message to the finished result" },
    [PROP_SPAN_PREPARE] = { "task_prepare_seconds", "pulling, attesting, decrypting, compiling" },
    [PROP_SPAN_RUN] = { "task_run_seconds", "running the module" },
};
static const double bounds_ms[PROP_SPAN_BUCKETS] = {
    1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 100, 250, 500, 1000, 5000, 60000
};

void prop_stats_add(struct prop_stats *s, enum prop_stat which)
{
    atomic_fetch_add_explicit(&s->counts[which], 1, memory_order_relaxed);
}

void prop_stats_observe_ms(struct prop_stats *s, enum prop_span which, double ms)
{
    size_t i = 0;

    if (ms < 0)
        ms = 0;
    while (i < PROP_SPAN_BUCKETS && ms > bounds_ms[i])
        i++;
    atomic_fetch_add_explicit(&s->spans[which].buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->spans[which].count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->spans[which].sum_us, (uint64_t)(ms * 1000), memory_order_relaxed);
}

static int span_text(struct prop_stats *s, size_t which, struct prop_buf *out, struct prop_err *err)
{
    const char *name = spans_of[which].name;
    uint64_t sum = 0;
    int rc = prop_buf_printf(out, err, "# HELP proplet_%s %s\n# TYPE proplet_%s histogram\n", name,
                             spans_of[which].help, name);

    for (size_t i = 0; rc == 0 && i <= PROP_SPAN_BUCKETS; i++) {
        sum += atomic_load(&s->spans[which].buckets[i]);
        rc = i < PROP_SPAN_BUCKETS
                 ? prop_buf_printf(out, err, "proplet_%s_bucket{le=\"%g\"} %llu\n", name,
                                   bounds_ms[i] / 1000, (unsigned long long)sum)
                 : prop_buf_printf(out, err, "proplet_%s_bucket{le=\"+Inf\"} %llu\n", name,
                                   (unsigned long long)sum);
    }
    return rc ? rc
              : prop_buf_printf(out, err, "proplet_%s_sum %.6f\nproplet_%s_count %llu\n", name,
                                (double)atomic_load(&s->spans[which].sum_us) / 1e6, name,
                                (unsigned long long)sum);
}

int prop_stats_text(struct prop_stats *s, const uint64_t gauges[PROP_GAUGES], struct prop_buf *out,
                    struct prop_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_STATS; i++)
        rc = prop_buf_printf(out, err,
                             "# HELP proplet_%s %s\n# TYPE proplet_%s counter\nproplet_%s %llu\n",
                             counts[i].name, counts[i].help, counts[i].name, counts[i].name,
                             (unsigned long long)atomic_load(&s->counts[i]));
    for (size_t i = 0; rc == 0 && i < PROP_GAUGES; i++)
        rc = prop_buf_printf(out, err,
                             "# HELP proplet_%s %s\n# TYPE proplet_%s gauge\nproplet_%s %llu\n",
                             gauges_of[i].name, gauges_of[i].help, gauges_of[i].name,
                             gauges_of[i].name, (unsigned long long)gauges[i]);
    for (size_t i = 0; rc == 0 && i < PROP_SPANS; i++)
        rc = span_text(s, i, out, err);
    return rc;
}
