#include "keyprovider/worker.h"

#include "keyprovider/frame.h"
#include "util/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct prop_kp_worker {
    const struct prop_kp_provider *provider;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct prop_kp_job *queue, *done; /* oldest first */
    bool stop;
    int fd;
};

void prop_kp_job_free(struct prop_kp_job *j)
{
    if (!j)
        return;
    prop_secret_free(j->request);
    prop_secret_free(j->reply);
    prop_free(j);
}

static void put_last(struct prop_kp_job **list, struct prop_kp_job *j)
{
    j->next = NULL;
    while (*list)
        list = &(*list)->next;
    *list = j;
}

static struct prop_kp_job *take_first(struct prop_kp_job **list)
{
    struct prop_kp_job *j = *list;
    if (j)
        *list = j->next;
    return j;
}

static void work(const struct prop_kp_provider *p, struct prop_kp_job *j)
{
    prop_auto_secret struct prop_secret *request = NULL;
    prop_auto_secret struct prop_secret *reply = NULL;
    j->rc = prop_kp_frame_read(j->request, &request, &j->err);
    if (j->rc == 0)
        j->rc = prop_kp_answer(p, j->op, request, &reply, &j->err);
    if (j->rc == 0)
        j->rc = prop_kp_frame_write(reply, &j->reply, &j->err);
}

static void *run(void *arg)
{
    struct prop_kp_worker *w = arg;
    static const uint64_t one = 1;
    (void)pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct prop_kp_job *j = take_first(&w->queue);
        if (!j) {
            (void)pthread_cond_wait(&w->more, &w->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&w->lock);
        work(w->provider, j);
        (void)pthread_mutex_lock(&w->lock);
        put_last(&w->done, j);
        while (write(w->fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

int prop_kp_worker_start(const struct prop_kp_provider *p, struct prop_kp_worker **ret,
                         struct prop_err *err)
{
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    sigset_t all, old;
    struct prop_kp_worker *w = prop_zalloc(sizeof(*w));
    if (!w)
        return prop_err_nomem(err);
    w->provider = p;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->more, NULL);
    (void)sigfillset(&all);
    for (size_t i = 0; i < PROP_ARRAY_LEN(own); i++) /* a thread's own faults stay with it */
        (void)sigdelset(&all, own[i]);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = w->fd < 0 ? errno : pthread_create(&w->thread, NULL, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed == 0) {
        *ret = w;
        return 0;
    }
    if (w->fd >= 0)
        (void)close(w->fd);
    prop_free(w);
    errno = failed;
    return prop_err_sys(err, PROP_E_IO, "start a thread");
}

int prop_kp_worker_fd(const struct prop_kp_worker *w)
{
    return w->fd;
}

void prop_kp_worker_submit(struct prop_kp_worker *w, struct prop_kp_job *j)
{
    (void)pthread_mutex_lock(&w->lock);
    put_last(&w->queue, j);
    (void)pthread_cond_signal(&w->more);
    (void)pthread_mutex_unlock(&w->lock);
}

bool prop_kp_worker_withdraw(struct prop_kp_worker *w, struct prop_kp_job *j)
{
    (void)pthread_mutex_lock(&w->lock);
    struct prop_kp_job **p = &w->queue;
    while (*p && *p != j)
        p = &(*p)->next;
    bool found = *p != NULL;
    if (found)
        *p = j->next;
    (void)pthread_mutex_unlock(&w->lock);
    return found;
}

struct prop_kp_job *prop_kp_worker_done(struct prop_kp_worker *w)
{
    uint64_t count;
    (void)pthread_mutex_lock(&w->lock);
    struct prop_kp_job *j = take_first(&w->done);
    if (!w->done)
        (void)!read(w->fd, &count, sizeof count);
    (void)pthread_mutex_unlock(&w->lock);
    return j;
}

void prop_kp_worker_stop(struct prop_kp_worker *w)
{
    struct prop_kp_job *j;
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_signal(&w->more);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    while ((j = take_first(&w->queue)) || (j = take_first(&w->done)))
        prop_kp_job_free(j);
    (void)close(w->fd);
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_mutex_destroy(&w->lock);
    prop_free(w);
}
