/* The tables at the end of an OVMF file, read backwards from 32 bytes before its end. */
#include "tee/ovmf.h"

#include "tee/le.h"
#include "util/mem.h"

#include <string.h>

enum { TAIL = 32, GUID = 16, ENTRY = 18, SEV_HEAD = 16, SEV_ITEM = 12, HASH_TABLE = 176 };

/* GUIDs as they stand in memory: the first three groups little-endian. */
static const uint8_t footer[GUID] = { 0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45,
                                      0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d };
static const uint8_t hash_area[GUID] = { 0x1f, 0x37, 0x55, 0x72, 0x3b, 0x3a, 0x04, 0x4b,
                                         0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54 };
static const uint8_t es_reset[GUID] = { 0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f,
                                        0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e };
static const uint8_t sev_metadata[GUID] = { 0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47,
                                            0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc };
static const uint8_t tdx_metadata[GUID] = { 0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47,
                                            0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2 };
static const uint8_t igvm[GUID] = { 0x3e, 0xfa, 0x70, 0x78, 0x76, 0x31, 0x77, 0x46,
                                    0x8a, 0x20, 0x04, 0xb6, 0x86, 0x99, 0xe3, 0x74 };

uint64_t prop_ovmf_base(const struct prop_ovmf *fw)
{
    return PROP_4GIB - fw->len;
}

static int bad_table(const struct prop_ovmf *fw, const char *why, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_INPUT, "firmware-table", "firmware '%s': %s", fw->what, why);
    return prop_err_hint(err, "is it a whole OVMF file, as -bios takes it?");
}

/* One number or two out of an entry that has exactly that many; twice the same entry is refused, since
 * readers differ in which one counts. */
static int take(const struct prop_ovmf *fw, const uint8_t *data, size_t len, bool *seen, uint32_t *a,
                uint32_t *b, struct prop_err *err)
{
    if (*seen)
        return bad_table(fw, "an entry of its table is there twice", err);
    if (len != (b ? 8u : 4u))
        return bad_table(fw, "an entry of its table has the wrong length", err);
    *seen = true;
    *a = prop_le32(data);
    if (b)
        *b = prop_le32(data + 4);
    return 0;
}

static int entry(struct prop_ovmf *fw, const uint8_t *guid, const uint8_t *data, size_t len,
                 struct prop_err *err)
{
    if (memcmp(guid, hash_area, GUID) == 0)
        return take(fw, data, len, &fw->has_hash_area, &fw->hash_gpa, &fw->hash_size, err);
    if (memcmp(guid, es_reset, GUID) == 0)
        return take(fw, data, len, &fw->has_reset, &fw->reset_eip, NULL, err);
    if (memcmp(guid, sev_metadata, GUID) == 0)
        return take(fw, data, len, &fw->has_sev, &fw->sev_distance, NULL, err);
    if (memcmp(guid, tdx_metadata, GUID) == 0)
        return take(fw, data, len, &fw->has_tdx, &fw->tdx_distance, NULL, err);
    if (memcmp(guid, igvm, GUID) == 0)
        fw->has_igvm = true;
    return 0;
}

/* The footer's length is that of the whole table; entries end where the next one begins. */
static int table(struct prop_ovmf *fw, struct prop_err *err)
{
    const uint8_t *end = fw->data + fw->len - TAIL;
    size_t len = prop_le16(end - ENTRY), left;
    if (len < ENTRY || len > fw->len - TAIL)
        return bad_table(fw, "its table is longer than the file", err);
    for (left = len - ENTRY; left > 0;) {
        const uint8_t *p = end - len + left; /* where this entry ends */
        size_t n = left < ENTRY ? 0 : prop_le16(p - ENTRY);
        if (n < ENTRY || n > left)
            return bad_table(fw, "an entry of its table has no possible length", err);
        int rc = entry(fw, p - GUID, p - n, n - ENTRY, err);
        if (rc < 0)
            return rc;
        left -= n;
    }
    return 0;
}

int prop_ovmf_parse(const uint8_t *data, size_t len, const char *what, struct prop_ovmf *ret,
                    struct prop_err *err)
{
    struct prop_ovmf fw = { .data = data, .len = len, .what = what };
    if (len > PROP_OVMF_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "firmware '%s' is larger than %u bytes", what,
                            PROP_OVMF_MAX);
    if (len == 0 || len % PROP_PAGE != 0) {
        (void)prop_err_set_id(err, PROP_E_INPUT, "firmware-size",
                              "firmware '%s' has %zu bytes, which is no multiple of %u", what, len,
                              PROP_PAGE);
        return prop_err_hint(err, "is it a whole OVMF file, as -bios takes it?");
    }
    fw.has_table = memcmp(data + len - TAIL - GUID, footer, GUID) == 0;
    int rc = fw.has_table ? table(&fw, err) : 0;
    if (rc == 0)
        *ret = fw;
    return rc;
}

