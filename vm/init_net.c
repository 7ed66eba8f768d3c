#include "vm/init.h"

#include "crypto/random.h"
#include "util/file.h"
#include "util/text.h"
#include "vm/dhcp.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RETRY_FIRST_MS 500
#define RETRY_LAST_MS 8000
#define LEASE_LEAST_S 30 /* a shorter one is renewed as if it were so long */

static int net_failed(struct prop_err *err, const char *what)
{
    (void)prop_err_sys(err, PROP_E_IO, "%s", what);
    if (err)
        err->id = "init-network";
    return PROP_E_IO;
}

static void nap(uint64_t ms)
{
    struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

    (void)nanosleep(&t, NULL);
}

/* ---- interfaces ---------------------------------------------------------------------------- */

static int set_up(int fd, const char *name)
{
    struct ifreq r = {.ifr_flags = 0};

    (void)snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    if (ioctl(fd, SIOCGIFFLAGS, &r) != 0)
        return -1;
    r.ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(fd, SIOCSIFFLAGS, &r);
}

/* An Ethernet interface, the first by name. */
static bool find_interface(char ret[16], uint8_t mac[6])
{
    DIR *d = opendir("/sys/class/net");
    prop_auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    ret[0] = '\0';
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        struct ifreq r = {.ifr_flags = 0};
        size_t len = strlen(e->d_name);
        if (e->d_name[0] == '.' || len > 15 || (ret[0] && strcmp(e->d_name, ret) > 0))
            continue;
        memcpy(r.ifr_name, e->d_name, len + 1);
        if (ioctl(fd, SIOCGIFHWADDR, &r) != 0 || r.ifr_hwaddr.sa_family != ARPHRD_ETHER)
            continue;
        memcpy(ret, e->d_name, len + 1);
        memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    }
    if (d)
        (void)closedir(d);
    return ret[0] != '\0';
}

static int set_address(int fd, unsigned long request, const char *name, uint32_t address)
{
    struct ifreq r = {.ifr_flags = 0};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = address};

    (void)snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
    memcpy(&r.ifr_addr, &a, sizeof a);
    return ioctl(fd, request, &r);
}

static int add_gateway(int fd, const struct prop_lease *l)
{
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = l->gateway};
    char name[16];

    memcpy(name, l->interface, sizeof name);
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    memcpy(&route.rt_gateway, &to, sizeof to);
    route.rt_dev = name;
    return ioctl(fd, SIOCADDRT, &route) == 0 || errno == EEXIST ? 0 : -1;
}

static int write_resolv_conf(const struct prop_lease *l, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < l->n_dns; i++) {
        char shown[INET_ADDRSTRLEN];
        if (inet_ntop(AF_INET, &l->dns[i], shown, sizeof shown))
            rc = prop_buf_printf(&text, err, "nameserver %s\n", shown);
    }
    return rc ? rc : prop_file_write("/run/resolv.conf", text.data, text.len, 0644, true, err);
}

static int apply(const struct prop_lease *l, struct prop_err *err)
{
    prop_auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || set_address(fd, SIOCSIFADDR, l->interface, l->address) != 0 ||
        set_address(fd, SIOCSIFNETMASK, l->interface, l->mask) != 0)
        return net_failed(err, "set the network address");
    if (l->gateway && add_gateway(fd, l) != 0)
        return net_failed(err, "set the gateway");
    return write_resolv_conf(l, err);
}

/* ---- DHCP ---------------------------------------------------------------------------------- */

struct exchange {
    int fd;
    struct sockaddr_ll to;
    uint8_t mac[6];
    uint32_t xid;
};

static int open_exchange(struct exchange *x, const char *interface, const uint8_t mac[6],
                         struct prop_err *err)
{
    memcpy(x->mac, mac, 6);
    prop_random(&x->xid, sizeof x->xid);
    x->to = (struct sockaddr_ll){
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
        .sll_ifindex = (int)if_nametoindex(interface), .sll_halen = 6,
    };
    memset(x->to.sll_addr, 0xff, 6);
    x->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
    if (x->fd < 0 || bind(x->fd, (struct sockaddr *)&x->to, sizeof x->to) != 0)
        return net_failed(err, "a packet socket");
    return 0;
}

/* Wait for an answer of that kind (or a NAK) until `deadline`. */
static bool await(const struct exchange *x, enum prop_dhcp_type want, uint64_t deadline,
                  enum prop_dhcp_type *ret_type, struct prop_lease *ret)
{
    for (uint64_t now = prop_now_ms(); now < deadline; now = prop_now_ms()) {
        uint8_t packet[2048];
        struct pollfd p = {.fd = x->fd, .events = POLLIN};
        if (poll(&p, 1, (int)(deadline - now)) <= 0)
            continue;
        ssize_t n = recv(x->fd, packet, sizeof packet, 0);
        if (n > 0 && prop_dhcp_read(packet, (size_t)n, x->xid, x->mac, ret_type, ret) &&
            (*ret_type == want || *ret_type == PROP_DHCP_NAK))
            return true;
    }
    return false;
}

