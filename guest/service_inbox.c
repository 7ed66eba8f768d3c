/* What the manager asks for. Every start whose id can be read is answered, now or later; stops and
 * invocations likewise (propeller.md 1.3, 1.4). Ids and texts are foreign: the log makes them
 * printable. */
#include "guest/service_internal.h"

#include <string.h>

#include "util/mem.h"
#include "util/text.h"

#define MAX_HELD (512u << 20) /* bytes of the messages of all tasks that are not over */

/* Is it for another proplet? */
static bool is_foreign(const struct prop_service *s, const struct prop_task_label *l)
{
    return l->proplet_id[0] && strcmp(l->proplet_id, s->c->proplet_id) != 0;
}

static void unreadable(struct prop_service *s, const char *what, size_t len)
{
    prop_stats_add(&s->stats, PROP_STAT_UNREADABLE);
    prop_service_log(s, PROP_LOG_WARN, "Ignored a %s message of %zu bytes: it has no readable id", what,
                     len);
}

/* ---- start ------------------------------------------------------------------------------------------ */

static void refuse(struct prop_service *s, const char *id, const char *why)
{
    prop_stats_add(&s->stats, PROP_STAT_REFUSED);
    prop_service_log(s, PROP_LOG_ERROR, "Task %s is refused: %s", id, why);
    prop_service_answer(s, id, prop_now_ms(), NULL, 0, why);
}

static bool drop(struct prop_service *s, const char *id, const char *why)
{
    prop_stats_add(&s->stats, PROP_STAT_DUPLICATES);
    prop_service_log(s, PROP_LOG_WARN, "Task %s %s, ignoring the start request", id, why);
    return true;
}

/* Is a start to be dropped without a word? `task` NULL = it could not be read. */
static bool is_dropped(struct prop_service *s, const char *id, const struct prop_task *task)
{
    (void)pthread_mutex_lock(&s->lock);
    bool here = prop_job_find(s, id) != NULL;
    bool was_encrypted = (!task || !task->encrypted) && prop_recent_has(s, id);
    (void)pthread_mutex_unlock(&s->lock);
    if (here)
        return drop(s, id, "is already running");
    /* The second start of a manager of old. */
    return was_encrypted && drop(s, id, "was started as an encrypted one and now is not");
}

/* What stands against it beyond the message itself; NULL = nothing. */
static const char *objection(const struct prop_service *s, const struct prop_task *t)
{
    if (t->encrypted && !s->c->kbs)
        return "TEE runtime not available: no key broker is configured";
    if (t->encrypted && s->c->attest.tee == PROP_TEE_NONE)
        return "TEE runtime not available: this machine shows no sign of SEV-SNP or TDX";
    if (!t->encrypted && s->c->encrypted_only)
        return "only encrypted workloads are run here";
    return NULL;
}

/* A module may come inside a message: a queue of them is not short because it has few members. */
static const char *too_much(const struct prop_service *s, size_t len)
{
    uint64_t held = atomic_load(&s->held);

    return held && held + len > MAX_HELD ? "the tasks that wait or run take too much memory already"
                                         : NULL;
}

static const char *enqueue(struct prop_service *s, struct prop_task *task, const char *id, size_t len)
{
    if (s->draining)
        return "the proplet is shutting down";
    if (s->waiting >= s->c->max_queue)
        return "too many tasks are waiting already";
    if (task->daemon && !task->latent && s->daemons >= s->c->max_daemons)
        return "too many daemon tasks are running already";
    if (task->latent && s->latents >= s->c->max_latent)
        return "too many latent tasks are kept already";
    if (too_much(s, len))
        return too_much(s, len);
    bool encrypted = task->encrypted;
    struct prop_job *j = prop_job_new(s, task, id, NULL, NULL, len);
    if (!j)
        return "out of memory";
    if (encrypted)
        prop_recent_add(s, id);
    if (prop_job_is_daemon(j))
        s->daemons++;
    if (prop_job_is_latent(j))
        s->latents++;
    s->waiting++;
    prop_job_put(&s->queue, j);
    (void)pthread_cond_signal(&s->to_prepare);
    return NULL;
}

static void say_start(struct prop_service *s, const char *id, const struct prop_task *t)
{
    prop_service_log(s, PROP_LOG_INFO, "Received start command for task: %s", id);
    if (t->encrypted)
        prop_service_log(s, PROP_LOG_INFO, "Encrypted workload with image_url: %s", t->image_url);
    if (t->n_env == 0)
        prop_service_log(s, PROP_LOG_INFO, "No environment variables in start request for task %s", id);
}

static void accept(struct prop_service *s, struct prop_task *t, size_t len)
{
    prop_auto_free char *id = prop_strdup(t->id);

    if (!id)
        return;
    say_start(s, id, t);
    const char *why = objection(s, t);
    if (!why) {
        (void)pthread_mutex_lock(&s->lock);
        why = enqueue(s, t, id, len);
        (void)pthread_mutex_unlock(&s->lock);
    }
    if (why)
        refuse(s, id, why);
    else
        prop_stats_add(&s->stats, PROP_STAT_STARTS);
}

void prop_service_start_message(struct prop_service *s, const char *text, size_t len)
{
    prop_auto_task struct prop_task task = { .json = NULL };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_task_label l;

    prop_task_label(text, len, &l);
    if (is_foreign(s, &l))
        return;
    int rc = prop_task_parse_start(text, len, &task, &err);
    if (!l.id[0] && rc) {
        unreadable(s, "start", len);
        prop_service_log(s, PROP_LOG_WARN, "%s", err.message);
    } else if (rc) {
        if (!is_dropped(s, l.id, NULL))
            refuse(s, l.id, err.message);
    } else if (!is_dropped(s, task.id, &task)) {
        accept(s, &task, 2 * len); /* as it came, and as it is read */
    }
}

