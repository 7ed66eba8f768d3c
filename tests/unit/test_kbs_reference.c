/* Shapes and merging of reference values, where the whole-tool tests do not reach. */
#include "test_kbs_shared.h"

#include "kbs/reference.h"
#include "policy/reference.h"

static json_t *of(const char *text)
{
    json_t *v = NULL;
    assert_int_equal(prop_json_parse(text, strlen(text), "test", &v, NULL), 0);
    return v;
}

/* Merge `add` into `old` ("" = nothing there); the result as text, or the error's id. */
static void merge(const char *old, const char *add, unsigned flags, const char *want,
                  const char *want_dropped)
{
    json_t *o = *old ? of(old) : NULL, *a = of(add), *now = NULL, *dropped = NULL;
    struct prop_err err = PROP_ERR_INIT;
    int rc = prop_reference_merge("n", o, a, flags, &now, &dropped, &err);
    if (rc < 0) {
        assert_string_equal(prop_err_id(&err), want);
        assert_null(now);
        assert_null(dropped);
    } else {
        char *text = prop_json_compact(now), *gone = prop_json_compact(dropped);
        assert_string_equal(text, want);
        assert_string_equal(gone, want_dropped);
        prop_free(text);
        prop_free(gone);
    }
    json_decref(o);
    json_decref(a);
    json_decref(now);
    json_decref(dropped);
}

static void test_merge(void **state)
{
    (void)state;
    const unsigned r = PROP_REFERENCE_REPLACE;
    merge("", "[1,2,1]", 0, "[1,2]", "[]");
    merge("null", "1", 0, "1", "[]");
    merge("[1,2]", "[2,3]", 0, "[1,2,3]", "[]");
    merge("[1]", "[1.0]", 0, "[1]", "[]");
    merge("[{\"a\":1,\"b\":[2]}]", "[{\"b\":[2.0],\"a\":1}]", 0, "[{\"a\":1,\"b\":[2]}]", "[]");
    merge("1", "1.0", 0, "1.0", "[]");
    merge("{\"a\":1}", "{\"a\":1}", 0, "{\"a\":1}", "[]");
    merge("{\"a\":1}", "{\"a\":2}", 0, "reference-conflict", "");
    merge("1", "2", 0, "reference-conflict", "");
    merge("1", "[1]", 0, "reference-conflict", "");
    merge("[1]", "1", 0, "reference-conflict", "");
    merge("true", "false", 0, "reference-conflict", "");
    merge("true", "1", 0, "reference-conflict", "");
    merge("[1,2]", "[2,3]", r, "[2,3]", "[1]");
    merge("[1]", "1", r, "1", "[[1]]");
    merge("1", "[1]", r, "[1]", "[1]");
    merge("[]", "[1]", r, "[1]", "[]");
    merge("[1]", "[]", r, "[]", "[1]");
}

static void test_every_known_name_has_one_shape(void **state)
{
    (void)state;
    static const char *const values[] = { "[\"abcde\"]", "[1]", "1", "true", "\"x\"" };
    const char *name;
    size_t names = 0;
    for (; (name = prop_reference_known(names)); names++) {
        unsigned fits = 0;
        for (size_t i = 0; i < PROP_ARRAY_LEN(values); i++) {
            json_t *v = of(values[i]);
            fits += prop_reference_check(name, v, NULL) == 0;
            json_decref(v);
        }
        assert_true(fits <= 1);
        assert_true(prop_reference_is_name(name));
    }
    assert_int_equal(names, 21);
    json_t *any = of("{\"x\":[null]}");
    assert_int_equal(prop_reference_check("own", any, NULL), 0);
    json_decref(any);
}

/* The policy room has these names too, for its lint. */
static void test_both_tables_agree(void **state)
{
    (void)state;
    json_t *shapes = prop_policy_reference_shapes(), *list = json_array();
    const char *name;
    for (size_t i = 0; (name = prop_reference_known(i)); i++) {
        const char *shape = json_string_value(json_object_get(shapes, name));
        assert_non_null(shape);
        assert_int_equal(prop_reference_check(name, list, NULL) == 0, strcmp(shape, "list") == 0);
        (void)json_object_del(shapes, name);
    }
    assert_int_equal(json_object_size(shapes), 0);
    json_decref(shapes);
    json_decref(list);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "a b", "a?b", "a#b", "..", "a/../b", "\xc3\xa9", "a%2Fb",
                                       ".", "./a", "a/./b", "a/." };
    assert_true(prop_reference_is_name("a/b.c_d-1"));
    assert_true(prop_reference_is_name(".a/b."));
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++)
        assert_false(prop_reference_is_name(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_every_known_name_has_one_shape),
        cmocka_unit_test(test_both_tables_agree),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
