/* The exposition text of /metrics (kbs-metrics.http). */
#include "kbsd/metrics.h"

#include <stdio.h>
#include <string.h>

#define SECONDS { 0.0005, 0.001, 0.005, 0.01, 0.05, 0.5, 1 }
#define BYTES { 32, 128, 512, 2048, 8192 }

static const struct {
    const char *name, *help;
    double bounds[PROP_KBSD_BUCKETS];
    size_t n_bounds;
} histogram_table[PROP_KBSD_HISTOGRAMS] = {
    { "kbs_http_request_duration_seconds", "Distribution of request handling duration",
      SECONDS, 7 },
    { "kbs_http_request_size_bytes", "Distribution of request body sizes", BYTES, 5 },
    { "kbs_http_response_size_bytes", "Distribution of response body sizes", BYTES, 5 },
};

enum shape { COUNTER, FAMILY, HISTOGRAM, ACTIVE, BUILD };

/* Every metric in the order it is shown. */
static const struct {
    enum shape shape;
    unsigned index;
    const char *name, *help, *label;
} shown[] = {
    { COUNTER, PROP_KBSD_ATTEST_ERRORS, "kbs_attestation_errors_total",
      "Total count of errors during attestation processing", NULL },
    { FAMILY, PROP_KBSD_ATTEST_FAILURES, "kbs_attestation_failures_total",
      "Total count of attestation failures", "tee_type" },
    { COUNTER, PROP_KBSD_ATTEST_REQUESTS, "kbs_attestation_requests_total",
      "Total count of attestation requests", NULL },
    { FAMILY, PROP_KBSD_ATTEST_SUCCESSES, "kbs_attestation_successes_total",
      "Total count of attestation successes", "tee_type" },
    { COUNTER, PROP_KBSD_AUTH_ERRORS, "kbs_auth_errors_total",
      "Total count of errors during auth processing", NULL },
    { COUNTER, PROP_KBSD_AUTH_REQUESTS, "kbs_auth_requests_total",
      "Total count of auth requests", NULL },
    { COUNTER, PROP_KBSD_AUTH_SUCCESSES, "kbs_auth_successes_total",
      "Total count of successfully authenticated requests", NULL },
    { BUILD, 0, "kbs_build_info", "KBS binary build info", NULL },
    { ACTIVE, 0, "kbs_http_active_connections",
      "Count of HTTP connections being processed at the moment", NULL },
    { HISTOGRAM, PROP_KBSD_REQUEST_SECONDS, NULL, NULL, NULL },
    { HISTOGRAM, PROP_KBSD_REQUEST_BYTES, NULL, NULL, NULL },
    { COUNTER, PROP_KBSD_HTTP_REQUESTS, "kbs_http_requests_total", "Total HTTP requests count",
      NULL },
    { HISTOGRAM, PROP_KBSD_RESPONSE_BYTES, NULL, NULL, NULL },
    { COUNTER, PROP_KBSD_POLICY_APPROVALS, "kbs_policy_approvals_total",
      "Total count of requests approved by KBS policy", NULL },
    { COUNTER, PROP_KBSD_POLICY_ERRORS, "kbs_policy_errors_total",
      "Total count of errors during KBS evaluation", NULL },
    { COUNTER, PROP_KBSD_POLICY_EVALUATIONS, "kbs_policy_evaluations_total",
      "Total count of KBS policy evaluations", NULL },
    { COUNTER, PROP_KBSD_POLICY_VIOLATIONS, "kbs_policy_violations_total",
      "Total count of requests denied by KBS policy", NULL },
    { FAMILY, PROP_KBSD_RESOURCE_DELETES, "kbs_resource_deletes_total",
      "KBS resource delete count", "resource_path" },
    { FAMILY, PROP_KBSD_RESOURCE_READS, "kbs_resource_reads_total", "KBS resource read count",
      "resource_path" },
    { FAMILY, PROP_KBSD_RESOURCE_WRITES, "kbs_resource_writes_total",
      "KBS resource write count", "resource_path" },
};

