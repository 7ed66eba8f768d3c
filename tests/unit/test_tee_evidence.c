/* Report data against vectors that real servers accepted, sample evidence, and choosing. */
#include "test_tee.h"

#include "tee/binding.h"

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
    struct prop_tee_ask ask = { .tee = PROP_TEE_SAMPLE };
    struct prop_tee_answer a = PROP_TEE_ANSWER_INIT;
    memset(ask.report_data, 0xa5, sizeof(ask.report_data));
    assert_int_equal(prop_tee_evidence_on(&bare, &ask, &a, NULL), 0);
    assert_string_equal(text_of(a.json, "svn"), "1");
    assert_int_equal(strlen(text_of(a.json, "report_data")), 64);
    assert_int_equal(json_object_size(a.json), 2);
    assert_int_equal(a.checks.n, 0);
    assert_null(a.fields);
    prop_tee_answer_release(&a);
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
    for (enum prop_tee t = PROP_TEE_NONE; t <= PROP_TEE_TDX; t++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_tee_ask ask = { .tee = t };
        struct prop_tee_answer a = PROP_TEE_ANSWER_INIT;
        if (t == PROP_TEE_SAMPLE)
            continue;
        assert_int_equal(prop_tee_evidence_on(&bare, &ask, &a, &err), PROP_E_UNSUPPORTED);
        assert_string_equal(prop_err_id(&err), t == PROP_TEE_NONE ? "no-tee" : "no-tsm");
        assert_null(a.json);
        assert_null(a.fields);
    }
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
