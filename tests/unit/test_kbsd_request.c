/* Taking requests apart, answers, and the small rules of the development KBS. */
#include "kbsd/appraise.h"
#include "kbsd/policy.h"
#include "kbsd/reply.h"
#include "kbsd/request.h"
#include "kbsd/resource.h"
#include "kbsd/session.h"
#include "support.h"

static struct prop_kbsd_request *request_of(const char *target)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kbsd_request *q = NULL;

    OK(prop_kbsd_request_new("GET", target, 100, &q, &err));
    return q;
}

static void test_targets(void **state)
{
    static const struct {
        const char *target;
        enum prop_kbsd_area area;
        const char *plugin, *rest, *segments, *query;
    } cases[] = {
        { "/kbs/v0/resource/a/b/c", PROP_KBSD_AREA_KBS, "resource", "a/b/c",
          "[\"a\",\"b\",\"c\"]", "{}" },
        { "/kbs/v0/resource", PROP_KBSD_AREA_KBS, "resource", "", "[]", "{}" },
        { "/kbs/v0/resource/", PROP_KBSD_AREA_KBS, "resource", "", "[\"\"]", "{}" },
        { "/kbs/v0/", PROP_KBSD_AREA_KBS, "", "", "[]", "{}" },
        { "/kbs/v0//x//", PROP_KBSD_AREA_KBS, "", "x//", "[\"x\",\"\",\"\"]", "{}" },
        { "/kbs/v0/a%2fb%2Fc", PROP_KBSD_AREA_KBS, "a", "b/c", "[\"b\",\"c\"]", "{}" },
        { "/kbs/v0/p/%61%2e%2", PROP_KBSD_AREA_KBS, "p", "a.%2", "[\"a.%2\"]", "{}" },
        { "/kbs/v0/p/%%41%4", PROP_KBSD_AREA_KBS, "p", "%A%4", "[\"%A%4\"]", "{}" },
        { "/kbs/v0/p/a+b", PROP_KBSD_AREA_KBS, "p", "a+b", "[\"a+b\"]", "{}" },
        { "/kbs/v0/p/%2525", PROP_KBSD_AREA_KBS, "p", "%25", "[\"%25\"]", "{}" },
        { "/kbs/v0/p?a=1&b=2&a=3", PROP_KBSD_AREA_KBS, "p", "", "[]", "{\"a\":\"3\",\"b\":\"2\"}" },
        { "/kbs/v0/p?x", PROP_KBSD_AREA_KBS, "p", "", "[]", "{\"x\":\"\"}" },
        { "/kbs/v0/p?&&=v&a+b=c%26d+e", PROP_KBSD_AREA_KBS, "p", "", "[]",
          "{\"\":\"v\",\"a b\":\"c&d e\"}" },
        { "/kbs/v0/p?a=b=c?d", PROP_KBSD_AREA_KBS, "p", "", "[]", "{\"a\":\"b=c?d\"}" },
        { "/metrics", PROP_KBSD_AREA_METRICS, NULL, NULL, "[]", "{}" },
        { "/metrics?x=1", PROP_KBSD_AREA_METRICS, NULL, NULL, "[]", "{\"x\":\"1\"}" },
        { "/healthz", PROP_KBSD_AREA_HEALTHZ, NULL, NULL, "[]", "{}" },
        { "/healthzz", PROP_KBSD_AREA_NONE, NULL, NULL, "[]", "{}" },
        { "/kbs/v0", PROP_KBSD_AREA_NONE, NULL, NULL, "[]", "{}" },
        { "", PROP_KBSD_AREA_NONE, NULL, NULL, "[]", "{}" },
        { "*", PROP_KBSD_AREA_NONE, NULL, NULL, "[]", "{}" },
    };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_kbsd_request struct prop_kbsd_request *q = request_of(cases[i].target);
        prop_auto_free char *segments = prop_json_compact(q->segments);
        prop_auto_free char *query = prop_json_sorted(q->query);
        assert_int_equal(q->area, cases[i].area);
        if (cases[i].plugin != NULL) {
            assert_string_equal(q->plugin, cases[i].plugin);
            assert_string_equal(q->rest, cases[i].rest);
        }
        assert_string_equal(segments, cases[i].segments);
        assert_string_equal(query, cases[i].query);
        assert_string_equal(q->target, cases[i].target);
    }
}

