/* Evidence taken apart. */
#include "tee/fields.h"

#include "tee/snp.h"
#include "tee/tdx.h"
#include "util/encode.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

enum { FAMILY_TURIN = 0x1a };

static uint64_t le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

static struct prop_snp_tcb tcb_at(const uint8_t *p, bool turin)
{
    struct prop_snp_tcb genoa = { -1, p[0], p[1], p[6], p[7] };
    struct prop_snp_tcb five = { p[0], p[1], p[2], p[3], p[7] };
    return turin ? five : genoa;
}

#define COPY(to, from) memcpy((to), (from), sizeof(to))

int prop_snp_fields_read(const uint8_t *report, size_t len, struct prop_snp_fields *ret,
                         struct prop_err *err)
{
    prop_auto_json json_t *known = NULL; /* one place decides what a report is */
    int rc = prop_snp_report_json(report, len, &known, err);
    if (rc < 0)
        return rc;
    struct prop_snp_fields f = { .version = (uint32_t)le(report, 4) };
    bool cpuid = f.version >= 3, turin = cpuid && report[0x188] == FAMILY_TURIN;
    f.guest_svn = (uint32_t)le(report + 0x004, 4);
    f.policy = le(report + 0x008, 8);
    f.vmpl = (uint32_t)le(report + 0x030, 4);
    f.sig_algo = (uint32_t)le(report + 0x034, 4);
    f.plat_info = le(report + 0x040, 8);
    f.key_info = (uint32_t)le(report + 0x048, 4);
    COPY(f.family_id, report + 0x010);
    COPY(f.image_id, report + 0x020);
    COPY(f.report_data, report + 0x050);
    COPY(f.measurement, report + 0x090);
    COPY(f.host_data, report + 0x0c0);
    COPY(f.id_key_digest, report + 0x0e0);
    COPY(f.author_key_digest, report + 0x110);
    COPY(f.report_id, report + 0x140);
    COPY(f.chip_id, report + 0x1a0);
    f.current_tcb = tcb_at(report + 0x038, turin);
    f.reported_tcb = tcb_at(report + 0x180, turin);
    f.committed_tcb = tcb_at(report + 0x1e0, turin);
    f.launch_tcb = tcb_at(report + 0x1f0, turin);
    f.cpuid_family = cpuid ? report[0x188] : -1;
    f.cpuid_model = cpuid ? report[0x189] : -1;
    f.cpuid_stepping = cpuid ? report[0x18a] : -1;
    *ret = f;
    return 0;
}

int prop_tdx_fields_read(const uint8_t *quote, size_t len, struct prop_tdx_fields *ret,
                         struct prop_err *err)
{
    const uint8_t *b = prop_tdx_quote_body(quote, len, err);
    if (!b)
        return PROP_E_INPUT;
    struct prop_tdx_fields f = { .version = quote[0] };
    COPY(f.tee_tcb_svn, b);
    COPY(f.mr_seam, b + 16);
    COPY(f.mrsigner_seam, b + 64);
    COPY(f.seam_attributes, b + 112);
    f.td_attributes = le(b + 120, 8);
    COPY(f.xfam, b + 128);
    COPY(f.mr_td, b + 136);
    COPY(f.mr_config_id, b + 184);
    COPY(f.mr_owner, b + 232);
    COPY(f.mr_owner_config, b + 280);
    memcpy(f.rtmr, b + PROP_TDX_BODY_RTMR, sizeof(f.rtmr));
    COPY(f.report_data, b + PROP_TDX_BODY_REPORT_DATA);
    *ret = f;
    return 0;
}

void prop_tee_fields_release(struct prop_tee_fields *f)
{
    prop_buf_release(&f->raw);
    prop_buf_release(&f->log);
    prop_free(f->events);
    f->events = NULL;
    f->n_events = 0;
}

/* --- from any form ------------------------------------------------------------------------------- */

