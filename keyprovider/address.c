#include "keyprovider/address.h"

#include "util/file.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { TICK_MS = 100 };

static bool is_loopback(const struct sockaddr *sa)
{
    const struct sockaddr_in *v4 = (const void *)sa;
    const struct sockaddr_in6 *v6 = (const void *)sa;
    if (sa->sa_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* "host:port" and "[v6]:port". false: it is neither. */
static bool split(const char *text, char **ret_host, char **ret_port)
{
    const char *colon = strrchr(text, ':');
    const char *host = text, *end = colon;
    uint64_t port = 0;
    if (!colon || prop_parse_u64(colon + 1, "port", &port, NULL) != 0 || port > 65535)
        return false;
    if (*host == '[') {
        host++;
        end--;
        if (end <= host || *end != ']')
            return false;
    } else if (memchr(host, ':', (size_t)(colon - host))) {
        return false;
    }
    if (end <= host || strpbrk(host, "/?#@ "))
        return false;
    *ret_host = prop_strndup(host, (size_t)(end - host));
    *ret_port = prop_strdup(colon + 1);
    return true;
}

/* The path as a unix socket's address. */
static int unix_address(const char *path, struct sockaddr_un *ret, enum prop_code code,
                        const char *id, struct prop_err *err)
{
    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof ret->sun_path)
        return prop_err_set_id(err, code, id, "'%s' is no path for a socket (1 to %zu bytes)", path,
                               sizeof ret->sun_path - 1);
    memcpy(ret->sun_path, path, len);
    return 0;
}

/* --- connecting ------------------------------------------------------------------------------- */

static int unreachable(const char *target, struct prop_err *err)
{
    int rc = prop_err_sys(err, PROP_E_NETWORK, "connect to '%s'", target);
    if (err)
        err->id = "provider-unreachable";
    return rc;
}

static int wait_connected(int fd, const char *target, uint64_t deadline, struct prop_err *err)
{
    struct pollfd p = { fd, POLLOUT, 0 };
    socklen_t len = sizeof errno;
    int failed = 0, rc;
    while (poll(&p, 1, TICK_MS) <= 0) {
        if ((rc = prop_stop_check(err)) != 0)
            return rc;
        if (prop_now_ms() >= deadline)
            return prop_err_set_id(err, PROP_E_NETWORK, "provider-timeout",
                                   "'%s' did not answer in time", target);
    }
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len);
    errno = failed;
    return failed == 0 ? 0 : unreachable(target, err);
}

static int connect_one(const struct sockaddr *sa, socklen_t len, const char *target,
                       uint64_t deadline, int *ret_fd, struct prop_err *err)
{
    prop_auto_fd int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = 0;
    if (fd < 0)
        return unreachable(target, err);
    if (connect(fd, sa, len) != 0)
        rc = errno == EINPROGRESS ? wait_connected(fd, target, deadline, err)
                                  : unreachable(target, err);
    if (rc != 0)
        return rc;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int connect_unix(const char *path, const char *target, uint64_t deadline, int *ret_fd,
                        char **ret_authority, struct prop_err *err)
{
    struct sockaddr_un sa;
    int rc = unix_address(path, &sa, PROP_E_INPUT, "keyprovider-config", err);
    if (rc != 0)
        return rc;
    prop_auto_free char *authority = prop_strdup("localhost");
    if (!authority)
        return prop_err_nomem(err);
    rc = connect_one((const void *)&sa, sizeof sa, target, deadline, ret_fd, err);
    if (rc == 0)
        *ret_authority = PROP_TAKE(authority);
    return rc;
}

static int plain_abroad(const char *target, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_DENIED, "provider-plain",
                          "'%s' is another machine, and the layer's key would go there in the "
                          "clear", target);
    return prop_err_hint(err, "let it listen on this machine, or reach it through an encrypted "
                              "tunnel and name the tunnel's loopback port");
}

static int connect_tcp(const char *host, const char *port, const char *target, uint64_t deadline,
                       int *ret_fd, struct prop_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int rc = 0;
    int gai = getaddrinfo(host, port, &hints, &list);
    if (gai != 0)
        return prop_err_set_id(err, PROP_E_NETWORK, "provider-unreachable", "connect to '%s': %s",
                               target, gai_strerror(gai));
    for (const struct addrinfo *ai = list; rc == 0 && ai; ai = ai->ai_next)
        if (!is_loopback(ai->ai_addr))
            rc = plain_abroad(target, err);
    for (const struct addrinfo *ai = list; rc == 0 && *ret_fd < 0 && ai; ai = ai->ai_next) {
        rc = connect_one(ai->ai_addr, ai->ai_addrlen, target, deadline, ret_fd, err);
        if (rc == PROP_E_NETWORK && ai->ai_next) {
            prop_err_clear(err);
            rc = 0;
        }
    }
    freeaddrinfo(list);
    return rc;
}

/* The part behind a scheme that names a socket's path, or NULL. */
static const char *unix_path(const char *target)
{
    static const char *const schemes[] = { "unix://", "unix:" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(schemes); i++)
        if (prop_starts_with(target, schemes[i]))
            return target + strlen(schemes[i]);
    return NULL;
}

