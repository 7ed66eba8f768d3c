/* SNP reports and certificate tables: raw bytes to JSON and back, against what real machines made and
 * real servers took; and each byte of them changed. */
#include "test_tee.h"

static void test_report_as_recorded(void **state)
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
    uint8_t again[PROP_SNP_REPORT];
    assert_int_equal(prop_snp_evidence(raw.data, raw.len, table.data, table.len, &got, NULL), 0);
    assert_true(json_equal(got, json_object_get(f, "evidence")));
    assert_int_equal(prop_snp_report_raw(json_object_get(got, "attestation_report"), again, NULL), 0);
    assert_memory_equal(again, raw.data, sizeof(again));
    json_decref(got);
    json_decref(f);
    prop_buf_release(&raw);
    prop_buf_release(&table);
}

static void test_evidence_of_milan_and_genoa(void **state)
{
    (void)state;
    check_snp_fixture("snp-report-v2-milan.json");
    check_snp_fixture("snp-report-v3-genoa.json");
}

/* A report made up here: version 5 on Turin, every known byte holding something. */
static void test_turin_and_version_5(void **state)
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

static void test_reports_refused(void **state)
{
    (void)state;
    uint8_t r[PROP_SNP_REPORT] = { 3 };
    refuse_snp(r, sizeof(r) - 1, PROP_E_INPUT, NULL);
    r[0] = 1;
    refuse_snp(r, sizeof(r), PROP_E_UNSUPPORTED, "snp-report-layout");
    r[0] = 6;
    refuse_snp(r, sizeof(r), PROP_E_UNSUPPORTED, "snp-report-layout");
    r[0] = 3;
    /* Reserved bytes, and bytes of fields that this version does not have. */
    static const size_t unknown[] = { 0x4c, 0x18b, 0x1eb, 0x1f8, 0x207, 0x29f, 0x330, 0x49f,
                                      0x182, 0x3a };
    for (size_t i = 0; i < PROP_ARRAY_LEN(unknown); i++) {
        r[unknown[i]] = 1;
        refuse_snp(r, sizeof(r), PROP_E_UNSUPPORTED, "snp-report-layout");
        r[unknown[i]] = 0;
    }
}

static void refuse_table(const uint8_t *t, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *o = NULL;
    assert_int_equal(prop_snp_cert_chain(t, len, &o, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "snp-cert-table");
    assert_null(o);
}

static void test_certificate_tables(void **state)
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

/* Version 5 on Turin, with something in every byte that is known: there and back again. */
static void test_every_known_byte_comes_back(void **state)
{
    (void)state;
    for (uint8_t version = 2; version <= 5; version++) {
        for (int turin = 0; turin <= (version > 2); turin++) {
            uint8_t r[PROP_SNP_REPORT] = { version }, again[PROP_SNP_REPORT];
            size_t known = 0;
            r[0x188] = turin ? 0x1a : 0;
            for (size_t i = 4; i < sizeof(r); i++) {
                json_t *o = NULL;
                uint8_t old = r[i];
                if (i == 0x188)
                    continue;
                r[i] = (uint8_t)(i % 127 + 1);
                if (prop_snp_report_json(r, sizeof(r), &o, NULL) < 0) {
                    r[i] = old; /* reserved, or the sign of a number */
                    continue;
                }
                known++;
                if (i % 16 == 0 || i < 0x50) {
                    assert_int_equal(prop_snp_report_raw(o, again, NULL), 0);
                    assert_memory_equal(again, r, sizeof(r));
                }
                json_decref(o);
            }
            assert_true(known > 580);
        }
    }
}

/* Each byte of a real report flipped: either the JSON makes the flipped bytes again, or it is refused. */
static void check_flips(const char *file)
{
    json_t *f = shared_json(MEASURE, file);
    struct prop_buf raw = bytes_of(f, "report_base64");
    size_t refused = 0;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t again[PROP_SNP_REPORT];
        json_t *o = NULL;
        raw.data[i] ^= 0x55;
        if (prop_snp_report_json(raw.data, raw.len, &o, NULL) == 0) {
            assert_int_equal(prop_snp_report_raw(o, again, NULL), 0);
            assert_memory_equal(again, raw.data, sizeof(again));
        } else {
            assert_null(o);
            refused++;
        }
        json_decref(o);
        raw.data[i] ^= 0x55;
    }
    assert_true(refused > 500 && refused < 620);
    prop_buf_release(&raw);
    json_decref(f);
}

