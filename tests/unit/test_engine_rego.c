/* Rego and TOML through the engine: what Trustee's policies rely on, and what is refused how. */
#include "engine/rego.h"
#include "engine/toml.h"
#include "engine/wasm.h"
#include "util/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct prop_rego *policy(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_rego *r = NULL;
    int rc = prop_rego_new("", text, strlen(text), &r, NULL, &err);

    if (rc)
        print_error("%s\n", err.message);
    assert_int_equal(rc, 0);
    return r;
}

/* The rule's value as compact JSON in `out`; "undefined" when it has none. */
static const char *eval(struct prop_rego *r, const char *rule, char *out, size_t size)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;

    assert_int_equal(prop_rego_eval_rule(r, rule, &v, &err), 0);
    if (!v) {
        (void)snprintf(out, size, "undefined");
        return out;
    }
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    (void)snprintf(out, size, "%s", text);
    prop_free(text);
    json_decref(v);
    return out;
}

static void set(struct prop_rego *r, const char *data, const char *input)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *d = json_loads(data, 0, NULL);
    json_t *i = json_loads(input, 0, NULL);

    assert_int_equal(prop_rego_set_data(r, d, &err), 0);
    assert_int_equal(prop_rego_set_input(r, i, &err), 0);
    json_decref(d);
    json_decref(i);
}

static void test_allow(void **state)
{
    (void)state;
    char out[256];
    prop_auto_rego struct prop_rego *r = policy(
        "package policy\n\ndefault allow := false\n"
        "allow if {\n  data.plugin == \"resource\"\n"
        "  input.submods.cpu0[\"ear.trustworthiness-vector\"].hardware == 2\n}\n");

    set(r, "{\"plugin\":\"resource\"}",
        "{\"submods\":{\"cpu0\":{\"ear.trustworthiness-vector\":{\"hardware\":2}}}}");
    assert_string_equal(eval(r, "data.policy.allow", out, sizeof out), "true");
    /* data and input are replaced, not merged with what was there */
    set(r, "{\"other\":1}", "{\"submods\":{}}");
    assert_string_equal(eval(r, "data.policy.allow", out, sizeof out), "false");
    assert_string_equal(eval(r, "data.policy.nothing", out, sizeof out), "undefined");
}

/* Trustee has the whole regex crate beside regorus; its classes must not be missing here. */
static void test_regex_classes(void **state)
{
    (void)state;
    char out[256];
    prop_auto_rego struct prop_rego *r = policy(
        "package policy\nimport rego.v1\n"
        "digits if regex.match(`^key/\\d+\\s\\w$`, input.path)\n"
        "letters if regex.match(`^\\p{Greek}+$`, input.name)\n");

    set(r, "{}", "{\"path\":\"key/42 x\",\"name\":\"\\u03b1\\u03b2\"}");
    assert_string_equal(eval(r, "data.policy.digits", out, sizeof out), "true");
    assert_string_equal(eval(r, "data.policy.letters", out, sizeof out), "true");
    set(r, "{}", "{\"path\":\"key/x\",\"name\":\"ab\"}");
    assert_string_equal(eval(r, "data.policy.digits", out, sizeof out), "undefined");
}

static void test_undefined_and_values(void **state)
{
    (void)state;
    char out[256];
    prop_auto_rego struct prop_rego *r =
        policy("package policy\nallow if input.x == 1\nlist := [1, \"a\", null]\n"
               "count_of := count(input.items)\nid := base64.decode(\"aGk=\")\n");

    set(r, "{}", "{\"items\":[1,2,3]}");
    assert_string_equal(eval(r, "data.policy.allow", out, sizeof out), "undefined");
    assert_string_equal(eval(r, "data.policy.list", out, sizeof out), "[1,\"a\",null]");
    assert_string_equal(eval(r, "data.policy.count_of", out, sizeof out), "3");
    assert_string_equal(eval(r, "data.policy.id", out, sizeof out), "\"hi\"");
}

static void test_syntax_text(void **state)
{
    (void)state;
    static const char bad[] = "package policy\nallow if {";
    struct prop_err err = PROP_ERR_INIT;
    struct prop_rego *r = NULL;
    char *detail = NULL;

    assert_int_equal(prop_rego_new("", bad, sizeof bad - 1, &r, &detail, &err), PROP_E_INPUT);
    assert_null(r);
    /* recorded from Trustee: protocol/transcripts/kbs-set-resource-policy-bad-rego.http */
    assert_string_equal(detail,
                        "\n--> :2:11\n  |\n2 | allow if {\n  |           ^\n"
                        "error: expecting expression");
    assert_string_equal(err.id, "rego-syntax");
    assert_string_equal(err.message, "policy: line 2, column 11: expecting expression");
    prop_free(detail);
    assert_int_equal(prop_rego_new("p.rego", "x", 1, &r, NULL, &err), PROP_E_INPUT);
    assert_int_equal(prop_rego_new("p.rego", "\xff\xfe", 2, &r, NULL, &err), PROP_E_INPUT);
    assert_int_equal(prop_rego_new("", "", 0, &r, NULL, &err), PROP_E_INPUT);
}