static int raw_fields(struct prop_tee_fields *f, const char *what, struct prop_err *err)
{
    const uint8_t *p = f->raw.data;
    int rc;
    if (f->raw.len == PROP_SNP_REPORT) {
        f->tee = PROP_TEE_SNP;
        rc = prop_snp_fields_read(p, f->raw.len, &f->snp, err);
    } else {
        f->tee = PROP_TEE_TDX;
        rc = prop_tdx_fields_read(p, f->raw.len, &f->tdx, err);
    }
    return rc < 0 ? ((void)prop_err_wrap(err, "'%s'", what), rc) : 0;
}

static int bad_evidence(const char *what, const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-evidence", "'%s': %s", what, why);
}

static int read_log(const json_t *text, const char *what, struct prop_tee_fields *f,
                    struct prop_err *err)
{
    const char *b64 = json_string_value(text);
    size_t used = 0;
    if (!text || json_is_null(text))
        return 0;
    if (!b64)
        return bad_evidence(what, "cc_eventlog is not text", err);
    int rc = prop_b64_decode(PROP_B64_STD, b64, strlen(b64), "cc_eventlog", &f->log, err);
    if (rc == 0)
        rc = prop_eventlog_parse(f->log.data, f->log.len, &f->events, &f->n_events, &used, err);
    if (rc == 0)
        f->log.len = used;
    return rc < 0 ? ((void)prop_err_wrap(err, "'%s'", what), rc) : 0;
}

/* The object that is "primary_evidence", from what it may be wrapped in. */
static const json_t *primary(const json_t *doc)
{
    const json_t *in = json_object_get(doc, "tee-evidence");
    if (json_is_object(in))
        doc = in;
    in = json_object_get(doc, "primary_evidence");
    if (json_is_object(in))
        return in;
    in = json_object_get(doc, "evidence");
    return json_is_object(in) ? in : doc;
}

static int json_fields(const json_t *doc, const char *what, struct prop_tee_fields *f,
                       struct prop_err *err)
{
    const json_t *e = primary(doc);
    const json_t *report = json_object_get(e, "attestation_report");
    const char *quote = json_string_value(json_object_get(e, "quote"));
    uint8_t raw[PROP_SNP_REPORT];
    if (json_is_object(report)) {
        int rc = prop_snp_report_raw(report, raw, err);
        return rc < 0 ? ((void)prop_err_wrap(err, "'%s'", what), rc)
                      : prop_buf_add(&f->raw, raw, sizeof(raw), err);
    }
    if (quote) {
        int rc = prop_b64_decode(PROP_B64_STD, quote, strlen(quote), "quote", &f->raw, err);
        return rc < 0 ? rc : read_log(json_object_get(e, "cc_eventlog"), what, f, err);
    }
    if (json_object_get(e, "svn") && json_object_get(e, "report_data"))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "sample-evidence",
                               "'%s' is sample evidence, which tells nothing of a machine", what);
    return bad_evidence(what, "neither an SNP report nor a TDX quote", err);
}

