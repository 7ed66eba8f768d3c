/* Where the development KBS may be reached: loopback only, unless told otherwise. */
#include "kbsd/listen.h"

#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int split(const char *where, char **ret_host, char **ret_port, struct prop_err *err)
{
    const char *colon = strrchr(where, ':');
    const char *end = colon;
    const char *host = where;
    uint64_t port = 0;

    bool ok = colon != NULL && prop_parse_u64(colon + 1, "port", &port, NULL) == 0 && port <= 65535;
    if (ok && *host == '[') {
        host++;
        end--;
        ok = *end == ']';
    } else if (ok && memchr(host, ':', (size_t)(colon - host)) != NULL) {
        ok = false;
    }
    if (!ok || end <= host) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "listen", "'%s' is not host:port", where);
        return prop_err_hint(err, "such as 127.0.0.1:8080, or [::1]:0 for a free port");
    }
    *ret_host = prop_strndup(host, (size_t)(end - host));
    *ret_port = prop_strdup(colon + 1);
    return *ret_host != NULL && *ret_port != NULL ? 0 : prop_err_nomem(err);
}

static bool is_loopback(const struct sockaddr *sa)
{
    const struct sockaddr_in *v4 = (const void *)sa;
    const struct sockaddr_in6 *v6 = (const void *)sa;

    if (sa->sa_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static int bind_one(const struct addrinfo *ai, const char *where, int *ret_fd, unsigned *ret_port,
                    struct prop_err *err)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    int on = 1;
    prop_auto_fd int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &len) != 0) {
        int rc = prop_err_sys(err, PROP_E_NETWORK, "listen on '%s'", where);
        if (err != NULL)
            err->id = "listen";
        return rc;
    }
    *ret_port = ntohs(ai->ai_family == AF_INET6
                          ? ((struct sockaddr_in6 *)(void *)&bound)->sin6_port
                          : ((struct sockaddr_in *)(void *)&bound)->sin_port);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int prop_kbsd_listen(const char *where, bool beyond_loopback, int *ret_fd, char **ret_host,
                     char **ret_url_host, struct prop_err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    prop_auto_free char *host = NULL;
    prop_auto_free char *port_text = NULL;
    prop_auto_fd int fd = -1;
    unsigned port = 0;

    int rc = split(where, &host, &port_text, err);
    if (rc != 0)
        return rc;
    int gai = getaddrinfo(host, port_text, &hints, &list);
    if (gai != 0)
        return prop_err_set_id(err, PROP_E_NETWORK, "listen", "listen on '%s': %s", where,
                               gai_strerror(gai));
    for (const struct addrinfo *ai = list; rc == 0 && ai != NULL; ai = ai->ai_next) {
        if (!beyond_loopback && !is_loopback(ai->ai_addr)) {
            (void)prop_err_set_id(err, PROP_E_USAGE, "listen-not-loopback",
                                  "'%s' can be reached from other machines, and sample evidence "
                                  "proves nothing", where);
            rc = prop_err_hint(err, "listen on 127.0.0.1, or say --i-know-this-is-a-test");
        }
    }
    if (rc == 0)
        rc = bind_one(list, where, &fd, &port, err);
    freeaddrinfo(list);
    if (rc != 0)
        return rc;
    bool bare_v6 = strchr(host, ':') != NULL;
    *ret_url_host = prop_asprintf("%s%s%s:%u", bare_v6 ? "[" : "", host, bare_v6 ? "]" : "", port);
    if (*ret_url_host == NULL)
        return prop_err_nomem(err);
    *ret_host = PROP_TAKE(host);
    *ret_fd = fd;
    fd = -1;
    return 0;
}
