/* Report data, sample, SNP and TDX evidence, against vectors that real servers accepted and reports
 * that real machines made. */
#include "test_kbs_shared.h"

#include "tee/binding.h"
#include "tee/eventlog.h"
#include "tee/evidence.h"
#include "tee/machine.h"
#include "tee/snp.h"
#include "tee/tdx.h"
#include "util/encode.h"

#include <unistd.h>

#define MEASURE "fixtures/measure"

/* No sign of a TEE at all, wherever the tests run. */
static const struct prop_tee_machine bare = { "/nonexistent/tsm", "/nonexistent/sev",
                                              "/nonexistent/tdx", "/nonexistent/ccel" };

static struct prop_buf bytes_of(const json_t *o, const char *name)
{
    struct prop_buf b = PROP_BUF_INIT(1u << 20);
    const char *s = text_of(o, name);
    assert_int_equal(prop_b64_decode(PROP_B64_STD, s, strlen(s), name, &b, NULL), 0);
    return b;
}

static void check_binding(const char *nonce, const json_t *jwk, const char *extra,
                          const char *want_hex)
{
    struct prop_digest d;
    char hex[PROP_DIGEST_TEXT];
    assert_int_equal(prop_tee_report_data(nonce, jwk, extra, &d, NULL), 0);
    assert_int_equal(d.len, 48);
    assert_string_equal(prop_digest_hex(&d, hex), want_hex);
}

static void test_report_data_of_the_vectors(void **state)
{
    (void)state;
    static const char *const files[] = { "kbs-vector-jwe-p-256.json", "kbs-vector-jwe-p-521.json",
                                         "kbs-vector-jwe-rsa-oaep-256.json",
                                         "kbs-vector-jwe-rsa1_5.json" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        json_t *v = shared_json(TRANSCRIPTS, files[i]);
        check_binding(text_of(json_object_get(v, "challenge"), "nonce"),
                      json_object_get(v, "tee_pubkey_jwk"), "",
                      text_of(v, "report_data_sha384_hex"));
        json_decref(v);
    }
}

static void test_report_data_with_devices(void **state)
{
    (void)state;
    json_t *v = shared_json(MEASURE, "reportdata.json");
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(v, "cases"), i, c) {
        const json_t *jwk = json_object_get(c, "tee_pubkey");
        check_binding(text_of(c, "nonce"), jwk, text_of(c, "additional_evidence"),
                      text_of(c, "report_data_sha384"));
        if (json_object_get(c, "device_report_data_sha384"))
            check_binding(text_of(c, "nonce"), jwk, NULL,
                          text_of(c, "device_report_data_sha384"));
    }
    assert_true(i >= 3);
    json_decref(v);
}

static void test_sample_is_not_padded(void **state)
{
    (void)state;
    uint8_t data[48];
    json_t *e = NULL;
    memset(data, 0xa5, sizeof(data));
    assert_int_equal(prop_tee_evidence_on(&bare, PROP_TEE_SAMPLE, data, sizeof(data), &e, NULL), 0);
    assert_string_equal(text_of(e, "svn"), "1");
    assert_int_equal(strlen(text_of(e, "report_data")), 64);
    assert_int_equal(json_object_size(e), 2);
    json_decref(e);
    e = NULL;
    assert_true(prop_tee_evidence_on(&bare, PROP_TEE_SAMPLE, data, 47, &e, NULL) < 0);
    assert_null(e);
}

static void test_auto_never_means_sample(void **state)
{
    (void)state;
    static const char *const wishes[] = { "auto", "snp", "tdx" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(wishes); i++) {
        struct prop_err err = PROP_ERR_INIT;
        enum prop_tee tee = PROP_TEE_NONE;
        assert_int_equal(prop_tee_choose_on(&bare, wishes[i], &tee, &err), PROP_E_UNSUPPORTED);
        assert_string_equal(prop_err_id(&err), "no-tee");
        assert_non_null(strstr(err.hint, "--tee sample"));
        assert_int_equal(tee, PROP_TEE_NONE);
    }
}

