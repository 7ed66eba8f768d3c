/* Evidence taken apart, and the guest's own checks of it: each with its own message and cause. */
#include "test_tee.h"

#include "tee/initdata.h"

/* The real Genoa report or the real quote, and what was asked for when it was made. */
struct recorded {
    json_t *file;
    struct prop_tee_fields f;
    struct prop_tee_ask ask;
    json_t *json; /* what would be sent; borrowed */
};

static void load(struct recorded *r, const char *name)
{
    *r = (struct recorded){ .file = shared_json(MEASURE, name), .f = PROP_TEE_FIELDS_INIT };
    struct prop_buf raw =
        bytes_of(r->file, json_object_get(r->file, "quote_base64") ? "quote_base64" : "report_base64");
    assert_int_equal(prop_tee_fields_parse(raw.data, raw.len, name, &r->f, NULL), 0);
    r->json = json_object_get(r->file, "evidence");
    r->ask.tee = r->f.tee;
    memcpy(r->ask.report_data, r->f.tee == PROP_TEE_SNP ? r->f.snp.report_data : r->f.tdx.report_data,
           sizeof(r->ask.report_data));
    prop_buf_release(&raw);
}

static void unload(struct recorded *r)
{
    prop_tee_fields_release(&r->f);
    json_decref(r->file);
}

/* Recorded report data fills all 64 bytes; ours ends with 16 zeros. */
static void as_if_asked_by_us(struct recorded *r)
{
    if (r->f.tee == PROP_TEE_SNP)
        memset(r->f.snp.report_data + 48, 0, 16);
    else
        memset(r->f.tdx.report_data + 48, 0, 16);
}

static const struct prop_tee_check *check_of(const struct prop_tee_checks *c, const char *id)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->items[i].id, id) == 0)
            return &c->items[i];
    fail_msg("no check '%s'", id);
    return c->items;
}

static void run(const struct recorded *r, struct prop_tee_checks *c)
{
    assert_int_equal(prop_tee_checks_run(&r->ask, &r->f, r->json, false, c, NULL), 0);
}

static void fails(const struct recorded *r, const char *check, int code, const char *id)
{
    struct prop_tee_checks c;
    struct prop_err err = PROP_ERR_INIT;
    run(r, &c);
    for (size_t i = 0; i < c.n; i++)
        if (c.items[i].fatal)
            assert_int_equal(c.items[i].ok, strcmp(c.items[i].id, check) != 0);
    assert_int_equal(prop_tee_checks_verdict(&c, &err), code);
    assert_string_equal(prop_err_id(&err), id);
    assert_true(err.hint[0] != 0);
    assert_non_null(strstr(err.message, check_of(&c, check)->detail));
}

static void test_a_good_report(void **state)
{
    (void)state;
    struct recorded r;
    struct prop_tee_checks c;
    load(&r, "snp-report-v3-genoa.json");
    as_if_asked_by_us(&r);
    /* The layout is compared with the raw bytes. */
    memset(r.f.raw.data + 0x50 + 48, 0, 16);
    json_t *sent = NULL;
    struct prop_buf table = bytes_of(r.file, "cert_table_base64");
    assert_int_equal(prop_snp_evidence(r.f.raw.data, r.f.raw.len, table.data, table.len, &sent, NULL),
                     0);
    r.json = sent;
    run(&r, &c);
    assert_int_equal(c.n, 8);
    for (size_t i = 0; i < c.n; i++)
        assert_true(c.items[i].ok);
    assert_string_equal(check_of(&c, "processor")->detail, "Genoa");
    assert_int_equal(prop_tee_checks_verdict(&c, NULL), 0);
    assert_null(prop_tee_checks_warning(&c));
    json_t *list = prop_tee_checks_json(&c);
    assert_int_equal(json_array_size(list), 8);
    assert_string_equal(text_of(json_array_get(list, 0), "check"), "report-data");
    assert_true(json_is_true(json_object_get(json_array_get(list, 0), "ok")));
    json_decref(list);

    /* And each thing that can be wrong with it, alone. */
    r.ask.report_data[0] ^= 1;
    fails(&r, "report-data", PROP_E_VERIFY, "report-data");
    r.ask.report_data[0] ^= 1;
    r.f.snp.report_data[63] = 1;
    fails(&r, "report-data", PROP_E_VERIFY, "report-data");
    r.f.snp.report_data[63] = 0;
    r.f.snp.version = 2;
    fails(&r, "report-version", PROP_E_UNSUPPORTED, "snp-report-version");
    r.f.snp.version = 3;
    r.f.snp.vmpl = 2;
    fails(&r, "vmpl", PROP_E_UNSUPPORTED, "snp-vmpl");
    r.f.snp.vmpl = 0;
    r.f.snp.policy |= 1u << 19;
    fails(&r, "debug", PROP_E_DENIED, "debug-guest");
    r.ask.allow_debug = true;
    run(&r, &c);
    assert_true(check_of(&c, "debug")->ok);
    r.f.snp.policy &= ~(1u << 19);
    r.f.snp.key_info = 7u << 2;
    fails(&r, "signed", PROP_E_UNSUPPORTED, "snp-unsigned");
    r.f.snp.key_info = 1u << 2; /* a VLEK */
    run(&r, &c);
    assert_true(check_of(&c, "signed")->ok);
    r.f.raw.data[0x4c] ^= 1; /* a reserved byte, which the JSON cannot carry */
    fails(&r, "layout", PROP_E_UNSUPPORTED, "snp-report-layout");
    r.f.raw.data[0x4c] ^= 1;
    prop_buf_release(&table);
    json_decref(sent);
    unload(&r);
}

