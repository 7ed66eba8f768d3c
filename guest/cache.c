/* Bounded lists, most recently used first. They are short (hundreds), so they are searched. */
#include "guest/cache.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"

#define MAX_ENTRIES 1024
#define MAX_PROGRAMS 256 /* each has a descriptor */
#define LOOK_MS 100      /* how often who waits for a program looks whether to go on */
#define MAX_SOURCES 16

struct prop_cache_blob {
    struct prop_cache_blob *next;
    struct prop_digest digest;
    uint8_t *data;
    size_t len;
    char *type;
    unsigned refs; /* the list's is one */
};
/* What a program is kept under. */
struct key {
    struct prop_digest manifest, layer;
    bool fuel;
};
struct program {
    struct program *next;
    struct key key;
    struct prop_program *p;
};
struct prop_cache_flight {
    struct prop_cache_flight *next;
    struct key key;
};
struct source {
    struct source *next;
    char *text;
    struct prop_src *src;
};
struct prop_cache_tag {
    struct prop_cache_tag *next;
    char *text, *said;
    struct prop_buf bytes; /* len 0 = there is no answer */
    unsigned refs;
    bool done;
};
struct prop_cache {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    uint64_t max, blob_bytes, program_bytes;
    struct prop_cache_blob *blobs;
    struct program *programs;
    struct prop_cache_flight *flights;
    struct source *sources;
    struct prop_cache_tag *tags;
    struct prop_stats *stats;
};

int prop_cache_new(uint64_t max_bytes, struct prop_stats *stats, struct prop_cache **ret,
                   struct prop_err *err)
{
    struct prop_cache *c = prop_zalloc(sizeof *c);
    pthread_condattr_t attr;

    if (!c)
        return prop_err_nomem(err);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->landed, &attr);
    (void)pthread_condattr_destroy(&attr);
    c->max = max_bytes;
    c->stats = stats;
    *ret = c;
    return 0;
}

void prop_cache_count(struct prop_cache *c, enum prop_stat which)
{
    if (c->stats)
        prop_stats_add(c->stats, which);
}

/* ---- blobs ------------------------------------------------------------------------------------- */

static void blob_unref(struct prop_cache_blob *b)
{
    if (--b->refs)
        return;
    prop_free(b->data);
    prop_free(b->type);
    prop_free(b);
}

/* Forget from the end of the list until it fits. */
static void shrink_blobs(struct prop_cache *c)
{
    size_t n = 0;
    uint64_t bytes = 0;
    struct prop_cache_blob **at = &c->blobs;

    while (*at && n < MAX_ENTRIES && bytes + (*at)->len <= c->max) {
        bytes += (*at)->len;
        n++;
        at = &(*at)->next;
    }
    struct prop_cache_blob *rest = *at;
    *at = NULL;
    c->blob_bytes = bytes;
    while (rest) {
        struct prop_cache_blob *next = rest->next;
        blob_unref(rest);
        rest = next;
    }
}

static struct prop_cache_blob *blob_to_front(struct prop_cache *c, const struct prop_digest *digest)
{
    for (struct prop_cache_blob **at = &c->blobs; *at; at = &(*at)->next) {
        struct prop_cache_blob *b = *at;
        if (!prop_digest_equal(&b->digest, digest))
            continue;
        *at = b->next;
        b->next = c->blobs;
        c->blobs = b;
        return b;
    }
    return NULL;
}

struct prop_cache_blob *prop_cache_blob_find(struct prop_cache *c, const struct prop_digest *digest)
{
    (void)pthread_mutex_lock(&c->lock);
    struct prop_cache_blob *b = blob_to_front(c, digest);
    if (b)
        b->refs++;
    (void)pthread_mutex_unlock(&c->lock);
    return b;
}

void prop_cache_blob_unref(struct prop_cache *c, struct prop_cache_blob *b)
{
    (void)pthread_mutex_lock(&c->lock);
    blob_unref(b);
    (void)pthread_mutex_unlock(&c->lock);
}

const void *prop_cache_blob_data(const struct prop_cache_blob *b, size_t *ret_len)
{
    *ret_len = b->len;
    return b->data;
}

const char *prop_cache_blob_type(const struct prop_cache_blob *b)
{
    return b->type;
}

bool prop_cache_blob_fits(const struct prop_cache *c, uint64_t size)
{
    return size <= c->max / 4;
}

static struct prop_cache_blob *new_blob(const struct prop_digest *digest, const void *data,
                                        size_t len, const char *type)
{
    struct prop_cache_blob *b = prop_zalloc(sizeof *b);

    if (!b)
        return NULL;
    b->refs = 1;
    b->digest = *digest;
    b->len = len;
    b->data = prop_alloc(len);
    b->type = type ? prop_strdup(type) : NULL;
    if (!b->data || (type && !b->type)) {
        blob_unref(b);
        return NULL;
    }
    if (len)
        memcpy(b->data, data, len);
    return b;
}

