/* One run of a prepared task, and what the manager is told of it. */
#include "guest/service_internal.h"

#include <string.h>

#include "guest/keys.h"
#include "util/mem.h"
#include "util/text.h"

#define STDERR_TAIL 4096 /* of what the guest wrote there, in an error */
#define ERROR_MAX (16u << 10)

/* ---- what the guest gets ------------------------------------------------------------------------------ */

/* A task's own limit counts where it is the tighter one. */
static uint64_t tighter(uint64_t local, uint64_t task)
{
    return task && (!local || task < local) ? task : local;
}

static void choose_limits(const struct prop_service *s, const struct prop_job *j,
                          const struct prop_task *t, struct prop_wasm_limits *ret)
{
    const struct prop_wasm_limits *c = &s->c->limits;
    bool daemon = prop_job_is_daemon(j);

    *ret = *c;
    ret->timeout_ms = daemon ? t->limits.timeout_ms : tighter(c->timeout_ms, t->limits.timeout_ms);
    ret->fuel = daemon ? t->limits.fuel : tighter(c->fuel, t->limits.fuel);
    ret->max_memory = tighter(c->max_memory, t->limits.max_memory);
}

/* The task's variables, an invocation's own after them, and who runs it. */
static const char **environment(const struct prop_job *j, const struct prop_task *t,
                                const char *proplet, size_t *ret_n)
{
    size_t n = 0;
    const char **all = prop_zalloc((t->n_env + j->task.n_env + 2) * sizeof *all);

    if (!all)
        return NULL;
    if (!t->encrypted)
        all[n++] = proplet;
    for (size_t i = 0; i < t->n_env; i++)
        all[n++] = t->env[i];
    for (size_t i = 0; j->latent && i < j->task.n_env; i++)
        all[n++] = j->task.env[i];
    *ret_n = n;
    return all;
}

/* Which export to call: what cli_args say. In the clear, else the one that is named as the task is, and
 * where there is none of that name, the usual ones. NULL is the command's. Returns how many. */
static size_t choose_exports(const struct prop_task *t, const char *ret[4])
{
    size_t n = 0;

    if (t->invoke || t->encrypted) {
        ret[n++] = t->invoke;
        return n;
    }
    if (strcmp(t->name, "_start") != 0 && !prop_starts_with(t->name, "fl-round-")) {
        ret[n++] = t->name;
        ret[n++] = "main";
        ret[n++] = "run";
    }
    ret[n++] = NULL;
    return n;
}

static int run(struct prop_service *s, struct prop_job *j, struct prop_wasm_result *ret,
               struct prop_err *err)
{
    const struct prop_task *t = j->latent ? &j->latent->task : &j->task;
    prop_auto_free char *proplet = prop_asprintf("PROPLET_ID=%s", s->c->proplet_id);
    const char *exports[4];
    struct prop_wasm_run w = { .name = t->name, .args = (const char *const *)j->task.args,
                               .n_args = j->task.n_args };
    prop_auto_free const char **env = proplet ? environment(j, t, proplet, &w.n_env) : NULL;
    struct prop_err first = PROP_ERR_INIT;
    size_t n = choose_exports(t, exports);
    int rc = PROP_E_NOTFOUND;

    if (!env)
        return prop_err_nomem(err);
    w.env = env;
    choose_limits(s, j, t, &w.limits);
    for (size_t i = 0; i < n && rc == PROP_E_NOTFOUND; i++) {
        struct prop_err e = PROP_ERR_INIT;
        w.invoke = exports[i];
        rc = prop_runner_run(s->c->runner, j->program, &w, &j->handle, ret, &e);
        if (i == 0 || rc != PROP_E_NOTFOUND)
            first = e; /* where no export fits, the one that was asked for is named */
    }
    if (rc)
        *err = first;
    return rc;
}

/* ---- what is told -------------------------------------------------------------------------------------- */

