/* Lines of complaints, rules cut out of a text, and measurement files. */
#include "policy/document.h"
#include "policy/measured.h"
#include "util/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define A96 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B96 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C96 "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
    } cases[] = {
        { "# x\n\nversion = 2\n", 3 },
        { "# x\n\nversion = 1\n\nrules = 3\n", 5 },
        { "version = 1\ncomment = [\n1\n]\n", 2 },
        { "version = 1\n[rule]\nresource = 1\n", 2 },
        { "\n\n", 1 },
        { "version = 1\n[[rule]]\ntier = \"affirming\"\n\n# [[rule]]\n[[rule]]\n\ntier = \"warning\"\n", 2 },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntier = \"affirming\"\n# [[rule]]\n"
          "comment = '''\n[[rule]]\ntier = \"x\"\n'''\n[[rule]]\nresource = \"a/b/d\"\n\ntier = \"x\"\n",
          13 },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ncomment = \"\"\"\n\\\"\"\"\n[[rule]]\"\"\"\"\"\n"
          "tier = 'x'\n",
          7 },
        { "version = 1\n[[ rule ]]\nresource = \"a/b/c\"\ntee = \"snp\"\nmeasurement = [\n  # \"x\", [\n"
          "  \"" A96 "\",\n\n  \"00\", # ]\n]\n",
          9 },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\ntier = \"warning\"\n"
          "min_tcb.snp = 1\nmin_tcb.tee = 300\n",
          7 },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\ntier = \"warning\"\n"
          "[rule.min_tcb]\nsnp = 1\n\"tee\" = 300\n",
          8 },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\ntier = \"warning\"\n"
          "[rule.init_data_claims.\"aa.toml\"]\nsnp = 1\ntee = 1.5\n[[rule]]\nresource = \"a/b/c\"\n",
          6 },
        { "version = 1\nrule = [\n { resource = \"a/b/c\", tier = \"affirming\" },\n { resource = \"a/b/c\",\n"
          "tier = \"none\" } ]\n",
          5 },
        { "{\n\"version\": 1,\n\"rule\": [\n{\"resource\":\"a/b/c\",\"tier\":\"affirming\"},\n{\n"
          "\"comment\":\"]},\\\"\\\\\",\n\"resource\":\"a/b/c\",\n\"tee\":\"snp\",\n\"measurement\":\n[\n\"" A96
          "\",\n7]}]}",
          12 },
        { "{\"version\": 1,\n\"rule\": [{\"resource\":\"a/b/c\"}, 3\n]}", 2 },
        { "{\"version\": 1,\n\"rule\": [{\"resource\":\"a/b/c\",\"tier\":\"warning\"},\n 3\n]}", 3 },
        { "{\"version\": 1,\n\"rule\": [{\"resource\":\"a/b/c\",\"tier\":\"warning\",\n\"tee\":\"snp\",\n"
          "\"min_tcb\":{\n\"snp\":1,\n\"x\":1}}]}",
          6 },
        { "{\n\n\"x\":1,\"version\":1}", 3 },
        { "{\"rule\":\n{}\n,\"version\":1}", 1 },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_policy_doc *d = NULL;
        char want[40];
        int rc = prop_policy_doc_parse(cases[i].text, strlen(cases[i].text), "'p.toml'", &d, &err);
        (void)snprintf(want, sizeof want, "'p.toml:%d': ", cases[i].line);
        if (rc == 0 || strncmp(err.message, want, strlen(want)) != 0)
            fail_msg("case %zu: %d '%s', wanted %s", i, rc, err.message, want);
    }
    /* A name without quotes, and words. */
    struct prop_err err = PROP_ERR_INIT;
    struct prop_policy_doc *d = NULL;
    assert_true(prop_policy_doc_parse("\nversion = 3", 12, "p.toml", &d, &err) != 0);
    assert_non_null(strstr(err.message, "p.toml:2: version 3"));
    assert_true(prop_policy_doc_parse("\nversion = 3", 12, "the document", &d, &err) != 0);
    assert_non_null(strstr(err.message, "the document, line 2: version 3"));
}

