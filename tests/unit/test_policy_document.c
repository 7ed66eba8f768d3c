/* Policy documents: what is read, what is refused and in which words, and that a rule is added
 * without touching a byte of what stood there. Also the --allow argument. */
#include "policy/document.h"

#include "util/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEX96                                                                                      \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX96_UPPER                                                                                \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
#define OTHER96                                                                                    \
    "ccccccccccccccccccccccccccccccccccccccccccccccccdddddddddddddddddddddddddddddddddddddddddddddddd"

static struct prop_policy_doc *parse(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_policy_doc *d = NULL;
    if (prop_policy_doc_parse(text, strlen(text), "'p.toml'", &d, &err) != 0)
        fail_msg("%s\n%s", err.message, text);
    return d;
}

static void assert_rule(const struct prop_policy_doc *d, size_t i, const char *want)
{
    prop_auto_free char *got = prop_json_compact(json_array_get(prop_policy_doc_rules(d), i));
    assert_non_null(got);
    assert_string_equal(got, want);
}

static void test_toml(void **state)
{
    (void)state;
    prop_auto_policy_doc struct prop_policy_doc *d =
        parse("# ours\nversion = 1\ncomment = \"two teams\"\n"
              "[[rule]]\nresource = \"default/key/addition\"\ntee = \"snp\"\ntier = \"affirming\"\n"
              "measurement = [\"sha384:" HEX96_UPPER "\", \"" HEX96 "\", \"" OTHER96 "\"]\n"
              "[[rule]]\ncomment = \"b\"\ntier = \"warning\"\nresource = \"kbs:///team-a/*/app-*\"\n"
              "[[rule]]\nresource = \"staging/key/x\"\ntee = \"sample\"\n"
              "[[rule]]\nresource = \"a/b/c\"\ntee = \"tdx\"\nallow_any_guest = true\n");
    assert_int_equal(json_array_size(prop_policy_doc_rules(d)), 4);
    /* One form, whatever was written: no prefix, lower case, no double. */
    assert_rule(d, 0, "{\"resource\":\"default/key/addition\",\"tee\":\"snp\",\"tier\":\"affirming\","
                      "\"measurement\":[\"" HEX96 "\",\"" OTHER96 "\"]}");
    assert_rule(d, 1, "{\"resource\":\"team-a/*/app-*\",\"tier\":\"warning\",\"comment\":\"b\"}");
    assert_rule(d, 2, "{\"resource\":\"staging/key/x\",\"tee\":\"sample\"}");
    assert_rule(d, 3, "{\"resource\":\"a/b/c\",\"tee\":\"tdx\",\"allow_any_guest\":true}");
}

