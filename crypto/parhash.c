/* Parallel hashing: a ring of chunks, one mutex, one worker. See the header for the shape. */
#include "crypto/parhash.h"

#include "util/secret.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* A secret ends at the end of a page, with a 0 byte behind it: this length puts the start of the
 * chunk on a cache line. */
#define CHUNK_SECRET (PROP_PARHASH_CHUNK + 63)
/* A worker that is faster than its caller would sleep and be woken once per chunk: it is let sleep
 * until this many chunks are behind. */
#define WAKE_BEHIND (PROP_PARHASH_CHUNKS / 2)

struct stream {
    struct prop_hash *hash;
    size_t lane;
    uint64_t done;  /* chunks hashed */
    bool busy;      /* a thread is at it: chunks of one stream go in order */
};

struct chunk {
    struct prop_secret *lanes[PROP_PARHASH_LANES];
    size_t len;
};

struct prop_parhash {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* enough chunks were submitted, or the caller waits, or stop */
    pthread_cond_t moved; /* a stream finished a chunk */
    pthread_t thread;
    bool started, stop;
    struct prop_err failure; /* first failure of any hash */
    struct chunk ring[PROP_PARHASH_CHUNKS];
    size_t lanes;
    struct stream streams[PROP_PARHASH_HASHES];
    size_t n_streams;
    uint8_t *part; /* prop_parhash_write's chunk, and how full it is */
    size_t n_part;
    uint64_t submitted;
    bool filling; /* the caller holds the chunk after the last submitted one */
};

int prop_parhash_new(size_t lanes, struct prop_parhash **ret, struct prop_err *err)
{
    if (lanes == 0 || lanes > PROP_PARHASH_LANES)
        return prop_err_set(err, PROP_E_BUG, "parhash: %zu lanes", lanes);
    struct prop_parhash *p = prop_zalloc(sizeof(*p));
    if (!p)
        return prop_err_nomem(err);
    if (pthread_mutex_init(&p->lock, NULL) != 0 || pthread_cond_init(&p->work, NULL) != 0 ||
        pthread_cond_init(&p->moved, NULL) != 0) {
        prop_free(p);
        return prop_err_nomem(err);
    }
    p->lanes = lanes;
    *ret = p;
    return 0;
}

int prop_parhash_add(struct prop_parhash *p, size_t lane, struct prop_hash *hash,
                     size_t *ret_index, struct prop_err *err)
{
    if (lane >= p->lanes || p->n_streams >= PROP_PARHASH_HASHES || p->submitted) {
        prop_hash_free(hash);
        return prop_err_set(err, PROP_E_BUG, "parhash: hash does not fit");
    }
    p->streams[p->n_streams] = (struct stream){ .hash = hash, .lane = lane };
    *ret_index = p->n_streams++;
    return 0;
}

/* Under the lock: the stream that lags most among those that have something to do. */
static struct stream *next_job(struct prop_parhash *p)
{
    struct stream *best = NULL;
    for (size_t i = 0; i < p->n_streams; i++) {
        struct stream *s = &p->streams[i];
        if (!s->busy && s->done < p->submitted && (!best || s->done < best->done))
            best = s;
    }
    return best;
}

/* Under the lock, which is let go while hashing. */
static void do_job(struct prop_parhash *p, struct stream *s)
{
    const struct chunk *c = &p->ring[s->done % PROP_PARHASH_CHUNKS];
    struct prop_err err = PROP_ERR_INIT;
    s->busy = true;
    bool skip = p->failure.code != PROP_OK;
    (void)pthread_mutex_unlock(&p->lock);
    const uint8_t *data = prop_secret_data(c->lanes[s->lane]);
    int rc = 0;
    if (!skip)
        rc = prop_hash_update(s->hash, data, c->len, &err);
    (void)pthread_mutex_lock(&p->lock);
    if (rc != 0 && p->failure.code == PROP_OK)
        p->failure = err;
    s->busy = false;
    s->done++;
    (void)pthread_cond_signal(&p->moved);
}

