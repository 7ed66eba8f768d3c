/* util/: buffers, secrets, base64 and hex, strict JSON, errors, text and numbers. Files are in
 * test_util_file.c. */
#include "tests/unit/support.h"

#include "crypto/digest.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>

static void test_buf_limits(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = PROP_BUF_INIT(10), none = PROP_BUF_INIT(0);
    assert_string_equal(prop_buf_str(&b), "");
    OK(prop_buf_add(&b, "12345", 5, &err));
    OK(prop_buf_puts(&b, "678", &err));
    FAILS(prop_buf_puts(&b, "9ab", &err), PROP_E_LIMIT, "over-limit");
    assert_string_equal(prop_buf_str(&b), "12345678"); /* a refused append changes nothing */
    FAILS(prop_buf_printf(&b, &err, "%03d", 7), PROP_E_LIMIT, "over-limit");
    assert_string_equal(prop_buf_str(&b), "12345678");
    OK(prop_buf_printf(&b, &err, "%02d", 9));
    assert_string_equal(prop_buf_str(&b), "1234567809");
    FAILS(prop_buf_add(&b, "x", 1, &err), PROP_E_LIMIT, "over-limit");
    FAILS(prop_buf_reserve(&b, SIZE_MAX, &err), PROP_E_LIMIT, "over-limit");
    prop_buf_clear(&b);
    assert_string_equal(prop_buf_str(&b), "");
    OK(prop_buf_puts(&b, "again", &err));
    size_t len = 0;
    char *taken = prop_buf_take(&b, &len);
    assert_int_equal(len, 5);
    assert_string_equal(taken, "again");
    prop_free(taken);
    assert_int_equal(b.len, 0);
    OK(prop_buf_puts(&b, "x", &err));
    prop_buf_release(&b);
    prop_buf_release(&b);
    OK(prop_buf_add(&none, "", 0, &err));
    FAILS(prop_buf_add(&none, "x", 1, &err), PROP_E_LIMIT, "over-limit");
    prop_buf_release(&none);
}

static void test_buf_growth(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    for (size_t max = 1; max < 300; max += 7) {
        struct prop_buf b = PROP_BUF_INIT(max);
        for (size_t i = 0; i < max; i++) {
            OK(prop_buf_add(&b, "z", 1, &err));
            assert_int_equal(b.data[b.len], 0);
        }
        FAILS(prop_buf_add(&b, "z", 1, &err), PROP_E_LIMIT, "over-limit");
        prop_buf_release(&b);
    }
}

static void test_secrets(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *a = secret_text("passphrase"), *b = secret_text("passphrase"), *z = NULL;
    assert_int_equal(prop_secret_len(a), 10);
    assert_string_equal((const char *)prop_secret_data(a), "passphrase"); /* 0 behind the last */
    assert_true(prop_secret_equal(a, b));
    prop_secret_bytes(b)[9] = 'x';
    assert_false(prop_secret_equal(a, b));
    prop_secret_truncate(a, 4);
    assert_int_equal(prop_secret_len(a), 4);
    assert_string_equal((const char *)prop_secret_data(a), "pass");
    assert_int_equal(prop_secret_data(a)[9], 0); /* what was cut off is wiped */
    prop_secret_truncate(a, 40);
    assert_int_equal(prop_secret_len(a), 4);
    assert_false(prop_secret_equal(a, b));
    OK(prop_secret_new(0, &z, &err));
    assert_int_equal(prop_secret_len(z), 0);
    assert_int_equal(prop_secret_data(z)[0], 0);
    prop_secret_free(z);
    z = NULL;
    FAILS(prop_secret_new((64u << 20) + 1, &z, &err), PROP_E_LIMIT, "over-limit");
    assert_null(z);
    char stack[8] = "secret!";
    prop_wipe(stack, sizeof(stack));
    for (size_t i = 0; i < sizeof(stack); i++)
        assert_int_equal(stack[i], 0);
    prop_secret_free(a);
    prop_secret_free(b);
    prop_secret_free(NULL);
}