int prop_tee_fields_parse(const void *data, size_t len, const char *what,
                          struct prop_tee_fields *ret, struct prop_err *err)
{
    prop_auto_tee_fields struct prop_tee_fields f = PROP_TEE_FIELDS_INIT;
    prop_auto_json json_t *doc = NULL;
    const char *text = data;
    size_t at = 0;
    int rc;
    while (at < len && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    if (at < len && text[at] == '{') {
        rc = prop_json_parse(text, len, what, &doc, err);
        if (rc == 0)
            rc = json_fields(doc, what, &f, err);
    } else {
        rc = prop_buf_add(&f.raw, data, len, err);
    }
    if (rc == 0)
        rc = raw_fields(&f, what, err);
    if (rc < 0)
        return rc;
    prop_tee_fields_release(ret);
    *ret = f;
    f = (struct prop_tee_fields)PROP_TEE_FIELDS_INIT;
    return 0;
}

/* --- for people ---------------------------------------------------------------------------------- */

static void set_hex(json_t *o, const char *name, const uint8_t *p, size_t n)
{
    char hex[2 * 64 + 1];
    prop_hex_encode(p, n, hex);
    (void)json_object_set_new(o, name, json_string(hex));
}
#define HEX(o, f, member) set_hex((o), #member, (f)->member, sizeof((f)->member))

static json_t *tcb_json(const struct prop_snp_tcb *t)
{
    json_t *o = json_pack("{s:i,s:i,s:i,s:i}", "bootloader", t->bootloader, "tee", t->tee, "snp",
                          t->snp, "microcode", t->microcode);
    if (o && t->fmc >= 0)
        (void)json_object_set_new(o, "fmc", json_integer(t->fmc));
    return o;
}

static json_t *snp_json(const struct prop_snp_fields *f)
{
    static const char *const signers[] = { "VCEK", "VLEK" };
    unsigned key = f->key_info >> 2 & 7;
    json_t *o = json_pack(
        "{s:i,s:i,s:I,s:b,s:b,s:b,s:b}", "report_version", (int)f->version, "vmpl", (int)f->vmpl,
        "policy", (json_int_t)f->policy, "debug", (int)(f->policy >> PROP_SNP_POLICY_DEBUG & 1),
        "migration", (int)(f->policy >> PROP_SNP_POLICY_MIGRATE_MA & 1), "smt_allowed",
        (int)(f->policy >> PROP_SNP_POLICY_SMT & 1), "single_socket",
        (int)(f->policy >> PROP_SNP_POLICY_SINGLE_SOCKET & 1));
    if (!o)
        return NULL;
    (void)json_object_set_new(o, "guest_svn", json_integer(f->guest_svn));
    (void)json_object_set_new(o, "plat_info", json_integer((json_int_t)f->plat_info));
    (void)json_object_set_new(o, "signed_by", json_string(key < 2 ? signers[key] : "nobody"));
    HEX(o, f, measurement);
    HEX(o, f, host_data);
    HEX(o, f, report_data);
    HEX(o, f, chip_id);
    HEX(o, f, id_key_digest);
    HEX(o, f, author_key_digest);
    (void)json_object_set_new(o, "reported_tcb", tcb_json(&f->reported_tcb));
    (void)json_object_set_new(o, "current_tcb", tcb_json(&f->current_tcb));
    (void)json_object_set_new(o, "committed_tcb", tcb_json(&f->committed_tcb));
    (void)json_object_set_new(o, "launch_tcb", tcb_json(&f->launch_tcb));
    return o;
}

static json_t *tdx_json(const struct prop_tdx_fields *f)
{
    json_t *o = json_pack("{s:i,s:b,s:b}", "quote_version", (int)f->version, "debug",
                          (int)(f->td_attributes & 1), "septve_disable",
                          (int)(f->td_attributes >> 28 & 1));
    if (!o)
        return NULL;
    uint8_t attributes[8];
    for (size_t i = 0; i < sizeof(attributes); i++)
        attributes[i] = (uint8_t)(f->td_attributes >> 8 * i);
    set_hex(o, "td_attributes", attributes, sizeof(attributes));
    HEX(o, f, mr_td);
    for (size_t i = 0; i < PROP_RTMRS; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "rtmr_%zu", i);
        set_hex(o, name, f->rtmr[i], PROP_RTMR_LEN);
    }
    HEX(o, f, mr_config_id);
    HEX(o, f, mr_owner);
    HEX(o, f, mr_owner_config);
    HEX(o, f, xfam);
    HEX(o, f, tee_tcb_svn);
    HEX(o, f, mr_seam);
    HEX(o, f, mrsigner_seam);
    HEX(o, f, report_data);
    return o;
}

json_t *prop_tee_fields_json(const struct prop_tee_fields *f)
{
    json_t *o = f->tee == PROP_TEE_SNP ? snp_json(&f->snp)
                : f->tee == PROP_TEE_TDX ? tdx_json(&f->tdx) : json_object();
    if (o && f->tee == PROP_TEE_TDX)
        (void)json_object_set_new(o, "events", json_integer((json_int_t)f->n_events));
    return o;
}