static void test_choosing(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    enum prop_tee tee = PROP_TEE_NONE;
    struct prop_tee_machine m = bare;
    assert_int_equal(prop_tee_choose_on(&bare, "sample", &tee, &err), 0);
    assert_int_equal(tee, PROP_TEE_SAMPLE);
    assert_int_equal(prop_tee_choose_on(&bare, "Sample", &tee, &err), PROP_E_USAGE);
    m.sev_guest = "/dev/null"; /* any node that is there stands for the device */
    assert_int_equal(prop_tee_choose_on(&m, "auto", &tee, &err), 0);
    assert_int_equal(tee, PROP_TEE_SNP);
    assert_int_equal(prop_tee_choose_on(&m, "tdx", &tee, &err), PROP_E_UNSUPPORTED);
    m.tdx_guest = "/dev/null";
    assert_int_equal(prop_tee_choose_on(&m, "auto", &tee, &err), 0);
    assert_int_equal(tee, PROP_TEE_TDX);
}

static void test_hardware_that_is_not_there(void **state)
{
    (void)state;
    uint8_t data[48] = { 0 };
    for (enum prop_tee t = PROP_TEE_SNP; t <= PROP_TEE_TDX; t++) {
        struct prop_err err = PROP_ERR_INIT;
        json_t *e = NULL;
        assert_int_equal(prop_tee_evidence_on(&bare, t, data, sizeof(data), &e, &err),
                         PROP_E_UNSUPPORTED);
        assert_string_equal(prop_err_id(&err), "no-tsm");
        assert_null(e);
    }
}

/* --- SNP ---------------------------------------------------------------------------------------- */

static void test_snp_report_as_recorded(void **state)
{
    (void)state;
    struct prop_buf raw = PROP_BUF_INIT(4096);
    json_t *got = NULL;
    json_t *want = shared_json(TRANSCRIPTS, "kbs-snp-evidence-shape.json");
    shared_read(TRANSCRIPTS, "kbs-snp-report-v2.bin", &raw);
    assert_int_equal(prop_snp_report_json(raw.data, raw.len, &got, NULL), 0);
    /* Order of members and all: the text is the same. */
    char *a = prop_json_compact(got);
    char *b = prop_json_compact(json_object_get(want, "attestation_report"));
    assert_string_equal(a, b);
    prop_free(a);
    prop_free(b);
    json_decref(got);
    json_decref(want);
    prop_buf_release(&raw);
}

static void check_snp_fixture(const char *file)
{
    json_t *f = shared_json(MEASURE, file);
    json_t *got = NULL;
    struct prop_buf raw = bytes_of(f, "report_base64");
    struct prop_buf table = bytes_of(f, "cert_table_base64");
    assert_int_equal(prop_snp_evidence(raw.data, raw.len, table.data, table.len, raw.data + 0x50,
                                       &got, NULL), 0);
    assert_true(json_equal(got, json_object_get(f, "evidence")));
    json_decref(got);
    json_decref(f);
    prop_buf_release(&raw);
    prop_buf_release(&table);
}

static void test_snp_evidence_of_milan_and_genoa(void **state)
{
    (void)state;
    check_snp_fixture("snp-report-v2-milan.json");
    check_snp_fixture("snp-report-v3-genoa.json");
}

/* A report made up here: version 5 on Turin, every known byte holding something. */
static void test_snp_turin_and_version_5(void **state)
{
    (void)state;
    uint8_t r[PROP_SNP_REPORT] = { 5 };
    json_t *o = NULL;
    r[0x188] = 0x1a;
    for (int i = 0; i < 4; i++)
        r[0x180 + i] = (uint8_t)(10 + i);
    r[0x187] = 99;
    r[0x1f8] = 7;
    r[0x200] = 8;
    assert_int_equal(prop_snp_report_json(r, sizeof(r), &o, NULL), 0);
    const json_t *t = json_object_get(o, "reported_tcb");
    assert_int_equal(json_integer_value(json_object_get(t, "fmc")), 10);
    assert_int_equal(json_integer_value(json_object_get(t, "bootloader")), 11);
    assert_int_equal(json_integer_value(json_object_get(t, "tee")), 12);
    assert_int_equal(json_integer_value(json_object_get(t, "snp")), 13);
    assert_int_equal(json_integer_value(json_object_get(t, "microcode")), 99);
    assert_int_equal(json_integer_value(json_object_get(o, "launch_mit_vector")), 7);
    assert_int_equal(json_integer_value(json_object_get(o, "current_mit_vector")), 8);
    json_decref(o);
}