/* RFC 4648 section 10, and URL texts of the same bytes. */
static void test_base64(void **state)
{
    (void)state;
    static const struct { const char *bytes, *std, *url; } rows[] = {
        { "", "", "" }, { "f", "Zg==", "Zg" }, { "fo", "Zm8=", "Zm8" }, { "foo", "Zm9v", "Zm9v" },
        { "foob", "Zm9vYg==", "Zm9vYg" }, { "fooba", "Zm9vYmE=", "Zm9vYmE" },
        { "foobar", "Zm9vYmFy", "Zm9vYmFy" }, { "\xfb\xff\xfe", "+//+", "-__-" },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        for (int k = 0; k < 2; k++) {
            enum prop_b64 kind = k ? PROP_B64_URL : PROP_B64_STD;
            const char *want = k ? rows[i].url : rows[i].std;
            size_t n = strlen(rows[i].bytes);
            char *text = prop_b64_encode(kind, rows[i].bytes, n);
            struct prop_buf out = PROP_BUF_INIT(64), appended = PROP_BUF_INIT(64);
            struct prop_secret *s = NULL;
            assert_string_equal(text, want);
            assert_int_equal(prop_b64_encoded_len(kind, n), strlen(want));
            OK(prop_b64_append(&appended, kind, rows[i].bytes, n, &err));
            assert_string_equal(prop_buf_str(&appended), want);
            OK(prop_b64_decode(kind, want, strlen(want), "x", &out, &err));
            assert_int_equal(out.len, n);
            assert_string_equal(prop_buf_str(&out), rows[i].bytes);
            OK(prop_b64_decode_secret(kind, want, strlen(want), "x", &s, &err));
            assert_secret_is(s, rows[i].bytes, n);
            prop_secret_free(s);
            prop_free(text);
            prop_buf_release(&out);
            prop_buf_release(&appended);
        }
    }
}

static void test_base64_strict(void **state)
{
    (void)state;
    static const char *const bad_std[] = {
        "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm8", "====", "=", "==", "Z===", "Zm9v=",
        "Zg==Zg==", "Zm9v\n", " Zm9v", "Zm 9v", "-__-", "Zm9v====", "Zg==\0", "Zm=v", "Zm9vY===",
    };
    static const char *const bad_url[] = {
        "Z", "Zh", "Zm9", "Zg==", "Zm8=", "+//+", "Zm9vY", "Zm9v\n", "Zm 9v", "Zm9v=", "Zm9v.",
        "Zm-!", "\xc3\xa4\xc3\xa4",
    };
    struct prop_err err = PROP_ERR_INIT;
    for (int k = 0; k < 2; k++) {
        size_t n = k ? PROP_ARRAY_LEN(bad_url) : PROP_ARRAY_LEN(bad_std);
        for (size_t i = 0; i < n; i++) {
            enum prop_b64 kind = k ? PROP_B64_URL : PROP_B64_STD;
            const char *text = k ? bad_url[i] : bad_std[i];
            struct prop_buf out = PROP_BUF_INIT(64);
            struct prop_secret *s = NULL;
            if (k == 0 && i == 18) { /* a text with a 0 byte inside */
                FAILS(prop_b64_decode(kind, "Zg=\0", 4, "x", &out, &err), PROP_E_INPUT,
                      "bad-base64");
                prop_buf_release(&out);
                continue;
            }
            FAILS(prop_b64_decode(kind, text, strlen(text), "the tag", &out, &err), PROP_E_INPUT,
                  "bad-base64");
            assert_non_null(strstr(err.message, "the tag"));
            assert_int_equal(out.len, 0);
            FAILS(prop_b64_decode_secret(kind, text, strlen(text), "x", &s, &err), PROP_E_INPUT,
                  "bad-base64");
            assert_null(s);
            prop_buf_release(&out);
        }
    }
    struct prop_buf small = PROP_BUF_INIT(2);
    FAILS(prop_b64_decode(PROP_B64_URL, "Zm9v", 4, "x", &small, &err), PROP_E_LIMIT, "over-limit");
    assert_int_equal(prop_b64_decode(PROP_B64_URL, "Zm9v", 4, "x", &small, NULL), PROP_E_LIMIT);
    prop_buf_release(&small);
}