static void *worker(void *arg)
{
    struct prop_parhash *p = arg;
    (void)pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        struct stream *s = next_job(p);
        if (s)
            do_job(p, s);
        else
            (void)pthread_cond_wait(&p->work, &p->lock);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals stay with the caller's thread. No thread, or one core only: the caller does it all. */
static void start_worker(struct prop_parhash *p)
{
    sigset_t all, before;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return;
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return;
    p->started = pthread_create(&p->thread, NULL, worker, p) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Under the lock: chunks that every stream is done with. */
static uint64_t all_done(const struct prop_parhash *p)
{
    uint64_t least = p->submitted;
    for (size_t i = 0; i < p->n_streams; i++)
        if (p->streams[i].done < least)
            least = p->streams[i].done;
    return least;
}

/* Hash, or wait for the worker, until `upto` chunks are done by all. */
static int settle(struct prop_parhash *p, uint64_t upto, struct prop_err *err)
{
    (void)pthread_mutex_lock(&p->lock);
    if (all_done(p) < upto)
        (void)pthread_cond_signal(&p->work);
    while (all_done(p) < upto) {
        struct stream *s = next_job(p);
        if (s)
            do_job(p, s);
        else
            (void)pthread_cond_wait(&p->moved, &p->lock);
    }
    int rc = p->failure.code;
    if (rc != 0 && err)
        *err = p->failure;
    (void)pthread_mutex_unlock(&p->lock);
    return rc;
}

int prop_parhash_lane(struct prop_parhash *p, size_t lane, uint8_t **ret, struct prop_err *err)
{
    if (lane >= p->lanes)
        return prop_err_set(err, PROP_E_BUG, "parhash: no lane %zu", lane);
    if (!p->filling) {
        if (p->submitted >= PROP_PARHASH_CHUNKS) {
            int rc = settle(p, p->submitted - PROP_PARHASH_CHUNKS + 1, err);
            if (rc != 0)
                return rc;
        }
        p->filling = true;
    }
    struct prop_secret **memory = &p->ring[p->submitted % PROP_PARHASH_CHUNKS].lanes[lane];
    if (!*memory) {
        int rc = prop_secret_new(CHUNK_SECRET, memory, err);
        if (rc != 0)
            return rc;
    }
    *ret = prop_secret_bytes(*memory);
    return 0;
}

int prop_parhash_submit(struct prop_parhash *p, size_t len, struct prop_err *err)
{
    struct chunk *c = &p->ring[p->submitted % PROP_PARHASH_CHUNKS];
    for (size_t i = 0; i < p->n_streams; i++)
        if (!p->filling || len > PROP_PARHASH_CHUNK || !c->lanes[p->streams[i].lane])
            return prop_err_set(err, PROP_E_BUG, "parhash: chunk was not filled");
    (void)pthread_mutex_lock(&p->lock);
    c->len = len;
    p->filling = false;
    p->submitted++;
    int rc = p->failure.code;
    if (rc != 0 && err)
        *err = p->failure;
    if (p->submitted - all_done(p) >= WAKE_BEHIND)
        (void)pthread_cond_signal(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
    if (p->submitted == 2)
        start_worker(p);
    return rc;
}

static int submit_part(struct prop_parhash *p, struct prop_err *err)
{
    size_t len = p->n_part;
    p->part = NULL;
    p->n_part = 0;
    return prop_parhash_submit(p, len, err);
}

int prop_parhash_write(struct prop_parhash *p, const void *data, size_t len, struct prop_err *err)
{
    const uint8_t *in = data;
    int rc = 0;
    while (rc == 0 && len > 0) {
        if (!p->part && (rc = prop_parhash_lane(p, 0, &p->part, err)) != 0)
            break;
        size_t n = PROP_PARHASH_CHUNK - p->n_part < len ? PROP_PARHASH_CHUNK - p->n_part : len;
        memcpy(p->part + p->n_part, in, n);
        p->n_part += n;
        in += n;
        len -= n;
        if (p->n_part == PROP_PARHASH_CHUNK)
            rc = submit_part(p, err);
    }
    return rc;
}

int prop_parhash_final(struct prop_parhash *p, size_t index, struct prop_digest *ret,
                       struct prop_err *err)
{
    if (index >= p->n_streams)
        return prop_err_set(err, PROP_E_BUG, "parhash: no hash %zu", index);
    int rc = p->n_part > 0 ? submit_part(p, err) : 0;
    if (rc != 0 || (rc = settle(p, p->submitted, err)) != 0)
        return rc;
    return prop_hash_final(p->streams[index].hash, ret, err);
}

void prop_parhash_free(struct prop_parhash *p)
{
    if (!p)
        return;
    if (p->started) {
        (void)pthread_mutex_lock(&p->lock);
        p->stop = true;
        (void)pthread_cond_signal(&p->work);
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_join(p->thread, NULL);
    }
    for (size_t i = 0; i < p->n_streams; i++)
        prop_hash_free(p->streams[i].hash);
    for (size_t i = 0; i < PROP_PARHASH_CHUNKS; i++)
        for (size_t lane = 0; lane < PROP_PARHASH_LANES; lane++)
            prop_secret_free(p->ring[i].lanes[lane]);
    (void)pthread_cond_destroy(&p->moved);
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_mutex_destroy(&p->lock);
    prop_free(p);
}
