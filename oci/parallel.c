/* The blobs of one image, several at once: a few threads take the next one in order. Which is done first
 * does not show in the result; which fails first is what is told. */
#include "oci/image.h"

#include "oci/place.h"
#include "util/mem.h"

#include <string.h>

#define THREADS_MAX 16
#define SHARED_WINDOW (256u << 10) /* of each upload, so that memory stays the same */

struct team {
    struct prop_src *src;
    struct prop_dst *dst;
    const struct prop_manifest *m;
    struct prop_sum sum; /* its lock is over what follows, too */
    size_t next;
    int rc;
    struct prop_err err;
};

int prop_sum_add(struct prop_sum *s, int64_t delta, struct prop_err *err)
{
    (void)pthread_mutex_lock(&s->lock);
    s->done += (uint64_t)delta;
    prop_progress_report(s->progress, "read", s->done, s->total);
    (void)pthread_mutex_unlock(&s->lock);
    return atomic_load(&s->stop) ? prop_err_set_id(err, PROP_E_INTERRUPTED, "cancelled",
                                                   "given up beside a failure")
                                 : 0;
}

static void cancel(const struct team *t, bool cancelled)
{
    if (t->src->ops->cancel != NULL)
        t->src->ops->cancel(t->src, cancelled);
    if (t->dst->ops->cancel != NULL)
        t->dst->ops->cancel(t->dst, cancelled);
}

/* Number i: the layers in their order, then the config. */
static const struct prop_descriptor *blob_at(const struct prop_manifest *m, size_t i)
{
    return i < m->n_layers ? &m->layers[i] : &m->config;
}

/* The same content twice would be two uploads at once. */
static bool is_repeated(const struct prop_manifest *m, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (prop_digest_equal(&blob_at(m, k)->digest, &blob_at(m, i)->digest))
            return true;
    return false;
}

static int copy_number(struct prop_src *src, struct prop_dst *dst, const struct prop_manifest *m,
                       size_t i, struct prop_err *err)
{
    int rc = prop_blob_copy(src, dst, blob_at(m, i), err);

    if (rc < 0 && i < m->n_layers)
        prop_err_wrap(err, "layer %zu of %zu", i + 1, m->n_layers);
    else if (rc < 0)
        prop_err_wrap(err, "config");
    return rc;
}

static void *work(void *ctx)
{
    struct team *t = ctx;
    struct prop_err err = PROP_ERR_INIT;

    for (;;) {
        size_t i;
        int rc;

        (void)pthread_mutex_lock(&t->sum.lock);
        i = t->rc == 0 ? t->next++ : t->m->n_layers + 1;
        (void)pthread_mutex_unlock(&t->sum.lock);
        if (i > t->m->n_layers)
            return NULL;
        if (is_repeated(t->m, i))
            continue;
        rc = copy_number(t->src, t->dst, t->m, i, &err);
        if (rc == 0)
            continue;
        (void)pthread_mutex_lock(&t->sum.lock);
        if (t->rc == 0) {
            t->rc = rc;
            t->err = err;
            atomic_store(&t->sum.stop, true);
            cancel(t, true);
        }
        (void)pthread_mutex_unlock(&t->sum.lock);
        return NULL;
    }
}

static int together(struct team *t, size_t n, struct prop_err *err)
{
    pthread_t threads[THREADS_MAX];
    size_t window = t->dst->window, started = 0;

    if (pthread_mutex_init(&t->sum.lock, NULL) != 0)
        return prop_err_set(err, PROP_E_NOMEM, "no more locks");
    t->sum.progress = t->src->progress;
    t->sum.lean = t->src->ops->remote || t->dst->ops->mount != NULL;
    for (size_t i = 0; i <= t->m->n_layers; i++)
        t->sum.total += is_repeated(t->m, i) ? 0 : blob_at(t->m, i)->size;
    t->src->sum = &t->sum;
    t->dst->window = SHARED_WINDOW;
    while (started < n - 1 && pthread_create(&threads[started], NULL, work, t) == 0)
        started++;
    (void)work(t); /* this thread is one of them, and enough if there are no others */
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL);
    cancel(t, false);
    t->src->sum = NULL;
    t->dst->window = window;
    (void)pthread_mutex_destroy(&t->sum.lock);
    if (t->rc < 0 && err != NULL)
        *err = t->err;
    return t->rc;
}

int prop_manifest_blobs_copy(struct prop_src *src, struct prop_dst *dst,
                             const struct prop_manifest *m, struct prop_err *err)
{
    struct team t = { .src = src, .dst = dst, .m = m };
    size_t n = dst->parallel < m->n_layers + 1 ? dst->parallel : m->n_layers + 1;
    int rc = 0;

    if (n > THREADS_MAX)
        n = THREADS_MAX;
    if (n > 1 && m->n_layers > 1 && src->ops->parallel && dst->ops->parallel &&
        !prop_same_place(src, dst))
        return together(&t, n, err);
    for (size_t i = 0; rc == 0 && i <= m->n_layers; i++)
        rc = copy_number(src, dst, m, i, err);
    return rc;
}
