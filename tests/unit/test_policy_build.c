/* The Rego that is built, asked with the engine Trustee uses: on recorded tokens, on made-up SNP
 * and TDX ones, in the forms of older servers; and what an attacker's strings can do to it. */
#include "engine/rego.h"
#include "policy/document.h"
#include "policy/token.h"
#include "util/file.h"
#include "util/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEASURED                                                                                   \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ANOTHER                                                                                    \
    "ccccccccccccccccccccccccccccccccccccccccccccccccdddddddddddddddddddddddddddddddddddddddddddddddd"

/* A document's built Rego; the caller releases it. */
static void build(const char *text, struct prop_buf *out)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    if (prop_policy_doc_parse(text, strlen(text), "'p'", &d, &err) != 0 ||
        prop_policy_build(d, out, &err) != 0)
        fail_msg("%s\n%s", err.message, text);
}

static bool decide(const struct prop_buf *rego, const json_t *token, const char *path)
{
    struct prop_err err = PROP_ERR_INIT;
    bool allow = false;
    if (prop_policy_decide(prop_buf_str(rego), rego->len, token, path, &allow, &err) != 0)
        fail_msg("%s\n%s", err.message, prop_buf_str(rego));
    return allow;
}

static json_t *token(const char *tee, const char *status, const char *measurement, bool debug)
{
    json_t *t = NULL;
    assert_int_equal(prop_policy_token_new(tee, status, measurement, debug, &t, NULL), 0);
    return t;
}

/* Ask with `data` and `input` exactly as given; -1 for an error of the engine. */
static int ask_raw(const char *rego, const char *data, const json_t *input)
{
    prop_auto_rego struct prop_rego *r = NULL;
    prop_auto_json json_t *d = json_loads(data, 0, NULL);
    prop_auto_json json_t *v = NULL;
    struct prop_err err = PROP_ERR_INIT;
    assert_non_null(d);
    if (prop_rego_new("", rego, strlen(rego), &r, NULL, &err) != 0)
        fail_msg("%s\n%s", err.message, rego);
    assert_int_equal(prop_rego_set_data(r, d, NULL), 0);
    assert_int_equal(prop_rego_set_input(r, input, NULL), 0);
    if (prop_rego_eval_rule(r, "data.policy.allow", &v, &err) != 0)
        return -1;
    return json_is_true(v);
}

#define SNP_RULE                                                                                   \
    "version = 1\n[[rule]]\nresource = \"default/key/app\"\ntee = \"snp\"\nmeasurement = \"" MEASURED \
    "\"\n"
#define TDX_RULE                                                                                   \
    "version = 1\n[[rule]]\nresource = \"default/key/app\"\ntee = \"tdx\"\ntier = \"affirming\"\n"       \
    "measurement = [\"" MEASURED "\"]\n"
#define TIER_RULE                                                                                  \
    "version = 1\n[[rule]]\nresource = \"default/key/app\"\ntier = \"affirming\"\n"
#define WARNING_RULE                                                                               \
    "version = 1\n[[rule]]\nresource = \"default/key/app\"\ntee = \"snp\"\ntier = \"warning\"\n"
#define ANY_RULE                                                                                   \
    "version = 1\n[[rule]]\nresource = \"default/key/app\"\ntee = \"tdx\"\nallow_any_guest = true\n"
#define SAMPLE_RULE                                                                                \
    "version = 1\n[[rule]]\nresource = \"default/key/app\"\ntee = \"sample\"\n"