static void test_json(void **state)
{
    (void)state;
    prop_auto_policy_doc struct prop_policy_doc *d =
        parse(" \n{\"version\":1,\"rule\":[{\"resource\":\"a/b/c\",\"tee\":\"tdx\","
              "\"measurement\":\"" HEX96 "\"}]}\n");
    assert_rule(d, 0, "{\"resource\":\"a/b/c\",\"tee\":\"tdx\",\"measurement\":[\"" HEX96 "\"]}");
    prop_auto_policy_doc struct prop_policy_doc *none = parse("{\"version\":1}");
    assert_int_equal(json_array_size(prop_policy_doc_rules(none)), 0);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *id, *say;
    } cases[] = {
        { "", PROP_E_INPUT, "bad-policy", "'version' is missing" },
        { "version = \"1\"", PROP_E_INPUT, "bad-policy", "'version'" },
        { "version = 2", PROP_E_UNSUPPORTED, "policy-version", "version 2" },
        { "version = 1\nrules = []", PROP_E_INPUT, "bad-policy", "unknown key 'rules'" },
        { "version = 1\ncomment = 3", PROP_E_INPUT, "bad-policy", "'comment'" },
        { "version = 1\n[rule]\nresource = \"a/b/c\"", PROP_E_INPUT, "bad-policy", "'rule'" },
        { "version = 1\n[[rule]\n", PROP_E_INPUT, "toml-syntax", "'p.toml'" },
        { "{\"version\":1,\"version\":1}", PROP_E_INPUT, "json-syntax", "'p.toml'" },
        { "{\"version\":1} x", PROP_E_INPUT, "json-syntax", "'p.toml'" },
        { "version = 1\nrule = [3]", PROP_E_INPUT, "bad-rule", "'p.toml:2': rule 1: not a table" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntier = \"affirming\"\n[[rule]]\n"
          "resource = \"a/b/d\"\nteee = \"snp\"\ntier = \"affirming\"",
          PROP_E_INPUT, "bad-rule", "'p.toml:7': rule 2: unknown key 'teee'" },
        { "version = 1\n[[rule]]\ntier = \"affirming\"", PROP_E_INPUT, "bad-rule", "'resource'" },
        { "version = 1\n[[rule]]\nresource = \"a/b\"\ntier = \"affirming\"", PROP_E_INPUT, "bad-rule",
          "'a/b'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c/d\"\ntier = \"affirming\"", PROP_E_INPUT,
          "bad-rule", "'a/b/c/d'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/.c\"\ntier = \"affirming\"", PROP_E_INPUT,
          "bad-rule", "'a/b/.c'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/**\"\ntier = \"affirming\"", PROP_E_INPUT,
          "bad-rule", "'a/b/**'" },
        { "version = 1\n[[rule]]\nresource = \"a//c\"\ntier = \"affirming\"", PROP_E_INPUT,
          "bad-rule", "'a//c'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\\u0000d\"\ntier = \"affirming\"", PROP_E_INPUT,
          "toml-syntax", "'p.toml'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\\\"\\n}\\nallow := true\\n#\"\n"
          "tier = \"affirming\"",
          PROP_E_INPUT, "bad-rule", "\\x0a" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"SNP\"\ntier = \"affirming\"",
          PROP_E_INPUT, "bad-rule", "'tee'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntier = \"contraindicated\"", PROP_E_INPUT,
          "bad-rule", "'tier'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntier = \"none\"", PROP_E_INPUT, "bad-rule",
          "'tier'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"", PROP_E_INPUT, "bad-rule",
          "every guest could have the key" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"", PROP_E_INPUT, "bad-rule",
          "every guest could have the key" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\nallow_any_guest = \"yes\"",
          PROP_E_INPUT, "bad-rule", "'allow_any_guest'" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntier = \"affirming\"\nallow_any_guest = true",
          PROP_E_INPUT, "bad-rule", "contradicts" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"sample\"\nallow_any_guest = true",
          PROP_E_INPUT, "bad-rule", "contradicts" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\nmeasurement = \"" HEX96 "\"", PROP_E_INPUT,
          "bad-rule", "'measurement' goes with" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"sgx\"\nmeasurement = \"" HEX96 "\"",
          PROP_E_INPUT, "bad-rule", "'measurement' goes with" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\nmeasurement = []", PROP_E_INPUT,
          "bad-rule", "empty list" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\nmeasurement = \"sha256:00\"",
          PROP_E_INPUT, "bad-rule", "sha384:HEX" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\nmeasurement = [\"" HEX96
          "\", 7]",
          PROP_E_INPUT, "bad-rule", "sha384:HEX" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntee = \"snp\"\nmeasurement = \"" HEX96 "0\"",
          PROP_E_INPUT, "bad-rule", "sha384:HEX" },
        { "version = 1\n[[rule]]\nresource = \"a/b/c\"\ntier = \"affirming\"\ncomment = 1",
          PROP_E_INPUT, "bad-rule", "'comment'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_policy_doc *d = NULL;
        int rc = prop_policy_doc_parse(cases[i].text, strlen(cases[i].text), "'p.toml'", &d, &err);
        if (rc != cases[i].code || strcmp(prop_err_id(&err), cases[i].id) != 0 ||
            strstr(err.message, cases[i].say) == NULL || strchr(err.message, '\n') != NULL)
            fail_msg("case %zu: %d %s '%s'\n%s", i, rc, prop_err_id(&err), err.message,
                     cases[i].text);
        assert_null(d);
    }
}

static void test_zero_byte_and_size(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_policy_doc *d = NULL;
    assert_int_equal(prop_policy_doc_parse("version = 1\n\0#", 14, "'p'", &d, &err), PROP_E_INPUT);
    size_t big = PROP_LIMIT_POLICY + 1;
    char *text = prop_alloc(big);
    assert_non_null(text);
    memset(text, '#', big);
    assert_int_equal(prop_policy_doc_parse(text, big, "'p'", &d, &err), PROP_E_LIMIT);
    assert_string_equal(prop_err_id(&err), "policy-size");
    prop_free(text);
    assert_null(d);
}

/* Every single byte of a document taken away or turned: read, or refused, never worse. */
static void test_every_byte(void **state)
{
    (void)state;
    static const char text[] = "version = 1\n[[rule]]\nresource = \"a/b/c\" # x\ntee = \"snp\"\n"
                               "measurement = [\"" HEX96 "\"]\ncomment = \"q\\u00e9\"\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (int bit = 0; bit < 8; bit++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            copy[i] = (char)(copy[i] ^ (1 << bit));
            struct prop_err err = PROP_ERR_INIT;
            prop_auto_policy_doc struct prop_policy_doc *d = NULL;
            int rc = prop_policy_doc_parse(copy, sizeof copy - 1, "'p'", &d, &err);
            assert_true(rc == 0 ? d != NULL : d == NULL && err.message[0] != 0);
        }
    }
}

