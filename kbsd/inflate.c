/* Inflating. Codes are decoded bit by bit from the counts of their lengths (canonical Huffman
 * codes, RFC 1951 section 3.2.2); every index is checked, so garbage ends in an error. */
#include "kbsd/inflate.h"

#include "util/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAX_BITS 15
#define LITERALS 288
#define DISTANCES 32
#define WINDOW 32768

struct reader {
    const uint8_t *in;
    size_t len, pos;
    uint32_t bits; /* not used yet, lowest first */
    unsigned n_bits;
    struct prop_buf *out;
    size_t start; /* where this member begins in `out` */
    struct prop_err *err;
};

struct code {
    uint16_t count[MAX_BITS + 1];
    uint16_t symbol[LITERALS];
};

static int malformed(struct reader *r)
{
    return prop_err_set(r->err, PROP_E_INPUT, "gzip data is malformed");
}

/* The next `n` bits (at most 16); false at the end of the input. */
static bool take(struct reader *r, unsigned n, unsigned *ret)
{
    while (r->n_bits < n) {
        if (r->pos == r->len)
            return false;
        r->bits |= (uint32_t)r->in[r->pos++] << r->n_bits;
        r->n_bits += 8;
    }
    *ret = r->bits & ((1u << n) - 1);
    r->bits >>= n;
    r->n_bits -= n;
    return true;
}

/* Order the symbols by code. False for a set of lengths that is no code; an incomplete one is taken
 * for a single code only, as the format allows it for distances. */
static bool build(struct code *c, const uint8_t *lengths, unsigned n)
{
    uint16_t offset[MAX_BITS + 1] = { 0 };
    int left = 1;
    unsigned used = 0;

    memset(c->count, 0, sizeof(c->count));
    for (unsigned i = 0; i < n; i++) {
        c->count[lengths[i]]++;
        used += lengths[i] != 0;
    }
    c->count[0] = 0;
    for (unsigned bits = 1; bits <= MAX_BITS; bits++) {
        left = left * 2 - c->count[bits];
        if (left < 0)
            return false;
        if (bits < MAX_BITS)
            offset[bits + 1] = (uint16_t)(offset[bits] + c->count[bits]);
    }
    for (unsigned i = 0; i < n; i++)
        if (lengths[i] != 0)
            c->symbol[offset[lengths[i]]++] = (uint16_t)i;
    return left == 0 || used <= 1;
}

static bool decode(struct reader *r, const struct code *c, unsigned *ret)
{
    int value = 0;
    int first = 0;
    int index = 0;

    for (unsigned bits = 1; bits <= MAX_BITS; bits++) {
        unsigned bit;
        if (!take(r, 1, &bit))
            return false;
        value |= (int)bit;
        int count = c->count[bits];
        if (value - first < count) {
            *ret = c->symbol[index + value - first];
            return true;
        }
        index += count;
        first = (first + count) * 2;
        value *= 2;
    }
    return false;
}

static int copy_back(struct reader *r, unsigned distance, unsigned n)
{
    if (distance > r->out->len - r->start || distance > WINDOW)
        return malformed(r);
    int rc = prop_buf_reserve(r->out, n, r->err);
    while (rc == 0 && n-- > 0) {
        uint8_t byte = r->out->data[r->out->len - distance];
        rc = prop_buf_add(r->out, &byte, 1, r->err);
    }
    return rc;
}