static struct prop_policy_doc *parse(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_policy_doc *d = NULL;
    if (prop_policy_doc_parse(text, strlen(text), "'p'", &d, &err) != 0)
        fail_msg("%s\n%s", err.message, text);
    return d;
}

#define X "[[rule]]\nresource = \"x/x/x\"\ntier = \"affirming\"\n"
#define Y "[[rule]] # y\ntee = \"snp\" # mine\nresource = \"y/y/y\"\ntier = \"affirming\"\n"                \
          "  [rule.min_tcb]\n  snp = 1\n  # why\n  tee = 2\n"
#define Z "[[rule]]\nresource = \"z/z/z\"\ntier = \"affirming\"\n"
#define JX "{\"resource\":\"x/x/x\",\"tier\":\"warning\"}"
#define JY "{\n  \"tier\":\"warning\", \"comment\":\"}],\", \"resource\":\"y/y/y\" }"

static void test_remove(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t index;
        const char *want;
    } cases[] = {
        { "version = 1\n\n" X "\n" Y "\n" Z, 1, "version = 1\n\n" X "\n" Z },
        { "version = 1\n\n" X "\n" Y "\n" Z, 0, "version = 1\n\n" Y "\n" Z },
        { "version = 1\n\n" X "\n" Y "\n" Z, 2, "version = 1\n\n" X "\n" Y },
        { "version = 1\n" X Y Z, 1, "version = 1\n" X Z },
        { "version = 1\n" X, 0, "version = 1\n" },
        /* comments outside the rule stay */
        { "version = 1\n# a\n" X "# b\n\n# c\n" Y "# d\n" Z "# e\n", 1,
          "version = 1\n# a\n" X "# b\n\n# c\n# d\n" Z "# e\n" },
        { "version = 1\n" X "\n# the end", 0, "version = 1\n\n# the end" },
        { "version = 1\r\n\r\n[[rule]]\r\nresource = 'x/x/x'\r\ntier = 'warning'\r\n" Z, 0,
          "version = 1\r\n\r\n" Z },
        { "version = 1\r\n\r\n[[rule]]\r\nresource = 'x/x/x'\r\ntier = 'warning'\r\n \t\r\n# b\r\n", 0,
          "version = 1\r\n\r\n# b\r\n" },
        { "version = 1\r\n\r\n[[rule]]\r\nresource = 'x/x/x'\r\ntier = 'warning'\r\n", 0,
          "version = 1\r\n" },
        { "version = 1\n[[rule]]\nresource = \"x/x/x\"\ntier = \"affirming\"", 0, "version = 1\n" },
        { "version = 1\n[[rule]]\nresource = \"x/x/x\"\ntee = \"tdx\"\nrtmr_1 = [\n\"" A96 "\", # [[\n]\n"
          "tier = \"affirming\"\ncomment = '''\n[[rule]]\n'''\n" Z,
          0, "version = 1\n" Z },
        { "{\"version\":1,\"rule\":[" JX ", " JY ", " JX "]}", 1,
          "{\"version\":1,\"rule\":[" JX ", " JX "]}" },
        { "{\"version\":1,\"rule\":[" JX ",\n " JY "\n]}", 1, "{\"version\":1,\"rule\":[" JX "\n]}" },
        { "{\"version\":1,\"rule\":[" JX ",\n " JY "\n]}", 0, "{\"version\":1,\"rule\":[" JY "\n]}" },
        { "{\"version\":1,\"rule\": [ " JY " ] }", 0, "{\"version\":1,\"rule\": [  ] }" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_policy_doc struct prop_policy_doc *d = parse(cases[i].text);
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
        size_t before = json_array_size(prop_policy_doc_rules(d));
        struct prop_err err = PROP_ERR_INIT;
        if (prop_policy_doc_remove(d, cases[i].index, &err) != 0)
            fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(json_array_size(prop_policy_doc_rules(d)), before - 1);
        assert_int_equal(prop_policy_doc_write(d, &out, NULL), 0);
        if (strcmp(prop_buf_str(&out), cases[i].want) != 0)
            fail_msg("case %zu:\n%s---\n%s---", i, prop_buf_str(&out), cases[i].want);
    }
}