static void refuse_snp(const uint8_t *r, size_t len, int code, const char *id)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *o = NULL;
    assert_int_equal(prop_snp_report_json(r, len, &o, &err), code);
    assert_null(o);
    if (id)
        assert_string_equal(prop_err_id(&err), id);
}

static void test_snp_reports_refused(void **state)
{
    (void)state;
    uint8_t r[PROP_SNP_REPORT] = { 3 };
    refuse_snp(r, sizeof(r) - 1, PROP_E_INPUT, NULL);
    r[0] = 1;
    refuse_snp(r, sizeof(r), PROP_E_UNSUPPORTED, "snp-report-layout");
    r[0] = 6;
    refuse_snp(r, sizeof(r), PROP_E_UNSUPPORTED, "snp-report-layout");
    r[0] = 3;
    r[0x48] = 7 << 2; /* signed by nobody */
    refuse_snp(r, sizeof(r), PROP_E_UNSUPPORTED, "snp-unsigned");
    r[0x48] = 0;
    /* Reserved bytes, and bytes of fields that this version does not have. */
    static const size_t unknown[] = { 0x4c, 0x18b, 0x1eb, 0x1f8, 0x207, 0x29f, 0x330, 0x49f,
                                      0x182, 0x3a };
    for (size_t i = 0; i < PROP_ARRAY_LEN(unknown); i++) {
        r[unknown[i]] = 1;
        refuse_snp(r, sizeof(r), PROP_E_UNSUPPORTED, "snp-report-layout");
        r[unknown[i]] = 0;
    }
}

static void test_snp_evidence_for_another_nonce(void **state)
{
    (void)state;
    uint8_t r[PROP_SNP_REPORT] = { 3 };
    uint8_t want[64] = { 1 };
    struct prop_err err = PROP_ERR_INIT;
    json_t *o = NULL;
    assert_int_equal(prop_snp_evidence(r, sizeof(r), NULL, 0, want, &o, &err), PROP_E_VERIFY);
    assert_null(o);
    r[0x50] = 1;
    assert_int_equal(prop_snp_evidence(r, sizeof(r), NULL, 0, want, &o, &err), 0);
    assert_true(json_is_null(json_object_get(o, "cert_chain")));
    json_decref(o);
}

static void refuse_table(const uint8_t *t, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *o = NULL;
    assert_int_equal(prop_snp_cert_chain(t, len, &o, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "snp-cert-table");
    assert_null(o);
}

static void test_snp_certificate_tables(void **state)
{
    (void)state;
    static const uint8_t vlek[16] = { 0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e,
                                      0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1 };
    uint8_t t[24 * 3 + 4] = { 0 };
    json_t *o = NULL;
    /* Empty, and without a signer: the server shall fetch the certificate itself. */
    assert_int_equal(prop_snp_cert_chain(t, 24, &o, NULL), 0);
    assert_true(json_is_null(o));
    memset(t, 0x11, 16);
    t[16] = 24 * 3;
    t[20] = 4;
    assert_int_equal(prop_snp_cert_chain(t, sizeof(t), &o, NULL), 0);
    assert_true(json_is_null(o));
    /* One nobody knows, and a VLEK. */
    memcpy(t + 24, vlek, 16);
    t[24 + 16] = 24 * 3;
    t[24 + 20] = 4;
    assert_int_equal(prop_snp_cert_chain(t, sizeof(t), &o, NULL), 0);
    assert_int_equal(json_array_size(o), 2);
    assert_string_equal(text_of(json_object_get(json_array_get(o, 0), "cert_type"), "OTHER"),
                        "11111111-1111-1111-1111-111111111111");
    assert_string_equal(text_of(json_array_get(o, 1), "cert_type"), "VLEK");
    json_decref(o);
    refuse_table(t, 24 * 2);        /* no end */
    refuse_table(t, sizeof(t) - 1); /* data over the end */
    t[16] = 24;                     /* data over the entries */
    refuse_table(t, sizeof(t));
    t[16] = 24 * 3;
    memset(t + 20, 0xff, 4);        /* sum that would wrap */
    refuse_table(t, sizeof(t));
}

/* --- TDX ---------------------------------------------------------------------------------------- */

static void test_tdx_evidence_as_recorded(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "tdx-quote-v4.json");
    json_t *got = NULL;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf q = bytes_of(f, "quote_base64");
    uint8_t other[64] = { 0 };
    assert_int_equal(prop_tdx_evidence(q.data, q.len, NULL, 0, q.data + 568, &got, NULL), 0);
    assert_true(json_equal(got, json_object_get(f, "evidence")));
    json_decref(got);
    got = NULL;
    assert_int_equal(prop_tdx_evidence(q.data, q.len, NULL, 0, other, &got, &err), PROP_E_VERIFY);
    assert_int_equal(prop_tdx_evidence(q.data, 600, NULL, 0, other, &got, &err), PROP_E_INPUT);
    q.data[0] = 3;
    assert_int_equal(prop_tdx_evidence(q.data, q.len, NULL, 0, other, &got, &err), PROP_E_INPUT);
    assert_null(got);
    prop_buf_release(&q);
    json_decref(f);
}

