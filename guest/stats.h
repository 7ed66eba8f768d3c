/* What the service counts, for its /metrics. Counting is safe from any thread and never fails. */
#ifndef PROP_GUEST_STATS_H
#define PROP_GUEST_STATS_H

#include "util/buf.h"
#include "util/err.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum prop_stat {
    PROP_STAT_STARTS,        /* start messages that became tasks */
    PROP_STAT_REFUSED,       /* start messages answered with a refusal */
    PROP_STAT_DUPLICATES,    /* start messages dropped: their task runs, or they dropped `encrypted` */
    PROP_STAT_UNREADABLE,    /* messages nobody can be answered for */
    PROP_STAT_COMPLETED,
    PROP_STAT_FAILED,
    PROP_STAT_STOPPED,
    PROP_STAT_INVOCATIONS,
    PROP_STAT_PULLS,         /* layers fetched from a registry */
    PROP_STAT_BLOB_HITS,     /* layers found in memory */
    PROP_STAT_PROGRAM_HITS,  /* compiled programs found in memory */
    PROP_STAT_COMPILES,
    PROP_STAT_RESULTS_SENT,
    PROP_STAT_RESULTS_LOST,  /* that did not fit while the broker was away */
    PROP_STAT_CONNECTS,
    PROP_STATS
};
enum prop_gauge {
    PROP_GAUGE_RUNNING, PROP_GAUGE_WAITING, PROP_GAUGE_DAEMONS, PROP_GAUGE_LATENT,
    PROP_GAUGE_RESULTS_HELD, PROP_GAUGE_CONNECTED, PROP_GAUGE_CACHE_BYTES, PROP_GAUGES
};
/* How long something took, in seconds. */
enum prop_span {
    PROP_SPAN_READY,   /* a start message came in -> its result is ready to be sent */
    PROP_SPAN_PREPARE, /* pull, attest, decrypt, compile: whatever of it was needed */
    PROP_SPAN_RUN,
    PROP_SPANS
};
#define PROP_SPAN_BUCKETS 16

struct prop_stats {
    _Atomic(uint64_t) counts[PROP_STATS];
    struct {
        _Atomic(uint64_t) buckets[PROP_SPAN_BUCKETS + 1], count, sum_us;
    } spans[PROP_SPANS];
};

/* All zero is the start. */
void prop_stats_add(struct prop_stats *s, enum prop_stat which);
void prop_stats_observe_ms(struct prop_stats *s, enum prop_span which, double ms);
/* The exposition text of Prometheus; the gauges' values are the caller's. */
int prop_stats_text(struct prop_stats *s, const uint64_t gauges[PROP_GAUGES], struct prop_buf *out,
                    struct prop_err *err);

#endif
