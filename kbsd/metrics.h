/* Counters in the text format of Prometheus, names and labels as the real server's /metrics. */
#ifndef PROP_KBSD_METRICS_H
#define PROP_KBSD_METRICS_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stddef.h>
#include <stdint.h>

enum prop_kbsd_counter {
    PROP_KBSD_ATTEST_ERRORS, PROP_KBSD_ATTEST_REQUESTS, PROP_KBSD_AUTH_ERRORS,
    PROP_KBSD_AUTH_REQUESTS, PROP_KBSD_AUTH_SUCCESSES, PROP_KBSD_HTTP_REQUESTS,
    PROP_KBSD_POLICY_APPROVALS, PROP_KBSD_POLICY_ERRORS, PROP_KBSD_POLICY_EVALUATIONS,
    PROP_KBSD_POLICY_VIOLATIONS, PROP_KBSD_COUNTERS
};
/* Counters with one label; a value of the label shows once it was counted. */
enum prop_kbsd_family {
    PROP_KBSD_ATTEST_FAILURES, PROP_KBSD_ATTEST_SUCCESSES, PROP_KBSD_RESOURCE_DELETES,
    PROP_KBSD_RESOURCE_READS, PROP_KBSD_RESOURCE_WRITES, PROP_KBSD_FAMILIES
};
enum prop_kbsd_histogram {
    PROP_KBSD_REQUEST_SECONDS, PROP_KBSD_REQUEST_BYTES, PROP_KBSD_RESPONSE_BYTES,
    PROP_KBSD_HISTOGRAMS
};

#define PROP_KBSD_BUCKETS 8

struct prop_kbsd_metrics {
    uint64_t counters[PROP_KBSD_COUNTERS];
    json_t *families[PROP_KBSD_FAMILIES]; /* label value -> integer; NULL until counted */
    struct {
        uint64_t buckets[PROP_KBSD_BUCKETS];
        uint64_t count;
        double sum;
    } histograms[PROP_KBSD_HISTOGRAMS];
    unsigned active; /* requests in work */
};

/* All zero is the start. Nothing here fails: a count that finds no memory is lost. */
void prop_kbsd_metrics_release(struct prop_kbsd_metrics *m);
void prop_kbsd_count(struct prop_kbsd_metrics *m, enum prop_kbsd_counter which);
void prop_kbsd_count_label(struct prop_kbsd_metrics *m, enum prop_kbsd_family which,
                           const char *label);
void prop_kbsd_observe(struct prop_kbsd_metrics *m, enum prop_kbsd_histogram which, double value);
/* The whole exposition text, families in the order of their names. */
int prop_kbsd_metrics_text(const struct prop_kbsd_metrics *m, struct prop_buf *out,
                           struct prop_err *err);

#endif
