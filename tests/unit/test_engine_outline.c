/* What the engine says of a policy's rules, and the policies it refuses because they would end the
 * process. */
#include "engine/rego.h"
#include "kbsd/defaults.h"
#include "policy/document.h"
#include "policy/outline.h"
#include "policy/preset.h"
#include "util/file.h"
#include "util/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "package policy\nimport rego.v1\n"

static struct prop_rego *policy(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_rego *r = NULL;
    if (prop_rego_new("", text, strlen(text), &r, NULL, &err) != 0)
        fail_msg("%s", err.message);
    return r;
}

static void refused(const char *text, const char *id, const char *part)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_rego *r = NULL;
    assert_int_equal(prop_rego_new("", text, strlen(text), &r, NULL, &err), PROP_E_INPUT);
    assert_null(r);
    assert_string_equal(prop_err_id(&err), id);
    if (strstr(err.message, part) == NULL)
        fail_msg("%s", err.message);
}

static json_t *outline(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *o = NULL;
    prop_auto_rego struct prop_rego *r = policy(text);
    assert_int_equal(prop_rego_outline(r, &o, &err), 0);
    return o;
}

static const char *slice(const json_t *node, const char *text, char *out, size_t size)
{
    const char *at = NULL;
    size_t len = 0;
    assert_true(prop_outline_slice(node, text, strlen(text), &at, &len));
    (void)snprintf(out, size, "%.*s", (int)len, at);
    return out;
}

static void test_outline(void **state)
{
    (void)state;
    char out[256];
    static const char text[] =
        HEAD "import input.submods.cpu0 as cpu\n"
             "\n"
             "# Rule 1: the\n"
             "# first\n"
             "allow if {\n"
             "\tcpu[\"ear.status\"] == \"affirming\" # here\n"
             "\tsome k, v in helper\n"
             "\tnot f(k, {\"a\": 1, \"b\": v})\n"
             "} else := \"x\" if count(input.list) > 0\n"
             "f(a, _) := helper[a]\n"
             "default helper := {}\n"
             "names contains n if some n in [\"a\"]\n"
             "table[k] := v if some k, v in input\n";
    prop_auto_json json_t *o = outline(text);
    const json_t *rules = json_object_get(o, "rules");
    const json_t *allow = json_array_get(rules, 0);
    const json_t *bodies = json_object_get(allow, "bodies");
    const json_t *stmts = json_object_get(json_array_get(bodies, 0), "stmts");

    assert_string_equal(prop_outline_text(o, "package"), "policy");
    assert_int_equal(json_array_size(rules), 5);
    assert_string_equal(prop_outline_text(allow, "comment"), "Rule 1: the\nfirst");
    assert_string_equal(prop_outline_text(allow, "kind"), "complete");
    assert_int_equal(prop_outline_line(allow), 7);
    assert_int_equal(json_array_size(bodies), 2);
    assert_true(json_is_true(json_object_get(json_array_get(bodies, 1), "else")));
    prop_auto_free char *uses = prop_json_compact(json_object_get(allow, "uses"));
    assert_string_equal(uses, "[\"f\",\"helper\"]");
    assert_int_equal(json_array_size(stmts), 3);
    assert_string_equal(slice(json_array_get(stmts, 0), text, out, sizeof out),
                        "cpu[\"ear.status\"] == \"affirming\"");
    assert_string_equal(slice(json_array_get(stmts, 2), text, out, sizeof out),
                        "not f(k, {\"a\": 1, \"b\": v})");
    /* the import is followed */
    const json_t *left = json_array_get(
        json_object_get(json_object_get(json_array_get(stmts, 0), "expr"), "args"), 0);
    prop_auto_json json_t *path = prop_outline_resolve(o, allow, left);
    prop_auto_free char *way = prop_json_compact(path);
    assert_string_equal(way, "[\"input\",\"submods\",\"cpu0\",\"ear.status\"]");
    /* an object's text, which the parser's own positions cut short */
    const json_t *call = json_object_get(json_array_get(stmts, 2), "expr");
    assert_string_equal(prop_outline_text(call, "is"), "policy");
    assert_string_equal(
        slice(json_array_get(json_object_get(call, "args"), 1), text, out, sizeof out),
        "{\"a\": 1, \"b\": v}");
    static const char *const kinds[] = { "complete", "function", "default", "set", "object" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(kinds); i++)
        assert_string_equal(prop_outline_text(json_array_get(rules, i), "kind"), kinds[i]);
}