static void test_warnings_do_not_stop(void **state)
{
    (void)state;
    struct recorded r;
    struct prop_tee_checks c;
    load(&r, "snp-report-v3-genoa.json");
    json_t *sent = NULL;
    assert_int_equal(prop_snp_evidence(r.f.raw.data, r.f.raw.len, NULL, 0, &sent, NULL), 0);
    as_if_asked_by_us(&r);
    r.json = sent;
    run(&r, &c);
    assert_false(check_of(&c, "certificates")->ok);
    assert_non_null(strstr(prop_tee_checks_warning(&c), "AMD's key service"));
    assert_int_equal(prop_tee_checks_verdict(&c, NULL), 0);
    r.f.snp.cpuid_model = 0x40;
    run(&r, &c);
    assert_false(check_of(&c, "processor")->ok);
    assert_int_equal(prop_tee_checks_verdict(&c, NULL), 0);
    json_decref(sent);
    unload(&r);
}

static void test_init_data(void **state)
{
    (void)state;
    json_t *v = shared_json(MEASURE, "initdata.json");
    size_t i;
    json_t *c;
    struct recorded snp, tdx;
    load(&snp, "snp-report-v3-genoa.json");
    load(&tdx, "tdx-quote-v4.json");
    as_if_asked_by_us(&snp);
    as_if_asked_by_us(&tdx);
    tdx.ask.allow_debug = true;
    memset(snp.f.raw.data + 0x50 + 48, 0, 16);
    json_t *sent = NULL;
    assert_int_equal(prop_snp_evidence(snp.f.raw.data, snp.f.raw.len, NULL, 0, &sent, NULL), 0);
    snp.json = sent;
    json_array_foreach(json_object_get(v, "cases"), i, c) {
        const char *toml = text_of(c, "toml");
        struct prop_initdata pins;
        struct prop_tee_checks got;
        char hex[2 * 48 + 1];
        assert_int_equal(prop_initdata_read(toml, strlen(toml), "init-data", &pins, NULL), 0);
        prop_hex_encode(pins.host_data, sizeof(pins.host_data), hex);
        assert_string_equal(hex, text_of(c, "snp_host_data"));
        prop_hex_encode(pins.mr_config_id, sizeof(pins.mr_config_id), hex);
        assert_string_equal(hex, text_of(c, "tdx_mrconfigid"));
        snp.ask.init_data = tdx.ask.init_data = &pins;
        fails(&snp, "init-data", PROP_E_VERIFY, "init-data-mismatch");
        fails(&tdx, "init-data", PROP_E_VERIFY, "init-data-mismatch");
        memcpy(snp.f.snp.host_data, pins.host_data, sizeof(pins.host_data));
        memcpy(tdx.f.tdx.mr_config_id, pins.mr_config_id, sizeof(pins.mr_config_id));
        run(&snp, &got);
        assert_true(check_of(&got, "init-data")->ok);
        run(&tdx, &got);
        assert_true(check_of(&got, "init-data")->ok);
        memset(tdx.f.tdx.mr_config_id, 0, sizeof(pins.mr_config_id));
    }
    assert_true(i >= 3);
    json_array_foreach(json_object_get(v, "must_refuse"), i, c) {
        struct prop_initdata pins;
        const char *toml = text_of(c, "toml");
        assert_true(prop_initdata_read(toml, strlen(toml), "init-data", &pins, NULL) < 0);
    }
    assert_true(i >= 4);
    json_decref(sent);
    unload(&snp);
    unload(&tdx);
    json_decref(v);
}