/* Every text of up to 4 characters over a telling alphabet: what decodes encodes to itself. */
static void test_base64_is_canonical(void **state)
{
    (void)state;
    static const char letters[] = "AQgwZ/_+-=x9";
    char text[5];
    size_t n = strlen(letters), accepted = 0;
    for (size_t v = 0; v < n * n * n * n; v++) {
        size_t rest = v;
        for (size_t i = 0; i < 4; i++, rest /= n)
            text[i] = letters[rest % n];
        for (size_t len = 2; len <= 4; len++) {
            for (int k = 0; k < 2; k++) {
                enum prop_b64 kind = k ? PROP_B64_URL : PROP_B64_STD;
                struct prop_buf out = PROP_BUF_INIT(8);
                if (prop_b64_decode(kind, text, len, "x", &out, NULL) == 0) {
                    char *again = prop_b64_encode(kind, out.data, out.len);
                    assert_int_equal(strlen(again), len);
                    assert_memory_equal(again, text, len);
                    prop_free(again);
                    accepted++;
                }
                prop_buf_release(&out);
            }
        }
    }
    assert_true(accepted > 1000);
}

static void test_hex(void **state)
{
    (void)state;
    uint8_t out[4];
    char text[9];
    prop_hex_encode("\x00\xff\x1a\x80", 4, text);
    assert_string_equal(text, "00ff1a80");
    assert_int_equal(prop_hex_decode("00FF1a80", 8, out, 4), 0);
    assert_memory_equal(out, "\x00\xff\x1a\x80", 4);
    assert_int_equal(prop_hex_decode("00ff1a8", 7, out, 4), -1);
    assert_int_equal(prop_hex_decode("00ff1a800", 9, out, 4), -1);
    assert_int_equal(prop_hex_decode("00ff1a8g", 8, out, 4), -1);
    assert_int_equal(prop_hex_decode("00ff1a8 ", 8, out, 4), -1);
    assert_int_equal(prop_hex_decode("", 0, out, 0), 0);
}

static void test_json_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", " ", "{", "}", "[1,]", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":1}}",
        "{} {}", "{}x", "nul", "'a'", "{a:1}", "[1] // c", "\"\\u0000\"", "\"\x01\"", "\"\xff\"",
        "\"\xed\xa0\x80\"", "\"\\ud800\"", "01", "+1", "1.", ".5", "NaN", "[1e999]",
        "\xef\xbb\xbf{}",
        "{\"a\"}", "{\"a\":}", "\"a", "99999999999999999999",
    };
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        FAILS(prop_json_parse(bad[i], strlen(bad[i]), "the manifest", &v, &err), PROP_E_INPUT,
              "json-syntax");
        assert_non_null(strstr(err.message, "the manifest"));
        assert_null(v);
    }
    FAILS(prop_json_parse("{}\0", 3, "x", &v, &err), PROP_E_INPUT, "json-syntax");
    static const char *const good[] = { "{}", " [ ] ", "null", "true", "-1.5e3", "\"\\u00e4\"" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++) {
        OK(prop_json_parse(good[i], strlen(good[i]), "x", &v, &err));
        json_decref(v);
        v = NULL;
    }
}

static void test_json_depth(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char text[200];
    json_t *v = NULL;
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    OK(prop_json_parse(text, 128, "x", &v, &err));
    json_decref(v);
    v = NULL;
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    FAILS(prop_json_parse(text, 130, "x", &v, &err), PROP_E_LIMIT, "json-depth");
    memset(text, '[', 130); /* brackets in a string do not nest, nor does a quote end it */
    memcpy(text, "\"[\\\"", 4);
    text[130] = '"';
    OK(prop_json_parse(text, 131, "x", &v, &err));
    json_decref(v);
}

struct thing {
    const char *name;
    bool on;
    json_int_t count;
    json_t *object, *array, *any;
};
#define F(name, kind, field, flags) { name, kind, offsetof(struct thing, field), flags }
static const struct prop_json_field fields[] = {
    F("name", PROP_JSON_STRING, name, PROP_JSON_REQUIRED),
    F("on", PROP_JSON_BOOL, on, 0),
    F("count", PROP_JSON_INT, count, PROP_JSON_NULLABLE),
    F("object", PROP_JSON_OBJECT, object, 0),
    F("array", PROP_JSON_ARRAY, array, 0),
    F("any", PROP_JSON_ANY, any, 0),
};

