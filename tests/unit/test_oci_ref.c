/* Image references and transports: every example of registry.md 6, and what is refused. */
#include "tests/unit/support.h"

#include "oci/ref.h"

#include <unistd.h>

#define HEX64 "dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039"

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *domain, *path, *tag, *formatted;
    } rows[] = {
        { "alpine", "docker.io", "library/alpine", "latest", "docker.io/library/alpine:latest" },
        { "team/app", "docker.io", "team/app", "latest", "docker.io/team/app:latest" },
        { "localhost/app", "localhost", "app", "latest", "localhost/app:latest" },
        { "localhost:5000/app:v1", "localhost:5000", "app", "v1", "localhost:5000/app:v1" },
        { "a.b/c", "a.b", "c", "latest", "a.b/c:latest" },
        { "foo:5000", "docker.io", "library/foo", "5000", "docker.io/library/foo:5000" },
        { "[::1]:5000/app", "[::1]:5000", "app", "latest", "[::1]:5000/app:latest" },
        { "[fe80::1]/app:x", "[fe80::1]", "app", "x", "[fe80::1]/app:x" },
        { "index.docker.io/app", "docker.io", "library/app", "latest",
          "docker.io/library/app:latest" },
        { "a__b", "docker.io", "library/a__b", "latest", "docker.io/library/a__b:latest" },
        { "a--b", "docker.io", "library/a--b", "latest", "docker.io/library/a--b:latest" },
        { "h.x/a-.tag:v1", NULL, NULL, NULL, NULL },
        { "127.0.0.1:5000/team/a.b_c-d:V1.2_x-y", "127.0.0.1:5000", "team/a.b_c-d", "V1.2_x-y",
          "127.0.0.1:5000/team/a.b_c-d:V1.2_x-y" },
        { "EXAMPLE.com/app", "EXAMPLE.com", "app", "latest", "EXAMPLE.com/app:latest" },
        { "a.b/c@sha256:" HEX64, "a.b", "c", NULL, "a.b/c@sha256:" HEX64 },
        { "a.b/c:t@sha256:" HEX64, "a.b", "c", "t", "a.b/c:t@sha256:" HEX64 },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_ref r = { 0 };
        if (rows[i].domain == NULL) {
            FAILS(prop_ref_parse(rows[i].text, &r, &err), PROP_E_INPUT, "bad-reference");
            continue;
        }
        OK(prop_ref_parse(rows[i].text, &r, &err));
        assert_string_equal(r.domain, rows[i].domain);
        assert_string_equal(r.path, rows[i].path);
        if (rows[i].tag != NULL)
            assert_string_equal(r.tag, rows[i].tag);
        else
            assert_null(r.tag);
        char *text = prop_ref_format(&r);
        assert_string_equal(text, rows[i].formatted);
        prop_free(text);
        prop_ref_release(&r);
        prop_ref_release(&r);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "", ":v1", "a..b", "a___b", "-a", "a-", "a//b", "a/", "/a", "a_", "_a", "a._b",
        "Foo/bar", "a.b/Team/app", HEX64, "a.b/c:", "a.b/c:-x", "a.b/c:.x", "a.b/c:a b",
        "[::1/app", "[::g]:1/app", "a.b:0/c", "a.b:65536/c", "a.b:12a/c", "a.b:/c", "-a.b/c",
        "a-.b/c", "a..b/c", "a.b/c\n", "a.b/c?x", "a.b/c#x", "user:pw@a.b/c",
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_ref r = { 0 };
        int rc = prop_ref_parse(rows[i], &r, &err);
        if (rc != PROP_E_INPUT)
            print_error("'%s' was taken\n", rows[i]);
        assert_int_equal(rc, PROP_E_INPUT);
        assert_null(r.domain);
    }
    FAILS(prop_ref_parse("a.b/Team/app", &(struct prop_ref){ 0 }, &err), PROP_E_INPUT,
          "bad-reference");
    assert_non_null(strstr(err.hint, "lower case"));
}

