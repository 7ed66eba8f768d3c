/* The list of jobs, the queues they wait in, and the ids that are remembered. */
#include "guest/service_internal.h"

#include <string.h>

#include "guest/keys.h"
#include "util/mem.h"
#include "util/text.h"

struct prop_job *prop_job_new(struct prop_service *s, struct prop_task *task, const char *id,
                              const char *invocation, struct prop_job *latent, size_t weight)
{
    struct prop_job *j = prop_zalloc(sizeof *j);

    if (!j)
        return NULL;
    j->id = prop_strdup(id);
    j->invocation = invocation ? prop_strdup(invocation) : NULL;
    if (!j->id || (invocation && !j->invocation)) {
        prop_free(j->id);
        prop_free(j);
        return NULL;
    }
    j->task = *task;
    *task = (struct prop_task){ .json = NULL };
    j->latent = latent;
    if (latent)
        latent->refs++;
    j->refs = 2;
    j->weight = weight;
    j->held = &s->held;
    (void)atomic_fetch_add(j->held, weight);
    j->received_ms = prop_guest_clock_ms();
    j->received_at = prop_now_ms();
    j->next = s->jobs;
    s->jobs = j;
    return j;
}

void prop_job_unref(struct prop_job *j)
{
    while (j && --j->refs == 0) {
        struct prop_job *latent = j->latent;
        prop_task_release(&j->task);
        (void)atomic_fetch_sub(j->held, j->weight);
        if (j->program)
            prop_program_unref(j->program);
        prop_free(j->id);
        prop_free(j->invocation);
        prop_free(j);
        j = latent; /* the reference that the invocation had */
    }
}

/* Its result may have reached the manager already, though the thread that ran it has not come round
 * to say that it ended: its id is free. (A daemon's result goes out at its start.) */
static bool is_over(const struct prop_service *s, const struct prop_job *j, uint64_t now_ms)
{
    return j->answered && !prop_job_is_daemon(j) && now_ms >= j->received_at + s->c->hold_ms;
}

struct prop_job *prop_job_find(struct prop_service *s, const char *id)
{
    uint64_t now = prop_now_ms();

    prop_job_purge(s, now);
    for (struct prop_job *j = s->jobs; j; j = j->next)
        if (!j->invocation && strcmp(j->id, id) == 0 && !is_over(s, j, now))
            return j;
    return NULL;
}

void prop_job_forget(struct prop_service *s, struct prop_job *j)
{
    for (struct prop_job **at = &s->jobs; *at; at = &(*at)->next)
        if (*at == j) {
            *at = j->next;
            prop_job_unref(j);
            return;
        }
}

void prop_job_purge(struct prop_service *s, uint64_t now_ms)
{
    for (struct prop_job **at = &s->jobs; *at;) {
        struct prop_job *j = *at;
        if (j->state == PROP_JOB_ENDED && j->gone_at <= now_ms) {
            *at = j->next;
            prop_job_unref(j);
        } else {
            at = &j->next;
        }
    }
}

void prop_job_end(struct prop_service *s, struct prop_job *j)
{
    uint64_t now = prop_now_ms();
    uint64_t due = j->received_at + s->c->hold_ms;

    j->state = PROP_JOB_ENDED;
    j->gone_at = j->invocation || due < now ? now : due;
    if (j->program)
        prop_program_unref(PROP_TAKE(j->program));
}

void prop_job_put(struct prop_job_queue *q, struct prop_job *j)
{
    j->queued = NULL;
    *q->end = j;
    q->end = &j->queued;
    q->n++;
}

struct prop_job *prop_job_take(struct prop_job_queue *q)
{
    struct prop_job *j = q->first;

    if (!j)
        return NULL;
    q->first = j->queued;
    if (!q->first)
        q->end = &q->first;
    q->n--;
    return j;
}

bool prop_job_unqueue(struct prop_job_queue *q, struct prop_job *j)
{
    for (struct prop_job **at = &q->first; *at; at = &(*at)->queued) {
        if (*at != j)
            continue;
        *at = j->queued;
        if (q->end == &j->queued)
            q->end = at;
        q->n--;
        return true;
    }
    return false;
}

bool prop_job_is_daemon(const struct prop_job *j)
{
    return j->task.daemon && !j->task.latent && !j->invocation;
}

bool prop_job_is_latent(const struct prop_job *j)
{
    return j->task.latent && !j->invocation;
}

void prop_recent_add(struct prop_service *s, const char *id)
{
    struct prop_recent *r = &s->recent[s->recent_at++ % PROP_RECENT_MAX];

    (void)snprintf(r->id, sizeof r->id, "%s", id);
    r->until_ms = prop_now_ms() + PROP_RECENT_MS;
}

bool prop_recent_has(struct prop_service *s, const char *id)
{
    uint64_t now = prop_now_ms();

    for (size_t i = 0; i < PROP_RECENT_MAX; i++)
        if (s->recent[i].until_ms > now && strcmp(s->recent[i].id, id) == 0)
            return true;
    return false;
}
