/* URLs: loopback, resolving Locations, origins, escaping, and what is no URL. */
#include "tests/unit/support.h"

#include "http/http.h"

static void test_loopback(void **state)
{
    (void)state;
    static const char *const yes[] = { "localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1" };
    static const char *const no[] = { "localhost.example", "128.0.0.1", "10.0.0.1", "::2", "",
                                      "127.0.0.1.example", "0.0.0.0", "0127.0.0.1", "127.1" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(yes); i++)
        assert_true(prop_host_is_loopback(yes[i]));
    for (size_t i = 0; i < PROP_ARRAY_LEN(no); i++)
        assert_false(prop_host_is_loopback(no[i]));
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host;
    } rows[] = { { "http://Example.COM/x", "example.com" }, { "https://[::1]:5000/v2/", "::1" },
                 { "HTTP://127.0.0.1:80", "127.0.0.1" } };
    static const char *const bad[] = { "", "ftp://a/b", "a.b/c", "http://", "http://a b/",
                                       "file:///etc/passwd", "http://a:99999/", "//a/b" };
    struct prop_err err = PROP_ERR_INIT;
    char host[256];
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        OK(prop_url_host(rows[i].url, host, sizeof(host), &err));
        assert_string_equal(host, rows[i].host);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++)
        FAILS(prop_url_host(bad[i], host, sizeof(host), &err), PROP_E_INPUT, "bad-url");
    FAILS(prop_url_host("https://user:hunter2@a.b/", host, sizeof(host), &err), PROP_E_INPUT,
          "bad-url");
    assert_null(strstr(err.message, "hunter2"));
}

static void test_resolve(void **state)
{
    (void)state;
    static const struct {
        const char *location, *want;
    } rows[] = {
        { "http://b.x/y?z=1", "http://b.x/y?z=1" },
        { "/v2/u?_state=a%3D", "http://a.x:5000/v2/u?_state=a%3D" },
        { "u2", "http://a.x:5000/v2/r/blobs/u2" },
        { "../m", "http://a.x:5000/v2/r/m" },
        { "?s=2", "http://a.x:5000/v2/r/blobs/u1?s=2" },
        { "//c.x/p", "http://c.x/p" },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        char *got = NULL;
        OK(prop_url_resolve("http://a.x:5000/v2/r/blobs/u1?s=1", rows[i].location, &got, &err));
        assert_string_equal(got, rows[i].want);
        prop_free(got);
    }
}

static void test_origins(void **state)
{
    (void)state;
    assert_true(prop_url_same_origin("http://a.x/1", "http://A.x:80/2"));
    assert_true(prop_url_same_origin("https://a.x/1", "https://a.x:443"));
    assert_false(prop_url_same_origin("https://a.x/1", "http://a.x/1"));
    assert_false(prop_url_same_origin("https://a.x", "https://a.x:444"));
    assert_false(prop_url_same_origin("https://a.x", "https://b.x"));
    assert_false(prop_url_same_origin("nonsense", "nonsense"));
}

static void test_escape(void **state)
{
    (void)state;
    char *got = prop_url_escape("a b/c:d,e&f=g+\xc3\xa9-._~");
    assert_string_equal(got, "a%20b%2Fc%3Ad%2Ce%26f%3Dg%2B%C3%A9-._~");
    prop_free(got);
}

/* Plain HTTP leaves the machine only when it was allowed; nothing is sent to find out. */
static void test_plain_http(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_http_config config = { .max_retries = 0 };
    struct prop_http *h = NULL;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_http_request rq = { .method = "GET", .url = "http://registry.example/v2/" };
    OK(prop_http_new(&config, &h, &err));
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_USAGE, "plain-http");
    rq.url = "gopher://127.0.0.1/";
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_INPUT, "bad-url");
    rq.url = "http://127.0.0.1:1/";
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_NETWORK, "connect");
    prop_http_free(h);
}

static void test_passwords_are_not_repeated(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "ftp://bob:s3cr3t@h/x",      "http://bob:s3cr3t@h/x",   "https://bob:s3c/s3cr3t@h:99999/x",
        "http:bob:s3cr3t@h/x",       "//bob:s3cr3t@h/x",        "http://h:y/bob:s3cr3t@x",
        "bob:s3cr3t@h",              "http://bob:s3cr3t@[::1/", "\nhttp://bob:s3cr3t@h",
        "javascript:bob:s3cr3t@h//", "http://h\001/?p=s3cr3t",  "ht tp://bob:s3cr3t@h#s3cr3t",
    };
    char host[64];
    for (size_t i = 0; i < PROP_ARRAY_LEN(urls); i++) {
        struct prop_err err = PROP_ERR_INIT;
        char *to = NULL;
        assert_int_not_equal(prop_url_host(urls[i], host, sizeof(host), &err), 0);
        assert_null(strstr(err.message, "s3cr3t"));
        if (prop_url_resolve("http://h/", urls[i], &to, &err) < 0)
            assert_null(strstr(err.message, "s3cr3t"));
        prop_free(to);
    }
    struct prop_err err = PROP_ERR_INIT;
    FAILS(prop_url_host("ftp://bob:s3cr3t@h/x?q", host, sizeof(host), &err), PROP_E_INPUT, "bad-url");
    assert_non_null(strstr(err.message, "'ftp://***@h/x'"));
}

static void test_certificates(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_http *h = NULL;
    struct prop_http_config missing = { .ca_cert = "no-such-file.pem" };
    struct prop_http_config text = { .ca_cert = "Makefile" };
    struct prop_http_config folder = { .extra_ca_dir = "no-such-folder" };
    FAILS(prop_http_new(&missing, &h, &err), PROP_E_NOTFOUND, "not-found");
    FAILS(prop_http_new(&text, &h, &err), PROP_E_INPUT, "bad-certificate");
    FAILS(prop_http_new(&folder, &h, &err), PROP_E_NOTFOUND, "not-found");
    assert_null(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback), cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_resolve),  cmocka_unit_test(test_origins),
        cmocka_unit_test(test_escape),   cmocka_unit_test(test_plain_http),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_passwords_are_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
