/* Init-data: what goes into HOSTDATA and MRCONFIGID, and which documents are none. */
#include "support.h"

#include "tee/initdata.h"

#define HEAD "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n"

static int read_text(const char *text, struct prop_initdata *d, struct prop_err *err)
{
    return prop_initdata_read(text, strlen(text), "init-data", d, err);
}

static void test_recorded_documents(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_initdata d;
    const char *shared = getenv("PROP_SHARED");
    char path[1024];
    json_t *root = NULL, *c;
    size_t i;
    (void)snprintf(path, sizeof path, "%s/fixtures/measure/initdata.json",
                   shared && *shared ? shared : "../shared");
    if (prop_json_parse_file(path, 1u << 20, &root, NULL) < 0) {
        print_message("skipped: not there: PROP_SHARED/fixtures/measure/initdata.json\n");
        skip();
    }
    json_array_foreach(json_object_get(root, "cases"), i, c) {
        const char *text = text_of(c, "toml");
        OK(read_text(text, &d, &err));
        assert_bytes_hex(d.digest.bytes, d.digest.len, text_of(c, "digest"));
        assert_bytes_hex(d.host_data, 32, text_of(c, "snp_host_data"));
        assert_bytes_hex(d.mr_config_id, 48, text_of(c, "tdx_mrconfigid"));
        struct prop_initdata pins;
        OK(prop_initdata_pins(text, strlen(text), text_of(c, "algorithm"), &pins, &err));
        assert_memory_equal(pins.mr_config_id, d.mr_config_id, 48);
    }
    assert_int_equal(i, 3);
    json_array_foreach(json_object_get(root, "must_refuse"), i, c)
        assert_true(read_text(text_of(c, "toml"), &d, NULL) < 0);
    assert_int_equal(i, 4);
    json_decref(root);
}

static void test_good_documents(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_initdata d;
    static const char *const good[] = {
        HEAD,
        HEAD "a = \"b\"",
        "algorithm='sha256'\nversion='0.1.0'\n[data]",
        "# hello\n\nversion = \"0.1.0\" # here\r\nalgorithm = \"sha512\"\r\n[ data ] # there\r\n",
        HEAD "\"aa.toml\" = '''\n[token]\nx = 1\n'''\nb = \"\"\"\\\n  c \\\"\\\"\\\" \"\" d\"\"\"\n",
        HEAD "a = \"\\u00e9 \\U0001F600 \\t\\\\ \"\n'b c' = 'd\\'\n\"e\\\"f\" = \"\"\n",
        HEAD "a = ''''quoted''''\nb = \"\"\"\"\"quoted\"\"\"\"\"\n",
        HEAD "a = \"caf\xc3\xa9\"\n",
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++)
        OK(read_text(good[i], &d, &err));
}

static void test_bad_documents(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_initdata d;
    static const char *const bad[] = {
        "",
        "\n",
        "{\"version\":\"0.1.0\"}",
        "version = \"0.1.0\"\n[data]\n",
        "algorithm = \"sha384\"\n[data]\n",
        "version = \"0.1.0\"\nalgorithm = \"sha384\"\n",
        "version = \"0.2.0\"\nalgorithm = \"sha384\"\n[data]\n",
        "version = 0.1\nalgorithm = \"sha384\"\n[data]\n",
        "version = \"0.1.0\"\nversion = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n",
        "version = \"0.1.0\"\nalgorithm = \"sha384\"\nother = \"x\"\n[data]\n",
        "version = \"0.1.0\"\nalgorithm = \"sha38\\u0034\"\n[data]\n",
        "version = \"0.1.0\"\nalgorithm = \"\"\"sha384\"\"\"\n[data]\n",
        "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[datas]\n",
        "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[[data]]\n",
        "version = \"0.1.0\"\nalgorithm = \"sha384\"\ndata = { a = \"b\" }\n",
        HEAD "[data]\n",
        HEAD "[data.x]\ny = \"z\"\n",
        HEAD "[other]\n",
        HEAD "a = 1\n",
        HEAD "a = \"b\" c\n",
        HEAD "a = \"b\n",
        HEAD "a = \"b\\q\"\n",
        HEAD "a = \"b\\\nc\"\n",
        HEAD "a = \"\\u12\"\n",
        HEAD "a = '''b\n",
        HEAD "a.b = \"c\"\n",
        HEAD "= \"c\"\n",
        HEAD "a\n",
        HEAD "a = \"b\"\rc = \"d\"\n",
        HEAD "a = \"\x01\"\n",
        HEAD "# \x01\n",
        HEAD "a = \"\xff\"\n",
        "\xef\xbb\xbf" HEAD,
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        if (read_text(bad[i], &d, NULL) == 0)
            print_error("document %zu is not refused\n", i);
        FAILS(read_text(bad[i], &d, &err), PROP_E_INPUT, "bad-init-data");
    }
    static const char *const algorithms[] = { "sha-384", "SHA384", "sm3", "sha1", "md5", "" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(algorithms); i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "version = \"0.1.0\"\nalgorithm = \"%s\"\n[data]\n",
                       algorithms[i]);
        FAILS(read_text(text, &d, &err), PROP_E_UNSUPPORTED, "init-data-algorithm");
        FAILS(prop_initdata_pins("x", 1, algorithms[i], &d, &err), PROP_E_UNSUPPORTED,
              "init-data-algorithm");
    }
}

/* Cut at each byte, in a copy of its own size so that a read over the end is seen. */
static void test_cut_short(void **state)
{
    (void)state;
    static const char text[] = HEAD "\"a\" = '''\nx\n''' # y\nb = \"\"\"c\\\n  d\\u00e9\"\"\"\n";
    struct prop_initdata d;
    for (size_t n = 0; n < sizeof text; n++) {
        char *cut = prop_alloc(n);
        assert_non_null(cut);
        memcpy(cut, text, n);
        int rc = prop_initdata_read(cut, n, "init-data", &d, NULL);
        assert_true(rc == 0 || rc == PROP_E_INPUT);
        assert_true(rc < 0 || n >= strlen(HEAD) - 1);
        prop_free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_documents),
        cmocka_unit_test(test_good_documents),
        cmocka_unit_test(test_bad_documents),
        cmocka_unit_test(test_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
