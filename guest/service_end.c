/* The way out: nothing new is begun, what runs may finish for a while, and whoever waits for an answer
 * gets one. */
#include "guest/service_internal.h"

#include "util/mem.h"

/* Answer for every job that `which` wants, and see that nothing more comes of it. */
static void end_jobs(struct prop_service *s, bool (*which)(const struct prop_job *j), const char *text)
{
    struct prop_job *list[64];
    size_t n = 0;

    do {
        n = 0;
        (void)pthread_mutex_lock(&s->lock);
        for (struct prop_job *j = s->jobs; j && n < PROP_ARRAY_LEN(list); j = j->next) {
            if (j->state == PROP_JOB_ENDED || atomic_load(&j->stopped) || !which(j))
                continue;
            j->refs++;
            prop_service_halt(s, j);
            list[n++] = j;
        }
        (void)pthread_mutex_unlock(&s->lock);
        for (size_t i = 0; i < n; i++) {
            prop_auto_free char *why = prop_asprintf("Task %s %s", list[i]->id, text);
            prop_service_answer_job(s, list[i], NULL, 0, why ? why : text);
            (void)pthread_mutex_lock(&s->lock);
            prop_job_unref(list[i]);
            (void)pthread_mutex_unlock(&s->lock);
        }
    } while (n);
}

static bool has_not_begun(const struct prop_job *j)
{
    return j->state == PROP_JOB_QUEUED || j->state == PROP_JOB_LATENT;
}

static bool is_daemon(const struct prop_job *j)
{
    return prop_job_is_daemon(j);
}

static bool any(const struct prop_job *j)
{
    (void)j;
    return true;
}

void prop_service_drain(struct prop_service *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->draining = true;
    (void)pthread_mutex_unlock(&s->lock);
    end_jobs(s, has_not_begun, "was not run: the proplet is shutting down");
    end_jobs(s, is_daemon, "was stopped before completion: the proplet is shutting down");
}

void prop_service_kill_all(struct prop_service *s)
{
    end_jobs(s, any, "was stopped before completion: the proplet is shutting down");
}

bool prop_service_is_idle(struct prop_service *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool idle = s->running == 0 && s->daemons == 0 && s->waiting == 0;
    (void)pthread_mutex_unlock(&s->lock);
    return idle;
}