static void test_resolve(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "cpu := input.submods.cpu0\n"
             "evidence := cpu[\"ear.veraison.annotated-evidence\"]\n"
             "allow if { e := evidence.snp; e.measurement == \"x\"; data.policy.evidence.tdx }\n"
             "other if { some s in input.submods; s[\"ear.status\"] == input[input.x].y }\n";
    static const char *const want[] = {
        "input.submods.cpu0[\"ear.veraison.annotated-evidence\"].snp.measurement",
        "input.submods[_][\"ear.status\"]",
    };
    prop_auto_json json_t *o = outline(text);
    for (size_t i = 0; i < PROP_ARRAY_LEN(want); i++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1024);
        const json_t *rule = json_array_get(json_object_get(o, "rules"), 2 + i);
        const json_t *stmts =
            json_object_get(json_array_get(json_object_get(rule, "bodies"), 0), "stmts");
        const json_t *e = json_object_get(json_array_get(stmts, 1), "expr");
        prop_auto_json json_t *path =
            prop_outline_resolve(o, rule, json_array_get(json_object_get(e, "args"), 0));
        assert_non_null(path);
        assert_int_equal(prop_outline_spell(path, &out, NULL), 0);
        assert_string_equal(prop_buf_str(&out), want[i]);
    }
}

static void test_recursion(void **state)
{
    (void)state;
    refused(HEAD "allow if f(1)\nf(x) := f(x)\n", "rego-recursion",
            "line 4, column 1: 'f' needs itself");
    refused(HEAD "allow if f(1)\nf(x) := g(x)\ng(x) := y if y := f(x)\n", "rego-recursion",
            "'f' needs 'g', which needs 'f' again");
    refused(HEAD "f(x) := data.policy.f(x)\n", "rego-recursion", "'f'");
    refused(HEAD "import data.policy.f as g\nf(x) := g(x)\n", "rego-recursion", "'f'");
    refused(HEAD "f(x) := [y | some y in x; f(y)]\n", "rego-recursion", "'f'");
    refused(HEAD "f(x) := 1 if { every y in x { f(y) } }\n", "rego-recursion", "'f'");
    refused(HEAD "f(x) := 1 if { g(x) with h as f }\ng(x) := h(x)\nh(x) := x\n", "rego-recursion",
            "'f'");
    refused(HEAD "a if b\nb if not a\n", "rego-recursion", "'a' needs 'b'");
    refused(HEAD "default f(x) := 1\nf(x) := f(x)\n", "rego-recursion", "'f'");
}

/* Same names, no circle. */
static void test_no_recursion(void **state)
{
    (void)state;
    static const char *const good[] = {
        HEAD "path := 1\nf(path) := path\nallow if f(path) == 1\n",
        HEAD "p.a := 1\np.b := p.a + 1\n",
        HEAD "x := input.x\ny if { x := 1; x == 1 }\n",
        HEAD "f(x) := g(x)\nf(x) := h(x)\ng(x) := h(x)\nh(x) := x\n",
        HEAD "allow if { some allow in [1]; allow == 1 }\n",
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++) {
        prop_auto_rego struct prop_rego *r = policy(good[i]);
        assert_non_null(r);
    }
}

static void repeat(struct prop_buf *out, const char *s, size_t n)
{
    while (n-- > 0)
        assert_int_equal(prop_buf_puts(out, s, NULL), 0);
}

static void test_depth(void **state)
{
    (void)state;
    static const struct {
        const char *before, *each, *after, *part;
        size_t n;
    } deep[] = {
        { HEAD "x := ", "[", "", "brackets or 200 parentheses", 13 },
        { HEAD "x := \"[[[[[[[[[[[[[[[[[[\"\ny := ", "{", "", "brackets or 200 parentheses", 13 },
        { HEAD "x := ", "(", "", "parentheses", 201 },
        { HEAD "x := 1", "\n+ 1", "\n", "operators in one expression", 19000 },
        { HEAD "x := ", "-\n", "1\n", "operators in one expression", 5000 },
        { HEAD "x := input", ".a", "\n", "operators in one expression", 400 },
        { HEAD "x := ", "{1:{1:{1:{1:{1:{1:{1:{1:{1:{1:{1:1}}}}}}}}}}}\ny := ", "1\n",
          "too many brackets", 400 },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(deep); i++) {
        prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        repeat(&text, deep[i].before, 1);
        repeat(&text, deep[i].each, deep[i].n);
        repeat(&text, deep[i].after, 1);
        refused(prop_buf_str(&text), "rego-syntax", deep[i].part);
    }
    prop_auto_buf struct prop_buf chain = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    repeat(&chain, HEAD, 1);
    for (unsigned i = 0; i < 9000; i++)
        assert_int_equal(prop_buf_printf(&chain, NULL, "a%u := a%u\n", i, i + 1), 0);
    repeat(&chain, "a9000 := 1\n", 1);
    refused(prop_buf_str(&chain), "rego-syntax", "rules that need rules");
}