static void test_who(void **state)
{
    (void)state;
    static const struct {
        const char *document, *tee, *status, *measurement;
        bool debug, allow;
    } cases[] = {
        { SNP_RULE, "snp", "contraindicated", MEASURED, false, true },
        { SNP_RULE, "snp", "affirming", ANOTHER, false, false },
        { SNP_RULE, "snp", "affirming", NULL, false, false },
        { SNP_RULE, "snp", "affirming", MEASURED, true, false }, /* debug never */
        { SNP_RULE, "tdx", "affirming", MEASURED, false, false },
        { SNP_RULE, "sample", "affirming", NULL, false, false },
        { TDX_RULE, "tdx", "affirming", MEASURED, false, true },
        { TDX_RULE, "tdx", "warning", MEASURED, false, false },
        { TDX_RULE, "tdx", "affirming", ANOTHER, false, false },
        { TDX_RULE, "tdx", "affirming", MEASURED, true, false },
        { TDX_RULE, "snp", "affirming", MEASURED, false, false },
        { TIER_RULE, "snp", "affirming", NULL, false, true },
        { TIER_RULE, "sgx", "affirming", NULL, false, true },
        { TIER_RULE, "tpm", "affirming", NULL, false, false }, /* hides nothing from its host */
        { TIER_RULE, "tdx", "warning", NULL, false, false },
        { TIER_RULE, "sample", "affirming", NULL, false, false }, /* a tier implies hardware */
        { TIER_RULE, "snp", "affirming", NULL, true, false },
        { WARNING_RULE, "snp", "warning", NULL, false, true },
        { WARNING_RULE, "snp", "affirming", NULL, false, true },
        { WARNING_RULE, "snp", "contraindicated", NULL, false, false },
        { WARNING_RULE, "snp", "none", NULL, false, false },
        { ANY_RULE, "tdx", "contraindicated", ANOTHER, false, true },
        { ANY_RULE, "snp", "affirming", NULL, false, false },
        { ANY_RULE, "sample", "affirming", NULL, false, false },
        { SAMPLE_RULE, "sample", "contraindicated", NULL, false, true },
        { SAMPLE_RULE, "snp", "affirming", MEASURED, false, false },
        { "version = 1\n", "snp", "affirming", MEASURED, false, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        build(cases[i].document, &rego);
        prop_auto_json json_t *t =
            token(cases[i].tee, cases[i].status, cases[i].measurement, cases[i].debug);
        if (decide(&rego, t, "default/key/app") != cases[i].allow)
            fail_msg("case %zu: %s %s\n%s", i, cases[i].tee, cases[i].status, prop_buf_str(&rego));
        assert_false(decide(&rego, t, "default/key/ap"));
        assert_false(decide(&rego, t, "default/key/app/x"));
        assert_false(decide(&rego, t, ""));
    }
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
    } cases[] = {
        { "a/b/c", "a/b/c" },      { "a/b/c", "a/b/cc" },        { "*/*/*", "x/y/z" },
        { "*/*/*", "x//z" },       { "*/*/*", "x/y/z/w" },       { "*/*/*", "x/y" },
        { "team-a/*/*", "team-a/key/1" }, { "team-a/*/*", "team-b/key/1" },
        { "a/b/app-*", "a/b/app-" }, { "a/b/app-*", "a/b/app-1" }, { "a/b/app-*", "a/b/1app-" },
        { "a/b/*-x", "a/b/1-x" },  { "a/b/aa*aa", "a/b/aaa" },   { "a/b/aa*aa", "a/b/aaaa" },
        { "a/b/aa*aa", "a/b/aaxaa" }, { "a/*/c", "a/b/b/c" },
    };
    prop_auto_json json_t *t = token("snp", "affirming", NULL, false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200];
        (void)snprintf(text, sizeof text,
                       "version = 1\n[[rule]]\nresource = \"%s\"\ntier = \"affirming\"\n",
                       cases[i].pattern);
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        build(text, &rego);
        prop_auto_json json_t *rule = json_pack("{s:s}", "resource", cases[i].pattern);
        /* The built Rego and our own reading of a pattern agree. */
        if (decide(&rego, t, cases[i].path) != prop_policy_rule_fits(rule, cases[i].path))
            fail_msg("%s against %s\n%s", cases[i].pattern, cases[i].path, prop_buf_str(&rego));
    }
}