void prop_cache_blob_keep(struct prop_cache *c, const struct prop_digest *digest, const void *data,
                          size_t len, const char *type)
{
    struct prop_digest is;

    if (!prop_cache_blob_fits(c, len) || prop_digest_of(digest->alg, data, len, &is, NULL) ||
        !prop_digest_equal(&is, digest))
        return;
    struct prop_cache_blob *b = new_blob(digest, data, len, type);
    if (!b)
        return; /* it is fetched again then */
    (void)pthread_mutex_lock(&c->lock);
    if (blob_to_front(c, digest)) {
        blob_unref(b);
    } else {
        b->next = c->blobs;
        c->blobs = b;
        shrink_blobs(c);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

/* ---- programs ---------------------------------------------------------------------------------- */

static bool same_key(const struct key *a, const struct key *b)
{
    return a->fuel == b->fuel && prop_digest_equal(&a->layer, &b->layer) &&
           prop_digest_equal(&a->manifest, &b->manifest);
}

static struct prop_program *program_to_front(struct prop_cache *c, const struct key *key)
{
    for (struct program **at = &c->programs; *at; at = &(*at)->next) {
        struct program *p = *at;
        if (!same_key(&p->key, key))
            continue;
        *at = p->next;
        p->next = c->programs;
        c->programs = p;
        return prop_program_ref(p->p);
    }
    return NULL;
}

static void shrink_programs(struct prop_cache *c)
{
    size_t n = 0;
    uint64_t bytes = 0;
    struct program **at = &c->programs;

    while (*at && n < MAX_PROGRAMS && bytes + prop_program_size((*at)->p) <= c->max) {
        bytes += prop_program_size((*at)->p);
        n++;
        at = &(*at)->next;
    }
    struct program *rest = *at;
    *at = NULL;
    c->program_bytes = bytes;
    while (rest) {
        struct program *next = rest->next;
        prop_program_unref(rest->p);
        prop_free(rest);
        rest = next;
    }
}

static bool is_flying(const struct prop_cache *c, const struct key *key)
{
    const struct prop_cache_flight *f = c->flights;

    while (f && !same_key(&f->key, key))
        f = f->next;
    return f != NULL;
}

/* With the lock. For a while, or until a flight landed. */
static void wait_for_landing(struct prop_cache *c)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&c->landed, &c->lock, &until);
}

/* prop_guest_cache.find: what is there; else it is this thread's to make. Who is asked to stop while
 * another makes it gets nothing. */
static struct prop_program *find_program(void *ctx, const struct prop_digest *manifest,
                                         const struct prop_digest *layer)
{
    struct prop_cache_load *l = ctx;
    struct prop_cache *c = l->cache;
    const struct key key = { *manifest, *layer, l->fuel };
    struct prop_program *p = NULL;

    (void)pthread_mutex_lock(&c->lock);
    while (!(p = program_to_front(c, &key)) && is_flying(c, &key) && prop_stop_check(NULL) == 0)
        wait_for_landing(c);
    if (!p && !l->flight && !is_flying(c, &key)) {
        l->flight = prop_zalloc(sizeof *l->flight);
        if (l->flight) {
            *l->flight = (struct prop_cache_flight){ c->flights, key };
            c->flights = l->flight;
        }
    }
    (void)pthread_mutex_unlock(&c->lock);
    prop_cache_count(c, p ? PROP_STAT_PROGRAM_HITS : PROP_STAT_COMPILES);
    return p;
}

/* One of the other form (an external runtime's never counts) would be found and refused each time. */
static void keep_program(void *ctx, const struct prop_digest *manifest,
                         const struct prop_digest *layer, struct prop_program *p)
{
    struct prop_cache_load *l = ctx;
    struct prop_cache *c = l->cache;
    struct program *entry = prop_program_counts_fuel(p) == l->fuel ? prop_zalloc(sizeof *entry) : NULL;

    if (!entry)
        return;
    *entry = (struct program){ NULL, { *manifest, *layer, l->fuel }, prop_program_ref(p) };
    (void)pthread_mutex_lock(&c->lock);
    entry->next = c->programs;
    c->programs = entry;
    shrink_programs(c);
    (void)pthread_mutex_unlock(&c->lock);
}

void prop_cache_load_begin(struct prop_cache *c, bool fuel, struct prop_cache_load *l)
{
    *l = (struct prop_cache_load){ c, fuel, NULL, { find_program, keep_program, l } };
}

void prop_cache_load_end(struct prop_cache_load *l)
{
    struct prop_cache *c = l->cache;

    if (!l->flight)
        return;
    (void)pthread_mutex_lock(&c->lock);
    for (struct prop_cache_flight **at = &c->flights; *at; at = &(*at)->next)
        if (*at == l->flight) {
            *at = l->flight->next;
            break;
        }
    (void)pthread_cond_broadcast(&c->landed);
    (void)pthread_mutex_unlock(&c->lock);
    prop_free(PROP_TAKE(l->flight));
}