/* ---- stop ------------------------------------------------------------------------------------------- */

/* With a latent task its invocations end. Called with `lock`, gives it up for each answer. */
static void stop_invocations(struct prop_service *s, const struct prop_job *latent)
{
    struct prop_job *j = s->jobs;

    while (j) {
        if (j->latent != latent || j->state == PROP_JOB_ENDED || atomic_load(&j->stopped)) {
            j = j->next;
            continue;
        }
        j->refs++;
        prop_service_halt(s, j);
        (void)pthread_mutex_unlock(&s->lock);
        prop_service_answer_job(s, j, NULL, 0, "the task was stopped");
        (void)pthread_mutex_lock(&s->lock);
        prop_job_unref(j);
        j = s->jobs; /* the list may be another one by now */
    }
}

void prop_service_stop_message(struct prop_service *s, const char *text, size_t len)
{
    struct prop_task_label l;

    prop_task_label(text, len, &l);
    if (is_foreign(s, &l))
        return;
    if (!l.id[0]) {
        unreadable(s, "stop", len);
        return;
    }
    (void)pthread_mutex_lock(&s->lock);
    struct prop_job *j = prop_job_find(s, l.id);
    bool live = j && j->state != PROP_JOB_ENDED;
    if (j)
        j->refs++;
    if (live)
        prop_service_halt(s, j);
    if (j)
        prop_job_forget(s, j); /* the id may be started again */
    if (live && prop_job_is_latent(j))
        stop_invocations(s, j);
    (void)pthread_mutex_unlock(&s->lock);
    if (live) {
        prop_auto_free char *why = prop_asprintf("Task %s was stopped before completion", l.id);
        prop_stats_add(&s->stats, PROP_STAT_STOPPED);
        prop_service_log(s, PROP_LOG_INFO, "Task %s is stopped", l.id);
        prop_service_answer_job(s, j, NULL, 0, why ? why : "stopped");
    } else {
        prop_service_log(s, PROP_LOG_INFO, "Task %s not found", l.id);
    }
    (void)pthread_mutex_lock(&s->lock);
    prop_job_unref(j);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- invoke ------------------------------------------------------------------------------------------ */

/* An invocation's own members; inputs and env as a start has them. */
static int parse_invocation(const char *text, size_t len, struct prop_task *ret, char **ret_invocation,
                            struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    int rc = prop_json_parse(text, len, "the invoke message", &doc, err);

    if (rc)
        return rc;
    const json_t *invocation = json_object_get(doc, "invocation_id");
    if (!json_is_string(invocation) || json_string_length(invocation) == 0 ||
        json_string_length(invocation) > PROP_TASK_ID_MAX)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-task", "invocation_id is required");
    *ret_invocation = prop_strdup(json_string_value(invocation));
    /* Read by the rules of a start, which wants a name and something to run. */
    if (!*ret_invocation || json_object_set_new(doc, "name", json_string("invoke")) ||
        json_object_set_new(doc, "image_url", json_string("-")) ||
        json_object_set_new(doc, "encrypted", json_false()))
        return prop_err_nomem(err);
    (void)json_object_del(doc, "file");
    (void)json_object_del(doc, "cli_args");
    (void)json_object_del(doc, "daemon");
    (void)json_object_del(doc, "latent");
    prop_auto_free char *start = prop_json_compact(doc);
    return start ? prop_task_parse_start(start, strlen(start), ret, err) : prop_err_nomem(err);
}

static const char *enqueue_invocation(struct prop_service *s, struct prop_task *task,
                                      struct prop_job *latent, const char *invocation, size_t len)
{
    if (s->draining)
        return "the proplet is shutting down";
    if (s->waiting >= s->c->max_queue)
        return "too many tasks are waiting already";
    if (too_much(s, len))
        return too_much(s, len);
    struct prop_job *j = prop_job_new(s, task, latent->id, invocation, latent, len);
    if (!j)
        return "out of memory";
    s->waiting++;
    prop_job_put(&s->queue, j);
    (void)pthread_cond_signal(&s->to_prepare);
    return NULL;
}

static void invoke(struct prop_service *s, struct prop_task *task, const char *id,
                   const char *invocation, size_t len)
{
    prop_auto_free char *absent = prop_asprintf("task %s has not been precompiled", id);
    const char *why = absent ? absent : "has not been precompiled";

    prop_service_log(s, PROP_LOG_INFO, "Received invoke command for task: %s", id);
    (void)pthread_mutex_lock(&s->lock);
    struct prop_job *latent = prop_job_find(s, id);
    if (latent && latent->task.latent && latent->state != PROP_JOB_ENDED)
        why = enqueue_invocation(s, task, latent, invocation, len);
    (void)pthread_mutex_unlock(&s->lock);
    if (!why) {
        prop_stats_add(&s->stats, PROP_STAT_INVOCATIONS);
        return;
    }
    prop_service_log(s, PROP_LOG_WARN, "Invocation of task %s is refused: %s", id, why);
    prop_service_answer_invocation(s, id, invocation, NULL, 0, why);
}

void prop_service_invoke_message(struct prop_service *s, const char *text, size_t len)
{
    prop_auto_task struct prop_task task = { .json = NULL };
    prop_auto_free char *invocation = NULL;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_task_label l;

    prop_task_label(text, len, &l);
    if (is_foreign(s, &l))
        return;
    int rc = parse_invocation(text, len, &task, &invocation, &err);
    if (!l.id[0] || !invocation)
        unreadable(s, "invoke", len);
    else if (rc)
        prop_service_answer_invocation(s, l.id, invocation, NULL, 0, err.message);
    else
        invoke(s, &task, l.id, invocation, 2 * len);
}
