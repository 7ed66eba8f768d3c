/* Checks of our own evidence. */
#include "tee/check.h"

#include "tee/snp.h"
#include "util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Which error a failed check is; the ids in the list are the short ones of check.h. */
static const struct verdict {
    const char *check, *id, *hint;
    enum prop_code code;
} verdicts[] = {
    { "report-data", "report-data", "something between this tool and the hardware answers for others: "
      "ask again, and do not trust this machine if it stays so", PROP_E_VERIFY },
    { "report-version", "snp-report-version", "the host's firmware needs an update: key brokers take "
      "reports of version 3 and later", PROP_E_UNSUPPORTED },
    { "vmpl", "snp-vmpl", "key brokers take reports of VMPL 0 only; a guest under an SVSM has none",
      PROP_E_UNSUPPORTED },
    { "debug", "debug-guest", "launch the guest without debugging, or say --allow-debug on a test "
      "machine", PROP_E_DENIED },
    { "signed", "snp-unsigned", "the host launched the guest without a signing key", PROP_E_UNSUPPORTED },
    { "layout", "snp-report-layout", "the report's layout is newer than this tool: update it",
      PROP_E_UNSUPPORTED },
    { "init-data", "init-data-mismatch", "the host handed over another document than the one it bound "
      "to the launch: nothing in it can be believed", PROP_E_VERIFY },
};

static const struct verdict *verdict_of(const char *check)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(verdicts); i++)
        if (strcmp(verdicts[i].check, check) == 0)
            return &verdicts[i];
    return NULL;
}