static int bad_sev(const struct prop_ovmf *fw, const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "firmware-sev", "firmware '%s': SEV metadata: %s",
                           fw->what, why);
}

static int no_sev(const struct prop_ovmf *fw, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "firmware-no-sev",
                          "firmware '%s' has no SEV-SNP metadata%s", fw->what,
                          fw->has_igvm ? "; it comes with an IGVM file, which is not read here"
                          : fw->has_table ? ""
                                          : " (no table of GUIDs at all)");
    return prop_err_hint(err, "use a build of " PROP_OVMF_SEV_BUILD);
}

/* A section must be whole pages, below the firmware, and apart from those before it. */
static int check_section(const struct prop_ovmf *fw, const struct prop_sev_metadata *m,
                         const struct prop_sev_section *s, struct prop_err *err)
{
    uint64_t end = (uint64_t)s->gpa + s->size;
    bool one_page = s->type != PROP_SEV_MEM && s->type != PROP_SEV_SVSM_CAA;
    if (s->gpa % PROP_PAGE != 0 || s->size % PROP_PAGE != 0 || s->size == 0)
        return bad_sev(fw, "a section is not whole pages", err);
    if (one_page && s->size != PROP_PAGE)
        return bad_sev(fw, "secrets, CPUID and kernel hashes are one page each", err);
    if (end > prop_ovmf_base(fw))
        return bad_sev(fw, "a section lies where the firmware is", err);
    for (size_t i = 0; i < m->n; i++)
        if (s->gpa < (uint64_t)m->section[i].gpa + m->section[i].size && m->section[i].gpa < end)
            return bad_sev(fw, "two sections overlap", err);
    if (s->type == PROP_SEV_KERNEL_HASHES && prop_sev_hashes_section(m))
        return bad_sev(fw, "two sections for kernel hashes", err);
    return 0;
}

static bool known_type(uint32_t type)
{
    return (type >= PROP_SEV_MEM && type <= PROP_SEV_SVSM_CAA) || type == PROP_SEV_KERNEL_HASHES;
}

int prop_ovmf_sev(const struct prop_ovmf *fw, struct prop_sev_metadata *ret, struct prop_err *err)
{
    struct prop_sev_metadata m = { .n = 0 };
    if (!fw->has_sev)
        return no_sev(fw, err);
    if (fw->sev_distance < SEV_HEAD || fw->sev_distance > fw->len)
        return bad_sev(fw, "it lies beyond the file", err);
    const uint8_t *p = fw->data + fw->len - fw->sev_distance;
    if (memcmp(p, "ASEV", 4) != 0)
        return bad_sev(fw, "the signature is wrong", err);
    uint32_t len = prop_le32(p + 4), n = prop_le32(p + 12);
    if (prop_le32(p + 8) != 1)
        return bad_sev(fw, "the version is not 1", err);
    if (n == 0 || n > PROP_OVMF_SECTIONS_MAX || len != SEV_HEAD + n * SEV_ITEM ||
        len > fw->sev_distance)
        return bad_sev(fw, "the number of sections does not fit its length", err);
    for (p += SEV_HEAD; m.n < n; p += SEV_ITEM) {
        if (!known_type(prop_le32(p + 8)))
            return bad_sev(fw, "a section of unknown type", err);
        struct prop_sev_section s = { prop_le32(p), prop_le32(p + 4),
                                      (enum prop_sev_section_type)prop_le32(p + 8) };
        int rc = check_section(fw, &m, &s, err);
        if (rc < 0)
            return rc;
        m.section[m.n++] = s;
    }
    *ret = m;
    return 0;
}

const struct prop_sev_section *prop_sev_hashes_section(const struct prop_sev_metadata *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->section[i].type == PROP_SEV_KERNEL_HASHES)
            return &m->section[i];
    return NULL;
}

int prop_ovmf_can_hash_kernel(const struct prop_ovmf *fw, const struct prop_sev_metadata *snp,
                              struct prop_err *err)
{
    const struct prop_sev_section *s = snp ? prop_sev_hashes_section(snp) : NULL;
    if (!fw->has_hash_area || !fw->hash_gpa || !fw->hash_size || (snp && !s)) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "firmware-cannot-measure",
                              "firmware '%s' cannot measure a kernel: it has no room for the "
                              "kernel's hashes",
                              fw->what);
        return prop_err_hint(err, "what is loaded with it is not measured; use a build of "
                                  PROP_OVMF_SEV_BUILD);
    }
    uint64_t end = (uint64_t)fw->hash_gpa + fw->hash_size;
    if (fw->hash_size < HASH_TABLE)
        return bad_table(fw, "the area for the kernel's hashes is too small", err);
    if (s && (fw->hash_gpa < s->gpa || end > (uint64_t)s->gpa + s->size))
        return bad_table(fw, "the area for the kernel's hashes lies outside its section", err);
    return 0;
}
