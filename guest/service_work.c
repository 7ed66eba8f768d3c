/* The threads that work: preparers, a few; executors, as many as tasks may run, made when they are
 * needed. */
#include "guest/service_internal.h"

#include <errno.h>
#include <string.h>

#include "guest/keys.h"
#include "util/mem.h"
#include "util/stop.h"

/* With `lock` held: the job is over, whatever it came to. */
static void settle(struct prop_service *s, struct prop_job *j)
{
    if (prop_job_is_daemon(j))
        s->daemons--;
    if (prop_job_is_latent(j))
        s->latents--;
    prop_job_end(s, j);
    prop_service_wake(s);
}

void prop_service_halt(struct prop_service *s, struct prop_job *j)
{
    atomic_store(&j->stopped, true);
    prop_run_stop(&j->handle);
    if (j->state == PROP_JOB_LATENT) {
        settle(s, j);
    } else if (j->state == PROP_JOB_QUEUED && prop_job_unqueue(&s->queue, j)) {
        s->waiting--;
        settle(s, j);
        prop_job_unref(j); /* the queue's */
    }
}

void prop_service_heed(struct prop_service *s, const struct prop_err *err)
{
    if (strcmp(prop_err_id(err), "runner-lost") != 0)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->runner_gone = true;
    (void)pthread_mutex_unlock(&s->lock);
    prop_service_wake(s);
}

/* ---- preparers ------------------------------------------------------------------------------------------ */

static void prepared(struct prop_service *s, struct prop_job *j, int rc, const struct prop_err *err)
{
    if (rc && !atomic_load(&j->stopped)) {
        prop_stats_add(&s->stats, PROP_STAT_FAILED);
        prop_service_log(s, PROP_LOG_ERROR, "Task %s failed: %s", j->id, err->message);
        prop_service_heed(s, err);
        prop_service_answer_job(s, j, NULL, 0, err->message);
    }
    if (rc == 0 && prop_job_is_latent(j) && !atomic_load(&j->stopped))
        prop_service_log(s, PROP_LOG_INFO,
                         "Latent task %s precompiled and ready for on-demand invocation", j->id);
    (void)pthread_mutex_lock(&s->lock);
    if (rc || atomic_load(&j->stopped)) {
        s->waiting--;
        settle(s, j);
        prop_job_unref(j);
    } else if (prop_job_is_latent(j)) {
        s->waiting--;
        j->state = PROP_JOB_LATENT; /* counted until it is stopped */
        prop_program_unref(PROP_TAKE(j->program)); /* the cache has it */
        prop_job_unref(j);
    } else {
        j->state = PROP_JOB_READY;
        prop_job_put(&s->ready, j);
        prop_service_need_executor(s);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void prepare(struct prop_service *s, struct prop_job *j)
{
    struct prop_err err = PROP_ERR_INIT;
    double start = prop_guest_clock_ms();

    prop_stop_watch(&j->stopped); /* a transfer that hangs is given up with its task */
    int rc = atomic_load(&j->stopped) ? PROP_E_INTERRUPTED : prop_service_prepare(s, j, &err);
    prop_stop_watch(NULL);
    prop_stats_observe_ms(&s->stats, PROP_SPAN_PREPARE, prop_guest_clock_ms() - start);
    prepared(s, j, rc, &err);
}

/* Programs wait in memory for their turn: not more of them than will be needed soon. */
static bool may_prepare(const struct prop_service *s)
{
    return s->queue.first && s->ready.n < s->c->max_tasks + s->c->pull_limit;
}

static void *preparer(void *ctx)
{
    struct prop_service *s = ctx;

    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->quit && !may_prepare(s))
            (void)pthread_cond_wait(&s->to_prepare, &s->lock);
        if (s->quit && !s->queue.first)
            break;
        struct prop_job *j = prop_job_take(&s->queue);
        j->state = PROP_JOB_PREPARING;
        (void)pthread_mutex_unlock(&s->lock);
        prepare(s, j);
        (void)pthread_mutex_lock(&s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- executors -------------------------------------------------------------------------------------------- */

/* The first that may run now: daemons have places of their own, what was stopped needs none. */
static struct prop_job *pick(struct prop_service *s)
{
    struct prop_job **at = &s->ready.first;

    while (*at && !(atomic_load(&(*at)->stopped) || prop_job_is_daemon(*at) ||
                    s->running < s->c->max_tasks))
        at = &(*at)->queued;
    struct prop_job *j = *at;
    if (!j)
        return NULL;
    *at = j->queued;
    if (s->ready.end == &j->queued)
        s->ready.end = at;
    s->ready.n--;
    s->waiting--;
    (void)pthread_cond_signal(&s->to_prepare); /* there is room behind it */
    return j;
}

static void execute(struct prop_service *s, struct prop_job *j)
{
    bool daemon = prop_job_is_daemon(j);

    j->state = PROP_JOB_RUNNING;
    if (!daemon)
        s->running++;
    (void)pthread_mutex_unlock(&s->lock);
    if (!atomic_load(&j->stopped))
        prop_service_execute(s, j);
    (void)pthread_mutex_lock(&s->lock);
    if (!daemon)
        s->running--;
    settle(s, j);
    prop_job_unref(j);
}

static void *executor(void *ctx)
{
    struct prop_service *s = ctx;
    struct prop_job *j = NULL;

    (void)pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!(j = pick(s)) && !s->quit) {
            s->idle_executors++;
            (void)pthread_cond_wait(&s->to_run, &s->lock);
            s->idle_executors--;
        }
        if (!j)
            break;
        execute(s, j);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int more_executors(struct prop_service *s)
{
    if (s->n_executors >= s->max_executors)
        return 0;
    int rc = pthread_create(&s->executors[s->n_executors], NULL, executor, s);
    if (rc == 0)
        s->n_executors++;
    return rc;
}

void prop_service_need_executor(struct prop_service *s)
{
    if (s->idle_executors < s->ready.n)
        (void)more_executors(s); /* if it cannot be had, those that are there come to it */
    (void)pthread_cond_signal(&s->to_run);
}

/* ---- their life --------------------------------------------------------------------------------------------- */

int prop_service_work_start(struct prop_service *s, struct prop_err *err)
{
    s->max_executors = s->c->max_tasks + s->c->max_daemons;
    s->executors = prop_zalloc(s->max_executors * sizeof *s->executors);
    s->preparers = prop_zalloc(s->c->pull_limit * sizeof *s->preparers);
    if (!s->executors || !s->preparers)
        return prop_err_nomem(err);
    (void)pthread_mutex_lock(&s->lock);
    errno = more_executors(s);
    (void)pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; errno == 0 && i < s->c->pull_limit; i++) {
        errno = pthread_create(&s->preparers[i], NULL, preparer, s);
        if (errno == 0)
            s->n_preparers++;
    }
    return errno ? prop_err_sys(err, PROP_E_NOMEM, "start a thread") : 0;
}

void prop_service_work_end(struct prop_service *s)
{
    for (unsigned i = 0; i < s->n_preparers; i++)
        (void)pthread_join(s->preparers[i], NULL);
    for (unsigned i = 0; i < s->n_executors; i++)
        (void)pthread_join(s->executors[i], NULL);
    prop_free(s->preparers);
    prop_free(s->executors);
    s->n_preparers = s->n_executors = 0;
}