static void rtmr_hex(uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN], const json_t *c)
{
    for (int i = 0; i < PROP_RTMRS; i++) {
        char name[16], hex[2 * PROP_RTMR_LEN + 1];
        (void)snprintf(name, sizeof(name), "rtmr%d", i);
        prop_hex_encode(rtmr[i], PROP_RTMR_LEN, hex);
        if (json_object_get(c, name))
            assert_string_equal(hex, text_of(c, name));
    }
}

/* The log goes along when it replays to the quote's registers, and stays away when it does not. */
static void check_log(const json_t *c)
{
    struct prop_buf log = bytes_of(c, "log_base64");
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    uint8_t quote[48 + 584] = { 4, 0, 2, 0, 0x81 };
    size_t used = 0;
    json_t *e = NULL;
    assert_int_equal(prop_eventlog_replay(log.data, log.len, &used, rtmr, NULL), 0);
    assert_int_equal(used, json_integer_value(json_object_get(c, "log_len")));
    rtmr_hex(rtmr, c);
    memcpy(quote + 376, rtmr, sizeof(rtmr));
    assert_int_equal(prop_buf_add(&log, (const uint8_t[64]){ 0 }, 64, NULL), 0);
    assert_int_equal(prop_tdx_evidence(quote, sizeof(quote), log.data, log.len, quote + 568, &e,
                                       NULL), 0);
    assert_string_equal(text_of(e, "cc_eventlog"), text_of(c, "evidence_cc_eventlog"));
    json_decref(e);
    quote[376] ^= 1;
    assert_int_equal(prop_tdx_evidence(quote, sizeof(quote), log.data, log.len, quote + 568, &e,
                                       NULL), 0);
    assert_true(json_is_null(json_object_get(e, "cc_eventlog")));
    json_decref(e);
    prop_buf_release(&log);
}

static void test_event_logs(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "eventlog.json");
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(f, "captured"), i, c)
        check_log(c);
    assert_true(i >= 2);
    json_decref(f);
}

static void test_event_logs_cut_short(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "eventlog.json");
    struct prop_buf log = bytes_of(json_array_get(json_object_get(f, "captured"), 0),
                                   "log_base64");
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    size_t refused = 0;
    for (size_t n = 0; n < log.len; n += 7) {
        size_t used = 0;
        /* A copy of its own size, so that a read over the end is seen. */
        uint8_t *cut = prop_alloc(n);
        assert_non_null(cut);
        memcpy(cut, log.data, n);
        refused += prop_eventlog_replay(cut, n, &used, rtmr, NULL) < 0;
        prop_free(cut);
    }
    assert_true(refused > log.len / 7 - 60);
    prop_buf_release(&log);
    json_decref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_data_of_the_vectors),
        cmocka_unit_test(test_report_data_with_devices),
        cmocka_unit_test(test_sample_is_not_padded),
        cmocka_unit_test(test_auto_never_means_sample),
        cmocka_unit_test(test_choosing),
        cmocka_unit_test(test_hardware_that_is_not_there),
        cmocka_unit_test(test_snp_report_as_recorded),
        cmocka_unit_test(test_snp_evidence_of_milan_and_genoa),
        cmocka_unit_test(test_snp_turin_and_version_5),
        cmocka_unit_test(test_snp_reports_refused),
        cmocka_unit_test(test_snp_evidence_for_another_nonce),
        cmocka_unit_test(test_snp_certificate_tables),
        cmocka_unit_test(test_tdx_evidence_as_recorded),
        cmocka_unit_test(test_event_logs),
        cmocka_unit_test(test_event_logs_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
