/* Read, merge, write, watch. What makes it hold: nobody leaves while others still write, and everybody
 * mends what anybody lost. */
#include "oci/referrers_tag.h"

#include "crypto/random.h"
#include "oci/manifest.h"
#include "oci/registry.h"
#include "oci/registry_put.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <string.h>
#include <time.h>

#define LOSSES_MAX 25     /* of our own entry */
#define WATCH_MAX_MS 30000u
#define WATCH_STEP_MS 30u
/* How long nothing may change: so many milliseconds, and so often the slowest read and write. */
#define QUIET_MS 200u
#define QUIET_CYCLES 2u
#define RACED_MS 400u /* once others were seen */
#define RACED_CYCLES 5u

int prop_referrers_tag_read(const struct prop_referrers_talk *t, const char *tag, json_t **ret,
                            struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *said = NULL;
    prop_auto_free char *type = NULL;
    struct prop_err failure = PROP_ERR_INIT;
    int rc = prop_registry_manifest(t->session, t->path, t->scope, tag, &bytes, &said, &failure);

    if (rc == PROP_E_NOTFOUND) {
        *ret = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", PROP_MT_OCI_INDEX,
                         "manifests");
        return *ret == NULL ? prop_err_nomem(err) : 0;
    }
    if (rc < 0 && err != NULL)
        *err = failure;
    if (rc == 0)
        rc = prop_manifest_type(bytes.data, bytes.len, said, "the list of referrers", &type, err);
    if (rc == 0 && strcmp(type, PROP_MT_OCI_INDEX) != 0)
        rc = prop_err_set_id(err, PROP_E_INPUT, "bad-referrers",
                             "the tag '%s' is no list of referrers", tag);
    return rc == 0 ? prop_json_parse(prop_buf_str(&bytes), bytes.len, "the list of referrers", ret,
                                     err)
                   : rc;
}

static int put(const struct prop_referrers_talk *t, const char *tag, const json_t *index,
               struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_digest digest;
    int rc = prop_manifest_write(index, &bytes, err);

    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &digest, err);
    if (rc == 0) {
        const struct prop_registry_put m = { tag, bytes.data, bytes.len, PROP_MT_OCI_INDEX,
                                             &digest };

        rc = prop_registry_put_manifest(t->session, t->path, t->scope, &m, err);
    }
    return rc;
}

static const char *digest_of(const json_t *entry)
{
    const char *text = json_string_value(json_object_get(entry, "digest"));

    return text != NULL ? text : "";
}

static bool is_gone(const struct prop_referrers_talk *t, const json_t *entry)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *said = NULL;

    return digest_of(entry)[0] == '\0' ||
           prop_registry_manifest(t->session, t->path, t->scope, digest_of(entry), &bytes, &said,
                                  NULL) == PROP_E_NOTFOUND;
}

/* Registries take no list that names what was deleted since: those entries go. False: there were
 * none. */
static bool prune(const struct prop_referrers_talk *t, json_t *index)
{
    json_t *entries = json_object_get(index, "manifests");
    bool found = false;

    for (size_t i = json_array_size(entries); i-- > 0;)
        if (is_gone(t, json_array_get(entries, i))) {
            (void)json_array_remove(entries, i);
            found = true;
        }
    return found;
}

static int put_pruned(const struct prop_referrers_talk *t, const char *tag, json_t *index,
                      struct prop_err *err)
{
    struct prop_err failure = PROP_ERR_INIT;
    int rc = put(t, tag, index, &failure);