static json_t *rule_of(const char *text)
{
    json_t *v = json_loads(text, 0, NULL);
    assert_non_null(v);
    return v;
}

static bool add(struct prop_policy_doc *d, const char *rule)
{
    prop_auto_json json_t *v = rule_of(rule);
    bool added = false;
    assert_int_equal(prop_policy_doc_add(d, v, &added, NULL), 0);
    return added;
}

static void test_add_once(void **state)
{
    (void)state;
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    assert_int_equal(prop_policy_doc_new(&d, NULL), 0);
    assert_true(add(d, "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"measurement\":[\"" HEX96 "\",\"" OTHER96
                       "\"]}"));
    assert_false(add(d, "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"measurement\":\"" OTHER96 "\"}"));
    assert_false(add(d, "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"tier\":\"affirming\",\"measurement\":\""
                        OTHER96 "\",\"comment\":\"narrower\"}"));
    assert_true(add(d, "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"tier\":\"affirming\"}"));
    assert_true(add(d, "{\"resource\":\"a/b/c\",\"tee\":\"tdx\",\"tier\":\"affirming\"}"));
    assert_true(add(d, "{\"resource\":\"a/b/d\",\"tee\":\"snp\",\"tier\":\"affirming\"}"));
    /* A pattern that lets a resource in already. */
    assert_true(add(d, "{\"resource\":\"t/*/app-*\",\"tier\":\"warning\"}"));
    assert_false(add(d, "{\"resource\":\"t/key/app-1\",\"tee\":\"tdx\",\"tier\":\"affirming\"}"));
    assert_true(add(d, "{\"resource\":\"t/key/ap\",\"tee\":\"tdx\",\"tier\":\"affirming\"}"));
    assert_false(add(d, "{\"resource\":\"t/key/app-*\",\"tier\":\"warning\"}"));
    assert_true(add(d, "{\"resource\":\"t/key/*\",\"tier\":\"warning\"}"));
    /* Hardware of any kind does not cover sample evidence. */
    assert_true(add(d, "{\"resource\":\"t/key/app-1\",\"tee\":\"sample\",\"tier\":\"affirming\"}"));
    /* A rule that is none is not added. */
    prop_auto_json json_t *bad = rule_of("{\"resource\":\"t/key/app-1\",\"tee\":\"snp\"}");
    struct prop_err err = PROP_ERR_INIT;
    bool added = true;
    assert_int_equal(prop_policy_doc_add(d, bad, &added, &err), PROP_E_INPUT);
    assert_int_equal(json_array_size(prop_policy_doc_rules(d)), 8);
}

/* Add one rule to `text`: what comes out. */
static void write_with(const char *text, const char *rule, struct prop_buf *out)
{
    prop_auto_policy_doc struct prop_policy_doc *d = parse(text);
    assert_true(add(d, rule));
    struct prop_err err = PROP_ERR_INIT;
    if (prop_policy_doc_write(d, out, &err) != 0)
        fail_msg("%s\n%s", err.message, text);
}

