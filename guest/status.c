/* A responder for two paths. Whoever is slow or says too much is cut off. */
#include "guest/status.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#define MAX_REQUEST 8192  /* bytes of a request's head */
#define MAX_ANSWER (1u << 20)
#define REQUEST_MS 2000u  /* from its first byte to its answer's last */

struct prop_status {
    struct prop_status_config c;
    char where[80];
    int fd, stop_fd;
    pthread_t thread;
};

/* ---- where -------------------------------------------------------------------------------------- */

static int bad_listen(struct prop_err *err, const char *where)
{
    prop_err_set_id(err, PROP_E_USAGE, "listen", "'%s' is not ADDRESS:PORT", where);
    return prop_err_hint(err, "such as 127.0.0.1:9092, or [::1]:0 for a free port");
}

static int parse_listen(const char *where, struct sockaddr_storage *ret, socklen_t *ret_len,
                        struct prop_err *err)
{
    char host[64];
    const char *colon = strrchr(where, ':');
    uint64_t port = 0;
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

    if (!colon || prop_parse_u64(colon + 1, "port", &port, NULL) || port > 65535 ||
        (size_t)(colon - where) >= sizeof host)
        return bad_listen(err, where);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
    size_t n = strlen(host);
    bool loopback = false;
    if (strcmp(host, "localhost") == 0)
        (void)snprintf(host, sizeof host, "127.0.0.1");
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = 0;
        if (inet_pton(AF_INET6, host + 1, &v6.sin6_addr) != 1)
            return bad_listen(err, where);
        v6.sin6_port = htons((uint16_t)port);
        loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
        memcpy(ret, &v6, *ret_len = sizeof v6);
    } else {
        if (inet_pton(AF_INET, host, &v4.sin_addr) != 1)
            return bad_listen(err, where);
        v4.sin_port = htons((uint16_t)port);
        loopback = ntohl(v4.sin_addr.s_addr) >> 24 == 127;
        memcpy(ret, &v4, *ret_len = sizeof v4);
    }
    if (loopback)
        return 0;
    return prop_err_set_id(err, PROP_E_USAGE, "listen-not-loopback",
                           "'%s' can be reached from other machines, and metrics are for this one",
                           where);
}

static void say_where(struct prop_status *s)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    char host[64] = "";

    memset(&ss, 0, sizeof ss);
    (void)getsockname(s->fd, (struct sockaddr *)(void *)&ss, &len);
    const struct sockaddr_in *v4 = (const void *)&ss;
    const struct sockaddr_in6 *v6 = (const void *)&ss;
    if (ss.ss_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        (void)snprintf(s->where, sizeof s->where, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        (void)snprintf(s->where, sizeof s->where, "%s:%u", host, ntohs(v4->sin_port));
    }
}

static int open_socket(struct prop_status *s, struct prop_err *err)
{
    struct sockaddr_storage ss;
    socklen_t len = 0;
    int on = 1;
    int rc = parse_listen(s->c.listen, &ss, &len, err);

    if (rc)
        return rc;
    s->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0 || setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(s->fd, (const struct sockaddr *)(const void *)&ss, len) || listen(s->fd, 16)) {
        rc = prop_err_sys(err, PROP_E_NETWORK, "listen on '%s'", s->c.listen);
        if (err)
            err->id = "listen";
        return rc;
    }
    say_where(s);
    return 0;
}

/* ---- one request -------------------------------------------------------------------------------- */

/* Wait for the connection, the end, or the service's; false when there is no more to wait for. */
static bool wait_for(const struct prop_status *s, int fd, short what, uint64_t until_ms)
{
    uint64_t now = prop_now_ms();
    struct pollfd p[2] = { { fd, what, 0 }, { s->stop_fd, POLLIN, 0 } };

    return now < until_ms && poll(p, 2, (int)(until_ms - now)) > 0 && !p[1].revents;
}

