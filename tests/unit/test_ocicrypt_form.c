/* What is read out of Wasm binaries as they go by, and which layers a choice means. */
#include "test_ocicrypt.h"

#include "ocicrypt/form.h"
#include "ocicrypt/form_names.h"
#include "ocicrypt/image_select.h"

/* A component: a custom section, two imports (an instance, a function), two exports (an instance, a
 * type with its description). */
static const uint8_t component[] = {
    0, 'a', 's', 'm', 0x0d, 0, 1, 0,
    0, 5, 2, 'h', 'i', 1, 2,
    10, 16, 2, 0, 4, 'a', ':', 'b', '/', 5, 0, 1, 3, 'f', 'o', 'o', 1, 0,
    11, 21, 2, 0, 4, 'c', ':', 'd', '/', 5, 0, 0, 0, 3, 'b', 'a', 'r', 3, 0, 1, 3, 0, 0,
};

static void feed(struct prop_wasm_scan *s, const uint8_t *data, size_t len, size_t piece)
{
    struct prop_err err = PROP_ERR_INIT;
    for (size_t at = 0; at < len; at += piece)
        assert_ok(prop_wasm_scan_update(s, data + at, len - at < piece ? len - at : piece, &err));
}

/* "imports|exports", or the id of the failure. */
static const char *names_of(const uint8_t *data, size_t len, size_t piece)
{
    static char out[400];
    prop_auto_wasm_scan struct prop_wasm_scan *s = NULL;
    prop_auto_json json_t *imports = NULL;
    prop_auto_json json_t *exports = NULL;
    struct prop_err err = PROP_ERR_INIT;
    assert_ok(prop_wasm_scan_new(&s, &err));
    feed(s, data, len, piece);
    if (prop_wasm_scan_names(s, &imports, &exports, &err) != 0)
        return prop_err_id(&err);
    prop_auto_free char *a = prop_json_compact(imports);
    prop_auto_free char *b = prop_json_compact(exports);
    (void)snprintf(out, sizeof(out), "%s|%s", a, b);
    return out;
}

static void test_names_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= sizeof(component); piece++)
        assert_string_equal(names_of(component, sizeof(component), piece),
                            "[\"a:b/\",\"foo\"]|[\"c:d/\",\"bar\"]");
}

/* No prefix but those that end between sections is a component; no changed byte is trouble. */
static void test_damage_never_hurts(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(component); len++) {
        const char *got = names_of(component, len, 7);
        if (len == 8 || len == 15)
            assert_string_equal(got, "[]|[]");
        else if (len == 33)
            assert_string_equal(got, "[\"a:b/\",\"foo\"]|[]");
        else
            assert_string_equal(got, "bad-component");
    }
    for (size_t bit = 0; bit < 8 * sizeof(component); bit++) {
        uint8_t copy[sizeof(component)];
        memcpy(copy, component, sizeof(component));
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_non_null(names_of(copy, sizeof(copy), 5));
    }
}

static void test_kinds(void **state)
{
    static const struct {
        uint8_t bytes[9];
        size_t len;
        enum prop_wasm_kind kind;
    } cases[] = {
        { { 0, 'a', 's', 'm', 1, 0, 0, 0 }, 8, PROP_WASM_MODULE },
        { { 0, 'a', 's', 'm', 0x0d, 0, 1, 0 }, 8, PROP_WASM_COMPONENT },
        { { 0, 'a', 's', 'm', 0x0a, 0, 1, 0, 0 }, 9, PROP_WASM_COMPONENT },
        { { 0, 'a', 's', 'm', 2, 0, 0, 0 }, 8, PROP_WASM_NONE },
        { { 0, 'a', 's', 'm', 1, 0, 0 }, 7, PROP_WASM_NONE },
        { { 'h', 'e', 'l', 'l', 'o', 0, 1, 0 }, 8, PROP_WASM_NONE },
        { { 0 }, 0, PROP_WASM_NONE },
    };
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_wasm_scan struct prop_wasm_scan *s = NULL;
        assert_ok(prop_wasm_scan_new(&s, &err));
        feed(s, cases[i].bytes, cases[i].len, 3);
        assert_int_equal(prop_wasm_scan_kind(s), cases[i].kind);
    }
}