static void test_remove_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t index;
        int code;
        const char *id;
    } cases[] = {
        { "version = 1\n" X, 1, PROP_E_NOTFOUND, "no-such-rule" },
        { "version = 1\n", 0, PROP_E_NOTFOUND, "no-such-rule" },
        { "version = 1\nrule = [{resource = \"x/y/z\", tier = \"warning\"}]\n", 0, PROP_E_UNSUPPORTED,
          "policy-form" },
        { "{\"version\":1,\"r\\u0075le\":[" JX "]}", 0, PROP_E_UNSUPPORTED, "policy-form" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_policy_doc struct prop_policy_doc *d = parse(cases[i].text);
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
        struct prop_err err = PROP_ERR_INIT;
        assert_int_equal(prop_policy_doc_remove(d, cases[i].index, &err), cases[i].code);
        assert_string_equal(prop_err_id(&err), cases[i].id);
        assert_int_equal(prop_policy_doc_write(d, &out, NULL), 0);
        assert_string_equal(prop_buf_str(&out), cases[i].text);
    }
}

/* A rule with every member, added to a text and taken out again. */
static void test_there_and_back(void **state)
{
    (void)state;
    static const char *const texts[] = { "version = 1\n", "version = 1\n\n" X "\n# end\n" Z,
                                         "version = 1\r\n", "# a\r\n\r\nversion = 1\r\n",
                                         "{\"version\":1,\"rule\":[\n" JX "\n]}" };
    static const char *const rules[] = {
        "{\"resource\":\"a/b/c\",\"tee\":\"tdx\",\"measurement\":[\"" A96 "\"],\"rtmr_1\":[\"" A96 "\",\"" B96
        "\"],\"reference_values\":[\"xfam\"],\"tcb_status\":[\"UpToDate\"],\"init_data\":[\"sha384:" A96
        "\"],\"init_data_claims\":{\"a.b\":{\"c\\\"\":-7,\"d\":true},\"e\":\"\\u0001\"},\"comment\":\"x\"}",
        "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"executables\":\"affirming\",\"measured\":true,"
        "\"min_tcb\":{\"bootloader\":1,\"microcode\":2},\"container_images\":[\"sha256:"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"],\"migration\":\"allowed\"}",
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(texts); i++)
        for (size_t k = 0; k < PROP_ARRAY_LEN(rules); k++) {
            prop_auto_policy_doc struct prop_policy_doc *d = parse(texts[i]);
            prop_auto_json json_t *rule = json_loads(rules[k], 0, NULL);
            prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
            prop_auto_buf struct prop_buf back = PROP_BUF_INIT(10000);
            struct prop_err err = PROP_ERR_INIT;
            bool added = false;
            size_t n = json_array_size(prop_policy_doc_rules(d));
            assert_non_null(rule);
            assert_int_equal(prop_policy_doc_add(d, rule, &added, NULL), 0);
            assert_true(added);
            if (prop_policy_doc_write(d, &out, &err) != 0)
                fail_msg("%s", err.message);
            prop_auto_policy_doc struct prop_policy_doc *again = parse(prop_buf_str(&out));
            assert_true(json_equal(json_array_get(prop_policy_doc_rules(again), n), rule));
            assert_int_equal(prop_policy_doc_remove(again, n, NULL), 0);
            assert_int_equal(prop_policy_doc_write(again, &back, NULL), 0);
            assert_string_equal(prop_buf_str(&back), texts[i]);
        }
}

static void test_which_language(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool document;
    } cases[] = {
        { "package policy\n", false },
        { "# Built from a policy document\n\n  package policy\nimport rego.v1\n", false },
        { "#\npackage\tpolicy", false },
        { "package = 1\n", true },
        { "package.x = 1\n", true },
        { "packages = 1\n", true },
        { "version = 1\n", true },
        { "# package policy\nversion = 1", true },
        { "{\"version\":1}", true },
        { "[[rule]]\n", true },
        { "allow := true\n", false },
        { "default allow = false\n", false },
        { "x == 1\n", false },
        { "package", false },
        { "not rego", false },
        { "'version' = 1", true },
        { "\"version\" = 1", true },
        { "version=1", true },
        { "", true },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++)
        if (prop_policy_doc_looks_like(cases[i].text, strlen(cases[i].text)) != cases[i].document)
            fail_msg("case %zu: %s", i, cases[i].text);
}