static void test_write_toml(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "version = 1\n",
        "# a comment  \r\nversion = 1\r\n\r\n[[rule]] # keep\r\n  resource='a/b/x'\r\ntier =\"warning\"",
        "version = 1\ncomment = '''\n[[rule]]\n'''\n\n\n",
    };
    static const char rule[] =
        "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"measurement\":\"" HEX96
        "\",\"comment\":\"say \\\"x\\\"\\n[[rule]]\\u007f \\ud83d\\ude00\"}";
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
        write_with(texts[i], rule, &out);
        assert_memory_equal(out.data, texts[i], strlen(texts[i]));
        prop_auto_policy_doc struct prop_policy_doc *d = parse(prop_buf_str(&out));
        size_t last = json_array_size(prop_policy_doc_rules(d)) - 1;
        assert_rule(d, last,
                    "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"measurement\":[\"" HEX96
                    "\"],\"comment\":\"say \\\"x\\\"\\n[[rule]]\x7f \xf0\x9f\x98\x80\"}");
    }
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
    write_with("version = 1\n", "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"allow_any_guest\":true}",
               &out);
    assert_string_equal(prop_buf_str(&out), "version = 1\n\n[[rule]]\nresource = \"a/b/c\"\n"
                                            "tee = \"snp\"\nallow_any_guest = true\n");
    prop_auto_buf struct prop_buf crlf = PROP_BUF_INIT(10000);
    write_with("version = 1\r\n# end", "{\"resource\":\"a/b/c\",\"tier\":\"warning\"}", &crlf);
    assert_string_equal(prop_buf_str(&crlf), "version = 1\r\n# end\r\n\r\n[[rule]]\r\n"
                                             "resource = \"a/b/c\"\r\ntier = \"warning\"\r\n");
}

static void test_write_json(void **state)
{
    (void)state;
    static const char rule[] = "{\"resource\":\"a/b/c\",\"tier\":\"affirming\"}";
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "{\"version\": 1}\n",
          "{\"version\": 1,\n  \"rule\": [\n    {\"resource\":\"a/b/c\",\"tier\":\"affirming\"}\n  ]}\n" },
        { "{ \"rule\" : [ ] , \"version\": 1 }",
          "{ \"rule\" : [\n    {\"resource\":\"a/b/c\",\"tier\":\"affirming\"}\n  ] , \"version\": 1 }" },
        { "{\"comment\":\"\\\"rule\\\": [ ]}\",\"rule\":\t[\n {\"comment\":\"]rule\",\"resource\":"
          "\"x/y/z\",\"tier\":\"warning\"}\n\t]\n,\"version\":1}",
          "{\"comment\":\"\\\"rule\\\": [ ]}\",\"rule\":\t[\n {\"comment\":\"]rule\",\"resource\":"
          "\"x/y/z\",\"tier\":\"warning\"},\n    {\"resource\":\"a/b/c\",\"tier\":\"affirming\"}\n\t]\n"
          ",\"version\":1}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
        write_with(cases[i].text, rule, &out);
        assert_string_equal(prop_buf_str(&out), cases[i].want);
    }
}

/* Forms a rule cannot be put behind: told, not broken. */
static void test_write_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "version = 1\nrule = [{resource = \"x/y/z\", tier = \"warning\"}]\n",
        "{\"version\":1,\"r\\u0075le\":[]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        prop_auto_policy_doc struct prop_policy_doc *d = parse(texts[i]);
        assert_true(add(d, "{\"resource\":\"a/b/c\",\"tier\":\"affirming\"}"));
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
        struct prop_err err = PROP_ERR_INIT;
        assert_int_equal(prop_policy_doc_write(d, &out, &err), PROP_E_UNSUPPORTED);
        assert_string_equal(prop_err_id(&err), "policy-form");
        assert_int_equal(out.len, 0);
    }
}

static void test_write_unchanged(void **state)
{
    (void)state;
    static const char text[] = "version=1 # as it was\n\n";
    prop_auto_policy_doc struct prop_policy_doc *d = parse(text);
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(10000);
    assert_int_equal(prop_policy_doc_write(d, &out, NULL), 0);
    assert_string_equal(prop_buf_str(&out), text);
}

