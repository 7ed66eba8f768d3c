/* One table says where each field of a report stands; writing the JSON and checking that no byte
 * was missed both follow it. */
#include "tee/snp.h"

#include "util/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum kind { NUM, BYTES, TCB, FIRMWARE };

struct field {
    const char *name;
    enum kind kind;
    uint16_t offset, len;
    uint8_t since;  /* first report version that has it; null before */
};

static const struct field fields[] = {
    { "version", NUM, 0x000, 4, 0 },
    { "guest_svn", NUM, 0x004, 4, 0 },
    { "policy", NUM, 0x008, 8, 0 },
    { "family_id", BYTES, 0x010, 16, 0 },
    { "image_id", BYTES, 0x020, 16, 0 },
    { "vmpl", NUM, 0x030, 4, 0 },
    { "sig_algo", NUM, 0x034, 4, 0 },
    { "current_tcb", TCB, 0x038, 8, 0 },
    { "plat_info", NUM, 0x040, 8, 0 },
    { "key_info", NUM, 0x048, 4, 0 },
    { "report_data", BYTES, 0x050, 64, 0 },
    { "measurement", BYTES, 0x090, 48, 0 },
    { "host_data", BYTES, 0x0c0, 32, 0 },
    { "id_key_digest", BYTES, 0x0e0, 48, 0 },
    { "author_key_digest", BYTES, 0x110, 48, 0 },
    { "report_id", BYTES, 0x140, 32, 0 },
    { "report_id_ma", BYTES, 0x160, 32, 0 },
    { "reported_tcb", TCB, 0x180, 8, 0 },
    { "cpuid_fam_id", NUM, 0x188, 1, 3 },
    { "cpuid_mod_id", NUM, 0x189, 1, 3 },
    { "cpuid_step", NUM, 0x18a, 1, 3 },
    { "chip_id", BYTES, 0x1a0, 64, 0 },
    { "committed_tcb", TCB, 0x1e0, 8, 0 },
    { "current", FIRMWARE, 0x1e8, 3, 0 },
    { "committed", FIRMWARE, 0x1ec, 3, 0 },
    { "launch_tcb", TCB, 0x1f0, 8, 0 },
    { "launch_mit_vector", NUM, 0x1f8, 8, 5 },
    { "current_mit_vector", NUM, 0x200, 8, 5 },
};
static const struct field signature[] = {
    { "r", BYTES, 0x2a0, 72, 0 },
    { "s", BYTES, 0x2e8, 72, 0 },
};

enum { FAMILY_TURIN = 0x1a, OFFSET_FAMILY = 0x188, OFFSET_KEY_INFO = 0x48,
       OFFSET_REPORT_DATA = 0x50 };

/* Parts of a TCB: which byte holds it; -1 = null. Turin moved them (attestation.md 3.3). */
struct tcb_part {
    const char *name;
    int8_t genoa, turin;
};
static const struct tcb_part tcb_parts[] = {
    { "fmc", -1, 0 }, { "bootloader", 0, 1 }, { "tee", 1, 2 }, { "snp", 6, 3 },
    { "microcode", 7, 7 },
};

struct reader {
    const uint8_t *report;
    uint32_t version;
    bool turin;
    bool seen[PROP_SNP_REPORT]; /* bytes that the JSON carries */
};

static uint64_t number_at(struct reader *r, size_t offset, size_t len)
{
    uint64_t v = 0;
    for (size_t i = len; i-- > 0;)
        v = v << 8 | r->report[offset + i];
    memset(r->seen + offset, true, len);
    return v;
}