/* --- measurement files ------------------------------------------------------------------------- */

static json_t *files(const char *const *texts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        struct prop_err err = PROP_ERR_INIT;
        char path[40];
        (void)snprintf(path, sizeof path, "out/image-%zu.json", i);
        if (prop_policy_measured_add(list, texts[i], strlen(texts[i]), path, &err) != 0)
            fail_msg("%s\n%s", err.message, texts[i]);
    }
    return list;
}

static void test_measured(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *file, *other, *want; /* want: the rule, or a part of the refusal */
    } cases[] = {
        { "\"tee\":\"snp\",\"measured\":true", "{\"launch_digest\":\"" A96 "\",\"vcpus\":2}", NULL,
          "\"tee\":\"snp\",\"measurement\":[\"" A96 "\"]" },
        { "\"tee\":\"snp\",\"measured\":true", "{\"launch_digest\":\"" A96 "\"}",
          "{\"launch_digest\":\"" B96 "\"}", "\"tee\":\"snp\",\"measurement\":[\"" A96 "\",\"" B96 "\"]" },
        { "\"tee\":\"snp\",\"measured\":\"image-1\"", "{\"launch_digest\":\"" A96 "\"}",
          "{\"launch_digest\":\"" B96 "\"}", "\"tee\":\"snp\",\"measurement\":[\"" B96 "\"]" },
        { "\"tee\":\"snp\",\"measured\":\"blue\",\"measurement\":\"" C96 "\"",
          "{\"measurements\":[{\"name\":\"red\",\"launch_digest\":\"" A96 "\"},{\"name\":\"blue\","
          "\"launch_digest\":\"" B96 "\",\"init_data\":\"sha384:" A96 "\"}]}",
          NULL, "\"tee\":\"snp\",\"measurement\":[\"" C96 "\",\"" B96 "\"],\"init_data\":[\"sha384:" A96 "\"]" },
        { "\"tee\":\"snp\",\"measured\":\"blue\"",
          "{\"measurements\":{\"red\":{\"launch_digest\":\"" A96 "\"},\"blue\":{\"launch_digest\":\"" B96
          "\"}}}", NULL, "\"tee\":\"snp\",\"measurement\":[\"" B96 "\"]" },
        { "\"tee\":\"tdx\",\"tier\":\"affirming\",\"measured\":true",
          "[{\"mr_td\":\"" A96 "\",\"rtmr_1\":{\"edk2-202508\":\"" B96 "\",\"edk2-202411\":\"" C96
          "\"},\"rtmr_2\":[{\"profile\":\"x\",\"value\":\"" A96 "\"}],\"launch_digest\":\"" C96 "\"}]", NULL,
          "\"tee\":\"tdx\",\"tier\":\"affirming\",\"measurement\":[\"" A96 "\"],\"rtmr_1\":[\"" B96 "\",\"" C96
          "\"],\"rtmr_2\":[\"" A96 "\"]" },
        { "\"tee\":\"snp\",\"tier\":\"affirming\"", "{\"launch_digest\":\"" A96 "\"}", NULL,
          "\"tee\":\"snp\",\"tier\":\"affirming\"" },
        { "\"tee\":\"tdx\",\"measured\":true", "{\"launch_digest\":\"" A96 "\"}", NULL,
          "wants measured values for tdx" },
        { "\"tee\":\"snp\",\"measured\":\"green\"", "{\"launch_digest\":\"" A96 "\"}", NULL,
          "wants the measurement 'green' for snp" },
        { "\"tee\":\"tdx\",\"measured\":true", "{\"mr_td\":\"" A96 "\"}",
          "{\"mr_td\":\"" A96 "\",\"rtmr_1\":\"" A96 "\"}", "some of the measurements have 'rtmr_1'" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        const char *const texts[] = { cases[i].file, cases[i].other };
        prop_auto_json json_t *list = files(texts, cases[i].other != NULL ? 2 : 1);
        prop_auto_json json_t *normal = NULL;
        prop_auto_json json_t *filled = NULL;
        struct prop_err err = PROP_ERR_INIT;
        char text[3000];
        (void)snprintf(text, sizeof text, "{\"resource\":\"a/b/c\",%s}", cases[i].rule);
        prop_auto_json json_t *rule = json_loads(text, 0, NULL);
        assert_int_equal(prop_policy_rule_normal(rule, "r", NULL, &normal, NULL), 0);
        int rc = prop_policy_measured_fill(normal, "rule 1", list, &filled, &err);
        if (rc != 0) {
            if (strcmp(prop_err_id(&err), "not-measured") != 0 ||
                strstr(err.message, cases[i].want) == NULL)
                fail_msg("case %zu: %s", i, err.message);
            continue;
        }
        prop_auto_free char *got = prop_json_compact(filled);
        (void)snprintf(text, sizeof text, "{\"resource\":\"a/b/c\",%s}", cases[i].want);
        assert_string_equal(got, text);
    }
}