static char *lookup(void *ctx, const char *name)
{
    (*(int *)ctx)++;
    return strcmp(name, "svn") == 0 ? prop_strdup("[1, 2]") : NULL;
}

static void test_reference_values(void **state)
{
    (void)state;
    char out[64];
    int calls = 0;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_rego struct prop_rego *r =
        policy("package policy\nknown if 2 in query_reference_value(\"svn\")\n"
               "missing := query_reference_value(\"nope\")\n");

    assert_int_equal(prop_rego_set_reference(r, lookup, &calls, &err), 0);
    set(r, "{}", "{}");
    assert_string_equal(eval(r, "data.policy.known", out, sizeof out), "true");
    assert_string_equal(eval(r, "data.policy.missing", out, sizeof out), "null");
    assert_true(calls >= 2);
}

static void test_eval_error(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;
    prop_auto_rego struct prop_rego *r = policy("package policy\na := 1\na := 2\n");

    assert_int_equal(prop_rego_eval_rule(r, "data.policy.a", &v, &err), PROP_E_INPUT);
    assert_null(v);
    assert_string_equal(err.id, "rego-eval");
    assert_null(strchr(err.message, '\n'));
    json_t *list = json_array();
    assert_int_equal(prop_rego_set_data(r, list, &err), PROP_E_INPUT);
    json_decref(list);
}

static void test_describe(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *d = NULL;
    prop_auto_rego struct prop_rego *r =
        policy("package policy\ndefault allow := false\nallow if true\nf(x) := x\n"
               "roles[r] if some r in [1]\nmap.key := 1\nset contains 1 if true\n");

    assert_int_equal(prop_rego_describe(r, &d, &err), 0);
    prop_auto_free char *text = prop_json_sorted(d);
    assert_string_equal(text, "{\"package\":\"data.policy\",\"rules\":"
                              "[\"allow\",\"f\",\"roles\",\"map.key\",\"set\"]}");
}

static void test_toml(void **state)
{
    (void)state;
    static const char doc[] = "a = 1\nb = 2.5\nd = 2026-11-21T13:05:26Z\n[t]\n"
                              "list = [true, \"x\"]\ninf = inf\n[[many]]\nn = -7\n";
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *v = NULL;

    assert_int_equal(prop_toml_parse(doc, sizeof doc - 1, "policy.toml", &v, &err), 0);
    prop_auto_free char *text = prop_json_sorted(v);
    assert_string_equal(text, "{\"a\":1,\"b\":2.5,\"d\":\"2026-11-21T13:05:26Z\","
                              "\"many\":[{\"n\":-7}],"
                              "\"t\":{\"inf\":\"inf\",\"list\":[true,\"x\"]}}");
}

static void test_toml_errors(void **state)
{
    (void)state;
    static const char *const bad[] = {"a = 1\nb = = 2\n", "a = 1\na = 2\n", "[t]\n[t]\n",
                                      "a = \"open\n", "= 1", "a = 1 b = 2", "\xff = 1"};

    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        struct prop_err err = PROP_ERR_INIT;
        json_t *v = NULL;
        assert_int_equal(prop_toml_parse(bad[i], strlen(bad[i]), "f.toml", &v, &err), PROP_E_INPUT);
        assert_null(v);
        assert_string_equal(err.id, "toml-syntax");
        assert_non_null(strstr(err.message, "f.toml: "));
        if (i < 2)
            assert_non_null(strstr(err.message, "line 2"));
    }
}

static void test_version(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf lock = PROP_BUF_INIT(1u << 20);
    char want[128];
    char wasmtime[32] = "";
    char regorus[32] = "";

    if (prop_file_read("engine/Cargo.lock", &lock, &err))
        skip();
    const char *w = strstr(prop_buf_str(&lock), "name = \"wasmtime\"\nversion = \"");
    const char *r = strstr(prop_buf_str(&lock), "name = \"regorus\"\nversion = \"");
    assert_true(w && sscanf(w, "name = \"wasmtime\"\nversion = \"%31[0-9.]", wasmtime) == 1);
    assert_true(r && sscanf(r, "name = \"regorus\"\nversion = \"%31[0-9.]", regorus) == 1);
    (void)snprintf(want, sizeof want, "wasmtime %s, regorus %s", wasmtime, regorus);
    assert_string_equal(prop_engine_version(), want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allow),         cmocka_unit_test(test_undefined_and_values),
        cmocka_unit_test(test_syntax_text),   cmocka_unit_test(test_reference_values),
        cmocka_unit_test(test_eval_error),    cmocka_unit_test(test_describe),
        cmocka_unit_test(test_toml),          cmocka_unit_test(test_toml_errors),
        cmocka_unit_test(test_version),       cmocka_unit_test(test_regex_classes),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("engine: rego and toml", tests, NULL, NULL);
}
