/* Inside guest/service*.c only: the service's state and what its files do for each other.
 *
 * Threads: the main one (timers, results, the end), the broker connection's (messages), preparers,
 * executors, the beat (heartbeats and metrics). `lock` is over the jobs and counts; no call that waits
 * is made with it held. */
#ifndef PROP_GUEST_SERVICE_INTERNAL_H
#define PROP_GUEST_SERVICE_INTERNAL_H

#include "guest/cache.h"
#include "guest/outbox.h"
#include "guest/procstat.h"
#include "guest/service.h"
#include "guest/stats.h"
#include "guest/status.h"
#include "guest/task.h"

#include <pthread.h>
#include <stdatomic.h>

enum prop_job_state {
    PROP_JOB_QUEUED,    /* waits for a preparer */
    PROP_JOB_PREPARING,
    PROP_JOB_READY,     /* waits for an executor */
    PROP_JOB_RUNNING,
    PROP_JOB_LATENT,    /* kept for invocations */
    PROP_JOB_ENDED      /* its result may still be held back */
};

/* What was measured of a task so far (propeller.md 1.7). */
struct prop_job_metrics {
    uint64_t next_ms, started_ms, last_ms, samples;
    double last_cpu_s, cpu_sum, cpu_max;
    uint64_t memory_sum, memory_max;
};

/* One start, or one invocation of a latent task. */
struct prop_job {
    struct prop_job *next;         /* of all jobs */
    struct prop_job *queued;       /* of the queue it waits in */
    unsigned refs;
    struct prop_task task;         /* of an invocation: only inputs and env */
    struct prop_job *latent;       /* of an invocation: what it invokes, with a reference */
    char *id, *invocation;         /* invocation NULL = a start */
    enum prop_job_state state;
    double received_ms;            /* of prop_guest_clock_ms */
    uint64_t received_at;          /* of prop_now_ms */
    uint64_t gone_at;              /* ended: its id is free from then on */
    size_t weight;                 /* bytes, roughly, counted in s->held */
    _Atomic(uint64_t) *held;
    _Atomic(bool) stopped;         /* answered for already; whatever comes of it is dropped */
    bool answered;
    struct prop_program *program;
    struct prop_digest manifest;   /* what a latent task was prepared from */
    struct prop_run_handle handle;
    struct prop_job_metrics metrics; /* the beat's */
};

struct prop_job_queue {
    struct prop_job *first, **end;
    unsigned n;
};

/* A key broker client; its session stays warm between the tasks that use it. */
struct prop_kbs_slot {
    struct prop_kbs_slot *next;
    struct prop_kbs *kbs;
};

#define PROP_RECENT_MAX 1024
#define PROP_RECENT_MS (10u * 60 * 1000)
struct prop_recent {
    char id[PROP_TASK_ID_MAX + 1];
    uint64_t until_ms;
};

enum prop_topic {
    PROP_TOPIC_CREATE, PROP_TOPIC_ALIVE, PROP_TOPIC_METRICS, PROP_TOPIC_TASK_METRICS,
    PROP_TOPIC_RESULTS, PROP_TOPIC_INVOKE_RESULTS,
    PROP_TOPIC_START, PROP_TOPIC_STOP, PROP_TOPIC_INVOKE, PROP_TOPICS
};

struct prop_service {
    const struct prop_service_config *c;
    char *topics[PROP_TOPICS];
    struct prop_mqtt *mqtt;
    struct prop_outbox *outbox;
    struct prop_cache *cache;
    struct prop_status *status;
    struct prop_stats stats;
    int wake_fd;

    pthread_mutex_t lock;
    pthread_cond_t to_prepare, to_run, to_beat;
    struct prop_job *jobs;
    struct prop_job_queue queue, ready;
    unsigned waiting;       /* queued, preparing or ready */
    unsigned running, daemons, latents;
    _Atomic(uint64_t) held; /* bytes of all jobs' messages */
    struct prop_recent recent[PROP_RECENT_MAX];
    unsigned recent_at;
    struct prop_kbs_slot *kbs_idle;
    bool draining, quit;
    bool runner_gone;
    _Atomic(bool) warned;   /* what the runner says of this machine was passed on */
    uint64_t heard_ms;      /* when the manager was last heard */
    uint64_t quiet_ms;      /* no results before then: the manager lost the same broker, and comes back */
    bool was_connected;

    pthread_t *preparers, *executors, beat;
    unsigned n_preparers, n_executors, idle_executors, max_executors;
    bool beat_started;
    double self_cpu_s;      /* when the service was measured last; the beat's */
    uint64_t self_ms;
};