#define R "\xef\xbf\xbd"

static void test_bytes_that_are_no_text(void **state)
{
    static const struct {
        const char *sent, *rest;
    } cases[] = {
        { "%00", R }, { "%ff%fe", R R }, { "%c3%a9", "\xc3\xa9" }, { "%c3", R }, { "%c3x", R "x" },
        { "%c0%af", R R }, { "%e0%80%80", R R R }, { "%ed%a0%80", R R R },
        { "%ed%9f%bf", "\xed\x9f\xbf" }, { "%f0%9f%98%80", "\xf0\x9f\x98\x80" },
        { "%f4%90%80%80", R R R R }, { "%f5%80", R R }, { "\xc3\xa9", "\xc3\xa9" }, { "\xe9", R },
    };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        char target[64];
        (void)snprintf(target, sizeof(target), "/kbs/v0/p/%s", cases[i].sent);
        prop_auto_kbsd_request struct prop_kbsd_request *q = request_of(target);
        assert_string_equal(q->rest, cases[i].rest);
    }
}

static void test_cookies(void **state)
{
    static const struct {
        const char *header, *id;
    } cases[] = {
        { "kbs-session-id=abc", "abc" },
        { "a=b; kbs-session-id=abc; c=d", "abc" },
        { "a=b;kbs-session-id=abc;", "abc" },
        { "kbs-session-id=\"abc\"", "abc" },
        { "kbs-session-id=abc  ; x", "abc" },
        { "kbs-session-id=a%62c", "abc" },
        { "kbs-session-id=", "" },
        { "kbs-session-id=one; kbs-session-id=two", "one" },
        { "xkbs-session-id=abc", NULL },
        { "kbs-session-idx=abc", NULL },
        { "kbs-session-id", NULL },
        { "", NULL },
        { ";;; ;", NULL },
    };
    struct prop_err err = PROP_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_kbsd_request struct prop_kbsd_request *q = request_of("/");
        OK(prop_kbsd_request_add_cookies(q, cases[i].header, &err));
        if (cases[i].id == NULL)
            assert_null(q->session_id);
        else
            assert_string_equal(q->session_id, cases[i].id);
    }
    prop_auto_kbsd_request struct prop_kbsd_request *q = request_of("/");
    OK(prop_kbsd_request_add_cookies(q, "a=b", &err));
    OK(prop_kbsd_request_add_cookies(q, "kbs-session-id=second", &err));
    OK(prop_kbsd_request_add_cookies(q, "kbs-session-id=third", &err));
    assert_string_equal(q->session_id, "second");
}

static void test_bearer(void **state)
{
    static const struct {
        const char *header, *token;
    } cases[] = {
        { "Bearer x.y.z", "x.y.z" }, { "bearer x", NULL }, { "Bearer", NULL },
        { "Bearer ", NULL },         { "Bearer a b", NULL }, { "Basic x", NULL }, { NULL, NULL },
    };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_kbsd_request struct prop_kbsd_request *q = request_of("/");
        q->authorization = cases[i].header != NULL ? prop_strdup(cases[i].header) : NULL;
        const char *token = prop_kbsd_request_bearer(q);
        if (cases[i].token == NULL)
            assert_null(token);
        else
            assert_string_equal(token, cases[i].token);
    }
}