void prop_kbsd_metrics_release(struct prop_kbsd_metrics *m)
{
    for (size_t i = 0; i < PROP_KBSD_FAMILIES; i++) {
        json_decref(m->families[i]);
        m->families[i] = NULL;
    }
}

void prop_kbsd_count(struct prop_kbsd_metrics *m, enum prop_kbsd_counter which)
{
    m->counters[which]++;
}

void prop_kbsd_count_label(struct prop_kbsd_metrics *m, enum prop_kbsd_family which,
                           const char *label)
{
    if (m->families[which] == NULL)
        m->families[which] = json_object();
    json_int_t now = json_integer_value(json_object_get(m->families[which], label));
    (void)json_object_set_new(m->families[which], label, json_integer(now + 1));
}

void prop_kbsd_observe(struct prop_kbsd_metrics *m, enum prop_kbsd_histogram which, double value)
{
    for (size_t i = 0; i < histogram_table[which].n_bounds; i++)
        if (value <= histogram_table[which].bounds[i])
            m->histograms[which].buckets[i]++;
    m->histograms[which].count++;
    m->histograms[which].sum += value;
}

static int put_head(struct prop_buf *out, const char *name, const char *help, const char *type,
                    struct prop_err *err)
{
    return prop_buf_printf(out, err, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static int put_family(const json_t *family, const char *name, const char *help, const char *label,
                      struct prop_buf *out, struct prop_err *err)
{
    if (json_object_size(family) == 0)
        return 0;
    prop_auto_free char *text = prop_json_sorted(family);
    prop_auto_json json_t *sorted = text != NULL ? json_loads(text, 0, NULL) : NULL;
    if (sorted == NULL)
        return prop_err_nomem(err);
    int rc = put_head(out, name, help, "counter", err);
    const char *value;
    json_t *count;
    json_object_foreach(sorted, value, count) {
        if (rc == 0)
            rc = prop_buf_printf(out, err, "%s{%s=\"%s\"} %lld\n", name, label, value,
                                 (long long)json_integer_value(count));
    }
    return rc;
}

static int put_histogram(const struct prop_kbsd_metrics *m, unsigned which, struct prop_buf *out,
                         struct prop_err *err)
{
    const char *name = histogram_table[which].name;
    int rc = put_head(out, name, histogram_table[which].help, "histogram", err);

    for (size_t i = 0; rc == 0 && i < histogram_table[which].n_bounds; i++)
        rc = prop_buf_printf(out, err, "%s_bucket{le=\"%g\"} %llu\n", name,
                             histogram_table[which].bounds[i],
                             (unsigned long long)m->histograms[which].buckets[i]);
    if (rc == 0)
        rc = prop_buf_printf(out, err, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n",
                             name, (unsigned long long)m->histograms[which].count, name,
                             m->histograms[which].sum, name,
                             (unsigned long long)m->histograms[which].count);
    return rc;
}

int prop_kbsd_metrics_text(const struct prop_kbsd_metrics *m, struct prop_buf *out,
                           struct prop_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(shown); i++) {
        const char *name = shown[i].name;
        switch (shown[i].shape) {
        case COUNTER:
            rc = put_head(out, name, shown[i].help, "counter", err);
            if (rc == 0)
                rc = prop_buf_printf(out, err, "%s %llu\n", name,
                                     (unsigned long long)m->counters[shown[i].index]);
            break;
        case FAMILY:
            rc = put_family(m->families[shown[i].index], name, shown[i].help, shown[i].label, out,
                            err);
            break;
        case HISTOGRAM:
            rc = put_histogram(m, shown[i].index, out, err);
            break;
        case ACTIVE:
            rc = put_head(out, name, shown[i].help, "gauge", err);
            if (rc == 0)
                rc = prop_buf_printf(out, err, "%s %u\n", name, m->active);
            break;
        case BUILD:
            rc = put_head(out, name, shown[i].help, "gauge", err);
            if (rc == 0)
                rc = prop_buf_printf(out, err, "%s{build_date=\"unknown\",git_hash=\"unknown\","
                                     "version=\"%s\"} 1\n", name, PROP_VERSION);
            break;
        }
    }
    return rc;
}