static void test_each_byte_flipped(void **state)
{
    (void)state;
    check_flips("snp-report-v2-milan.json");
    check_flips("snp-report-v3-genoa.json");
}

static void refuse_json(json_t *report, const char *member, json_t *value)
{
    uint8_t raw[PROP_SNP_REPORT];
    json_t *o = json_deep_copy(report);
    if (value)
        assert_int_equal(json_object_set_new(o, member, value), 0);
    else
        assert_int_equal(json_object_del(o, member), 0);
    REFUSED(prop_snp_report_raw(o, raw, err), PROP_E_INPUT, "bad-evidence");
    json_decref(o);
}

static void test_json_that_is_no_report(void **state)
{
    (void)state;
    uint8_t r[PROP_SNP_REPORT] = { 3 };
    json_t *o = NULL;
    const char *name;
    json_t *value;
    assert_int_equal(prop_snp_report_json(r, sizeof(r), &o, NULL), 0);
    json_object_foreach(o, name, value) {
        refuse_json(o, name, json_string("text"));
        /* What this version does not have may be left out; everything else may not. */
        if (!json_is_null(value))
            refuse_json(o, name, NULL);
    }
    refuse_json(o, "version", json_integer(6));
    refuse_json(o, "vmpl", json_integer(-1));
    refuse_json(o, "vmpl", json_integer(0x100000000));
    refuse_json(o, "launch_mit_vector", json_integer(1));
    refuse_json(o, "measurement", json_array());
    refuse_json(o, "signature", json_object());
    refuse_json(o, "current", json_pack("{s:i,s:i}", "major", 1, "minor", 2));
    refuse_json(o, "current_tcb", json_pack("{s:i,s:i,s:i,s:i,s:i}", "fmc", 1, "bootloader", 1, "tee",
                                            1, "snp", 1, "microcode", 1));
    json_decref(o);
}

/* Each byte of the table's entries flipped: what comes out is bounded by the table, or it is refused. */
static void test_each_byte_of_a_table_flipped(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "snp-report-v3-genoa.json");
    struct prop_buf table = bytes_of(f, "cert_table_base64");
    size_t refused = 0, nulls = 0;
    for (size_t i = 0; i < 48; i++) {
        for (int bit = 0; bit < 8; bit++) {
            /* Memory of its own size, so that a read over the end is seen. */
            uint8_t *copy = prop_alloc(table.len);
            json_t *o = NULL;
            memcpy(copy, table.data, table.len);
            copy[i] ^= (uint8_t)(1 << bit);
            if (prop_snp_cert_chain(copy, table.len, &o, NULL) < 0)
                refused++;
            else if (json_is_null(o))
                nulls++;
            else
                assert_true(json_array_size(o) == 1);
            json_decref(o);
            prop_free(copy);
        }
    }
    assert_true(refused > 200);
    assert_true(nulls >= 128); /* no VCEK any more: the server fetches one */
    prop_buf_release(&table);
    json_decref(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_as_recorded),
        cmocka_unit_test(test_evidence_of_milan_and_genoa),
        cmocka_unit_test(test_turin_and_version_5),
        cmocka_unit_test(test_reports_refused),
        cmocka_unit_test(test_certificate_tables),
        cmocka_unit_test(test_every_known_byte_comes_back),
        cmocka_unit_test(test_each_byte_flipped),
        cmocka_unit_test(test_json_that_is_no_report),
        cmocka_unit_test(test_each_byte_of_a_table_flipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
