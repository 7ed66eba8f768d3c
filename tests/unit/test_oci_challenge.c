/* WWW-Authenticate as registries send it, and scope lists. */
#include "tests/unit/support.h"

#include "oci/challenge.h"

static void check(const char *header, size_t n, const char *scheme, const char *realm,
                  const char *service, const char *scope)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_challenges struct prop_challenges all = PROP_CHALLENGES_INIT;
    OK(prop_challenges_add(&all, header, &err));
    assert_int_equal(all.n, n);
    const struct prop_challenge *c = prop_challenges_find(&all, scheme);
    assert_non_null(c);
    const char *got[] = { c->realm, c->service, c->scope };
    const char *want[] = { realm, service, scope };
    for (size_t i = 0; i < 3; i++) {
        if (want[i] == NULL)
            assert_null(got[i]);
        else
            assert_string_equal(got[i], want[i]);
    }
}

static void test_good(void **state)
{
    (void)state;
    check("Basic realm=\"test\"", 1, "basic", "test", NULL, NULL);
    check("Bearer realm=\"http://127.0.0.1:5993/token\",service=\"reg.test\"", 1, "bearer",
          "http://127.0.0.1:5993/token", "reg.test", NULL);
    check("Bearer realm=\"r\",service=\"s\",scope=\"repository:a/b:pull,push repository:c/d:pull\"",
          1, "bearer", "r", "s", "repository:a/b:pull,push repository:c/d:pull");
    check("Bearer realm=\"r\",service=\"s\",scope=\"x\",error=\"insufficient_scope\"", 1, "bearer",
          "r", "s", "x");
    check("BEARER Realm=r , SERVICE = \"s\"", 1, "bearer", "r", "s", NULL);
    check("Basic realm=\"a, b=c\", Bearer realm=\"y\"", 2, "bearer", "y", NULL, NULL);
    check("Basic realm=\"a\\\"b\\\\c\"", 1, "basic", "a\"b\\c", NULL, NULL);
    check("Negotiate abc==, Basic realm=x", 2, "basic", "x", NULL, NULL);
    check("Negotiate, Basic realm=x,", 2, "basic", "x", NULL, NULL);
    check("Negotiate", 1, "negotiate", NULL, NULL, NULL);
    check("Bearer realm=\"first\",realm=\"second\"", 1, "bearer", "first", NULL, NULL);
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const rows[] = { "", " , ", "realm=\"x\"", "Basic realm=\"x", "Basic a=b,realm=",
                                        "Basic realm=\"x\" y", "\"Basic\"", "Basic realm=\"x\\",
                                        "=x" };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        prop_auto_challenges struct prop_challenges all = PROP_CHALLENGES_INIT;
        FAILS(prop_challenges_add(&all, rows[i], &err), PROP_E_REMOTE, "bad-challenge");
    }
}

static void test_many(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_challenges struct prop_challenges all = PROP_CHALLENGES_INIT;
    char header[400] = "";
    for (size_t i = 0; i < 40; i++)
        (void)snprintf(header + strlen(header), sizeof(header) - strlen(header), "A%zu,", i);
    FAILS(prop_challenges_add(&all, header, &err), PROP_E_REMOTE, "bad-challenge");
}

/* Cut anywhere: an answer or a refusal, and nothing leaks (AddressSanitizer watches). */
static void test_cuts(void **state)
{
    (void)state;
    static const char header[] =
        "Bearer realm=\"https://a.b/c?d=e\",service=\"s\\\"t\",scope=\"repository:a/b:pull,push\", "
        "Basic realm=\"x\", Negotiate abc==";
    char cut[sizeof(header)];
    for (size_t i = 0; i < sizeof(header); i++) {
        prop_auto_challenges struct prop_challenges all = PROP_CHALLENGES_INIT;
        memcpy(cut, header, i);
        cut[i] = '\0';
        int rc = prop_challenges_add(&all, cut, NULL);
        assert_true(rc == 0 || rc == PROP_E_REMOTE);
        assert_true(rc != 0 || all.n > 0);
    }
}

static void test_scopes(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *want;
    } rows[] = {
        { "repository:a/b:pull", NULL, "repository:a/b:pull" },
        { "repository:a/b:pull", "repository:a/b:push,pull", "repository:a/b:pull,push" },
        { "repository:b:pull,push", "repository:a:pull repository:b:pull",
          "repository:a:pull repository:b:pull,push" },
        { NULL, NULL, "" },
        { "", "  ", "" },
        { "nonsense", "repository:h:5000/x:pull", "repository:h:5000/x:pull" },
        { "registry:catalog:*", NULL, "registry:catalog:*" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        char *got = prop_scope_unite(rows[i].a, rows[i].b);
        assert_string_equal(got, rows[i].want);
        prop_free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_many),
        cmocka_unit_test(test_cuts), cmocka_unit_test(test_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