static int read_thing(const char *text, struct thing *t, json_t **v, struct prop_err *err)
{
    int rc = prop_json_parse(text, strlen(text), "thing", v, err);
    return rc ? rc : prop_json_read(*v, "thing", fields, PROP_ARRAY_LEN(fields), t, err);
}

static void test_json_read(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]", "{}", "{\"name\":null}", "{\"name\":1}", "{\"name\":\"a\",\"on\":1}",
        "{\"name\":\"a\",\"on\":null}", "{\"name\":\"a\",\"count\":1.5}",
        "{\"name\":\"a\",\"count\":\"1\"}", "{\"name\":\"a\",\"object\":[]}",
        "{\"name\":\"a\",\"array\":{}}",
    };
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;
    struct thing t = { .count = 42 };
    OK(read_thing("{\"name\":\"n\",\"on\":true,\"count\":null,\"object\":{},\"array\":[],\"any\":7,"
                  "\"unknown\":{}}", &t, &v, &err));
    assert_string_equal(t.name, "n");
    assert_true(t.on && json_is_object(t.object));
    assert_true(json_is_array(t.array) && json_is_integer(t.any));
    assert_int_equal(t.count, 42); /* null counts as absent: left as it was */
    json_decref(v);
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        v = NULL;
        FAILS(read_thing(bad[i], &t, &v, &err), PROP_E_INPUT, "json-shape");
        assert_non_null(strstr(err.message, "thing"));
        json_decref(v);
    }
}

/* The canonicalizer check of kbs.md 2.4, and texts in insertion order. */
static void test_json_out(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;
    const char *text = "{\"b\":1,\"a\":\"test\",\"c\":{\"d\":\"e\"}}";
    OK(prop_json_parse(text, strlen(text), "x", &v, &err));
    char *compact = prop_json_compact(v), *sorted = prop_json_sorted(v);
    assert_string_equal(compact, text);
    assert_string_equal(sorted, "{\"a\":\"test\",\"b\":1,\"c\":{\"d\":\"e\"}}");
    struct prop_digest d;
    OK(prop_digest_of(PROP_SHA384, sorted, strlen(sorted), &d, &err));
    assert_bytes_hex(d.bytes, d.len,
                     "e71ce8e70d814ba6639c3612ebee0ff1f76f650f8dbb5e47157e0f3f525cd22c"
                     "4597480a186427c813ca941da78870c3");
    prop_free(compact);
    prop_free(sorted);
    json_decref(v);
    json_t *s = json_string("\xc3\xa4/\"\\\n\x1f");
    char *out = prop_json_compact(s);
    assert_string_equal(out, "\"\xc3\xa4/\\\"\\\\\\n\\u001f\"");
    prop_free(out);
    json_decref(s);
}

static void test_errors(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_err_set(&err, PROP_E_IO, "read '%s'", "a\nb\x1b[31m"), PROP_E_IO);
    assert_string_equal(err.message, "read 'a\\x0ab\\x1b[31m'"); /* nothing raw */
    assert_string_equal(prop_err_id(&err), "local-io");
    assert_int_equal(prop_err_wrap(&err, "push '%s'", "x"), PROP_E_IO);
    assert_string_equal(err.message, "push 'x': read 'a\\x0ab\\x1b[31m'");
    assert_int_equal(prop_err_hint(&err, "first"), PROP_E_IO);
    assert_int_equal(prop_err_hint(&err, "second"), PROP_E_IO);
    assert_string_equal(err.hint, "first");
    assert_int_equal(prop_err_set_id(&err, PROP_E_VERIFY, "exact", "x"), PROP_E_VERIFY);
    assert_string_equal(prop_err_id(&err), "exact");
    assert_string_equal(err.hint, ""); /* a new failure starts anew */
    errno = ENOENT;
    assert_int_equal(prop_err_sys(&err, PROP_E_NOTFOUND, "open 'f'"), PROP_E_NOTFOUND);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_string_equal(err.message, "open 'f': No such file or directory");
    assert_int_equal(prop_err_nomem(NULL), PROP_E_NOMEM);
    prop_err_clear(&err);
    assert_int_equal(err.code, PROP_OK);
    assert_string_equal(err.message, "");
    char longer[3000];
    memset(longer, 'y', sizeof(longer));
    longer[sizeof(longer) - 1] = 0;
    (void)prop_err_set(&err, PROP_E_IO, "%s", longer);
    for (int i = 0; i < 5; i++) /* stays a string however much is put in front */
        (void)prop_err_wrap(&err, "%s", longer);
    assert_true(strlen(err.message) < sizeof(err.message));
    assert_memory_equal(err.message, "yyyy", 4);
}