static void test_lengths(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ref r = { 0 };
    char text[600];

    memset(text, 'a', sizeof(text));
    memcpy(text, "h.x/", 4);
    text[255] = '\0';
    OK(prop_ref_parse(text, &r, &err));
    prop_ref_release(&r);
    text[255] = 'a';
    text[256] = '\0';
    FAILS(prop_ref_parse(text, &r, &err), PROP_E_INPUT, "bad-reference");
    memcpy(text, "h.x/a:", 6);
    memset(text + 6, 't', 128);
    text[6 + 128] = '\0';
    OK(prop_ref_parse(text, &r, &err));
    prop_ref_release(&r);
    text[6 + 128] = 't';
    text[6 + 129] = '\0';
    FAILS(prop_ref_parse(text, &r, &err), PROP_E_INPUT, "bad-reference");
}

static void test_digests(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ref r = { 0 };

    assert_true(prop_ref_parse("a.b/c@sha256:abcd", &r, &err) < 0);
    assert_true(prop_ref_parse("a.b/c@sha256:" HEX64 "00", &r, &err) < 0);
    assert_true(prop_ref_parse("a.b/c@md5:" HEX64, &r, &err) < 0);
    assert_true(prop_ref_parse("a.b/c@sha256:DC3EF967B8FB17F99BEE152D0A385ADDF3DCC978AF37E0341A1AA77C"
                               "30393039", &r, &err) < 0);
    assert_true(prop_ref_parse("a.b/c@", &r, &err) < 0);
    OK(prop_ref_parse("a.b/c@sha512:" HEX64 HEX64, &r, &err));
    assert_int_equal(r.digest.len, 64);
    prop_ref_release(&r);
}

static void test_locations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum prop_transport transport;
        const char *path, *name;
    } rows[] = {
        { "oci:dir", PROP_T_OCI, "dir", NULL },
        { "oci:dir:v1", PROP_T_OCI, "dir", "v1" },
        { "oci:/a/b:host/x:v1", PROP_T_OCI, "/a/b", "host/x:v1" },
        { "oci-archive:a.tar:v1", PROP_T_OCI_ARCHIVE, "a.tar", "v1" },
        { "dir:/tmp/x:y", PROP_T_DIR, "/tmp/x:y", NULL },
        { "sink:", PROP_T_SINK, NULL, NULL },
        { "-", PROP_T_FILE, "-", NULL },
        { "./x", PROP_T_FILE, "./x", NULL },
        { "/x/y", PROP_T_FILE, "/x/y", NULL },
        { "add.wasm", PROP_T_FILE, "add.wasm", NULL },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_location l;
        OK(prop_location_parse(rows[i].text, &l, &err));
        assert_int_equal(l.transport, rows[i].transport);
        if (rows[i].path != NULL)
            assert_string_equal(l.path, rows[i].path);
        if (rows[i].name != NULL)
            assert_string_equal(l.name, rows[i].name);
        else
            assert_null(l.name);
        assert_string_equal(l.text, rows[i].text);
        prop_location_release(&l);
    }
}

static void test_docker_locations(void **state)
{
    (void)state;
    static const char *const good[] = { "docker://alpine", "host.example/app:1",
                                        "localhost/app", "127.0.0.1:5000/a/b",
                                        "docker://a.b/c.wasm" };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_location l;

    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++) {
        OK(prop_location_parse(good[i], &l, &err));
        assert_int_equal(l.transport, PROP_T_DOCKER);
        assert_non_null(l.ref.domain);
        prop_location_release(&l);
    }
    /* a misspelt file never goes out to a public registry */
    FAILS(prop_location_parse("addition.wsm", &l, &err), PROP_E_NOTFOUND, "no-such-source");
    FAILS(prop_location_parse("team/app", &l, &err), PROP_E_NOTFOUND, "no-such-source");
    FAILS(prop_location_parse("docker:a.b/c", &l, &err), PROP_E_USAGE, "bad-location");
    FAILS(prop_location_parse("oci:", &l, &err), PROP_E_USAGE, "bad-location");
    FAILS(prop_location_parse("oci::v1", &l, &err), PROP_E_USAGE, "bad-location");
    FAILS(prop_location_parse("docker-archive:x.tar", &l, &err), PROP_E_UNSUPPORTED, "transport");
    FAILS(prop_location_parse("https://a.b/c", &l, &err), PROP_E_UNSUPPORTED, "transport");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),      cmocka_unit_test(test_bad),
        cmocka_unit_test(test_lengths),   cmocka_unit_test(test_digests),
        cmocka_unit_test(test_locations), cmocka_unit_test(test_docker_locations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
