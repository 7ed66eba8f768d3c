/* Lists on the command line: an option that is repeated, each with values between commas, and ranges of
 * numbers. */
#include "cmd/propcvm/vm_measure.h"

#include "util/encode.h"
#include "util/text.h"

#include <string.h>

enum { ITEM_MAX = 64 };

/* Calls `take` for each value between commas. */
static int each(const struct prop_strs *list, const char *option, const char *fallback,
                int (*take)(struct vm_measure *m, const char *item, struct prop_err *err),
                struct vm_measure *m, struct prop_err *err)
{
    if (list->n == 0)
        return take(m, fallback, err);
    for (size_t i = 0; i < list->n; i++)
        for (const char *p = list->items[i];; p++) {
            char item[ITEM_MAX];
            size_t len = strcspn(p, ",");
            if (len == 0 || len >= sizeof item)
                return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                                       "%s '%s' is no list of values", option, list->items[i]);
            memcpy(item, p, len);
            item[len] = 0;
            int rc = take(m, item, err);
            if (rc < 0)
                return rc;
            p += len;
            if (!*p)
                break;
        }
    return 0;
}

static int full(struct prop_err *err)
{
    return prop_err_set(err, PROP_E_LIMIT, "more than %u values in one run", VM_MEASURE_VALUES_MAX);
}

static int add_vcpus(struct vm_measure *m, uint64_t n, struct prop_err *err)
{
    for (size_t i = 0; i < m->n_vcpus; i++)
        if (m->vcpus[i] == n)
            return 0;
    unsigned *more = prop_realloc_array(m->vcpus, m->n_vcpus + 1, sizeof *more);
    if (!more)
        return prop_err_nomem(err);
    m->vcpus = more;
    m->vcpus[m->n_vcpus++] = (unsigned)n;
    return 0;
}

/* "4", or "1-8" */
static int take_vcpus(struct vm_measure *m, const char *item, struct prop_err *err)
{
    char first[ITEM_MAX] = { 0 };
    const char *dash = strchr(item, '-');
    uint64_t from = 0, to = 0;
    size_t len = dash ? (size_t)(dash - item) : strlen(item);
    memcpy(first, item, len);
    int rc = prop_parse_u64(first, "--vcpus", &from, NULL);
    if (rc == 0)
        rc = prop_parse_u64(dash ? dash + 1 : first, "--vcpus", &to, NULL);
    if (rc < 0 || from < 1 || to < from || to > VM_MEASURE_VCPUS_MAX) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "bad-vcpus", "--vcpus '%s' is no number of vCPUs",
                              item);
        return prop_err_hint(err, "1 to %u, for example 4, or 1,2,4, or 1-8", VM_MEASURE_VCPUS_MAX);
    }
    for (; from <= to; from++)
        if (add_vcpus(m, from, err) < 0)
            return PROP_E_NOMEM;
    return 0;
}

static int take_type(struct vm_measure *m, const char *item, struct prop_err *err)
{
    struct prop_cpu_model model = { NULL, 0 };
    int rc = prop_cpu_signature(item, &model.signature, err);
    if (rc < 0)
        return rc;
    if (m->n_types == VM_MEASURE_VALUES_MAX)
        return full(err);
    struct prop_cpu_model *more = prop_realloc_array(m->types, m->n_types + 1, sizeof *more);
    if (!more)
        return prop_err_nomem(err);
    m->types = more;
    model.name = prop_strdup(item);
    if (!model.name)
        return prop_err_nomem(err);
    m->types[m->n_types++] = model;
    return 0;
}

/* "0x21" or "33" */
static int take_features(struct vm_measure *m, const char *item, struct prop_err *err)
{
    uint64_t v = 0;
    bool hex = prop_starts_with(item, "0x") || prop_starts_with(item, "0X");
    size_t n = strlen(item);
    bool good = hex ? n > 2 && n <= 18 : prop_parse_u64(item, "", &v, NULL) == 0;
    for (size_t i = 2; hex && good && i < n; i++) {
        int d = prop_hex_digit(item[i]);
        good = d >= 0;
        v = v << 4 | (unsigned)(d & 15);
    }
    if (!good) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "bad-guest-features",
                              "--guest-features '%s' is no number", item);
        return prop_err_hint(err, "0x1 is SNP; 0x21 with DebugSwap, which Linux 6.6 and 6.7 set");
    }
    if (!(v & 1) && m->mode == VM_MEASURE_SNP) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "bad-guest-features",
                              "--guest-features '%s' lacks bit 0, which every SNP guest has", item);
        return prop_err_hint(err, "0x1 is SNP; 0x21 with DebugSwap, which Linux 6.6 and 6.7 set");
    }
    for (size_t i = 0; i < m->n_features; i++)
        if (m->features[i] == v)
            return 0;
    uint64_t *more = prop_realloc_array(m->features, m->n_features + 1, sizeof *more);
    if (!more)
        return prop_err_nomem(err);
    m->features = more;
    m->features[m->n_features++] = v;
    return 0;
}

static int take_profile(struct vm_measure *m, const char *item, struct prop_err *err)
{
    struct prop_rtmr_profile p;
    const char *name;
    int rc = 0;
    if (strcmp(item, "all") == 0) {
        for (size_t i = 0; rc == 0 && (name = prop_rtmr_profile_name(i)); i++)
            rc = take_profile(m, name, err);
        return rc;
    }
    rc = prop_rtmr_profile_parse(item, &p, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < m->n_profiles; i++)
        if (strcmp(m->profiles[i].name, p.name) == 0)
            return 0;
    struct prop_rtmr_profile *more = prop_realloc_array(m->profiles, m->n_profiles + 1, sizeof *more);
    if (!more)
        return prop_err_nomem(err);
    m->profiles = more;
    m->profiles[m->n_profiles++] = p;
    return 0;
}

int vm_measure_lists(struct vm_measure *m, struct prop_err *err)
{
    int rc = each(&m->o->vcpus, "--vcpus", "1", take_vcpus, m, err);
    if (rc == 0)
        rc = each(&m->o->types, "--vcpu-type", "EPYC-v4", take_type, m, err);
    if (rc == 0)
        rc = each(&m->o->features, "--guest-features", "0x1", take_features, m, err);
    if (rc == 0)
        rc = each(&m->o->profiles, "--profile", "newest", take_profile, m, err);
    if (rc == 0 && m->n_vcpus * m->n_types > VM_MEASURE_VALUES_MAX / m->n_features)
        rc = full(err);
    return rc;
}
