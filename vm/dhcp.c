#include "vm/dhcp.h"

#include "util/mem.h"

#include <string.h>

/* Offsets: an IPv4 header without options, UDP, then BOOTP (RFC 2131, section 2). */
enum { IP = 0, UDP = 20, BOOTP = 28, OPTIONS = BOOTP + 240 };
enum { B_OP = 0, B_HTYPE = 1, B_HLEN = 2, B_XID = 4, B_SECS = 8, B_FLAGS = 10, B_YIADDR = 16,
       B_CHADDR = 28, B_MAGIC = 236 };
enum { O_PAD = 0, O_MASK = 1, O_ROUTER = 3, O_DNS = 6, O_ADDRESS = 50, O_LEASE = 51, O_TYPE = 53,
       O_SERVER = 54, O_WANT = 55, O_MAX_SIZE = 57, O_END = 255 };

static const uint8_t magic[4] = { 99, 130, 83, 99 };

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* RFC 1071, over an even number of bytes here. */
static unsigned checksum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i + 1 < len; i += 2)
        sum += get16(p + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static uint8_t *put_option(uint8_t *p, uint8_t code, const void *data, uint8_t len)
{
    *p++ = code;
    *p++ = len;
    memcpy(p, data, len);
    return p + len;
}

size_t prop_dhcp_make(enum prop_dhcp_type type, uint32_t xid, const uint8_t mac[6],
                      uint32_t wanted, uint32_t server, uint8_t out[PROP_DHCP_FRAME])
{
    static const uint8_t want[] = { O_MASK, O_ROUTER, O_DNS, O_LEASE };
    static const uint8_t max_size[] = { 1500 >> 8, 1500 & 0xff };
    uint8_t *b = out + BOOTP;
    uint8_t *p = out + OPTIONS;
    uint8_t kind = (uint8_t)type;

    memset(out, 0, PROP_DHCP_FRAME);
    b[B_OP] = 1;
    b[B_HTYPE] = 1;
    b[B_HLEN] = 6;
    memcpy(b + B_XID, &xid, 4);
    put16(b + B_FLAGS, 0x8000); /* answer by broadcast: we have no address yet */
    memcpy(b + B_CHADDR, mac, 6);
    memcpy(b + B_MAGIC, magic, 4);
    p = put_option(p, O_TYPE, &kind, 1);
    if (wanted)
        p = put_option(p, O_ADDRESS, &wanted, 4);
    if (server)
        p = put_option(p, O_SERVER, &server, 4);
    p = put_option(p, O_MAX_SIZE, max_size, 2);
    p = put_option(p, O_WANT, want, sizeof want);
    *p++ = O_END;
    size_t len = (size_t)(p - out);
    if (len < BOOTP + 300) /* the least a BOOTP message has (RFC 1542, 2.1) */
        len = BOOTP + 300;
    out[IP] = 0x45;
    put16(out + IP + 2, (unsigned)len);
    out[IP + 8] = 64;  /* hops */
    out[IP + 9] = 17;  /* UDP */
    memset(out + IP + 16, 0xff, 4);
    put16(out + IP + 10, checksum(out, 20));
    put16(out + UDP, 68);
    put16(out + UDP + 2, 67);
    put16(out + UDP + 4, (unsigned)len - UDP); /* no checksum: 0 says so (RFC 768) */
    return len;
}

static void read_option(uint8_t code, const uint8_t *p, size_t len, int *type, struct prop_lease *l)
{
    uint32_t word = 0;

    if (code == O_TYPE && len == 1)
        *type = p[0];
    if (len < 4)
        return;
    memcpy(&word, p, 4);
    if (code == O_MASK)
        l->mask = word;
    else if (code == O_ROUTER)
        l->gateway = word;
    else if (code == O_SERVER)
        l->server = word;
    else if (code == O_LEASE)
        l->seconds = (uint32_t)get16(p) << 16 | get16(p + 2);
    for (size_t i = 0; code == O_DNS && i + 4 <= len && l->n_dns < PROP_ARRAY_LEN(l->dns); i += 4)
        memcpy(&l->dns[l->n_dns++], p + i, 4);
}

/* Is this a BOOTP answer to us, in one piece? */
static bool is_answer(const uint8_t *packet, size_t len, uint32_t xid, const uint8_t mac[6])
{
    const uint8_t *b = packet + BOOTP;

    return len >= OPTIONS && packet[IP] == 0x45 && packet[IP + 9] == 17 &&
           (get16(packet + IP + 6) & 0x3fff) == 0 && get16(packet + UDP) == 67 &&
           get16(packet + UDP + 2) == 68 && b[B_OP] == 2 && memcmp(b + B_XID, &xid, 4) == 0 &&
           memcmp(b + B_CHADDR, mac, 6) == 0 && memcmp(b + B_MAGIC, magic, 4) == 0;
}

bool prop_dhcp_read(const uint8_t *packet, size_t len, uint32_t xid, const uint8_t mac[6],
                    enum prop_dhcp_type *ret_type, struct prop_lease *ret)
{
    struct prop_lease l = {.seconds = 0};
    int type = 0;

    if (!is_answer(packet, len, xid, mac))
        return false;
    memcpy(&l.address, packet + BOOTP + B_YIADDR, 4);
    for (size_t at = OPTIONS; at < len && packet[at] != O_END;) {
        if (packet[at] == O_PAD) {
            at++;
            continue;
        }
        if (at + 2 > len || at + 2 + packet[at + 1] > len)
            return false;
        read_option(packet[at], packet + at + 2, packet[at + 1], &type, &l);
        at += 2u + packet[at + 1];
    }
    if (type != PROP_DHCP_OFFER && type != PROP_DHCP_ACK && type != PROP_DHCP_NAK)
        return false;
    if (type != PROP_DHCP_NAK && (l.address == 0 || l.mask == 0 || l.server == 0))
        return false;
    if (l.seconds == UINT32_MAX)
        l.seconds = 0; /* for ever */
    *ret_type = (enum prop_dhcp_type)type;
    *ret = l;
    return true;
}