/* The recorded quote is of a TD with debugging. */
static void test_a_quote(void **state)
{
    (void)state;
    struct recorded r;
    struct prop_tee_checks c;
    load(&r, "tdx-quote-v4.json");
    as_if_asked_by_us(&r);
    fails(&r, "debug", PROP_E_DENIED, "debug-guest");
    r.ask.allow_debug = true;
    run(&r, &c);
    assert_int_equal(prop_tee_checks_verdict(&c, NULL), 0);
    assert_non_null(strstr(check_of(&c, "event-log")->detail, "no event log"));
    assert_int_equal(prop_tee_checks_run(&r.ask, &r.f, r.json, true, &c, NULL), 0);
    assert_non_null(strstr(check_of(&c, "event-log")->detail, "does not replay"));
    unload(&r);
}

/* --- taking apart -------------------------------------------------------------------------------- */

static void hex_is(const void *p, size_t n, const json_t *o, const char *name)
{
    char hex[2 * 64 + 1];
    prop_hex_encode(p, n, hex);
    assert_string_equal(hex, text_of(o, name));
}

static void check_snp_fields(const struct prop_tee_fields *f, const json_t *claims)
{
    assert_int_equal(f->tee, PROP_TEE_SNP);
    hex_is(f->snp.measurement, 48, claims, "measurement");
    hex_is(f->snp.host_data, 32, claims, "init_data");
    hex_is(f->snp.report_data, 64, claims, "report_data");
    hex_is(f->snp.chip_id, 64, claims, "chip_id");
    assert_int_equal(f->snp.reported_tcb.bootloader,
                     json_integer_value(json_object_get(claims, "reported_tcb_bootloader")));
    assert_int_equal(f->snp.reported_tcb.microcode,
                     json_integer_value(json_object_get(claims, "reported_tcb_microcode")));
    assert_int_equal(f->snp.reported_tcb.snp,
                     json_integer_value(json_object_get(claims, "reported_tcb_snp")));
    assert_int_equal(f->snp.reported_tcb.fmc, -1);
    assert_int_equal(f->snp.policy >> PROP_SNP_POLICY_DEBUG & 1,
                     json_is_true(json_object_get(claims, "policy_debug_allowed")));
    assert_int_equal(f->snp.policy >> PROP_SNP_POLICY_SMT & 1,
                     json_is_true(json_object_get(claims, "policy_smt_allowed")));
    assert_int_equal(f->snp.policy >> PROP_SNP_POLICY_MIGRATE_MA & 1,
                     json_is_true(json_object_get(claims, "policy_migrate_ma")));
    assert_int_equal(f->snp.policy >> PROP_SNP_POLICY_SINGLE_SOCKET & 1,
                     json_is_true(json_object_get(claims, "policy_single_socket")));
}

static void test_snp_in_every_form(void **state)
{
    (void)state;
    static const char *const files[] = { "snp-report-v2-milan.json", "snp-report-v3-genoa.json" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        json_t *v = shared_json(MEASURE, files[i]);
        json_t *e = json_object_get(v, "evidence");
        const json_t *claims = json_object_get(v, "verifier_claims");
        json_t *forms[] = {
            json_incref(e), json_pack("{s:s,s:O}", "tee", "snp", "evidence", e),
            json_pack("{s:n,s:{s:O,s:s}}", "init-data", "tee-evidence", "primary_evidence", e,
                      "additional_evidence", ""),
            json_pack("{s:O}", "primary_evidence", e),
        };
        struct prop_tee_fields f = PROP_TEE_FIELDS_INIT;
        struct prop_buf raw = bytes_of(v, "report_base64");
        assert_int_equal(prop_tee_fields_parse(raw.data, raw.len, "raw", &f, NULL), 0);
        check_snp_fields(&f, claims);
        for (size_t j = 0; j < PROP_ARRAY_LEN(forms); j++) {
            char *text = prop_json_compact(forms[j]);
            assert_int_equal(prop_tee_fields_parse(text, strlen(text), "json", &f, NULL), 0);
            check_snp_fields(&f, claims);
            assert_int_equal(f.raw.len, raw.len);
            assert_memory_equal(f.raw.data, raw.data, raw.len);
            prop_free(text);
            json_decref(forms[j]);
        }
        json_t *summary = prop_tee_fields_json(&f);
        hex_is(f.snp.measurement, 48, summary, "measurement");
        assert_string_equal(text_of(summary, "signed_by"), "VCEK");
        json_decref(summary);
        prop_tee_fields_release(&f);
        prop_buf_release(&raw);
        json_decref(v);
    }
}

