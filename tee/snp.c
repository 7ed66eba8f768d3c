/* One table says where each field of a report stands; writing the JSON, checking that no byte was
 * missed, and making the report from the JSON again all follow it. */
#include "tee/snp.h"

#include "util/mem.h"

#include <stdbool.h>
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

enum { FAMILY_TURIN = 0x1a, OFFSET_FAMILY = 0x188 };

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

json_t *prop_json_numbers(const uint8_t *data, size_t len)
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
        return prop_json_numbers(r->report + f->offset, f->len);
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
    if (r->version < 2 || r->version > 5) {
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "snp-report-layout",
                        "SNP report version %u is not known (2 to 5 are)", (unsigned)r->version);
        return prop_err_hint(err, "the report's layout is newer than this tool: update it");
    }
    r->turin = r->version >= 3 && r->report[OFFSET_FAMILY] == FAMILY_TURIN;
    return 0;
}

int prop_snp_report_json(const uint8_t *report, size_t len, json_t **ret, struct prop_err *err)
{
    struct reader r = { .report = report };
    if (len != PROP_SNP_REPORT)
        return prop_err_set(err, PROP_E_INPUT, "an SNP report has %d bytes, this one %zu",
                            PROP_SNP_REPORT, len);
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
    if (rc == 0 && json_object_set(o, "signature", sig) < 0)
        rc = prop_err_nomem(err);
    if (rc == 0)
        *ret = PROP_TAKE(o);
    return rc;
}

/* --- and back ------------------------------------------------------------------------------------ */

struct writer {
    uint8_t *report;
    uint32_t version;
    bool turin;
};

static bool put_number(const struct writer *w, const json_t *v, size_t offset, size_t len)
{
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || (len < 8 && n >> 8 * len))
        return false;
    for (size_t i = 0; i < len; i++)
        w->report[offset + i] = (uint8_t)((uint64_t)n >> 8 * i);
    return true;
}

static bool put_bytes(const struct writer *w, const json_t *v, size_t offset, size_t len)
{
    bool good = json_is_array(v) && json_array_size(v) == len;
    for (size_t i = 0; good && i < len; i++)
        good = put_number(w, json_array_get(v, i), offset + i, 1);
    return good;
}

static bool put_tcb(const struct writer *w, const json_t *v, size_t offset)
{
    bool good = json_is_object(v);
    for (size_t i = 0; good && i < PROP_ARRAY_LEN(tcb_parts); i++) {
        const json_t *part = json_object_get(v, tcb_parts[i].name);
        int at = w->turin ? tcb_parts[i].turin : tcb_parts[i].genoa;
        good = at < 0 ? !part || json_is_null(part)
                      : put_number(w, part, offset + (size_t)at, 1);
    }
    return good;
}

static bool put_firmware(const struct writer *w, const json_t *v, size_t offset)
{
    return put_number(w, json_object_get(v, "major"), offset + 2, 1) &&
           put_number(w, json_object_get(v, "minor"), offset + 1, 1) &&
           put_number(w, json_object_get(v, "build"), offset, 1);
}

static bool put_field(const struct writer *w, const struct field *f, const json_t *v)
{
    if (w->version < f->since)
        return !v || json_is_null(v);
    switch (f->kind) {
    case NUM:
        return put_number(w, v, f->offset, f->len);
    case BYTES:
        return put_bytes(w, v, f->offset, f->len);
    case TCB:
        return put_tcb(w, v, f->offset);
    case FIRMWARE:
        return put_firmware(w, v, f->offset);
    }
    return false;
}

static int put_fields(const struct writer *w, const struct field *f, size_t n, const json_t *o,
                      struct prop_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!put_field(w, &f[i], json_object_get(o, f[i].name)))
            return prop_err_set_id(err, PROP_E_INPUT, "bad-evidence",
                                   "member '%s' of the SNP report is not what it must be", f[i].name);
    return 0;
}

int prop_snp_report_raw(const json_t *json, uint8_t ret[PROP_SNP_REPORT], struct prop_err *err)
{
    uint8_t report[PROP_SNP_REPORT] = { 0 };
    json_int_t version = json_integer_value(json_object_get(json, "version"));
    json_int_t family = json_integer_value(json_object_get(json, "cpuid_fam_id"));
    if (version < 2 || version > 5)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-evidence",
                               "the SNP report has no version from 2 to 5");
    struct writer w = { report, (uint32_t)version, version >= 3 && family == FAMILY_TURIN };
    int rc = put_fields(&w, fields, PROP_ARRAY_LEN(fields), json, err);
    if (rc == 0)
        rc = put_fields(&w, signature, PROP_ARRAY_LEN(signature), json_object_get(json, "signature"),
                        err);
    if (rc == 0)
        memcpy(ret, report, sizeof(report));
    return rc;
}
