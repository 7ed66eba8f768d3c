/* Names of key-broker resources: every form that is read, and everything that is not. */
#include "tests/unit/support.h"

#include "keys/resource_id.h"

static void test_forms(void **state)
{
    (void)state;
    static const struct { const char *text; bool old; const char *host, *path, *uri; } rows[] = {
        { "default/key/1", false, "", "default/key/1", "kbs:///default/key/1" },
        { "kbs:///default/key/1", false, "", "default/key/1", "kbs:///default/key/1" },
        { "kbs+resource:///default/key/1", false, "", "default/key/1", "kbs:///default/key/1" },
        { "kbs://kbs.example.com/a/b/c", false, "kbs.example.com", "a/b/c",
          "kbs://kbs.example.com/a/b/c" },
        { "kbs://10.0.0.1:8080/a/b/c", false, "10.0.0.1:8080", "a/b/c",
          "kbs://10.0.0.1:8080/a/b/c" },
        { "kbs://[::1]:8080/a/b/c", false, "[::1]:8080", "a/b/c", "kbs://[::1]:8080/a/b/c" },
        { "_a.b-c/-x/0.1..", false, "", "_a.b-c/-x/0.1..", "kbs:///_a.b-c/-x/0.1.." },
        { "a/b/c", true, "", "a/b/c", "kbs:///a/b/c" },
        { "/default/image-kek/1f2d-3", true, "", "default/image-kek/1f2d-3",
          "kbs:///default/image-kek/1f2d-3" },
        { "kbs.host:80/a/b/c", true, "kbs.host:80", "a/b/c", "kbs://kbs.host:80/a/b/c" },
        { "kbs:///a/b/c", true, "", "a/b/c", "kbs:///a/b/c" },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_resource_id id;
        OK(prop_resource_id_parse(rows[i].text, rows[i].old, &id, &err));
        char *path = prop_resource_id_path(&id), *uri = prop_resource_id_uri(&id);
        assert_string_equal(id.host, rows[i].host);
        assert_string_equal(path, rows[i].path);
        assert_string_equal(uri, rows[i].uri);
        prop_free(path);
        prop_free(uri);
    }
}

static void refused(const char *text, bool old)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_resource_id id, before;
    memset(&id, 0x5a, sizeof(id));
    before = id;
    FAILS(prop_resource_id_parse(text, old, &id, &err), PROP_E_INPUT, "bad-resource-path");
    assert_memory_equal(&id, &before, sizeof(id)); /* untouched on failure */
    assert_true(err.hint[0]);
    assert_int_equal(prop_resource_id_parse(text, old, &id, NULL), PROP_E_INPUT);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const always[] = {
        "", "a", "a/b", "a/b/c/d/e", "a//c", "a/b/", "/", "//", "///", "////", "kbs://", "kbs:///",
        "kbs:///a", "kbs:///a/b", "kbs:///a/b/", "kbs:///a/b/c/", "kbs:///a/b/c/d", "kbs:////a/b/c",
        "kbs:///./b/c", "kbs:///a/../c", "a/.hidden/c", "../../etc/passwd", "kbs:///a/b/c?x=1",
        "kbs:///a/b/c#f", "a/b/c?", "kbs:///a/b/c%2e", "a/b/%63", "a/b/c d", "a/b/c\n", "a/b/\tc",
        "a/b/c~", "a/b/c:1", "a/b/c@h", "a/b/c+d", "a/b/\xc3\xa4", "kbs://user@host/a/b/c",
        "kbs://ho st/a/b/c", "kbs://h%41/a/b/c", "http://h/a/b/c", "https:///a/b/c", "KBS:///a/b/c",
        "kbs+external:///a/b/c", "kbs+pkcs11://h/a/b/c", "kbs:/a/b/c", "kbs:a/b/c",
        "kbs://h:/a/b/c", "kbs://:80/a/b/c", "kbs://h:123456/a/b/c",
        "kbs://h:8a/a/b/c", "kbs://[::1/a/b/c", "kbs://[]x/a/b/c", "kbs://[g::]/a/b/c",
        "kbs://[]/a/b/c", "kbs://a:b:1/a/b/c", "kbs//a/b/c",
        " a/b/c", "a/b/c\\", "a\\b\\c",
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(always); i++) {
        refused(always[i], false);
        refused(always[i], true);
    }
    refused("/a/b/c", false); /* the older forms only where packets from the wire are read */
    refused("host/a/b/c", false);
    refused("host:1/a/b/c/d", true);
    refused("us@er/a/b/c", true);
}

static void test_lengths(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_resource_id id;
    char part[300], text[2048];
    memset(part, 'a', sizeof(part));
    part[255] = 0;
    (void)snprintf(text, sizeof(text), "kbs://%s/%s/%s/%s", part, part, part, part);
    OK(prop_resource_id_parse(text, false, &id, &err));
    assert_int_equal(strlen(id.tag), 255);
    part[255] = 'a';
    part[256] = 0;
    (void)snprintf(text, sizeof(text), "r/t/%s", part);
    refused(text, false);
    (void)snprintf(text, sizeof(text), "kbs://%s/r/t/n", part);
    refused(text, false);
}

static void test_same(void **state)
{
    (void)state;
    static const struct { const char *a, *b; bool same; } rows[] = {
        { "a/b/c", "kbs:///a/b/c", true },        { "kbs://h/a/b/c", "kbs://i:1/a/b/c", true },
        { "a/b/c", "a/b/d", false },              { "a/b/c", "a/x/c", false },
        { "a/b/c", "x/b/c", false },              { "a/b/c", "A/b/c", false },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_resource_id a, b;
        OK(prop_resource_id_parse(rows[i].a, false, &a, &err));
        OK(prop_resource_id_parse(rows[i].b, false, &b, &err));
        assert_int_equal(prop_resource_id_same(&a, &b), rows[i].same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lengths), cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
