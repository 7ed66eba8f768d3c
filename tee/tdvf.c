/* TDVF descriptor and MRTD. */
#include "tee/tdvf.h"

#include "crypto/digest.h"
#include "tee/le.h"

#include <string.h>

enum { HEAD = 16, ITEM = 32, BUFFER = 128, CHUNK = 256, ATTR_EXTEND = 1, SECTION_MAX = 256 << 20 };

static int bad(const struct prop_ovmf *fw, const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "firmware-tdx", "firmware '%s': TDX metadata: %s",
                           fw->what, why);
}

static int read_section(const struct prop_ovmf *fw, const uint8_t *p, struct prop_tdvf_section *ret,
                        struct prop_err *err)
{
    uint32_t type = prop_le32(p + 24), attributes = prop_le32(p + 28);
    struct prop_tdvf_section s = { prop_le32(p), prop_le32(p + 4), prop_le64(p + 8),
                                   prop_le64(p + 16), PROP_TDVF_BFV, attributes == ATTR_EXTEND };
    if (type > PROP_TDVF_TEMP_MEM)
        return bad(fw, type == 4 ? "permanent memory, which VMMs refuse" : "a section of unknown type",
                   err);
    s.type = (enum prop_tdvf_type)type;
    if (attributes > ATTR_EXTEND)
        return bad(fw, "a section with attributes that edk2 does not set", err);
    if (s.gpa % PROP_PAGE != 0 || s.mem_size % PROP_PAGE != 0 || s.raw_size % PROP_PAGE != 0 ||
        s.data_offset % PROP_PAGE != 0)
        return bad(fw, "a section is not whole pages", err);
    if (s.mem_size == 0 || s.mem_size > SECTION_MAX || s.gpa > PROP_4GIB - s.mem_size)
        return bad(fw, "a section of impossible size or place", err);
    if (s.mem_size < s.raw_size)
        return bad(fw, "a section is smaller in memory than in the file", err);
    if (s.data_offset > fw->len || s.raw_size > fw->len - s.data_offset) {
        (void)bad(fw, "a section's data lies beyond the file", err);
        return prop_err_hint(err, "OVMF_CODE is half of a firmware; -bios takes the file that has the "
                                  "variables too (OVMF.fd)");
    }
    bool volume = s.type == PROP_TDVF_BFV || s.type == PROP_TDVF_CFV;
    if (volume ? s.raw_size == 0 : s.raw_size != 0)
        return bad(fw, volume ? "a firmware volume without data" : "data where only memory belongs",
                   err);
    *ret = s;
    return 0;
}

static int check_against(const struct prop_ovmf *fw, const struct prop_tdvf *t,
                         const struct prop_tdvf_section *s, struct prop_err *err)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct prop_tdvf_section *o = &t->section[i];
        if (s->gpa < o->gpa + o->mem_size && o->gpa < s->gpa + s->mem_size)
            return bad(fw, "two sections overlap", err);
        if (s->type == PROP_TDVF_HOB && o->type == PROP_TDVF_HOB)
            return bad(fw, "two sections for the TD HOB", err);
    }
    return 0;
}

/* The descriptor, after its bounds were checked; NULL with err filled otherwise. */
static const uint8_t *descriptor(const struct prop_ovmf *fw, uint32_t *ret_n, struct prop_err *err)
{
    if (!fw->has_tdx) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "firmware-no-tdx",
                              "firmware '%s' has no TDX metadata", fw->what);
        (void)prop_err_hint(err, "use a build of " PROP_OVMF_TDX_BUILD);
        return NULL;
    }
    const uint8_t *p = fw->data + fw->len - fw->tdx_distance;
    if (fw->tdx_distance < HEAD || fw->tdx_distance > fw->len)
        return (void)bad(fw, "it lies beyond the file", err), NULL;
    if (memcmp(p, "TDVF", 4) != 0)
        return (void)bad(fw, "the signature is wrong", err), NULL;
    uint32_t len = prop_le32(p + 4), n = prop_le32(p + 12);
    if (prop_le32(p + 8) != 1)
        return (void)bad(fw, "the version is not 1", err), NULL;
    if (n == 0 || n > PROP_OVMF_SECTIONS_MAX || len != HEAD + n * ITEM || len > fw->tdx_distance)
        return (void)bad(fw, "the number of sections does not fit its length", err), NULL;
    *ret_n = n;
    return p + HEAD;
}