/* The request's first line, once its head is whole. */
static bool read_head(const struct prop_status *s, int fd, char *out, size_t size, uint64_t until_ms)
{
    size_t len = 0;

    while (len + 1 < size && wait_for(s, fd, POLLIN, until_ms)) {
        ssize_t n = recv(fd, out + len, size - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        out[len] = 0;
        if (memmem(out, len, "\r\n\r\n", 4) || memmem(out, len, "\n\n", 2))
            return true;
    }
    return false;
}

static void write_all(const struct prop_status *s, int fd, const struct prop_buf *b,
                      uint64_t until_ms)
{
    for (size_t done = 0; done < b->len && wait_for(s, fd, POLLOUT, until_ms);) {
        ssize_t n = send(fd, b->data + done, b->len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
        done += n > 0 ? (size_t)n : 0;
    }
}

static const char *answer_body(const struct prop_status *s, const char *line, struct prop_buf *body,
                               const char **type)
{
    static const char *const paths[] = { "/metrics", "/health" };
    bool well = true;
    size_t which = 0;

    *type = "text/plain; charset=utf-8";
    if (strncmp(line, "GET ", 4) != 0 && strncmp(line, "HEAD ", 5) != 0)
        return "405 Method Not Allowed";
    const char *path = strchr(line, ' ') + 1;
    for (; which < 2; which++) {
        size_t n = strlen(paths[which]);
        if (strncmp(path, paths[which], n) == 0 && strchr(" ?\r\n", path[n]))
            break;
    }
    if (which == 2)
        return "404 Not Found";
    if (which == 0)
        return s->c.metrics(s->c.ctx, body, NULL) ? "500 Internal Server Error" : "200 OK";
    *type = "application/json";
    if (s->c.health(s->c.ctx, body, &well, NULL))
        return "500 Internal Server Error";
    return well ? "200 OK" : "503 Service Unavailable";
}

static void serve_one(const struct prop_status *s, int fd)
{
    prop_auto_buf struct prop_buf body = PROP_BUF_INIT(MAX_ANSWER);
    prop_auto_buf struct prop_buf all = PROP_BUF_INIT(MAX_ANSWER + 1024);
    char head[MAX_REQUEST];
    uint64_t until_ms = prop_now_ms() + REQUEST_MS;
    const char *type = NULL;

    if (!read_head(s, fd, head, sizeof head, until_ms))
        return;
    const char *status = answer_body(s, head, &body, &type);
    int rc = prop_buf_printf(&all, NULL, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                             "Connection: close\r\n\r\n", status, type, body.len);
    if (rc == 0 && strncmp(head, "HEAD ", 5) != 0)
        rc = prop_buf_add(&all, body.data, body.len, NULL);
    if (rc == 0)
        write_all(s, fd, &all, until_ms);
}

static void *run(void *ctx)
{
    struct prop_status *s = ctx;
    struct pollfd p[2] = { { s->fd, POLLIN, 0 }, { s->stop_fd, POLLIN, 0 } };

    while (poll(p, 2, -1) >= 0 || errno == EINTR) {
        if (p[1].revents)
            break;
        if (!p[0].revents)
            continue;
        prop_auto_fd int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            serve_one(s, fd);
    }
    return NULL;
}

/* ---- its life ------------------------------------------------------------------------------------ */

static void status_free(struct prop_status *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    if (s->stop_fd >= 0)
        (void)close(s->stop_fd);
    prop_free(s);
}

int prop_status_start(const struct prop_status_config *config, struct prop_status **ret,
                      struct prop_err *err)
{
    struct prop_status *s = prop_zalloc(sizeof *s);

    if (!s)
        return prop_err_nomem(err);
    s->c = *config;
    s->fd = -1;
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = s->stop_fd < 0 ? prop_err_sys(err, PROP_E_IO, "eventfd") : open_socket(s, err);
    if (rc == 0) {
        errno = pthread_create(&s->thread, NULL, run, s);
        rc = errno ? prop_err_sys(err, PROP_E_NOMEM, "start a thread") : 0;
    }
    if (rc) {
        status_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

const char *prop_status_where(const struct prop_status *s)
{
    return s->where;
}

void prop_status_stop(struct prop_status *s)
{
    uint64_t one = 1;

    if (!s)
        return;
    (void)!write(s->stop_fd, &one, sizeof one);
    (void)pthread_join(s->thread, NULL);
    status_free(s);
}
