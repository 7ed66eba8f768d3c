#include "keyprovider/peer.h"

#include "util/file.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- the kernel's answer about one socket (sock_diag(7)) -------------------------------------- */

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};

static bool put_end(const struct sockaddr_storage *sa, uint8_t *family, __be16 *port, __be32 to[4])
{
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const void *)sa;
        *port = a->sin_port;
        to[0] = a->sin_addr.s_addr;
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const void *)sa;
        *port = a->sin6_port;
        memcpy(to, &a->sin6_addr, 16);
    } else {
        return false;
    }
    *family = (uint8_t)sa->ss_family;
    return true;
}

static bool read_answer(int fd, uid_t *ret)
{
    _Alignas(struct nlmsghdr) char bytes[4096];
    const struct nlmsghdr *head = (const void *)bytes;
    const struct inet_diag_msg *m = (const void *)(bytes + NLMSG_HDRLEN);
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT); /* answered within send */
    if (n < (ssize_t)(NLMSG_HDRLEN + sizeof(*m)) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    *ret = (uid_t)m->idiag_uid;
    return true;
}

/* The user of the socket that goes from `local` to `remote`. false: not told. */
static bool ask_user(const struct sockaddr_storage *local, const struct sockaddr_storage *remote,
                     uid_t *ret)
{
    struct question q = {
        .head = { .nlmsg_len = sizeof q, .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST },
        .body = { .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u,
                  .id.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } },
    };
    prop_auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0 ||
        !put_end(local, &q.body.sdiag_family, &q.body.id.idiag_sport, q.body.id.idiag_src) ||
        !put_end(remote, &q.body.sdiag_family, &q.body.id.idiag_dport, q.body.id.idiag_dst))
        return false;
    return send(fd, &q, sizeof q, 0) == (ssize_t)sizeof q && read_answer(fd, ret);
}

/* --- the table, where the kernel has no sock_diag --------------------------------------------- */

/* An end of a connection as /proc/net/tcp and tcp6 write it: words of the address in the machine's
 * byte order, the port as a number. */
struct end {
    char v4[16], v6[48]; /* v6 also of an IPv4 address, mapped: either kind of socket may have it */
};

static bool end_of(const struct sockaddr_storage *sa, struct end *ret)
{
    uint32_t w[4] = { 0, 0, htonl(0xffff), 0 };
    unsigned port;
    ret->v4[0] = 0;
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const void *)sa;
        w[3] = a->sin_addr.s_addr;
        port = ntohs(a->sin_port);
        (void)snprintf(ret->v4, sizeof ret->v4, "%08X:%04X", w[3], port);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const void *)sa;
        memcpy(w, &a->sin6_addr, sizeof w);
        port = ntohs(a->sin6_port);
    } else {
        return false;
    }
    (void)snprintf(ret->v6, sizeof ret->v6, "%08X%08X%08X%08X:%04X", w[0], w[1], w[2], w[3], port);
    return true;
}

/* The user of the socket that goes from `local` to `remote`; false when the table has none. */
static bool find_user(const char *table, const char *local, const char *remote, uid_t *ret)
{
    char line[512], ends[104];
    unsigned uid;
    bool found = false;
    FILE *f = local[0] ? fopen(table, "re") : NULL;
    (void)snprintf(ends, sizeof ends, " %s %s ", local, remote);
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, ends);
        /* behind them: state, queues, timer, retransmissions, user */
        if (at && sscanf(at + strlen(ends), "%*s %*s %*s %*s %u", &uid) == 1) {
            *ret = (uid_t)uid;
            found = true;
        }
    }
    if (f)
        (void)fclose(f);
    return found;
}

static bool tcp_user(int fd, uid_t *ret)
{
    struct sockaddr_storage ours = { .ss_family = AF_UNSPEC }, theirs = ours;
    socklen_t ours_len = sizeof ours, theirs_len = sizeof theirs;
    struct end a, b;
    if (getsockname(fd, (struct sockaddr *)&ours, &ours_len) != 0 ||
        getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) != 0)
        return false;
    if (ask_user(&theirs, &ours, ret))
        return true;
    return end_of(&ours, &a) && end_of(&theirs, &b) &&
           (find_user("/proc/net/tcp", b.v4, a.v4, ret) ||
            find_user("/proc/net/tcp6", b.v6, a.v6, ret));
}

int prop_kp_peer_check(int fd, struct prop_err *err)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    int domain = 0;
    socklen_t domain_len = sizeof domain;
    uid_t user = 0;
    bool told = false;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) != 0)
        return prop_err_sys(err, PROP_E_DENIED, "socket");
    if (domain == AF_UNIX) {
        told = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0;
        user = told ? cred.uid : 0;
    } else {
        told = tcp_user(fd, &user);
    }
    if (!told)
        return prop_err_set_id(err, PROP_E_DENIED, "peer", "whose connection it is cannot be told");
    if (user != 0 && user != geteuid())
        return prop_err_set_id(err, PROP_E_DENIED, "peer", "a connection of user %u is refused",
                               (unsigned)user);
    return 0;
}