static void test_forms_by_name(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    enum prop_form form = PROP_FORM_PROPELLER;
    (void)state;
    assert_ok(prop_form_parse("tar", &form, &err));
    assert_int_equal(form, PROP_FORM_TAR);
    assert_string_equal(prop_form_layer_type(PROP_FORM_CNCF), "application/wasm");
    assert_id(prop_form_parse("TAR", &form, &err), PROP_E_USAGE, "bad-form");
    assert_int_equal(form, PROP_FORM_TAR);
}

/* The layers of a made-up manifest that a choice means, as "x.x". */
static const char *chosen(const char *const *which, size_t n, struct prop_err *err)
{
    static char out[8];
    struct prop_descriptor layers[] = { { .media_type = "a/one" },
                                        { .media_type = "a/two+encrypted" },
                                        { .media_type = "a/one" } };
    const struct prop_manifest m = { .layers = layers, .n_layers = 3 };
    const struct prop_layer_choice c = { which, n };
    bool flags[3] = { false, false, false };
    if (prop_layer_choice_check(&c, err) != 0 ||
        prop_layer_choice_apply(&c, &m, flags, NULL, err) != 0)
        return prop_err_id(err);
    (void)snprintf(out, sizeof(out), "%c%c%c", flags[0] ? 'x' : '.', flags[1] ? 'x' : '.',
                   flags[2] ? 'x' : '.');
    return out;
}

static void test_choosing_layers(void **state)
{
    static const struct {
        const char *which[2];
        size_t n;
        const char *want;
    } cases[] = {
        { { NULL }, 0, "xxx" },          { { "all" }, 1, "xxx" },
        { { "0" }, 1, "x.." },           { { "-1" }, 1, "..x" },
        { { "-3", "1" }, 2, "xx." },     { { "a/one" }, 1, "x.x" },
        { { "a/two" }, 1, ".x." },       { { "a/two+encrypted" }, 1, ".x." },
        { { "3" }, 1, "no-such-layer" }, { { "-4" }, 1, "no-such-layer" },
        { { "one" }, 1, "bad-layer" },   { { "" }, 1, "bad-layer" },
        { { "-" }, 1, "bad-layer" },     { { "9999999" }, 1, "bad-layer" },
        { { "a/on" }, 1, "..." },
    };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_err err = PROP_ERR_INIT;
        assert_string_equal(chosen(cases[i].which, cases[i].n, &err), cases[i].want);
    }
}

/* Go's order in an index: members, descriptors, platforms, annotations. */
static void test_an_index_is_written_in_gos_order(void **state)
{
    static const char mixed[] =
        "{\"annotations\":{\"b\":\"2\",\"a\":\"<1>\"},\"manifests\":[{\"platform\":{\"variant\":"
        "\"v8\",\"os\":\"linux\",\"architecture\":\"arm64\"},\"size\":1,\"annotations\":{\"z\":"
        "\"1\",\"y\":\"2\"},\"digest\":\"d\",\"mediaType\":\"m\"}],\"mediaType\":\"t\","
        "\"schemaVersion\":2}";
    static const char want[] =
        "{\"schemaVersion\":2,\"mediaType\":\"t\",\"manifests\":[{\"mediaType\":\"m\",\"digest\":"
        "\"d\",\"size\":1,\"annotations\":{\"y\":\"2\",\"z\":\"1\"},\"platform\":{\"architecture\":"
        "\"arm64\",\"os\":\"linux\",\"variant\":\"v8\"}}],\"annotations\":{\"a\":\"\\u003c1\\u003e\","
        "\"b\":\"2\"}}";
    prop_auto_json json_t *doc = NULL;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(4096);
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    assert_ok(prop_json_parse(mixed, strlen(mixed), "index", &doc, &err));
    assert_ok(prop_manifest_write(doc, &out, &err));
    assert_string_equal(prop_buf_str(&out), want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_in_pieces_of_any_size),
        cmocka_unit_test(test_damage_never_hurts),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_forms_by_name),
        cmocka_unit_test(test_choosing_layers),
        cmocka_unit_test(test_an_index_is_written_in_gos_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