static void test_allow(void **state)
{
    (void)state;
    static const struct {
        const char *allow;
        unsigned flags;
        int code;
        const char *want; /* the rule, or the error's id */
        bool insecure;
    } cases[] = {
        { "tee=snp,measurement=sha384:" HEX96_UPPER, 0, 0,
          "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"measurement\":[\"" HEX96 "\"]}", false },
        { "tee=tdx,measurement=" HEX96 ",measurement=" OTHER96 ",tier=affirming", 0, 0,
          "{\"resource\":\"a/b/c\",\"tee\":\"tdx\",\"tier\":\"affirming\",\"measurement\":[\"" HEX96
          "\",\"" OTHER96 "\"]}", false },
        { "tier=affirming", 0, 0, "{\"resource\":\"a/b/c\",\"tier\":\"affirming\"}", false },
        { "tee=snp", PROP_ALLOW_ANY_GUEST, 0,
          "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"allow_any_guest\":true}", false },
        { "tee=snp,tier=affirming", PROP_ALLOW_ANY_GUEST, 0,
          "{\"resource\":\"a/b/c\",\"tee\":\"snp\",\"tier\":\"affirming\"}", false },
        { "tee=sample", PROP_ALLOW_LOOPBACK, 0, "{\"resource\":\"a/b/c\",\"tee\":\"sample\"}", true },
        { "tee=sample,tier=affirming", PROP_ALLOW_TEST, 0,
          "{\"resource\":\"a/b/c\",\"tee\":\"sample\",\"tier\":\"affirming\"}", true },
        { "tee=sample", 0, PROP_E_USAGE, "sample-not-loopback", false },
        { "tee=sample,tier=affirming", PROP_ALLOW_ANY_GUEST, PROP_E_USAGE, "sample-not-loopback",
          false },
        { "tee=snp", PROP_ALLOW_LOOPBACK, PROP_E_USAGE, "bad-allow", false },
        { "", 0, PROP_E_USAGE, "bad-allow", false },
        { "snp", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=snp,", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=snp,tier=affirming,tier=warning", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=snp,debug=yes,tier=affirming", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=snp,resource=x/y/z,tier=affirming", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=xyz,tier=affirming", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=snp,tier=none", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=snp,measurement=sha384:12", 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=snp,measurement=", 0, PROP_E_USAGE, "bad-allow", false },
        { "measurement=" HEX96, 0, PROP_E_USAGE, "bad-allow", false },
        { "tee=\xff,tier=affirming", 0, PROP_E_USAGE, "bad-allow", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct prop_err err = PROP_ERR_INIT;
        prop_auto_json json_t *rule = NULL;
        bool insecure = false;
        int rc = prop_policy_rule_parse(cases[i].allow, "a/b/c", cases[i].flags, &rule, &insecure,
                                        &err);
        if (rc != cases[i].code)
            fail_msg("case %zu '%s': %d %s", i, cases[i].allow, rc, err.message);
        assert_int_equal(insecure, cases[i].insecure);
        if (rc != 0) {
            assert_null(rule);
            assert_string_equal(prop_err_id(&err), cases[i].want);
            assert_int_equal(err.code, rc);
            assert_null(strchr(err.message, '\n'));
            continue;
        }
        prop_auto_free char *text = prop_json_compact(rule);
        assert_string_equal(text, cases[i].want);
    }
}

static void test_fits(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool fits;
    } cases[] = {
        { "a/b/c", "a/b/c", true },        { "a/b/c", "a/b/cc", false },
        { "a/b/c", "a/b", false },         { "a/b/c", "a/b/c/d", false },
        { "*/*/*", "x/y/z", true },        { "*/*/*", "x/y", false },
        { "*/*/*", "x//z", false },        { "a/b/app-*", "a/b/app-", true },
        { "a/b/app-*", "a/b/app-1", true }, { "a/b/app-*", "a/b/ap", false },
        { "a/b/*-x", "a/b/1-x", true },    { "a/b/aa*aa", "a/b/aaa", false },
        { "a/b/aa*aa", "a/b/aaaa", true }, { "a/*/c", "a/b/b/c", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        prop_auto_json json_t *rule = json_pack("{s:s}", "resource", cases[i].pattern);
        if (prop_policy_rule_fits(rule, cases[i].path) != cases[i].fits)
            fail_msg("%s against %s", cases[i].pattern, cases[i].path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_toml),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_zero_byte_and_size),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_add_once),
        cmocka_unit_test(test_write_toml),
        cmocka_unit_test(test_write_json),
        cmocka_unit_test(test_write_refused),
        cmocka_unit_test(test_write_unchanged),
        cmocka_unit_test(test_allow),
        cmocka_unit_test(test_fits),
    };
    return cmocka_run_group_tests_name("policy document", tests, NULL, NULL);
}