/* Servers of all ages: the resource-path as text and as list, with and without a plugin, "cpu". */
static void test_older_servers(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        int allow;
    } cases[] = {
        { "{\"resource-path\":\"default/key/app\"}", 1 },
        { "{\"resource-path\":[\"default\",\"key\",\"app\"],\"plugin\":\"resource\",\"query\":{}}", 1 },
        { "{\"resource-path\":[\"default\",\"key\",\"app\"],\"plugin\":\"resource\","
          "\"query\":{\"a\":\"1\"}}",
          1 },
        { "{\"resource-path\":[\"default\",\"key\",\"app\"],\"plugin\":\"pkcs11\",\"query\":{}}", 0 },
        { "{\"resource-path\":\"default/key/app\",\"plugin\":\"pkcs11\"}", 0 },
        { "{\"resource-path\":[\"default\",\"key\"],\"plugin\":\"resource\",\"query\":{}}", 0 },
        { "{\"resource-path\":[],\"plugin\":\"resource\",\"query\":{}}", 0 },
        { "{\"resource-path\":\"default/key/app2\"}", 0 },
        { "{\"plugin\":\"resource\"}", 0 },
        { "{}", 0 },
    };
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    build(SNP_RULE, &rego);
    prop_auto_json json_t *cpu0 = token("snp", "affirming", MEASURED, false);
    prop_auto_json json_t *cpu =
        json_pack("{s:{s:O}}", "submods", "cpu",
                  json_object_get(json_object_get(cpu0, "submods"), "cpu0"));
    prop_auto_json json_t *gpu =
        json_pack("{s:{s:O}}", "submods", "gpu0",
                  json_object_get(json_object_get(cpu0, "submods"), "cpu0"));
    prop_auto_json json_t *empty = json_object();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(ask_raw(prop_buf_str(&rego), cases[i].data, cpu0), cases[i].allow);
        assert_int_equal(ask_raw(prop_buf_str(&rego), cases[i].data, cpu), cases[i].allow);
        assert_int_equal(ask_raw(prop_buf_str(&rego), cases[i].data, gpu), 0);
        assert_int_equal(ask_raw(prop_buf_str(&rego), cases[i].data, empty), 0);
    }
}

/* Where the debug claim is no boolean: 0 is off, anything else that is not false is on. */
static void test_debug_forms(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool allow;
    } cases[] = { { "0", true }, { "false", true }, { "1", false }, { "\"false\"", false },
                  { "null", false }, { "{}", false } };
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    build(TIER_RULE, &rego);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[300];
        (void)snprintf(text, sizeof text,
                       "{\"submods\":{\"cpu0\":{\"ear.status\":\"affirming\","
                       "\"ear.veraison.annotated-evidence\":{\"snp\":{\"policy_debug_allowed\":%s,"
                       "\"policy_migrate_ma\":false}}}}}",
                       cases[i].value);
        prop_auto_json json_t *t = json_loads(text, 0, NULL);
        assert_non_null(t);
        if (decide(&rego, t, "default/key/app") != cases[i].allow)
            fail_msg("debug %s", cases[i].value);
    }
}

/* A comment is the one free text of a rule: it must not end the comment line of the policy. */
static void test_injection(void **state)
{
    (void)state;
    static const char *const comments[] = {
        "x\\nallow := true\\n#", "x\\rallow := true", "x\\u2028allow := true",
        "}\\nallow if true\\n{", "x\\u0085allow := true", "\\\"] }\\n\\nallow if { true }",
        "x\\u000ballow := true", "x\\u000callow := true", "# package evil\\nimport rego.v1",
    };
    prop_auto_json json_t *stranger = token("snp", "affirming", ANOTHER, false);
    prop_auto_json json_t *guest = token("snp", "affirming", MEASURED, false);
    for (size_t i = 0; i < sizeof comments / sizeof comments[0]; i++) {
        char text[600];
        (void)snprintf(text, sizeof text, "%scomment = \"%s\"\n", SNP_RULE, comments[i]);
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        build(text, &rego);
        assert_false(decide(&rego, stranger, "default/key/app"));
        assert_false(decide(&rego, stranger, "x/y/z"));
        assert_true(decide(&rego, guest, "default/key/app"));
    }
}