int prop_tdvf_parse(const struct prop_ovmf *fw, struct prop_tdvf *ret, struct prop_err *err)
{
    struct prop_tdvf t = { .n = 0 };
    uint32_t n = 0;
    const uint8_t *p = descriptor(fw, &n, err);
    if (!p)
        return fw->has_tdx ? PROP_E_INPUT : PROP_E_UNSUPPORTED;
    for (; t.n < n; p += ITEM) {
        struct prop_tdvf_section s;
        int rc = read_section(fw, p, &s, err);
        if (rc == 0)
            rc = check_against(fw, &t, &s, err);
        if (rc < 0)
            return rc;
        t.section[t.n++] = s;
    }
    if (!prop_tdvf_find(&t, PROP_TDVF_BFV) || !prop_tdvf_find(&t, PROP_TDVF_HOB))
        return bad(fw, "no boot firmware volume, or no TD HOB", err);
    *ret = t;
    return 0;
}

const struct prop_tdvf_section *prop_tdvf_find(const struct prop_tdvf *t, enum prop_tdvf_type type)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->section[i].type == type)
            return &t->section[i];
    return NULL;
}

static int record(struct prop_hash *h, const char *op, uint64_t gpa, struct prop_err *err)
{
    uint8_t buffer[BUFFER] = { 0 };
    memcpy(buffer, op, strlen(op));
    prop_put_le64(buffer + 16, gpa);
    return prop_hash_update(h, buffer, sizeof buffer, err);
}

static int extend_page(struct prop_hash *h, uint64_t gpa, const uint8_t *page, struct prop_err *err)
{
    int rc = 0;
    for (unsigned at = 0; rc == 0 && at < PROP_PAGE; at += CHUNK) {
        rc = record(h, "MR.EXTEND", gpa + at, err);
        if (rc == 0)
            rc = prop_hash_update(h, page + at, CHUNK, err);
    }
    return rc;
}

/* One walk over a section: what is added, and what is extended. */
static int walk(const struct prop_ovmf *fw, const struct prop_tdvf_section *s, struct prop_hash *h,
                bool add, bool extend, struct prop_err *err)
{
    static const uint8_t zeros[PROP_PAGE];
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < s->mem_size; at += PROP_PAGE) {
        const uint8_t *page = at < s->raw_size ? fw->data + s->data_offset + at : zeros;
        if (add)
            rc = record(h, "MEM.PAGE.ADD", s->gpa + at, err);
        if (rc == 0 && extend && s->extend)
            rc = extend_page(h, s->gpa + at, page, err);
    }
    return rc;
}

int prop_mrtd(const struct prop_ovmf *fw, const struct prop_tdvf *t, enum prop_mrtd_order order,
              uint8_t ret[PROP_MRTD], struct prop_err *err)
{
    prop_auto_hash struct prop_hash *h = NULL;
    struct prop_digest d;
    bool together = order == PROP_MRTD_PAGES;
    int rc = prop_hash_new(PROP_SHA384, &h, err);
    for (size_t i = 0; rc == 0 && i < t->n; i++) {
        rc = walk(fw, &t->section[i], h, true, together, err);
        if (rc == 0 && !together)
            rc = walk(fw, &t->section[i], h, false, true, err);
    }
    if (rc == 0)
        rc = prop_hash_final(h, &d, err);
    if (rc == 0)
        memcpy(ret, d.bytes, PROP_MRTD);
    return rc;
}

int prop_tdvf_can_measure(const struct prop_ovmf *fw, struct prop_err *err)
{
    /* First constant of SHA-512's table: what measures the TD HOB is not compressed. */
    static const uint8_t sha512[8] = { 0x22, 0xae, 0x28, 0xd7, 0x98, 0x2f, 0x8a, 0x42 };
    struct prop_sev_metadata sev;
    if (!fw->has_sev || prop_ovmf_sev(fw, &sev, NULL) < 0 ||
        memmem(fw->data, fw->len, sha512, sizeof sha512))
        return 0;
    for (size_t i = 0; i < sev.n; i++)
        if (sev.section[i].type == PROP_SEV_SVSM_CAA || sev.section[i].type == PROP_SEV_KERNEL_HASHES)
            return 0;
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "firmware-cannot-measure",
                          "firmware '%s' starts as a TD, but does not measure the kernel: it is older "
                          "than that",
                          fw->what);
    return prop_err_hint(err, "use a build of " PROP_OVMF_TDX_BUILD);
}
