/* One thread serves all connections with poll; another does the work (worker.h). */
#include "keyprovider/keyprovider.h"

#include "keyprovider/address.h"
#include "keyprovider/conn.h"
#include "keyprovider/peer.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONNS_MAX = 256, TICK_MS = 1000, DRAIN_MS = 10000, FDS_BEFORE = 2 };

struct server {
    struct prop_kp_shared shared;
    bool any_user;
    int listener; /* -1 once a stop was asked for */
    char *path;   /* of the socket, or NULL */
    struct stat file; /* it, as it was made */
    struct prop_kp_conn *conns[CONNS_MAX];
    size_t n;
    uint64_t accept_from; /* not before: descriptors had run out */
};

static void drop(struct server *s, size_t i)
{
    prop_kp_conn_free(s->conns[i]);
    s->conns[i] = s->conns[--s->n];
}

/* Room for one more: whoever has been idle longest goes. Clients connect again when they must. */
static bool make_room(struct server *s)
{
    size_t oldest = s->n;
    if (s->n < CONNS_MAX)
        return true;
    for (size_t i = 0; i < s->n; i++)
        if (!s->conns[i]->calls &&
            (oldest == s->n || s->conns[i]->progress_ms < s->conns[oldest]->progress_ms))
            oldest = i;
    if (oldest == s->n)
        return false;
    drop(s, oldest);
    return true;
}

static bool accepting(const struct server *s, uint64_t now)
{
    if (s->listener < 0 || now < s->accept_from)
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (!s->conns[i]->calls)
            return true;
    return s->n < CONNS_MAX;
}

static bool welcome(const struct server *s, int fd)
{
    struct prop_err err = PROP_ERR_INIT;
    if (s->any_user || prop_kp_peer_check(fd, &err) == 0)
        return true;
    if (s->shared.log)
        s->shared.log(s->shared.log_ctx, err.message);
    return false;
}

static void accept_all(struct server *s)
{
    for (;;) {
        struct prop_kp_conn *c = NULL;
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                s->accept_from = prop_now_ms() + TICK_MS;
            return;
        }
        if (!welcome(s, fd)) {
            (void)close(fd);
            continue;
        }
        static const int on = 1; /* answers leave at once; a unix socket does not know the option */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (!make_room(s)) {
            (void)close(fd);
            return;
        }
        if (prop_kp_conn_new(fd, &s->shared, &c, NULL) != 0)
            return;
        s->conns[s->n++] = c;
        if (prop_kp_conn_io(c, false) != 0)
            drop(s, s->n - 1);
    }
}

static void drop_conn(struct server *s, const struct prop_kp_conn *c)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->conns[i] == c) {
            drop(s, i);
            return;
        }
    }
}

static void answer_done(struct server *s)
{
    struct prop_kp_job *j;
    while ((j = prop_kp_worker_done(s->shared.worker))) {
        struct prop_kp_conn *c = prop_kp_conn_answer(j);
        if (c && prop_kp_conn_io(c, false) != 0)
            drop_conn(s, c);
    }
}

/* Everybody's clock; returns how long the next poll may wait. */
static int tick(struct server *s)
{
    uint64_t now = prop_now_ms(), next = now + TICK_MS;
    for (size_t i = s->n; i-- > 0;)
        if (prop_kp_conn_tick(s->conns[i], now, &next) != 0)
            drop(s, i);
    return next > now ? (int)(next - now) : 0;
}

static void turn(struct server *s, int wait_ms)
{
    struct pollfd fds[FDS_BEFORE + CONNS_MAX];
    size_t n = s->n;
    fds[0] = (struct pollfd){ accepting(s, prop_now_ms()) ? s->listener : -1, POLLIN, 0 };
    fds[1] = (struct pollfd){ prop_kp_worker_fd(s->shared.worker), POLLIN, 0 };
    for (size_t i = 0; i < n; i++) {
        bool full = prop_kp_link_wants_write(&s->conns[i]->link);
        fds[FDS_BEFORE + i] = (struct pollfd){ s->conns[i]->link.fd,
                                               (short)(full ? POLLIN | POLLOUT : POLLIN), 0 };
    }
    if (poll(fds, FDS_BEFORE + n, wait_ms) <= 0)
        return;
    for (size_t i = n; i-- > 0;) { /* backwards: a drop moves only what was looked at */
        short got = fds[FDS_BEFORE + i].revents;
        if (got && prop_kp_conn_io(s->conns[i], (got & ~POLLOUT) != 0) != 0)
            drop(s, i);
    }
    if (fds[1].revents)
        answer_done(s);
    if (fds[0].revents)
        accept_all(s);
}

/* Another server may have the name by now. While ours is open nobody else can have its inode. */
static bool has_own_file(const struct server *s)
{
    struct stat now;
    return s->path && lstat(s->path, &now) == 0 && now.st_dev == s->file.st_dev &&
           now.st_ino == s->file.st_ino;
}

static void close_listener(struct server *s)
{
    if (has_own_file(s))
        (void)unlink(s->path);
    if (s->listener >= 0)
        (void)close(s->listener);
    s->listener = -1;
    prop_free(s->path);
    s->path = NULL;
}

/* A stop was asked for: nobody new, and everybody who has a call gets the answer, in time. */
static void drain(struct server *s)
{
    uint64_t end = prop_now_ms() + DRAIN_MS;
    close_listener(s);
    for (size_t i = s->n; i-- > 0;) {
        prop_kp_conn_leave(s->conns[i]);
        if (prop_kp_conn_io(s->conns[i], false) != 0)
            drop(s, i);
    }
    int wait_ms = tick(s);
    while (s->n > 0 && prop_now_ms() < end) {
        turn(s, wait_ms < 100 ? wait_ms : 100);
        wait_ms = tick(s);
    }
}

int prop_kp_serve(const struct prop_kp_serve *serve, struct prop_err *err)
{
    struct server s = { .shared = { .log = serve->log, .log_ctx = serve->ctx },
                        .any_user = serve->any_user, .listener = -1 };
    prop_auto_free char *address = NULL;
    int rc = prop_kp_listen(serve->listen, &s.listener, &address, &s.path, err);
    if (rc == 0 && s.path && lstat(s.path, &s.file) != 0)
        rc = prop_err_sys(err, PROP_E_NETWORK, "'%s'", s.path);
    if (rc == 0)
        rc = prop_kp_worker_start(serve->provider, &s.shared.worker, err);
    if (rc == 0) {
        prop_stop_hold(); /* calls that run when the signal comes are finished */
        if (serve->ready)
            serve->ready(serve->ctx, address);
        while (!prop_stop_requested())
            turn(&s, tick(&s));
        drain(&s);
        prop_stop_release();
    }
    close_listener(&s);
    while (s.n > 0)
        drop(&s, s.n - 1);
    prop_kp_worker_stop(s.shared.worker);
    return rc;
}