    if ((rc == PROP_E_REMOTE || rc == PROP_E_NOTFOUND) && prune(t, index))
        return put(t, tag, index, err);
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

/* --- keeping --- */

struct keeping {
    const struct prop_referrers_talk *t;
    const char *tag;
    json_t *ours;  /* borrowed */
    json_t *known; /* entries seen in the list, and ours */
    json_t *last;  /* the entries as they were last */
    bool written;  /* ours was, once */
    bool raced;    /* others write, too */
    unsigned losses;
    uint64_t cycle_ms; /* the longest from a read to the end of the write after it */
    uint64_t begun_ms, quiet_ms;
};

static void keeping_release(struct keeping *k)
{
    json_decref(k->known);
    json_decref(k->last);
}

static bool holds(const json_t *entries, const json_t *entry)
{
    size_t i;
    json_t *have;

    json_array_foreach((json_t *)(uintptr_t)entries, i, have)
        if (strcmp(digest_of(have), digest_of(entry)) == 0)
            return true;
    return false;
}

static int learn(struct keeping *k, json_t *entries, struct prop_err *err)
{
    size_t i;
    json_t *entry;

    json_array_foreach(entries, i, entry)
        if (digest_of(entry)[0] != '\0' && !holds(k->known, entry) &&
            json_array_append(k->known, entry) < 0)
            return prop_err_nomem(err);
    return 0;
}

/* Put back what the list lacks; `ret` counts it. What was deleted meanwhile is forgotten. */
static int merge(struct keeping *k, json_t *entries, size_t *ret, struct prop_err *err)
{
    *ret = 0;
    for (size_t i = 0; i < json_array_size(k->known);) {
        json_t *entry = json_array_get(k->known, i);
        bool own = strcmp(digest_of(entry), digest_of(k->ours)) == 0;

        if (holds(entries, entry)) {
            i++;
            continue;
        }
        if (!own && is_gone(k->t, entry)) {
            (void)json_array_remove(k->known, i);
            continue;
        }
        k->losses += own && k->written;
        if (json_array_append(entries, entry) < 0)
            return prop_err_set_id(err, PROP_E_INPUT, "bad-referrers",
                                   "the tag '%s' is no list of referrers", k->tag);
        ++*ret;
        i++;
    }
    return 0;
}

static int pause_ms(uint64_t least, uint64_t more, struct prop_err *err)
{
    uint16_t chance = 0;
    struct timespec wait;
    uint64_t ms;

    prop_random(&chance, sizeof(chance));
    ms = least + (more * chance >> 16);
    wait = (struct timespec){ (time_t)(ms / 1000), (long)(ms % 1000) * 1000000L };
    (void)nanosleep(&wait, NULL);
    return prop_stop_check(err);
}

static bool is_quiet(const struct keeping *k)
{
    uint64_t need = k->raced ? RACED_MS + RACED_CYCLES * k->cycle_ms
                             : QUIET_MS + QUIET_CYCLES * k->cycle_ms;

    return k->written && prop_now_ms() - k->quiet_ms >= need;
}

/* One look at the list, and a write where it lacks something. */
static int look(struct keeping *k, bool *ret_done, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    uint64_t begun = prop_now_ms();
    json_t *entries;
    size_t missing = 0;
    int rc = prop_referrers_tag_read(k->t, k->tag, &index, err);

    if (rc < 0)
        return rc;
    entries = json_object_get(index, "manifests");
    if (!k->written && holds(entries, k->ours)) {
        *ret_done = true; /* it was there before */
        return 0;
    }
    if (k->last != NULL && !json_equal(entries, k->last)) {
        k->raced = true;
        k->quiet_ms = prop_now_ms();
    }
    rc = learn(k, entries, err);
    if (rc == 0)
        rc = merge(k, entries, &missing, err);
    if (rc == 0 && missing > 0)
        rc = put_pruned(k->t, k->tag, index, err);
    if (rc < 0)
        return rc;
    if (missing > 0) {
        k->written = true;
        k->quiet_ms = prop_now_ms();
        if (k->quiet_ms - begun > k->cycle_ms)
            k->cycle_ms = k->quiet_ms - begun;
    }
    json_decref(k->last);
    k->last = json_incref(entries);
    *ret_done = is_quiet(k) || (missing == 0 && prop_now_ms() - k->begun_ms > WATCH_MAX_MS);
    return 0;
}

int prop_referrers_tag_keep(const struct prop_referrers_talk *t, const char *tag, json_t *entry,
                            struct prop_err *err)
{
    __attribute__((cleanup(keeping_release))) struct keeping k = {
        .t = t, .tag = tag, .ours = entry, .known = json_pack("[O]", entry),
        .begun_ms = prop_now_ms()
    };
    bool done = false;

    if (k.known == NULL)
        return prop_err_nomem(err);
    for (;;) {
        unsigned before = k.losses;
        int rc = look(&k, &done, err);

        if (rc < 0 || done)
            return rc;
        if (k.losses > LOSSES_MAX || prop_now_ms() - k.begun_ms > 2 * WATCH_MAX_MS)
            break;
        /* who lost waits longer, each a time of his own, so that one gets through */
        rc = k.losses > before ? pause_ms(0, 20u << (k.losses < 4 ? k.losses : 4), err)
                               : pause_ms(WATCH_STEP_MS, 2 * WATCH_STEP_MS, err);
        if (rc < 0)
            return rc;
    }
    prop_err_set_id(err, PROP_E_REMOTE, "referrers-race",
                    "others write the list of referrers '%s' all the time", tag);
    return prop_err_hint(err, "push the same again: what is there is kept");
}