/* Without an object the code of what failed still comes back. */
static void test_errors_without_object(void **state)
{
    (void)state;
    assert_int_equal(prop_err_set(NULL, PROP_E_DENIED, "x"), PROP_E_DENIED);
    assert_int_equal(prop_err_hint(NULL, "y"), PROP_E_DENIED);
    assert_int_equal(prop_err_set_id(NULL, PROP_E_NOTFOUND, "id", "x"), PROP_E_NOTFOUND);
    assert_int_equal(prop_err_wrap(NULL, "y"), PROP_E_NOTFOUND);
    assert_int_equal(prop_err_sys(NULL, PROP_E_IO, "x"), PROP_E_IO);
    assert_int_equal(prop_err_hint(NULL, "y"), PROP_E_IO);
    struct prop_err inner = PROP_ERR_INIT;
    assert_int_equal(prop_err_nomem(&inner), PROP_E_NOMEM);
    assert_int_equal(prop_err_wrap(NULL, "y"), PROP_E_NOMEM);
}

static void test_printable(void **state)
{
    (void)state;
    char out[64], tiny[6];
    assert_string_equal(prop_printable("a\xc3\xa4\x7f\xc2\x9b\xff\xe2\x82\xac", 10, out, 64),
                        "a\xc3\xa4\\x7f\\xc2\\x9b\\xff\xe2\x82\xac");
    assert_string_equal(prop_printable("\xed\xa0\x80", 3, out, sizeof(out)), "\\xed\\xa0\\x80");
    assert_string_equal(prop_printable("\xc0\xaf", 2, out, sizeof(out)), "\\xc0\\xaf");
    assert_string_equal(prop_printable("\xe2\x82", 2, out, sizeof(out)), "\\xe2\\x82");
    assert_string_equal(prop_printable("abcdefgh", 8, tiny, sizeof(tiny)), "abcde");
    assert_string_equal(prop_printable("ab\nd", 4, tiny, sizeof(tiny)), "ab");
    assert_true(prop_starts_with("abc", "ab") && !prop_starts_with("a", "ab"));
    assert_true(prop_ends_with("abc", "bc") && !prop_ends_with("c", "bc"));
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x10", "1.5", "a",
                                       "18446744073709551616" };
    static const struct { const char *text; uint64_t bytes; } sizes[] = {
        { "0", 0 }, { "65536", 65536 }, { "1K", 1024 }, { "64M", 64ull << 20 },
        { "1GiB", 1ull << 30 },
        { "2KiB", 2048 }, { "3MiB", 3ull << 20 }, { "5B", 5 },
    };
    static const struct { const char *text; uint64_t ms; } times[] = {
        { "0", 0 }, { "30", 30000 }, { "500ms", 500 }, { "2s", 2000 }, { "5m", 300000 },
        { "1h", 3600000 },
    };
    struct prop_err err = PROP_ERR_INIT;
    uint64_t v = 7;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        FAILS(prop_parse_u64(bad[i], "--n", &v, &err), PROP_E_INPUT, "malformed-input");
        FAILS(prop_parse_size(bad[i], "--n", &v, &err), PROP_E_INPUT, "malformed-input");
        FAILS(prop_parse_duration_ms(bad[i], "--n", &v, &err), PROP_E_INPUT, "malformed-input");
    }
    assert_int_equal(v, 7);
    OK(prop_parse_u64("18446744073709551615", "n", &v, &err));
    assert_true(v == UINT64_MAX);
    for (size_t i = 0; i < PROP_ARRAY_LEN(sizes); i++) {
        OK(prop_parse_size(sizes[i].text, "n", &v, &err));
        assert_true(v == sizes[i].bytes);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(times); i++) {
        OK(prop_parse_duration_ms(times[i].text, "n", &v, &err));
        assert_true(v == times[i].ms);
    }
    FAILS(prop_parse_size("18446744073709551615K", "n", &v, &err), PROP_E_INPUT, "malformed-input");
    FAILS(prop_parse_size("1T", "n", &v, &err), PROP_E_INPUT, "malformed-input");
    FAILS(prop_parse_duration_ms("1 s", "n", &v, &err), PROP_E_INPUT, "malformed-input");
}