static void test_same_bytes(void **state)
{
    (void)state;
    prop_auto_buf struct prop_buf a = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    build(SNP_RULE, &a);
    build("{\"rule\":[{\"measurement\":[\"sha384:" MEASURED "\"],\"tee\":\"snp\","
          "\"resource\":\"default/key/app\"}],\"version\":1}",
          &b);
    assert_string_equal(prop_buf_str(&a), prop_buf_str(&b));
    assert_non_null(strstr(prop_buf_str(&a), "import rego.v1"));
    assert_non_null(strstr(prop_buf_str(&a), "package policy\n"));
    assert_non_null(strstr(prop_buf_str(&a), "default allow := false"));
}

static void test_many_rules(void **state)
{
    (void)state;
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    assert_int_equal(prop_policy_doc_new(&d, NULL), 0);
    struct prop_err err = PROP_ERR_INIT;
    int rc = 0;
    for (int i = 0; i < 300 && rc == 0; i++) {
        char path[64];
        bool added = false;
        (void)snprintf(path, sizeof path, "team/key/app%d", i);
        prop_auto_json json_t *rule = json_pack("{s:s, s:s}", "resource", path, "tier", "affirming");
        rc = prop_policy_doc_add(d, rule, &added, &err);
        assert_true(added);
    }
    assert_int_equal(rc, 0);
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    assert_int_equal(prop_policy_build(d, &rego, &err), 0);
    prop_auto_json json_t *t = token("snp", "affirming", NULL, false);
    assert_true(decide(&rego, t, "team/key/app299"));
    assert_false(decide(&rego, t, "team/key/app300"));
    /* What does not fit is refused, and nothing is handed out. */
    prop_auto_buf struct prop_buf small = PROP_BUF_INIT(100);
    assert_int_equal(prop_policy_build(d, &small, &err), PROP_E_LIMIT);
    assert_int_equal(small.len, 0);
}

static void test_token_for_rule(void **state)
{
    (void)state;
    static const char *const documents[] = { SNP_RULE, TDX_RULE, TIER_RULE, WARNING_RULE, ANY_RULE,
                                             SAMPLE_RULE };
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        prop_auto_policy_doc struct prop_policy_doc *d = NULL;
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        prop_auto_json json_t *t = NULL;
        assert_int_equal(
            prop_policy_doc_parse(documents[i], strlen(documents[i]), "'p'", &d, NULL), 0);
        assert_int_equal(prop_policy_build(d, &rego, NULL), 0);
        assert_int_equal(
            prop_policy_token_for_rule(json_array_get(prop_policy_doc_rules(d), 0), &t, NULL), 0);
        assert_true(decide(&rego, t, "default/key/app"));
    }
}

/* --- presets ------------------------------------------------------------------------------------ */

static bool preset(const char *name, const json_t *t)
{
    struct prop_err err = PROP_ERR_INIT;
    const char *text = prop_policy_preset(name);
    bool allow = false;
    assert_non_null(text);
    if (prop_policy_decide(text, strlen(text), t, "a/b/c", &allow, &err) != 0)
        fail_msg("%s: %s", name, err.message);
    return allow;
}