static void test_measured_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *id, *say;
    } cases[] = {
        { "", "json-syntax", "image.json" },
        { "{\"launch_digest\":\"" A96 "\"} x", "json-syntax", "image.json" },
        { "{}", "bad-measurement", "neither a launch_digest nor an mr_td" },
        { "3", "bad-measurement", "neither a launch_digest nor an mr_td" },
        { "[]", "bad-measurement", "no measurement in it" },
        { "{\"measurements\":{}}", "bad-measurement", "no measurement in it" },
        { "{\"measurements\":[3]}", "bad-measurement", "neither a launch_digest nor an mr_td" },
        { "{\"launch_digest\":\"00\"}", "bad-measurement", "'measurement' is not sha384:HEX" },
        { "{\"launch_digest\":7}", "bad-measurement", "'launch_digest' is not hex" },
        { "{\"launch_digest\":[]}", "bad-measurement", "empty list" },
        { "{\"launch_digest\":{\"x\":[]}}", "bad-measurement", "'launch_digest' is not hex" },
        { "{\"mr_td\":\"" A96 "\",\"rtmr_1\":\"zz\"}", "bad-measurement", "'rtmr_1' is not sha384:HEX" },
        { "{\"launch_digest\":\"" A96 "\",\"init_data\":\"" A96 "\"}", "bad-measurement", "'init_data'" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_json json_t *list = json_array();
        struct prop_err err = PROP_ERR_INIT;
        int rc = prop_policy_measured_add(list, cases[i].text, strlen(cases[i].text), "x/image.json", &err);
        if (rc != PROP_E_INPUT || strcmp(prop_err_id(&err), cases[i].id) != 0 ||
            strstr(err.message, cases[i].say) == NULL || strstr(err.message, "image.json") == NULL)
            fail_msg("case %zu: %d %s '%s'", i, rc, prop_err_id(&err), err.message);
    }
}

static void test_measured_document(void **state)
{
    (void)state;
    static const char *const texts[] = { "{\"launch_digest\":\"" A96 "\"}" };
    static const char text[] = "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\nmeasured = true\n";
    prop_auto_json json_t *list = files(texts, 1);
    prop_auto_policy_doc struct prop_policy_doc *d = parse(text);
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf plain = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_policy_build(d, &rego, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "not-measured");
    assert_int_equal(rego.len, 0);
    assert_int_equal(prop_policy_doc_measure(d, list, NULL), 0);
    assert_int_equal(prop_policy_build(d, &rego, &err), 0);
    assert_non_null(strstr(prop_buf_str(&rego), "evidence.snp.measurement == \"" A96 "\""));
    assert_int_equal(prop_policy_doc_plain(d, &plain, NULL), 0);
    prop_auto_policy_doc struct prop_policy_doc *again = parse(prop_buf_str(&plain));
    assert_true(json_equal(prop_policy_doc_rules(again), prop_policy_doc_rules(d)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_remove_refused),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_which_language),
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_measured_refused),
        cmocka_unit_test(test_measured_document),
    };
    return cmocka_run_group_tests_name("policy edit", tests, NULL, NULL);
}