/* ---- tags -------------------------------------------------------------------------------------- */

static void tag_unref(struct prop_cache_tag *t)
{
    if (--t->refs)
        return;
    prop_buf_release(&t->bytes);
    prop_free(t->text);
    prop_free(t->said);
    prop_free(t);
}

static struct prop_cache_tag *new_tag(struct prop_cache *c, const char *text)
{
    struct prop_cache_tag *t = prop_zalloc(sizeof *t);

    if (!t)
        return NULL;
    t->refs = 1;
    t->bytes = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    t->text = prop_strdup(text);
    t->next = c->tags;
    c->tags = t;
    return t;
}

bool prop_cache_tag_begin(struct prop_cache *c, const char *text, struct prop_buf *out, char **ret_said,
                          struct prop_cache_tag **ret_asking)
{
    bool have = false;

    *ret_asking = NULL;
    (void)pthread_mutex_lock(&c->lock);
    struct prop_cache_tag *t = c->tags;
    while (t && !(t->text && strcmp(t->text, text) == 0))
        t = t->next;
    if (!t) {
        *ret_asking = new_tag(c, text); /* without memory it asks all the same, for itself */
    } else {
        t->refs++;
        while (!t->done && prop_stop_check(NULL) == 0)
            wait_for_landing(c);
        have = t->done && t->bytes.len && prop_buf_add(out, t->bytes.data, t->bytes.len, NULL) == 0;
        if (have && t->said)
            *ret_said = prop_strdup(t->said);
        tag_unref(t);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return have;
}

void prop_cache_tag_end(struct prop_cache *c, struct prop_cache_tag *asking,
                        const struct prop_buf *bytes, const char *said)
{
    if (!asking)
        return;
    (void)pthread_mutex_lock(&c->lock);
    struct prop_cache_tag **at = &c->tags;
    while (*at != asking)
        at = &(*at)->next;
    *at = asking->next;
    if (bytes && prop_buf_add(&asking->bytes, bytes->data, bytes->len, NULL) == 0)
        asking->said = said ? prop_strdup(said) : NULL;
    asking->done = true;
    tag_unref(asking);
    (void)pthread_cond_broadcast(&c->landed);
    (void)pthread_mutex_unlock(&c->lock);
}

/* ---- sources ----------------------------------------------------------------------------------- */

struct prop_src *prop_cache_take_source(struct prop_cache *c, const char *text)
{
    struct source *found = NULL;

    (void)pthread_mutex_lock(&c->lock);
    for (struct source **at = &c->sources; *at; at = &(*at)->next)
        if (strcmp((*at)->text, text) == 0) {
            found = *at;
            *at = found->next;
            break;
        }
    (void)pthread_mutex_unlock(&c->lock);
    if (!found)
        return NULL;
    struct prop_src *src = found->src;
    prop_free(found->text);
    prop_free(found);
    return src;
}

static void free_sources(struct source *list)
{
    while (list) {
        struct source *next = list->next;
        prop_src_free(list->src);
        prop_free(list->text);
        prop_free(list);
        list = next;
    }
}

void prop_cache_give_source(struct prop_cache *c, const char *text, struct prop_src *src)
{
    struct source *s = prop_zalloc(sizeof *s);
    struct source *rest = NULL;
    size_t n = 0;

    if (!s || !(s->text = prop_strdup(text))) {
        prop_free(s);
        prop_src_free(src);
        return;
    }
    s->src = src;
    (void)pthread_mutex_lock(&c->lock);
    s->next = c->sources;
    c->sources = s;
    struct source **at = &c->sources;
    while (*at && n++ < MAX_SOURCES)
        at = &(*at)->next;
    rest = *at;
    *at = NULL;
    (void)pthread_mutex_unlock(&c->lock);
    free_sources(rest);
}

/* ---- the whole ---------------------------------------------------------------------------------- */

uint64_t prop_cache_bytes(struct prop_cache *c)
{
    (void)pthread_mutex_lock(&c->lock);
    uint64_t n = c->blob_bytes + c->program_bytes;
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

void prop_cache_free(struct prop_cache *c)
{
    if (!c)
        return;
    c->max = 0;
    free_sources(c->sources);
    while (c->blobs) {
        struct prop_cache_blob *next = c->blobs->next;
        blob_unref(c->blobs);
        c->blobs = next;
    }
    while (c->programs) {
        struct program *next = c->programs->next;
        prop_program_unref(c->programs->p);
        prop_free(c->programs);
        c->programs = next;
    }
    (void)pthread_cond_destroy(&c->landed);
    (void)pthread_mutex_destroy(&c->lock);
    prop_free(c);
}