static void test_presets(void **state)
{
    (void)state;
    prop_auto_json json_t *snp = token("snp", "contraindicated", NULL, false);
    prop_auto_json json_t *good = token("snp", "affirming", NULL, false);
    prop_auto_json json_t *sample = token("sample", "contraindicated", NULL, false);
    prop_auto_json json_t *empty = json_pack("{s:{}}", "submods");
    prop_auto_json json_t *two = json_deep_copy(good);
    assert_int_equal(json_object_set_new(json_object_get(two, "submods"), "gpu0",
                                         json_pack("{s:s}", "ear.status", "warning")),
                     0);
    prop_auto_json json_t *silent = json_deep_copy(good);
    assert_int_equal(
        json_object_set_new(json_object_get(silent, "submods"), "gpu0", json_object()), 0);
    assert_true(preset("allow-all", sample));
    assert_true(preset("allow-all", empty));
    assert_false(preset("deny-all", good));
    assert_false(preset("deny-all", sample));
    assert_true(preset("affirming", good));
    assert_false(preset("affirming", snp));
    assert_false(preset("affirming", sample));
    assert_false(preset("affirming", empty));
    assert_false(preset("affirming", two));
    assert_false(preset("affirming", silent));
    assert_true(preset("default", snp));
    assert_true(preset("default", good));
    assert_false(preset("default", sample));
    assert_false(preset("default", empty));
    assert_null(prop_policy_preset("none"));
    /* Another plugin's things are not resources; a server that knows no plugins names none. */
    static const char *const with_plugin[] = { "allow-all", "default" };
    for (size_t i = 0; i < 2; i++) {
        const char *text = prop_policy_preset(with_plugin[i]);
        assert_int_equal(ask_raw(text, "{\"plugin\":\"pkcs11\",\"resource-path\":[\"a\"]}", good), 0);
        assert_int_equal(ask_raw(text, "{\"resource-path\":\"a/b/c\"}", good), 1);
    }
}

static void test_decide_errors(void **state)
{
    (void)state;
    prop_auto_json json_t *t = token("snp", "affirming", NULL, false);
    static const struct {
        const char *rego;
        int code;
        const char *id;
        bool allow;
    } cases[] = {
        { "package policy\nallow {", PROP_E_INPUT, "rego-syntax", false },
        { "package policy\nallow := no_such_function(1)\n", PROP_E_INPUT, "rego-eval", false },
        { "package other\nimport rego.v1\nallow := true\n", 0, NULL, false },
        { "package policy\nimport rego.v1\nallow := \"true\"\n", 0, NULL, false },
        { "package policy\nimport rego.v1\nallow := true\n", 0, NULL, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct prop_err err = PROP_ERR_INIT;
        bool allow = false;
        int rc = prop_policy_decide(cases[i].rego, strlen(cases[i].rego), t, "a/b/c", &allow, &err);
        assert_int_equal(rc, cases[i].code);
        if (rc != 0)
            assert_string_equal(prop_err_id(&err), cases[i].id);
        assert_int_equal(allow, cases[i].allow);
    }
}

/* --- recorded tokens and captured reports ------------------------------------------------------- */

static json_t *shared(const char *name)
{
    const char *root = getenv("PROP_SHARED");
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", root != NULL ? root : "../shared", name);
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;
    if (prop_json_parse_file(path, 1u << 20, &v, &err) != 0) {
        print_message("not there: PROP_SHARED/%s\n", name);
        skip();
    }
    return v;
}

static void test_recorded_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool sample, affirming, tiered;
    } cases[] = {
        { "kbs-ear-affirming.json", true, true, true },
        { "kbs-ear-device.json", true, false, false },
        { "kbs-ear-initdata-null.json", true, false, false },
        { "kbs-ear-initdata-toml.json", true, false, false },
    };
    /* A skip leaves this function by a jump: nothing may be held by then. */
    json_t *tokens[sizeof cases / sizeof cases[0]];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[200];
        (void)snprintf(name, sizeof name, "protocol/transcripts/%s", cases[i].name);
        tokens[i] = shared(name);
    }
    prop_auto_buf struct prop_buf sample = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf tiered = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf hardware = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    build(SAMPLE_RULE, &sample);
    build("version = 1\n[[rule]]\nresource = \"default/key/app\"\ntee = \"sample\"\n"
          "tier = \"affirming\"\n",
          &tiered);
    build(TIER_RULE, &hardware);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prop_auto_json json_t *t = tokens[i];
        assert_int_equal(decide(&sample, t, "default/key/app"), cases[i].sample);
        assert_int_equal(decide(&tiered, t, "default/key/app"), cases[i].tiered);
        assert_false(decide(&hardware, t, "default/key/app"));
        assert_int_equal(preset("affirming", t), cases[i].affirming);
        assert_false(preset("default", t));
    }
}