static json_t *bytes_json(const uint8_t *data, size_t len)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < len; i++) {
        if (json_array_append_new(a, json_integer(data[i])) < 0) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

static json_t *tcb_json(struct reader *r, size_t offset)
{
    json_t *o = json_object();
    for (size_t i = 0; o && i < PROP_ARRAY_LEN(tcb_parts); i++) {
        int at = r->turin ? tcb_parts[i].turin : tcb_parts[i].genoa;
        json_t *v = at < 0 ? json_null()
                           : json_integer((json_int_t)number_at(r, offset + (size_t)at, 1));
        if (json_object_set_new(o, tcb_parts[i].name, v) < 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static json_t *firmware_json(struct reader *r, size_t offset)
{
    return json_pack("{s:I,s:I,s:I}", "major", (json_int_t)number_at(r, offset + 2, 1), "minor",
                     (json_int_t)number_at(r, offset + 1, 1), "build",
                     (json_int_t)number_at(r, offset, 1));
}

/* NULL: memory, or a number that JSON integers here cannot carry (told apart by ret_range). */
static json_t *field_json(struct reader *r, const struct field *f, bool *ret_range)
{
    if (r->version < f->since)
        return json_null();
    switch (f->kind) {
    case NUM: {
        uint64_t v = number_at(r, f->offset, f->len);
        *ret_range = v > INT64_MAX;
        return *ret_range ? NULL : json_integer((json_int_t)v);
    }
    case BYTES:
        memset(r->seen + f->offset, true, f->len);
        return bytes_json(r->report + f->offset, f->len);
    case TCB:
        return tcb_json(r, f->offset);
    case FIRMWARE:
        return firmware_json(r, f->offset);
    }
    return NULL;
}

static int add_fields(struct reader *r, const struct field *f, size_t n, json_t *o,
                      struct prop_err *err)
{
    for (size_t i = 0; i < n; i++) {
        bool range = false;
        json_t *v = field_json(r, &f[i], &range);
        if (range)
            return prop_err_set_id(err, PROP_E_UNSUPPORTED, "snp-report-layout",
                                   "member '%s' of the SNP report is out of range", f[i].name);
        if (json_object_set_new(o, f[i].name, v) < 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* The signature holds over all bytes, so one that the JSON does not carry must be zero. */
static int check_rest(const struct reader *r, struct prop_err *err)
{
    for (size_t i = 0; i < PROP_SNP_REPORT; i++) {
        if (!r->seen[i] && r->report[i]) {
            prop_err_set_id(err, PROP_E_UNSUPPORTED, "snp-report-layout",
                            "the SNP report (version %u) has a value at 0x%zx that is not known",
                            (unsigned)r->version, i);
            return prop_err_hint(err, "the report's layout is newer than this tool: update it");
        }
    }
    return 0;
}

static int check_head(struct reader *r, struct prop_err *err)
{
    r->version = (uint32_t)number_at(r, 0, 4);
    if (r->version < 2 || r->version > 5)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "snp-report-layout",
                               "SNP report version %u is not known (2 to 5 are)",
                               (unsigned)r->version);
    r->turin = r->version >= 3 && r->report[OFFSET_FAMILY] == FAMILY_TURIN;
    /* key_info bits 2 to 4: the signing key; 7 = none. */
    if ((r->report[OFFSET_KEY_INFO] >> 2 & 7) == 7)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "snp-unsigned",
                               "the SNP report is not signed");
    return 0;
}

int prop_snp_report_json(const uint8_t *report, size_t len, json_t **ret, struct prop_err *err)
{
    if (len != PROP_SNP_REPORT)
        return prop_err_set(err, PROP_E_INPUT, "an SNP report has %d bytes, this one %zu",
                            PROP_SNP_REPORT, len);
    struct reader r = { .report = report };
    prop_auto_json json_t *o = json_object();
    prop_auto_json json_t *sig = json_object();
    if (!o || !sig)
        return prop_err_nomem(err);
    int rc = check_head(&r, err);
    if (rc == 0)
        rc = add_fields(&r, fields, PROP_ARRAY_LEN(fields), o, err);
    if (rc == 0)
        rc = add_fields(&r, signature, PROP_ARRAY_LEN(signature), sig, err);
    if (rc == 0)
        rc = check_rest(&r, err);
    if (rc < 0)
        return rc;
    if (json_object_set(o, "signature", sig) < 0)
        return prop_err_nomem(err);
    *ret = PROP_TAKE(o);
    return 0;
}

/* --- certificates ------------------------------------------------------------------------------ */

enum { ENTRY = 24, GUID_TEXT = 37 };

static const struct cert_name {
    const char *guid, *type;
} cert_names[] = {
    { "c0b406a4-a803-4952-9743-3fb6014cd0ae", "ARK" },
    { "4ab7b379-bbac-4fe4-a02f-05aef327c782", "ASK" },
    { "63da758d-e664-4564-adc5-f4b93be8accd", "VCEK" },
    { "a8074bc2-a25a-483e-aae6-39c045a0b8a1", "VLEK" },
    { "92f81bc3-5811-4d3d-97ff-d19f88dc67ea", "CRL" },
};

static void guid_text(const uint8_t g[16], char out[GUID_TEXT])
{
    char *p = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        p += snprintf(p, 3, "%02x", g[i]);
    }
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

static json_t *cert_json(const uint8_t *entry, const uint8_t *data, size_t len, bool *ret_signer)
{
    char guid[GUID_TEXT];
    guid_text(entry, guid);
    json_t *type = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cert_names); i++) {
        if (strcmp(cert_names[i].guid, guid) == 0) {
            type = json_string(cert_names[i].type);
            *ret_signer |= cert_names[i].type[0] == 'V';
        }
    }
    if (!type)
        type = json_pack("{s:s}", "OTHER", guid);
    return json_pack("{s:o,s:o}", "cert_type", type, "data", bytes_json(data, len));
}

static int bad_table(const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "snp-cert-table", "SNP certificate table: %s", why);
}

/* Entries up to the all-zero one; their count times ENTRY is where data may begin. */
static int count_entries(const uint8_t *table, size_t len, size_t *ret, struct prop_err *err)
{
    for (size_t n = 0; (n + 1) * ENTRY <= len; n++) {
        if (all_zero(table + n * ENTRY, ENTRY)) {
            *ret = n;
            return 0;
        }
    }
    return bad_table("no end", err);
}

int prop_snp_cert_chain(const uint8_t *table, size_t len, json_t **ret, struct prop_err *err)
{
    size_t n = 0;
    bool signer = false;
    prop_auto_json json_t *chain = json_array();
    if (!chain)
        return prop_err_nomem(err);
    int rc = len ? count_entries(table, len, &n, err) : 0;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *e = table + i * ENTRY;
        size_t offset = le32(e + 16), size = le32(e + 20);
        if (offset < (n + 1) * ENTRY || offset > len || size > len - offset)
            return bad_table("an entry points outside", err);
        if (json_array_append_new(chain, cert_json(e, table + offset, size, &signer)) < 0)
            return prop_err_nomem(err);
    }
    *ret = signer ? PROP_TAKE(chain) : json_null();
    return 0;
}

int prop_snp_evidence(const uint8_t *report, size_t len, const uint8_t *table, size_t table_len,
                      const uint8_t report_data[64], json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *body = NULL;
    prop_auto_json json_t *chain = NULL;
    int rc = prop_snp_report_json(report, len, &body, err);
    if (rc == 0)
        rc = prop_snp_cert_chain(table, table_len, &chain, err);
    if (rc < 0)
        return rc;
    if (memcmp(report + OFFSET_REPORT_DATA, report_data, 64) != 0)
        return prop_err_set_id(err, PROP_E_VERIFY, "report-data",
                               "the SNP report is bound to other report data than was asked for");
    json_t *o = json_pack("{s:O,s:O}", "attestation_report", body, "cert_chain", chain);
    if (!o)
        return prop_err_nomem(err);
    *ret = o;
    return 0;
}