static void test_refusals(void **state)
{
    struct prop_kbsd_reply r;
    struct prop_err cause = PROP_ERR_INIT;

    (void)state;
    prop_kbsd_reply_init(&r);
    (void)prop_err_set(&cause, PROP_E_INPUT, "why it is so");
    prop_kbsd_reply_ok(&r, "text/xml", "before", 6);
    prop_kbsd_refuse(&r, "PolicyDeny", &cause, "no \"%s\"\n", "quote");
    assert_int_equal(r.status, 401);
    assert_null(r.content_type);
    assert_string_equal(prop_buf_str(&r.body),
                        "{\"type\":\"https://github.com/confidential-containers/kbs/errors/"
                        "PolicyDeny\","
                        "\"detail\":\"no \\\"quote\\\"\\n\"}");
    assert_string_equal(r.cause, "why it is so");
    prop_kbsd_refuse(&r, "PluginNotFound", NULL, "Plugin %s not found", "x");
    assert_int_equal(r.status, 404);
    assert_false(r.drop);
    /* text that cannot be JSON is no answer rather than a broken one */
    prop_kbsd_refuse(&r, "PolicyDeny", NULL, "%s", "\xff");
    assert_true(r.drop);
    prop_kbsd_reply_release(&r);
}

static void test_versions(void **state)
{
    static const struct {
        const char *version;
        bool parsed, matches;
    } cases[] = {
        { "0.4.0", true, true },       { "0.4.0+b.1", true, true },   { "0.4.0-a", true, false },
        { "0.4.0-a.0+x", true, false }, { "0.4.1", true, false },      { "1.0.0", true, false },
        { "0.4", false, false },       { "0.4.0.0", false, false },   { "00.4.0", false, false },
        { "0.4.0-", false, false },    { "0.4.0+", false, false },    { "0.4.0-00", false, false },
        { "0.4.0-0a", true, false },   { "0.4.0+00", true, true },    { "0.4.0-a..", false, false },
        { "", false, false },          { "0.4.0 ", false, false },    { "-0.4.0", false, false },
        { "18446744073709551615.0.0", true, false }, { "18446744073709551616.0.0", false, false },
    };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        bool parsed = !cases[i].parsed;
        assert_int_equal(prop_kbsd_version_matches(cases[i].version, &parsed), cases[i].matches);
        assert_int_equal(parsed, cases[i].parsed);
    }
}

static void test_tiers(void **state)
{
    (void)state;
    for (int v = -128; v <= 127; v++) {
        int want = v >= -1 && v <= 1 ? 0 : v >= -32 && v <= 31 ? 1 : v >= -96 && v <= 95 ? 2 : 3;
        assert_int_equal(prop_kbsd_tier(v), want);
    }
}

static void test_names(void **state)
{
    static const char *const good[] = { "a/b/c", "-/_/0", "a..b/c./d-_", "A/B/C", "___/---/0.." };
    static const char *const bad[] = { "", "/", "//", "a/b", "a/b/", "/a/b", "a/b/c/", "a/b/c/d",
                                       ".a/b/c", "a/.b/c", "a/b/.", "a/b/c d", "a/b/c~",
                                       "a/b/\xc3\xa9" };
    char path[400] = "a/b/";

    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++)
        assert_true(prop_kbsd_resource_path_ok(good[i]));
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++)
        assert_false(prop_kbsd_resource_path_ok(bad[i]));
    memset(path + 4, 'c', 245); /* 2 slashes of 4 and 247 other characters: 255 */
    assert_true(prop_kbsd_resource_path_ok(path));
    path[4 + 245] = 'c';
    assert_false(prop_kbsd_resource_path_ok(path));
    assert_true(prop_kbsd_key_fits("default_cpu", 5));
    assert_true(prop_kbsd_key_fits("", 5));
    assert_false(prop_kbsd_key_fits("a:b", 0));
    assert_false(prop_kbsd_key_fits("", 256));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),   cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_cookies),   cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_versions),
        cmocka_unit_test(test_tiers),     cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("kbsd request", tests, NULL, NULL);
}
