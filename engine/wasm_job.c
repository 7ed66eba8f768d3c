/* A job's life: what it owns, its thread, and the wait with deadline and signals. */
#include "engine/wasm_internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/limits.h"
#include "util/stop.h"
#include "util/text.h"

#define DEFAULT_MEMORY (4ull << 30)
#define DEFAULT_TABLE 10000000u /* elements; what compilers make has thousands */
#define POLL_MS 50   /* how often a waiting run looks for a signal */
#define GRACE_MS 500 /* from the deadline until a guest in a call to us is left behind */

/* ---- a job ----------------------------------------------------------------------------------- */

void prop_wasm_job_free(struct prop_wasm_job *job)
{
    if (!job)
        return;
    if (job->store)
        wasmtime_store_delete(job->store);
    if (job->module)
        wasmtime_module_delete(job->module);
    if (job->component)
        wasmtime_component_delete(job->component);
    if (job->own)
        wasm_engine_delete(job->own);
    for (size_t i = 0; i < job->n_args; i++)
        prop_free(job->args[i]);
    prop_free(job->args);
    prop_free(job->name);
    prop_free(job->invoke);
    prop_buf_release(&job->out.buf);
    prop_buf_release(&job->err_out.buf);
    (void)pthread_mutex_destroy(&job->lock);
    (void)pthread_cond_destroy(&job->ended);
    prop_free(job);
}
static void sink_init(struct prop_wasm_sink *s, struct prop_wasm_job *job, int fd)
{
    s->job = job;
    s->fd = fd;
    s->buf.max = (size_t)job->limits.max_output;
}

static int job_copy_args(struct prop_wasm_job *job, const struct prop_wasm_run *run,
                         struct prop_err *err)
{
    job->name = prop_strdup(run->name ? run->name : "module.wasm");
    job->invoke = run->invoke ? prop_strdup(run->invoke) : NULL;
    job->args = prop_zalloc((run->n_args + 1) * sizeof *job->args);
    if (!job->name || !job->args || (run->invoke && !job->invoke))
        return prop_err_nomem(err);
    for (size_t i = 0; i < run->n_args; i++) {
        job->args[i] = prop_strdup(run->args[i]);
        if (!job->args[i])
            return prop_err_nomem(err);
        job->n_args++;
    }
    return 0;
}

int prop_wasm_job_new(const struct prop_wasm_run *run, struct prop_wasm_job **ret,
                   struct prop_err *err)
{
    pthread_condattr_t attr;
    prop_auto_wasm_job struct prop_wasm_job *job = prop_zalloc(sizeof *job);

    if (!job)
        return prop_err_nomem(err);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&job->lock, NULL);
    (void)pthread_cond_init(&job->ended, &attr);
    (void)pthread_condattr_destroy(&attr);
    atomic_init(&job->reason, PROP_WASM_GOES_ON);
    job->limits = run->limits;
    if (job->limits.max_output == 0)
        job->limits.max_output = run->inherit_stdout ? SIZE_MAX : PROP_LIMIT_GUEST_OUTPUT;
    if (job->limits.max_memory == 0)
        job->limits.max_memory = DEFAULT_MEMORY;
    if (job->limits.max_table == 0)
        job->limits.max_table = DEFAULT_TABLE;
    sink_init(&job->out, job, run->inherit_stdout ? STDOUT_FILENO : -1);
    sink_init(&job->err_out, job, run->inherit_stdout ? STDERR_FILENO : -1);
    if (job->limits.max_stack > PROP_WASM_MAX_STACK)
        job->limits.max_stack = PROP_WASM_MAX_STACK;
    if (job->limits.max_stack)
        job->own = prop_wasm_engine_new(run->limits.fuel > 0, true, job->limits.max_stack);
    job->engine = job->own ? job->own : prop_wasm_engine(run->limits.fuel > 0);
    int rc = job_copy_args(job, run, err);
    if (rc)
        return rc;
    *ret = PROP_TAKE(job);
    return 0;
}

/* ---- the thread and the wait ----------------------------------------------------------------- */

static void *guest_thread(void *arg)
{
    struct prop_wasm_job *job = arg;

    job->rc = job->component ? prop_wasm_run_component(job, &job->err)
                             : prop_wasm_run_core(job, &job->err);
    (void)pthread_mutex_lock(&job->lock);
    job->done = true;
    bool mine = job->abandoned;
    (void)pthread_cond_signal(&job->ended);
    (void)pthread_mutex_unlock(&job->lock);
    if (mine)
        prop_wasm_job_free(job);
    return NULL;
}

static bool wait_until(struct prop_wasm_job *job, uint64_t until_ms)
{
    struct timespec ts = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000L};

    while (!job->done && pthread_cond_timedwait(&job->ended, &job->lock, &ts) == 0)
        ;
    return job->done;
}

/* Wait for the guest, with the lock held; true when it ended by itself or could be ended. */
static bool wait_for_guest(struct prop_wasm_job *job, uint64_t start_ms)
{
    uint64_t limit = job->limits.timeout_ms;
    uint64_t deadline = limit && limit < UINT64_MAX / 2 ? start_ms + limit : UINT64_MAX;

    while (!job->done) {
        uint64_t now = prop_now_ms();
        if (prop_stop_requested() || now >= deadline) {
            prop_wasm_end(job, prop_stop_requested() ? PROP_WASM_STOPPED : PROP_WASM_DEADLINE);
            return wait_until(job, now + GRACE_MS);
        }
        uint64_t next = now + POLL_MS;
        (void)wait_until(job, next < deadline ? next : deadline);
    }
    return true;
}

static int take_result(struct prop_wasm_job *job, struct prop_wasm_result *ret,
                       struct prop_err *err)
{
    int reason = atomic_load(&job->reason);

    /* a guest that swallowed the error of its too long or unread write is told on all the same:
     * many programs never look at what printf returns */
    if (job->rc == 0 && (reason == PROP_WASM_OUTPUT || reason == PROP_WASM_UNREAD))
        return prop_wasm_fail_reason(job, reason, err);
    if (job->rc) {
        if (err)
            *err = job->err;
        return job->rc;
    }
    ret->out = job->out.buf;
    ret->err_out = job->err_out.buf;
    ret->exit_status = job->exit_status;
    job->out.buf = (struct prop_buf)PROP_BUF_INIT(0);
    job->err_out.buf = (struct prop_buf)PROP_BUF_INIT(0);
    return 0;
}

int prop_wasm_job_run(struct prop_wasm_job *taken, struct prop_wasm_result *ret,
                      struct prop_err *err)
{
    prop_auto_wasm_job struct prop_wasm_job *job = taken;
    pthread_t thread;
    uint64_t start = prop_now_ms();
    int rc = pthread_create(&thread, NULL, guest_thread, job);

    if (rc) {
        errno = rc;
        return prop_err_sys(err, PROP_E_NOMEM, "start the guest's thread");
    }
    (void)pthread_mutex_lock(&job->lock);
    bool ended = wait_for_guest(job, start);
    if (!ended)
        job->abandoned = true;
    (void)pthread_mutex_unlock(&job->lock);
    if (ended) {
        (void)pthread_join(thread, NULL);
        return take_result(job, ret, err);
    }
    (void)pthread_detach(thread);
    rc = prop_wasm_fail_reason(job, atomic_load(&job->reason), err);
    job = NULL; /* the thread's now */
    return rc;
}
