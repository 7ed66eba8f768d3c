/* Authenticode: headers without the checksum and without the entry for certificates, sections in the
 * order of the file, then the rest less the certificates. PE/COFF specification 8.0, appendix A. */
#include "tee/pe.h"

#include "tee/le.h"
#include "util/mem.h"

#include <stdbool.h>
#include <string.h>

enum {
    DOS_HEADER = 64, PE_HEAD = 24, SECTION = 40, CHECKSUM = 64, CHECKSUM_LEN = 4,
    CERT_DIRECTORY = 4, DIRECTORY_LEN = 8, HEADERS_MAX = 1 << 20, SECTIONS_MAX = 96
};

struct range {
    uint64_t from, len;
};

struct pe {
    uint64_t checksum;          /* file offset of the field */
    uint64_t cert_entry;        /* of the directory entry, 0 = there is none */
    uint32_t cert_size;
    uint32_t headers;           /* SizeOfHeaders */
    size_t n_sections;
    struct range section[SECTIONS_MAX];
};

static int bad(const struct prop_source *s, const char *why, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_INPUT, "kernel-not-pe",
                          "'%s' is no image that firmware can start: %s", s->what, why);
    return prop_err_hint(err, "a kernel with an EFI stub (a distribution's vmlinuz is one)");
}

/* Offset of "PE\0\0": behind a DOS header, or 0. */
static int find_pe(const struct prop_source *s, uint64_t *ret, struct prop_err *err)
{
    uint8_t dos[DOS_HEADER];
    if (s->size < sizeof dos)
        return bad(s, "it is too short", err);
    int rc = prop_source_read(s, 0, dos, sizeof dos, err);
    if (rc < 0)
        return rc;
    *ret = memcmp(dos, "MZ", 2) == 0 ? prop_le32(dos + 60) : 0;
    return 0;
}

/* The optional header: what stands where differs between PE32 and PE32+. */
static int optional(const struct prop_source *s, uint64_t at, size_t len, struct pe *pe,
                    struct prop_err *err)
{
    uint8_t h[256] = { 0 };
    size_t n = len < sizeof h ? len : sizeof h;
    int rc = prop_source_read(s, at, h, n, err);
    if (rc < 0)
        return rc;
    uint16_t magic = prop_le16(h);
    size_t count = magic == 0x20b ? 108 : 92; /* NumberOfRvaAndSizes, the directory behind it */
    if (n < count + 4 || (magic != 0x20b && magic != 0x10b))
        return bad(s, "its optional header is neither PE32 nor PE32+", err);
    uint32_t directories = prop_le32(h + count);
    if (directories > 16 || count + 4 + directories * DIRECTORY_LEN > len)
        return bad(s, "its directory is longer than its header", err);
    pe->checksum = at + CHECKSUM;
    pe->headers = prop_le32(h + 60);
    if (directories > CERT_DIRECTORY) {
        size_t entry = count + 4 + CERT_DIRECTORY * DIRECTORY_LEN;
        pe->cert_entry = at + entry;
        pe->cert_size = prop_le32(h + entry + 4);
    }
    return 0;
}

/* Sections with data, sorted by their place in the file (equal ones keep their order). */
static int sections(const struct prop_source *s, uint64_t at, size_t n, struct pe *pe,
                    struct prop_err *err)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t h[SECTION];
        int rc = prop_source_read(s, at + i * SECTION, h, sizeof h, err);
        if (rc < 0)
            return rc;
        struct range r = { prop_le32(h + 20), prop_le32(h + 16) };
        if (r.len == 0)
            continue;
        if (r.from > s->size || r.len > s->size - r.from)
            return bad(s, "a section lies beyond its end", err);
        size_t k = pe->n_sections++;
        for (; k > 0 && pe->section[k - 1].from > r.from; k--)
            pe->section[k] = pe->section[k - 1];
        pe->section[k] = r;
    }
    return 0;
}

static int parse(const struct prop_source *s, struct pe *pe, struct prop_err *err)
{
    uint8_t h[PE_HEAD];
    uint64_t at = 0;
    int rc = find_pe(s, &at, err);
    if (rc < 0)
        return rc;
    if (at > HEADERS_MAX || s->size < at + PE_HEAD)
        return bad(s, "there is no PE header in it", err);
    rc = prop_source_read(s, at, h, sizeof h, err);
    if (rc < 0)
        return rc;
    size_t n = prop_le16(h + 6), opt_len = prop_le16(h + 20);
    uint64_t table = at + PE_HEAD + opt_len;
    if (memcmp(h, "PE\0\0", 4) != 0)
        return bad(s, "there is no PE header in it", err);
    if (n == 0 || n > SECTIONS_MAX || table + n * SECTION > s->size)
        return bad(s, "its table of sections has an impossible length", err);
    rc = optional(s, at + PE_HEAD, opt_len, pe, err);
    if (rc == 0 && (pe->headers < table + n * SECTION || pe->headers > s->size))
        rc = bad(s, "its headers have an impossible length", err);
    return rc == 0 ? sections(s, table, n, pe, err) : rc;
}

static int hash_headers(const struct prop_source *s, const struct pe *pe, struct prop_hash *h,
                        struct prop_err *err)
{
    uint64_t after = pe->checksum + CHECKSUM_LEN;
    int rc = prop_source_hash(s, 0, pe->checksum, h, err);
    if (rc == 0 && pe->cert_entry) {
        rc = prop_source_hash(s, after, pe->cert_entry - after, h, err);
        after = pe->cert_entry + DIRECTORY_LEN;
    }
    return rc == 0 ? prop_source_hash(s, after, pe->headers - after, h, err) : rc;
}

/* What follows: edk2 starts it at the sum of what it has hashed, wherever the sections lie. */
static int hash_rest(const struct prop_source *s, const struct pe *pe, uint64_t sum,
                     struct prop_hash *h, struct prop_err *err)
{
    if (s->size <= sum)
        return 0;
    if (s->size - sum < pe->cert_size)
        return bad(s, "its certificates overlap its sections", err);
    return prop_source_hash(s, sum, s->size - sum - pe->cert_size, h, err);
}

int prop_pe_authenticode(const struct prop_source *image, enum prop_hash_alg alg,
                         struct prop_digest *ret, struct prop_err *err)
{
    struct pe pe = { .checksum = 0 };
    prop_auto_hash struct prop_hash *h = NULL;
    int rc = parse(image, &pe, err);
    if (rc == 0)
        rc = prop_hash_new(alg, &h, err);
    if (rc == 0)
        rc = hash_headers(image, &pe, h, err);
    uint64_t sum = pe.headers;
    for (size_t i = 0; rc == 0 && i < pe.n_sections; i++) {
        rc = prop_source_hash(image, pe.section[i].from, pe.section[i].len, h, err);
        sum += pe.section[i].len;
    }
    if (rc == 0)
        rc = hash_rest(image, &pe, sum, h, err);
    return rc == 0 ? prop_hash_final(h, ret, err) : rc;
}