int prop_kp_connect(const char *target, uint64_t deadline, int *ret_fd, char **ret_authority,
                    struct prop_err *err)
{
    static const char *const schemes[] = { "dns:///", "passthrough:///", "http://", "tcp://",
                                           "dns:" };
    prop_auto_free char *host = NULL;
    prop_auto_free char *port = NULL;
    const char *path = unix_path(target), *rest = target;
    int fd = -1;
    if (path)
        return connect_unix(path, target, deadline, ret_fd, ret_authority, err);
    for (size_t i = 0; rest == target && i < PROP_ARRAY_LEN(schemes); i++)
        if (prop_starts_with(target, schemes[i]))
            rest = target + strlen(schemes[i]);
    prop_auto_free char *where = prop_strndup(rest, strcspn(rest, "/"));
    if (!where)
        return prop_err_nomem(err);
    if (!split(where, &host, &port))
        return prop_err_set_id(err, PROP_E_INPUT, "keyprovider-config",
                               "'%s' is no target such as 127.0.0.1:50000 or unix:///path", target);
    if (!host || !port)
        return prop_err_nomem(err);
    int rc = connect_tcp(host, port, target, deadline, &fd, err);
    if (rc != 0)
        return rc;
    static const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *ret_fd = fd;
    *ret_authority = PROP_TAKE(where);
    return 0;
}

/* --- listening -------------------------------------------------------------------------------- */

static int listen_failed(const char *where, struct prop_err *err)
{
    int rc = prop_err_sys(err, PROP_E_NETWORK, "listen on '%s'", where);
    if (err)
        err->id = "listen";
    return rc;
}

/* A socket's file that nobody listens on is what a killed server left; it goes. Anything else in
 * the way stays. */
static void remove_stale(const struct sockaddr_un *sa)
{
    struct stat st;
    /* A server that is busy or stopped may leave nobody room to wait: it is there all the same. */
    prop_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || lstat(sa->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    if (connect(fd, (const void *)sa, sizeof(*sa)) != 0 && errno == ECONNREFUSED)
        (void)unlink(sa->sun_path);
}

static int listen_unix(const char *path, int *ret_fd, char **ret_address, char **ret_path,
                       struct prop_err *err)
{
    struct sockaddr_un sa;
    int rc = unix_address(path, &sa, PROP_E_USAGE, "listen", err);
    if (rc != 0)
        return rc;
    prop_auto_free char *address = prop_asprintf("unix:%s", path);
    prop_auto_free char *file = prop_strdup(path);
    prop_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (!address || !file)
        return prop_err_nomem(err);
    remove_stale(&sa);
    /* Connecting needs the right to write to the file: it must never be there with more than
     * 0600, which the mode of the socket itself gives it from the start. */
    if (fd < 0 || fchmod(fd, 0600) != 0 || bind(fd, (const void *)&sa, sizeof sa) != 0)
        return listen_failed(path, err);
    if (chmod(path, 0600) != 0 || listen(fd, SOMAXCONN) != 0) {
        rc = listen_failed(path, err);
        (void)unlink(path);
        return rc;
    }
    *ret_fd = fd;
    fd = -1;
    *ret_address = PROP_TAKE(address);
    *ret_path = PROP_TAKE(file);
    return 0;
}

static int bind_tcp(const struct addrinfo *ai, const char *where, int *ret_fd, unsigned *ret_port,
                    struct prop_err *err)
{
    struct sockaddr_storage bound = { .ss_family = 0 };
    socklen_t len = sizeof bound;
    int on = 1;
    prop_auto_fd int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        return listen_failed(where, err);
    *ret_port = ntohs(ai->ai_family == AF_INET6
                          ? ((const struct sockaddr_in6 *)(const void *)&bound)->sin6_port
                          : ((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int not_loopback(const char *where, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "listen-not-loopback",
                          "'%s' can be reached from other machines, and keys would pass in the "
                          "clear", where);
    return prop_err_hint(err, "listen on unix:PATH or 127.0.0.1:PORT");
}

static int listen_tcp(const char *where, const char *host, const char *port, int *ret_fd,
                      char **ret_address, struct prop_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    unsigned got = 0;
    int rc = 0;
    prop_auto_fd int fd = -1;
    int gai = getaddrinfo(host, port, &hints, &list);
    if (gai != 0)
        return prop_err_set_id(err, PROP_E_NETWORK, "listen", "listen on '%s': %s", where,
                               gai_strerror(gai));
    for (const struct addrinfo *ai = list; rc == 0 && ai; ai = ai->ai_next)
        if (!is_loopback(ai->ai_addr))
            rc = not_loopback(where, err);
    if (rc == 0)
        rc = bind_tcp(list, where, &fd, &got, err);
    freeaddrinfo(list);
    if (rc != 0)
        return rc;
    bool v6 = strchr(host, ':') != NULL;
    *ret_address = prop_asprintf("%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", got);
    if (!*ret_address)
        return prop_err_nomem(err);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int prop_kp_listen(const char *where, int *ret_fd, char **ret_address, char **ret_path,
                   struct prop_err *err)
{
    prop_auto_free char *host = NULL;
    prop_auto_free char *port = NULL;
    const char *path = unix_path(where);
    *ret_path = NULL;
    if (path)
        return listen_unix(path, ret_fd, ret_address, ret_path, err);
    if (!split(where, &host, &port)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "listen", "'%s' is no address to listen on",
                              where);
        return prop_err_hint(err, "such as unix:/run/user/1000/kp.sock or 127.0.0.1:50000");
    }
    if (!host || !port)
        return prop_err_nomem(err);
    return listen_tcp(where, host, port, ret_fd, ret_address, err);
}