/* An EAR around the claims the verifier made from a report of a real Genoa machine. */
static void test_captured_snp(void **state)
{
    (void)state;
    prop_auto_json json_t *file = shared("fixtures/measure/snp-report-v3-genoa.json");
    json_t *claims = json_object_get(file, "verifier_claims");
    const char *measurement = json_string_value(json_object_get(claims, "measurement"));
    assert_non_null(measurement);
    char text[400];
    (void)snprintf(text, sizeof text,
                   "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\nmeasurement = "
                   "\"sha384:%s\"\n",
                   measurement);
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf other = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    build(text, &rego);
    build(SNP_RULE, &other);
    prop_auto_json json_t *t =
        json_pack("{s:{s:{s:s, s:{s:O}}}}", "submods", "cpu0", "ear.status", "contraindicated",
                  "ear.veraison.annotated-evidence", "snp", claims);
    assert_true(decide(&rego, t, "a/b/c"));
    assert_false(decide(&other, t, "default/key/app"));
    assert_int_equal(json_object_set_new(claims, "policy_debug_allowed", json_true()), 0);
    assert_false(decide(&rego, t, "a/b/c"));
}

/* The documents in examples/policies let in whom each of their rules means, and no stranger. */
static void test_examples(void **state)
{
    (void)state;
    static const char *const files[] = { "one-workload.toml", "staging-production.toml",
                                         "two-teams.json" };
    const char *root = getenv("PROP_ROOT");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[600];
        size_t k;
        json_t *rule;
        prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        prop_auto_policy_doc struct prop_policy_doc *d = NULL;
        (void)snprintf(path, sizeof path, "%s/examples/policies/%s", root != NULL ? root : ".",
                       files[i]);
        assert_int_equal(prop_file_read(path, &text, NULL), 0);
        build(prop_buf_str(&text), &rego);
        assert_int_equal(prop_policy_doc_parse(prop_buf_str(&text), text.len, path, &d, NULL), 0);
        prop_auto_json json_t *debugged = token("snp", "affirming", MEASURED, true);
        prop_auto_json json_t *stranger = token("sgx", "contraindicated", NULL, false);
        json_array_foreach (prop_policy_doc_rules(d), k, rule) {
            prop_auto_json json_t *guest = NULL;
            char resource[200];
            (void)snprintf(resource, sizeof resource, "%s",
                           json_string_value(json_object_get(rule, "resource")));
            for (char *star = resource; (star = strchr(star, '*')) != NULL;)
                *star = 'x';
            assert_int_equal(prop_policy_token_for_rule(rule, &guest, NULL), 0);
            if (!decide(&rego, guest, resource))
                fail_msg("%s rule %zu: %s", files[i], k + 1, resource);
            assert_false(decide(&rego, stranger, resource));
            assert_false(decide(&rego, debugged, resource));
        }
        assert_true(k > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_older_servers),
        cmocka_unit_test(test_debug_forms),
        cmocka_unit_test(test_injection),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_many_rules),
        cmocka_unit_test(test_token_for_rule),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_decide_errors),
        cmocka_unit_test(test_recorded_tokens),
        cmocka_unit_test(test_captured_snp),
        cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests_name("policy build", tests, NULL, NULL);
}