/* --- service.c --- */
void prop_service_log(struct prop_service *s, enum prop_service_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void prop_service_wake(struct prop_service *s);

/* --- service_connect.c: the broker's side --- */
int prop_service_topics(struct prop_service *s, struct prop_err *err);
void prop_service_events(struct prop_service *s, struct prop_mqtt_events *ret);
/* Publish what may be lost (heartbeats, metrics); takes `doc` over, NULL = memory is out. */
bool prop_service_publish(struct prop_service *s, enum prop_topic topic, json_t *doc);
void prop_service_discover(struct prop_service *s);

/* --- service_inbox.c: what the manager says; on the connection's thread --- */
void prop_service_start_message(struct prop_service *s, const char *text, size_t len);
void prop_service_stop_message(struct prop_service *s, const char *text, size_t len);
void prop_service_invoke_message(struct prop_service *s, const char *text, size_t len);

/* --- service_jobs.c: the jobs; all with `lock` held --- */
/* A new job in the list, with a reference for the caller and one for the list; `weight` bytes are
 * counted for it. Takes the task over when
 * it succeeds; `latent` may be NULL. NULL when memory is out. */
struct prop_job *prop_job_new(struct prop_service *s, struct prop_task *task, const char *id,
                              const char *invocation, struct prop_job *latent, size_t weight);
void prop_job_unref(struct prop_job *j);
/* The start of that id that is not over; NULL = none. */
struct prop_job *prop_job_find(struct prop_service *s, const char *id);
/* Take it out of the list: its id is free. */
void prop_job_forget(struct prop_service *s, struct prop_job *j);
/* Forget what ended and whose result went out. */
void prop_job_purge(struct prop_service *s, uint64_t now_ms);
/* It has ended: its id stays taken until its result goes out. */
void prop_job_end(struct prop_service *s, struct prop_job *j);
void prop_job_put(struct prop_job_queue *q, struct prop_job *j);
struct prop_job *prop_job_take(struct prop_job_queue *q);
/* False when it is not in there. */
bool prop_job_unqueue(struct prop_job_queue *q, struct prop_job *j);
bool prop_job_is_daemon(const struct prop_job *j);
bool prop_job_is_latent(const struct prop_job *j);
/* Encrypted tasks' ids, for a while. */
void prop_recent_add(struct prop_service *s, const char *id);
bool prop_recent_has(struct prop_service *s, const char *id);

/* --- service_answer.c: results --- */
/* One result for a task: `text` (may be NULL) of `len` bytes, and `error` (NULL = it went well). Held
 * back until c->hold_ms after `received_at`. */
void prop_service_answer(struct prop_service *s, const char *id, uint64_t received_at,
                         const void *text, size_t len, const char *error);
/* The answer to an invocation; not held back. */
void prop_service_answer_invocation(struct prop_service *s, const char *id, const char *invocation,
                                    const void *text, size_t len, const char *error);
/* Either, by what the job is; not when it was answered for already. `lock` not held. */
void prop_service_answer_job(struct prop_service *s, struct prop_job *j, const void *text, size_t len,
                             const char *error);
/* The outbox's callbacks. */
void prop_service_outbox_config(struct prop_service *s, struct prop_outbox_config *ret);

/* --- service_prepare.c, service_run.c: the work --- */
/* Pull, attest, decrypt, compile: fills job->program. The error's message is what the manager is told. */
int prop_service_prepare(struct prop_service *s, struct prop_job *j, struct prop_err *err);
/* Run it and answer. */
void prop_service_execute(struct prop_service *s, struct prop_job *j);

/* --- service_work.c: the threads of it --- */
int prop_service_work_start(struct prop_service *s, struct prop_err *err);
/* With `lock` held: there is a job in s->ready; see that somebody takes it. */
void prop_service_need_executor(struct prop_service *s);
/* With `lock` held: nothing more comes of this job, which is not over yet. What only waits is over now;
 * what is worked on is given up soon. The caller has a reference, and answers for it. */
void prop_service_halt(struct prop_service *s, struct prop_job *j);
/* Take note of a failure that concerns more than one task: nothing can be run any more. */
void prop_service_heed(struct prop_service *s, const struct prop_err *err);
/* Waits for all of them; `quit` is set. */
void prop_service_work_end(struct prop_service *s);

/* --- service_end.c: the way out --- */
/* No new starts; what has not begun is answered for. `lock` not held. */
void prop_service_drain(struct prop_service *s);
/* Stop everything that is left, with answers. */
void prop_service_kill_all(struct prop_service *s);
bool prop_service_is_idle(struct prop_service *s);

/* --- service_beat.c, service_measure.c: heartbeats and metrics --- */
int prop_service_beat_start(struct prop_service *s, struct prop_err *err);
void prop_service_beat_end(struct prop_service *s);
/* Metrics of running tasks that are due. */
void prop_service_measure_tasks(struct prop_service *s, uint64_t now_ms);
void prop_service_measure_self(struct prop_service *s);
/* For /metrics and /health. */
int prop_service_metrics_text(void *ctx, struct prop_buf *out, struct prop_err *err);
int prop_service_health_text(void *ctx, struct prop_buf *out, bool *ret_well, struct prop_err *err);

#endif