static void add(struct prop_tee_checks *c, const char *id, bool ok, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void add(struct prop_tee_checks *c, const char *id, bool ok, const char *fmt, ...)
{
    const struct verdict *v = verdict_of(id);
    va_list ap;
    if (c->n == PROP_TEE_CHECKS_MAX)
        return;
    struct prop_tee_check *k = &c->items[c->n++];
    *k = (struct prop_tee_check){ .id = id, .ok = ok, .fatal = v != NULL, .code = v ? v->code : PROP_OK };
    va_start(ap, fmt);
    (void)vsnprintf(k->detail, sizeof(k->detail), fmt, ap);
    va_end(ap);
}

static void check_report_data(struct prop_tee_checks *c, const struct prop_tee_ask *ask,
                              const uint8_t got[64])
{
    uint8_t want[64] = { 0 };
    memcpy(want, ask->report_data, sizeof(ask->report_data));
    bool ok = memcmp(want, got, sizeof(want)) == 0;
    add(c, "report-data", ok, ok ? "bound to what was asked for"
                                 : "the report is bound to other report data than was asked for");
}

static void check_debug(struct prop_tee_checks *c, const struct prop_tee_ask *ask, bool debug)
{
    add(c, "debug", !debug || ask->allow_debug,
        !debug ? "off" : ask->allow_debug ? "on, and allowed here"
                                          : "debugging is on: the host can read this guest's memory");
}

static void check_init_data(struct prop_tee_checks *c, const struct prop_tee_ask *ask,
                            const char *field, const uint8_t *got, const uint8_t *want, size_t len)
{
    if (!ask->init_data)
        return;
    bool ok = memcmp(got, want, len) == 0;
    add(c, "init-data", ok, ok ? "%s holds the document's digest"
                               : "%s does not hold the digest of this init-data", field);
}

/* The generations whose root key Trustee has (attestation.md 4.1). */
static const char *generation(const struct prop_snp_fields *f)
{
    int m = f->cpuid_model;
    if (f->cpuid_family == 0x19)
        return m <= 0x0f ? "Milan" : m <= 0x1f || (m >= 0xa0 && m <= 0xaf) ? "Genoa" : NULL;
    return f->cpuid_family == 0x1a && m <= 0x11 ? "Turin" : NULL;
}

static void check_processor(struct prop_tee_checks *c, const struct prop_snp_fields *f)
{
    const char *name = generation(f);
    if (f->version < 3) /* said by report-version already */
        return;
    if (name)
        add(c, "processor", true, "%s", name);
    else
        add(c, "processor", false, "family 0x%x model 0x%x is none that key brokers know",
            (unsigned)f->cpuid_family, (unsigned)f->cpuid_model);
}

static int check_layout(struct prop_tee_checks *c, const struct prop_tee_fields *f, const json_t *json,
                        struct prop_err *err)
{
    uint8_t again[PROP_SNP_REPORT];
    int rc = prop_snp_report_raw(json_object_get(json, "attestation_report"), again, err);
    if (rc < 0)
        return rc;
    bool ok = memcmp(again, f->raw.data, sizeof(again)) == 0;
    add(c, "layout", ok, ok ? "the server can rebuild the signed bytes"
                            : "the report's layout is newer than this tool");
    return 0;
}

static int check_snp(const struct prop_tee_ask *ask, const struct prop_tee_fields *f,
                     const json_t *json, struct prop_tee_checks *c, struct prop_err *err)
{
    const struct prop_snp_fields *s = &f->snp;
    bool signer = json_is_array(json_object_get(json, "cert_chain"));
    unsigned key = s->key_info >> 2 & 7;
    check_report_data(c, ask, s->report_data);
    add(c, "report-version", s->version >= 3,
        s->version >= 3 ? "%u" : "version %u is too old for key brokers", (unsigned)s->version);
    add(c, "vmpl", s->vmpl == 0, s->vmpl == 0 ? "%u" : "the report is of VMPL %u", (unsigned)s->vmpl);
    check_debug(c, ask, s->policy >> PROP_SNP_POLICY_DEBUG & 1);
    add(c, "signed", key < 2, key == 0 ? "with the chip's key (VCEK)"
                              : key == 1 ? "with the cloud's key (VLEK)" : "nobody signed the report");
    check_processor(c, s);
    add(c, "certificates", signer,
        signer ? "the host handed over the signer's certificate"
               : "the host handed over no VCEK or VLEK: the key broker needs AMD's key service, or "
                 "a store of its own");
    int rc = check_layout(c, f, json, err);
    if (ask->init_data)
        check_init_data(c, ask, "HOSTDATA", s->host_data, ask->init_data->host_data,
                        sizeof(s->host_data));
    return rc;
}

static int check_tdx(const struct prop_tee_ask *ask, const struct prop_tee_fields *f,
                     const json_t *json, bool log, struct prop_tee_checks *c)
{
    const struct prop_tdx_fields *t = &f->tdx;
    bool sent = json_is_string(json_object_get(json, "cc_eventlog"));
    check_report_data(c, ask, t->report_data);
    check_debug(c, ask, t->td_attributes & 1);
    add(c, "event-log", sent,
        sent ? "replays to all four registers"
        : log ? "the event log does not replay to the quote's registers, and is not sent: what is "
                "measured into them cannot be told apart"
              : "this machine has no event log: rules on events cannot hold");
    if (ask->init_data)
        check_init_data(c, ask, "MRCONFIGID", t->mr_config_id, ask->init_data->mr_config_id,
                        sizeof(t->mr_config_id));
    return 0;
}

int prop_tee_checks_run(const struct prop_tee_ask *ask, const struct prop_tee_fields *f,
                        const json_t *json, bool log, struct prop_tee_checks *ret,
                        struct prop_err *err)
{
    struct prop_tee_checks c = { .n = 0 };
    int rc = f->tee == PROP_TEE_SNP ? check_snp(ask, f, json, &c, err)
             : f->tee == PROP_TEE_TDX ? check_tdx(ask, f, json, log, &c) : 0;
    if (rc == 0)
        *ret = c;
    return rc;
}

int prop_tee_checks_verdict(const struct prop_tee_checks *checks, struct prop_err *err)
{
    for (size_t i = 0; i < checks->n; i++) {
        const struct prop_tee_check *k = &checks->items[i];
        const struct verdict *v = verdict_of(k->id);
        if (k->ok || !v)
            continue;
        (void)prop_err_set_id(err, v->code, v->id, "evidence not sent: %s", k->detail);
        (void)prop_err_hint(err, "%s", v->hint);
        return v->code;
    }
    return 0;
}

json_t *prop_tee_checks_json(const struct prop_tee_checks *c)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < c->n; i++) {
        const struct prop_tee_check *k = &c->items[i];
        if (json_array_append_new(a, json_pack("{s:s,s:b,s:b,s:s}", "check", k->id, "ok", (int)k->ok,
                                               "fatal", (int)k->fatal, "detail", k->detail)) < 0) {
            json_decref(a);
            return NULL;
        }
    }
    return a;
}

const char *prop_tee_checks_warning(const struct prop_tee_checks *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (!c->items[i].ok && !c->items[i].fatal)
            return c->items[i].detail;
    return NULL;
}