static int inflate_codes(struct reader *r, const struct code *lit, const struct code *dist)
{
    static const uint16_t length_base[29] = { 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27,
        31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
    static const uint8_t length_bits[29] = { 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3,
        3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0 };
    static const uint16_t dist_base[30] = { 1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 };
    for (;;) {
        unsigned symbol, extra, more;
        if (!decode(r, lit, &symbol))
            return malformed(r);
        if (symbol == 256)
            return 0;
        if (symbol < 256) {
            uint8_t byte = (uint8_t)symbol;
            int rc = prop_buf_add(r->out, &byte, 1, r->err);
            if (rc != 0)
                return rc;
            continue;
        }
        symbol -= 257;
        if (symbol >= 29 || !take(r, length_bits[symbol], &extra))
            return malformed(r);
        unsigned n = length_base[symbol] + extra;
        if (!decode(r, dist, &symbol) || symbol >= 30 ||
            !take(r, symbol < 4 ? 0 : symbol / 2 - 1, &more))
            return malformed(r);
        int rc = copy_back(r, dist_base[symbol] + more, n);
        if (rc != 0)
            return rc;
    }
}

static int inflate_stored(struct reader *r)
{
    r->bits = 0; /* up to the byte; no whole byte is ever held back here */
    r->n_bits = 0;
    if (r->len - r->pos < 4)
        return malformed(r);
    const uint8_t *p = r->in + r->pos;
    size_t n = (size_t)p[0] | (size_t)p[1] << 8;
    if ((p[0] ^ p[2]) != 0xff || (p[1] ^ p[3]) != 0xff || r->len - r->pos - 4 < n)
        return malformed(r);
    r->pos += 4 + n;
    return prop_buf_add(r->out, p + 4, n, r->err);
}

static int inflate_fixed(struct reader *r)
{
    uint8_t lengths[LITERALS];
    struct code lit, dist;

    for (unsigned i = 0; i < LITERALS; i++)
        lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    (void)build(&lit, lengths, LITERALS);
    memset(lengths, 5, DISTANCES);
    (void)build(&dist, lengths, DISTANCES);
    return inflate_codes(r, &lit, &dist);
}

/* The two sets of code lengths, themselves coded (RFC 1951 section 3.2.7). */
static bool read_lengths(struct reader *r, const struct code *c, uint8_t *lengths, unsigned n)
{
    for (unsigned i = 0; i < n;) {
        unsigned symbol, more = 0;
        if (!decode(r, c, &symbol))
            return false;
        if (symbol < 16) {
            lengths[i++] = (uint8_t)symbol;
            continue;
        }
        uint8_t value = 0;
        if (symbol == 16) {
            if (i == 0 || !take(r, 2, &more))
                return false;
            value = lengths[i - 1];
            more += 3;
        } else if (!take(r, symbol == 17 ? 3 : 7, &more)) {
            return false;
        } else {
            more += symbol == 17 ? 3 : 11;
        }
        if (more > n - i)
            return false;
        memset(lengths + i, value, more);
        i += more;
    }
    return true;
}

static int inflate_dynamic(struct reader *r)
{
    static const uint8_t order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1,
                                       15 };
    uint8_t lengths[LITERALS + DISTANCES] = { 0 };
    uint8_t first[19] = { 0 };
    struct code lit, dist;
    unsigned n_lit, n_dist, n_code, bits;

    if (!take(r, 5, &n_lit) || !take(r, 5, &n_dist) || !take(r, 4, &n_code))
        return malformed(r);
    n_lit += 257;
    n_dist += 1;
    if (n_lit > 286 || n_dist > 30)
        return malformed(r);
    for (unsigned i = 0; i < n_code + 4; i++) {
        if (!take(r, 3, &bits))
            return malformed(r);
        first[order[i]] = (uint8_t)bits;
    }
    if (!build(&lit, first, 19) || !read_lengths(r, &lit, lengths, n_lit + n_dist) ||
        lengths[256] == 0 || !build(&lit, lengths, n_lit) ||
        !build(&dist, lengths + n_lit, n_dist))
        return malformed(r);
    return inflate_codes(r, &lit, &dist);
}

static int inflate_blocks(struct reader *r)
{
    unsigned last = 0;

    while (last == 0) {
        unsigned kind;
        int rc;
        if (!take(r, 1, &last) || !take(r, 2, &kind))
            return malformed(r);
        if (kind == 0)
            rc = inflate_stored(r);
        else if (kind == 1)
            rc = inflate_fixed(r);
        else
            rc = kind == 2 ? inflate_dynamic(r) : malformed(r);
        if (rc != 0)
            return rc;
    }
    r->bits = 0;
    r->n_bits = 0;
    return 0;
}

static uint32_t crc32_of(const uint8_t *p, size_t len)
{
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (unsigned k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Skip a text that ends with a 0 byte. */
static bool skip_text(struct reader *r)
{
    const uint8_t *end = memchr(r->in + r->pos, 0, r->len - r->pos);

    if (end == NULL)
        return false;
    r->pos = (size_t)(end - r->in) + 1;
    return true;
}

/* The header of a member (RFC 1952 section 2.3). */
static bool skip_header(struct reader *r)
{
    const uint8_t *p = r->in + r->pos;

    if (r->len - r->pos < 10 || p[0] != 0x1f || p[1] != 0x8b || p[2] != 8 || (p[3] & 0xe0) != 0)
        return false;
    unsigned flags = p[3];
    r->pos += 10;
    if ((flags & 4) != 0) { /* FEXTRA */
        if (r->len - r->pos < 2)
            return false;
        size_t n = (size_t)r->in[r->pos] | (size_t)r->in[r->pos + 1] << 8;
        if (r->len - r->pos - 2 < n)
            return false;
        r->pos += 2 + n;
    }
    if (((flags & 8) != 0 && !skip_text(r)) || ((flags & 16) != 0 && !skip_text(r)))
        return false; /* FNAME, FCOMMENT */
    if ((flags & 2) != 0) { /* FHCRC */
        if (r->len - r->pos < 2)
            return false;
        r->pos += 2;
    }
    return true;
}

int prop_kbsd_gunzip(const void *data, size_t len, struct prop_buf *out, struct prop_err *err)
{
    struct reader r = { .in = data, .len = len, .out = out, .err = err };

    do {
        r.start = out->len;
        if (!skip_header(&r))
            return malformed(&r);
        int rc = inflate_blocks(&r);
        if (rc != 0)
            return rc;
        size_t made = out->len - r.start;
        if (len - r.pos < 8 || le32(r.in + r.pos + 4) != (uint32_t)made ||
            (made != 0 && le32(r.in + r.pos) != crc32_of(out->data + r.start, made)))
            return malformed(&r);
        r.pos += 8;
    } while (r.pos < len);
    return 0;
}