static void test_tdx_in_every_form(void **state)
{
    (void)state;
    json_t *v = shared_json(MEASURE, "tdx-quote-v4.json");
    json_t *logs = shared_json(MEASURE, "eventlog.json");
    const json_t *c = json_array_get(json_object_get(logs, "captured"), 0);
    const json_t *body = json_object_get(json_object_get(v, "parsed"), "body");
    json_t *e = json_deep_copy(json_object_get(v, "evidence"));
    struct prop_tee_fields f = PROP_TEE_FIELDS_INIT;
    (void)json_object_set(e, "cc_eventlog", json_object_get(c, "evidence_cc_eventlog"));
    char *text = prop_json_compact(e);
    assert_int_equal(prop_tee_fields_parse(text, strlen(text), "json", &f, NULL), 0);
    assert_int_equal(f.tee, PROP_TEE_TDX);
    hex_is(f.tdx.mr_td, 48, body, "mr_td");
    hex_is(f.tdx.mr_config_id, 48, body, "mr_config_id");
    hex_is(f.tdx.mr_owner, 48, body, "mr_owner");
    hex_is(f.tdx.mr_owner_config, 48, body, "mr_owner_config");
    hex_is(f.tdx.mr_seam, 48, body, "mr_seam");
    hex_is(f.tdx.mrsigner_seam, 48, body, "mrsigner_seam");
    hex_is(f.tdx.seam_attributes, 8, body, "seam_attributes");
    hex_is(f.tdx.tee_tcb_svn, 16, body, "tcb_svn");
    hex_is(f.tdx.xfam, 8, body, "xfam");
    hex_is(f.tdx.rtmr[0], 48, body, "rtmr_0");
    hex_is(f.tdx.rtmr[1], 48, body, "rtmr_1");
    hex_is(f.tdx.rtmr[2], 48, body, "rtmr_2");
    hex_is(f.tdx.rtmr[3], 48, body, "rtmr_3");
    hex_is(f.tdx.report_data, 64, body, "report_data");
    assert_int_equal(f.tdx.td_attributes, 0x10000001);
    assert_int_equal(f.n_events, json_array_size(json_object_get(c, "events")));
    assert_int_equal(f.log.len, json_integer_value(json_object_get(c, "log_len")));
    json_t *summary = prop_tee_fields_json(&f);
    assert_string_equal(text_of(summary, "td_attributes"), text_of(body, "td_attributes"));
    assert_true(json_is_true(json_object_get(summary, "debug")));
    assert_int_equal(json_integer_value(json_object_get(summary, "events")), f.n_events);
    json_decref(summary);
    prop_free(text);
    prop_tee_fields_release(&f);
    json_decref(e);
    json_decref(v);
    json_decref(logs);
}

static void refuse_text(const char *text, int code, const char *id)
{
    struct prop_tee_fields f = PROP_TEE_FIELDS_INIT;
    REFUSED(prop_tee_fields_parse(text, strlen(text), "x", &f, err), code, id);
    assert_null(f.raw.data);
}

static void test_what_is_no_evidence(void **state)
{
    (void)state;
    refuse_text("", PROP_E_INPUT, "tdx-quote");
    refuse_text("neither", PROP_E_INPUT, "tdx-quote");
    refuse_text("{}", PROP_E_INPUT, "bad-evidence");
    refuse_text("{\"evidence\":{\"quote\":7}}", PROP_E_INPUT, "bad-evidence");
    refuse_text("{\"attestation_report\":{}}", PROP_E_INPUT, "bad-evidence");
    refuse_text("{\"attestation_report\":{\"version\":3}}", PROP_E_INPUT, "bad-evidence");
    refuse_text("{\"svn\":\"1\",\"report_data\":\"AA==\"}", PROP_E_UNSUPPORTED, "sample-evidence");
    refuse_text("{\"quote\":\"AAAA\"}", PROP_E_INPUT, "tdx-quote");
    refuse_text("{\"quote\":\"AAAA\",\"cc_eventlog\":7}", PROP_E_INPUT, "bad-evidence");
    refuse_text("{\"quote\":\"AAAA\",\"cc_eventlog\":\"AAAA\"}", PROP_E_INPUT, "event-log");
    refuse_text("{", PROP_E_INPUT, "json-syntax");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_report),
        cmocka_unit_test(test_warnings_do_not_stop),
        cmocka_unit_test(test_init_data),
        cmocka_unit_test(test_a_quote),
        cmocka_unit_test(test_snp_in_every_form),
        cmocka_unit_test(test_tdx_in_every_form),
        cmocka_unit_test(test_what_is_no_evidence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