static void test_dates(void **state)
{
    (void)state;
    char http[30], iso[21];
    prop_http_date(784111777, http); /* RFC 9110 section 5.6.7 */
    assert_string_equal(http, "Sun, 06 Nov 1994 08:49:37 GMT");
    prop_rfc3339(784111777, iso);
    assert_string_equal(iso, "1994-11-06T08:49:37Z");
    uint64_t a = prop_now_ms(), b = prop_now_ms();
    assert_true(b >= a);
}

static void test_stop(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    assert_false(prop_stop_requested());
    OK(prop_stop_check(&err));
    prop_stop_request(15);
    assert_true(prop_stop_requested());
    FAILS(prop_stop_check(&err), PROP_E_INTERRUPTED, "interrupted");
    assert_non_null(strstr(err.message, "15"));
    prop_stop_hold(); /* what is taken back after a stop is not stopped */
    OK(prop_stop_check(&err));
    assert_true(prop_stop_requested());
    prop_stop_release();
    FAILS(prop_stop_check(&err), PROP_E_INTERRUPTED, "interrupted");
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct { const char *in; size_t len; const char *out; } rows[] = {
        { "", 0, "" },
        { "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91", 10, "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91" },
        { "a\xff" "b", 3, "a\xef\xbf\xbd" "b" },
        { "\xc3", 1, "\xef\xbf\xbd" },                         /* cut short */
        { "\xc0\xaf", 2, "\xef\xbf\xbd\xef\xbf\xbd" },         /* overlong */
        { "\xed\xa0\x80", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* surrogate */
        { "\xf4\x90\x80\x80", 4,
          "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },  /* beyond U+10FFFF */
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        prop_auto_buf struct prop_buf b = PROP_BUF_INIT(64);
        struct prop_err err = PROP_ERR_INIT;
        OK(prop_utf8_clean(rows[i].in, rows[i].len, &b, &err));
        assert_string_equal(prop_buf_str(&b), rows[i].out);
    }
    prop_auto_buf struct prop_buf small = PROP_BUF_INIT(2);
    struct prop_err err = PROP_ERR_INIT;
    FAILS(prop_utf8_clean("\xff", 1, &small, &err), PROP_E_LIMIT, "over-limit");
}

static void test_paths(void **state)
{
    (void)state;
    char *a = prop_path_join("a", "b"), *b = prop_path_join("a/", "b");
    char *c = prop_path_join("/", "b");
    assert_string_equal(a, "a/b");
    assert_string_equal(b, "a/b");
    assert_string_equal(c, "/b");
    prop_free(a);
    prop_free(b);
    prop_free(c);
    assert_null(prop_realloc_array(NULL, SIZE_MAX, 2));
    char *d = prop_strndup("abcdef", 3);
    assert_string_equal(d, "abc");
    prop_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_limits),    cmocka_unit_test(test_buf_growth),
        cmocka_unit_test(test_secrets),       cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64_strict), cmocka_unit_test(test_base64_is_canonical),
        cmocka_unit_test(test_hex),           cmocka_unit_test(test_json_strict),
        cmocka_unit_test(test_json_depth),    cmocka_unit_test(test_json_read),
        cmocka_unit_test(test_json_out),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_printable),     cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_dates),         cmocka_unit_test(test_paths),
        cmocka_unit_test(test_stop),          cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_errors_without_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