/* The end of what the guest wrote to stderr, behind what happened. */
static char *with_stderr(const char *what, const char *between, const struct prop_buf *said)
{
    prop_auto_buf struct prop_buf all = PROP_BUF_INIT(ERROR_MAX * 4);
    size_t n = said->len < STDERR_TAIL ? said->len : STDERR_TAIL;
    size_t size = 0;

    if (prop_buf_puts(&all, what, NULL) == 0 && n &&
        prop_buf_puts(&all, between, NULL) == 0)
        (void)prop_utf8_clean(said->data + said->len - n, n, &all, NULL);
    while (all.len && all.data[all.len - 1] == '\n')
        all.data[--all.len] = 0;
    return prop_buf_take(&all, &size);
}

static char *failure_text(const struct prop_job *j, int rc, const struct prop_wasm_result *r,
                          const struct prop_err *err)
{
    const struct prop_task *t = j->latent ? &j->latent->task : &j->task;
    char what[sizeof err->message + 64];

    if (rc) {
        (void)snprintf(what, sizeof what, "WASM execution failed: %s", err->message);
        return with_stderr(what, ", stderr: ", &r->err_out);
    }
    if (t->encrypted)
        (void)snprintf(what, sizeof what, "WASM execution failed with exit code: Some(%d)",
                       r->exit_status);
    else
        (void)snprintf(what, sizeof what, "Process exited with status: exit status: %d",
                       r->exit_status);
    return with_stderr(what, ", stderr: ", &r->err_out);
}

static void say_end(struct prop_service *s, const struct prop_job *j, int rc,
                    const struct prop_wasm_result *r, const struct prop_err *err)
{
    if (rc)
        prop_service_log(s, PROP_LOG_ERROR, "Task %s failed: %s", j->id, err->message);
    else if (r->exit_status)
        prop_service_log(s, PROP_LOG_ERROR, "Task %s failed: it exited with status %d", j->id,
                         r->exit_status);
    else
        prop_service_log(s, PROP_LOG_INFO, "Task %s completed successfully", j->id);
}

static void answer(struct prop_service *s, struct prop_job *j, int rc,
                   const struct prop_wasm_result *r, const struct prop_err *err)
{
    bool well = rc == 0 && r->exit_status == 0;
    size_t len = r->out.len;

    prop_stats_add(&s->stats, well ? PROP_STAT_COMPLETED : PROP_STAT_FAILED);
    if (!well) {
        prop_auto_free char *why = failure_text(j, rc, r, err);
        prop_service_answer_job(s, j, NULL, 0, why && *why ? why : "WASM execution failed");
        return;
    }
    /* An invocation's caller gets the value, not a line. */
    if (j->invocation && len && r->out.data[len - 1] == '\n')
        len--;
    prop_service_answer_job(s, j, r->out.data, len, NULL);
}

void prop_service_execute(struct prop_service *s, struct prop_job *j)
{
    struct prop_wasm_result result = { .out = { .data = NULL } };
    struct prop_err err = PROP_ERR_INIT;
    double start = prop_guest_clock_ms();
    bool daemon = prop_job_is_daemon(j);

    prop_service_log(s, PROP_LOG_INFO, "Executing task %s in spawned task", j->id);
    if (daemon) /* it runs from now on; that is its result */
        prop_service_answer_job(s, j, NULL, 0, NULL);
    int rc = run(s, j, &result, &err);
    double end = prop_guest_clock_ms();
    const char *warning = prop_runner_warning(s->c->runner);
    if (warning && *warning && !atomic_exchange(&s->warned, true))
        prop_service_log(s, PROP_LOG_WARN, "%s", warning);
    prop_stats_observe_ms(&s->stats, PROP_SPAN_RUN, end - start);
    if (!daemon)
        prop_stats_observe_ms(&s->stats, PROP_SPAN_READY, end - j->received_ms);
    if (!atomic_load(&j->stopped)) {
        say_end(s, j, rc, &result, &err);
        if (rc)
            prop_service_heed(s, &err);
        answer(s, j, rc, &result, &err);
    }
    prop_wasm_result_release(&result);
}