static void post(const struct exchange *x, enum prop_dhcp_type type, const struct prop_lease *offer)
{
    uint8_t packet[PROP_DHCP_FRAME];
    size_t len = prop_dhcp_make(type, x->xid, x->mac, offer->address, offer->server, packet);

    /* One that is lost is like one that is not answered: it is sent again. */
    (void)sendto(x->fd, packet, len, 0, (const struct sockaddr *)&x->to, sizeof x->to);
}

/* Ask until the deadline, at growing distances. `have`: the lease to keep, or NULL for a new one. */
static bool lease(const struct exchange *x, const struct prop_lease *have, uint64_t deadline,
                  struct prop_lease *ret)
{
    const struct prop_lease none = {.seconds = 0};
    struct prop_lease offer = have ? *have : none;
    enum prop_dhcp_type type = PROP_DHCP_NAK;
    bool offered = have != NULL;

    for (uint64_t wait = RETRY_FIRST_MS; prop_now_ms() < deadline;) {
        uint64_t until = prop_now_ms() + wait;
        if (until > deadline)
            until = deadline;
        post(x, offered ? PROP_DHCP_REQUEST : PROP_DHCP_DISCOVER, &offer);
        if (!await(x, offered ? PROP_DHCP_ACK : PROP_DHCP_OFFER, until, &type,
                   offered ? ret : &offer)) {
            wait = wait < RETRY_LAST_MS ? 2 * wait : wait;
            continue;
        }
        if (type == PROP_DHCP_ACK)
            return true;
        offered = type == PROP_DHCP_OFFER;
        if (!offered)
            offer = none; /* refused: begin again */
    }
    return false;
}

static int dhcp(const char *interface, const uint8_t mac[6], const struct prop_lease *have,
                uint64_t timeout_ms, struct prop_lease *ret, struct prop_err *err)
{
    struct exchange x = {.fd = -1};
    int rc = open_exchange(&x, interface, mac, err);

    if (rc == 0 && !lease(&x, have, prop_now_ms() + timeout_ms, ret))
        rc = prop_err_set_id(err, PROP_E_NETWORK, "no-dhcp",
                             "no DHCP server answered on '%s' in %llu s", interface,
                             (unsigned long long)timeout_ms / 1000);
    if (x.fd >= 0)
        (void)close(x.fd);
    (void)snprintf(ret->interface, sizeof ret->interface, "%s", interface);
    return rc;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void fixed(const struct prop_guest_conf *conf, struct prop_lease *l)
{
    unsigned bits = 32;
    char address[16] = "";
    size_t i = 0;
    const json_t *v = NULL;

    if (sscanf(conf->address, "%15[0-9.]/%2u", address, &bits) == 2)
        (void)inet_pton(AF_INET, address, &l->address);
    l->mask = bits ? htonl(UINT32_MAX << (32 - bits)) : 0;
    if (conf->gateway)
        (void)inet_pton(AF_INET, conf->gateway, &l->gateway);
    json_array_foreach(conf->dns, i, v)
        if (l->n_dns < 3 && inet_pton(AF_INET, json_string_value(v), &l->dns[l->n_dns]) == 1)
            l->n_dns++;
}

static int wait_for_interface(uint64_t deadline, char name[16], uint8_t mac[6], struct prop_err *err)
{
    while (!find_interface(name, mac)) {
        if (prop_now_ms() >= deadline) {
            (void)prop_err_set_id(err, PROP_E_NETWORK, "no-interface",
                                  "this VM has no network interface");
            return prop_err_hint(err, "give it a virtio-net device");
        }
        nap(20);
    }
    return 0;
}

int prop_init_network(const struct prop_guest_conf *conf, uint64_t timeout_ms,
                      struct prop_lease *ret, struct prop_err *err)
{
    struct prop_lease l = {.seconds = 0};
    uint8_t mac[6];
    char name[16];
    prop_auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || set_up(fd, "lo") != 0)
        return net_failed(err, "bring up loopback");
    int rc = wait_for_interface(prop_now_ms() + timeout_ms / 4, name, mac, err);
    if (rc == 0 && set_up(fd, name) != 0)
        rc = net_failed(err, "bring up the interface");
    if (rc)
        return rc;
    (void)snprintf(l.interface, sizeof l.interface, "%s", name);
    if (conf->net_static)
        fixed(conf, &l);
    else
        rc = dhcp(name, mac, NULL, timeout_ms, &l, err);
    if (rc == 0)
        rc = apply(&l, err);
    if (rc == 0)
        *ret = l;
    return rc;
}

/* RFC 2131 4.4.5: ask for the same again at half its time. Broadcast at once: the state that a unicast
 * renewal saves does not matter here. Where nobody answers, the address is kept and asked for again. */
void prop_init_keep_lease(struct prop_lease l)
{
    for (;;) {
        uint8_t mac[6];
        char name[16];
        struct prop_lease next = l;
        if (l.seconds == 0)
            (void)pause();
        nap((uint64_t)(l.seconds > LEASE_LEAST_S ? l.seconds : LEASE_LEAST_S) * 500);
        if (find_interface(name, mac) &&
            dhcp(l.interface, mac, &l, RETRY_LAST_MS, &next, NULL) == 0 && apply(&next, NULL) == 0)
            l = next;
    }
}