/* Everything that ships passes, and so do long lists and many rules. */
static void test_shipped(void **state)
{
    (void)state;
    static const char *const presets[] = { "allow-all", "deny-all", "affirming", "default" };
    static const char *const files[] = { "one-workload.toml", "staging-production.toml",
                                         "two-teams.json" };
    const char *root = getenv("PROP_ROOT");
    for (size_t i = 0; i < PROP_ARRAY_LEN(presets); i++)
        prop_rego_free(policy(prop_policy_preset(presets[i])));
    prop_rego_free(policy(prop_kbsd_default_resource_policy));
    prop_rego_free(policy(prop_kbsd_default_cpu_policy));
    prop_rego_free(policy(prop_kbsd_default_gpu_policy));
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        char path[600];
        prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        prop_auto_policy_doc struct prop_policy_doc *d = NULL;
        (void)snprintf(path, sizeof path, "%s/examples/policies/%s", root != NULL ? root : ".",
                       files[i]);
        assert_int_equal(prop_file_read(path, &text, NULL), 0);
        assert_int_equal(prop_policy_doc_parse(prop_buf_str(&text), text.len, path, &d, NULL), 0);
        assert_int_equal(prop_policy_build(d, &rego, NULL), 0);
        prop_rego_free(policy(prop_buf_str(&rego)));
    }
    prop_auto_buf struct prop_buf many = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    repeat(&many, HEAD, 1);
    repeat(&many, "allow if {\n\tinput.x in [\"a\", \"b\", \"c\"]\n\tinput.y.z == 1 + 2 * 3\n}\n",
           4000);
    prop_rego_free(policy(prop_buf_str(&many)));
}

static int eval(struct prop_rego *r, const char *rule, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *none = json_object();
    assert_int_equal(prop_rego_set_data(r, none, err), 0);
    assert_int_equal(prop_rego_set_input(r, none, err), 0);
    return prop_rego_eval_rule(r, rule, ret, err);
}

static void test_limits(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *v = NULL;
    prop_auto_rego struct prop_rego *r =
        policy(HEAD "huge := count(numbers.range(1, 1000000000000))\n"
                    "up := numbers.range(3, 5)\ndown := numbers.range(5, 3)\n"
                    "steps := numbers.range_step(1, 10, 4)\n"
                    "back := numbers.range_step(10, 1, 4)\n");
    static const struct { const char *rule, *want; } lists[] = {
        { "data.policy.up", "[3,4,5]" }, { "data.policy.down", "[5,4,3]" },
        { "data.policy.steps", "[1,5,9]" }, { "data.policy.back", "[10,6,2]" },
    };
    assert_int_equal(eval(r, "data.policy.huge", &v, &err), PROP_E_INPUT);
    assert_non_null(strstr(err.message, "more than 1000000 numbers"));
    for (size_t i = 0; i < PROP_ARRAY_LEN(lists); i++) {
        prop_auto_json json_t *list = NULL;
        assert_int_equal(eval(r, lists[i].rule, &list, &err), 0);
        prop_auto_free char *text = prop_json_compact(list);
        assert_string_equal(text, lists[i].want);
    }
}

static void test_endless(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *v = NULL;
    prop_auto_rego struct prop_rego *r =
        policy(HEAD "n := numbers.range(1, 1000)\n"
                    "allow if { some a in n; some b in n; some c in n; a + b + c == -1 }\n");
    assert_int_equal(eval(r, "data.policy.allow", &v, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "rego-eval");
    assert_non_null(strstr(err.message, "stopped after 5 s"));
}

static void test_extend(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *v = NULL;
    prop_auto_json json_t *none = NULL;
    static const char more[] = HEAD "sum := a + b\n";
    struct prop_rego *bigger = NULL;
    prop_auto_rego struct prop_rego *r = policy(HEAD "a := 1\nb := 2\n");
    assert_int_equal(prop_rego_extend(r, more, sizeof more - 1, &bigger, &err), 0);
    assert_int_equal(eval(bigger, "data.policy.sum", &v, &err), 0);
    assert_int_equal(json_integer_value(v), 3);
    prop_rego_free(bigger);
    assert_int_equal(eval(r, "data.policy.sum", &none, &err), 0); /* the policy itself has none */
    assert_null(none);
    bigger = NULL;
    assert_int_equal(prop_rego_extend(r, "x", 1, &bigger, &err), PROP_E_INPUT);
    assert_null(bigger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outline),      cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_recursion),    cmocka_unit_test(test_no_recursion),
        cmocka_unit_test(test_depth),        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_endless),
        cmocka_unit_test(test_extend),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("engine: outline and refusals", tests, NULL, NULL);
}
