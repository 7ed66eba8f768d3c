/* Watching a child from outside: its output moved, its deadline held, its end seen. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/runner_internal.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#define PIECE (64u << 10) /* read at once */
#define PIPE_PIECE 4096u  /* PIPE_BUF: so much a pipe with room takes without waiting */
#define POLL_MS 50        /* how often a signal is looked for */

/* ---- handles --------------------------------------------------------------------------------- */

static pthread_mutex_t handles = PTHREAD_MUTEX_INITIALIZER; /* guards `wake` of all of them */

bool runner_handle_begin(struct prop_run_handle *handle)
{
    if (!handle)
        return true;
    (void)pthread_mutex_lock(&handles);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    handle->wake = fd > 0 ? fd : 0; /* without one a stop is seen at the next poll */
    (void)pthread_mutex_unlock(&handles);
    return !atomic_load(&handle->stop);
}

void runner_handle_end(struct prop_run_handle *handle)
{
    if (!handle)
        return;
    atomic_store(&handle->pid, 0);
    (void)pthread_mutex_lock(&handles);
    if (handle->wake > 0)
        (void)close(handle->wake);
    handle->wake = 0;
    (void)pthread_mutex_unlock(&handles);
}

void prop_run_stop(struct prop_run_handle *h)
{
    uint64_t one = 1;

    atomic_store(&h->stop, true);
    (void)pthread_mutex_lock(&handles);
    if (h->wake > 0 && write(h->wake, &one, sizeof one) < 0)
        errno = 0; /* it is awake already */
    (void)pthread_mutex_unlock(&handles);
}

/* ---- streams --------------------------------------------------------------------------------- */

/* Its server kills the whole group when it sees the child die, or our socket close. */
static void end(struct runner_child_job *j, enum runner_end why)
{
    if (j->end == RUNNER_BY_ITSELF)
        j->end = why;
    if (j->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, j->pidfd, SIGKILL, NULL, 0);
    else if (j->ctl >= 0)
        (void)shutdown(j->ctl, SHUT_RDWR);
}

static void stream_close(struct runner_stream *s)
{
    if (s->from >= 0)
        (void)close(s->from);
    s->from = -1;
}

/* Bytes that may still come: past them the child is ended. */
static void stream_read(struct runner_child_job *j, struct runner_stream *s)
{
    ssize_t n = read(s->from, s->held, PIECE);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        stream_close(s);
        return;
    }
    size_t got = (size_t)n;
    if (got > s->max - s->seen) {
        end(j, RUNNER_TALKATIVE);
        stream_close(s);
        return;
    }
    s->seen += got;
    if (s->to >= 0) {
        s->held_at = 0;
        s->held_len = got;
    } else if (prop_buf_add(s->into, s->held, got, NULL)) {
        j->error = ENOMEM;
        end(j, RUNNER_UNREAD);
        stream_close(s);
    }
}

static bool is_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static void stream_write(struct runner_child_job *j, struct runner_stream *s)
{
    size_t len = s->held_len - s->held_at;

    if (len > PIPE_PIECE && !is_file(s->to))
        len = PIPE_PIECE;
    ssize_t n = write(s->to, s->held + s->held_at, len);
    if (n >= 0) {
        s->held_at += (size_t)n;
        return;
    }
    if (errno == EINTR || errno == EAGAIN)
        return;
    if (s == &j->streams[RUNNER_OUT]) { /* as SIGPIPE ends a program that looks at no error */
        j->error = errno;
        end(j, RUNNER_UNREAD);
    }
    s->held_at = s->held_len;
}

static bool holds(const struct runner_stream *s)
{
    return s->held_at < s->held_len;
}

/* ---- the watch ------------------------------------------------------------------------------- */

/* True when it has ended. */
static bool read_event(struct runner_child_job *j)
{
    struct runner_event e = {.magic = 0};
    int fd = -1;
    size_t n_fds = 1;
    ssize_t n = runner_recv(j->ctl, &e, sizeof e, &fd, &n_fds, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n != (ssize_t)sizeof e || e.magic != RUNNER_MAGIC) {
        if (j->end == RUNNER_BY_ITSELF)
            j->end = RUNNER_GONE;
        return true;
    }
    if (e.kind == RUNNER_ENDED) {
        j->status = e.status;
        j->error = e.failed ? e.failed : j->error;
        return true;
    }
    j->pidfd = n_fds == 1 ? fd : -1;
    if (j->handle)
        atomic_store(&j->handle->pid, (pid_t)e.pid);
    if (j->end != RUNNER_BY_ITSELF)
        end(j, j->end); /* it was to end before we knew it */
    return false;
}

static void look_at_the_clock(struct runner_child_job *j)
{
    if (j->end != RUNNER_BY_ITSELF)
        return;
    if (j->handle && atomic_load(&j->handle->stop))
        end(j, RUNNER_STOPPED);
    else if (prop_stop_check(NULL))
        end(j, RUNNER_SIGNALLED);
    else if (prop_now_ms() >= j->deadline_ms)
        end(j, RUNNER_LATE);
}

static int wait_ms(const struct runner_child_job *j)
{
    uint64_t now = prop_now_ms();
    uint64_t left = j->deadline_ms > now ? j->deadline_ms - now : 0;

    return left < POLL_MS && j->end == RUNNER_BY_ITSELF ? (int)left : POLL_MS;
}

static void move(struct runner_child_job *j, const struct pollfd *polls)
{
    for (size_t i = 0; i < RUNNER_STREAMS; i++) {
        struct runner_stream *s = &j->streams[i];
        if (!polls[i].revents)
            continue;
        if (holds(s))
            stream_write(j, s);
        else
            stream_read(j, s);
    }
}

static void poll_streams(const struct runner_child_job *j, struct pollfd *polls)
{
    for (size_t i = 0; i < RUNNER_STREAMS; i++) {
        const struct runner_stream *s = &j->streams[i];
        polls[i] = holds(s) ? (struct pollfd){s->to, POLLOUT, 0}
                            : (struct pollfd){s->from, POLLIN, 0};
    }
}

/* What it wrote before it ended; who keeps the pipe open after it has no say. */
static void drain(struct runner_child_job *j)
{
    struct pollfd polls[RUNNER_STREAMS];

    for (;;) {
        bool left = false;
        poll_streams(j, polls);
        for (size_t i = 0; i < RUNNER_STREAMS; i++)
            left = left || holds(&j->streams[i]);
        int n = poll(polls, RUNNER_STREAMS, left ? wait_ms(j) : 0);
        if (n > 0)
            move(j, polls);
        else if (!left)
            return;
        look_at_the_clock(j);
        if (left && j->end != RUNNER_BY_ITSELF)
            return; /* nobody reads, and time is up */
    }
}

void runner_watch(struct runner_child_job *j)
{
    struct pollfd polls[RUNNER_STREAMS + 2];

    for (bool done = false; !done;) {
        poll_streams(j, polls);
        polls[RUNNER_STREAMS] = (struct pollfd){j->ctl, POLLIN, 0};
        polls[RUNNER_STREAMS + 1] =
            (struct pollfd){j->handle && j->handle->wake > 0 && j->end == RUNNER_BY_ITSELF
                                ? j->handle->wake : -1, POLLIN, 0};
        if (poll(polls, RUNNER_STREAMS + 2, wait_ms(j)) > 0) {
            move(j, polls);
            if (polls[RUNNER_STREAMS].revents)
                done = read_event(j);
        }
        look_at_the_clock(j);
    }
    drain(j);
}
