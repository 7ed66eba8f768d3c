/* The key provider's messages: the recorded exchange of the Go library byte for byte, the Rust
 * library's forms, and everything that must be refused. */
#include "keyprovider/frame.h"
#include "keyprovider/keyprovider.h"
#include "keyprovider/message.h"
#include "keyprovider/pot.h"

#include "tests/unit/support.h"

#define CASE "ocicrypt/20-keyprovider-cmd/"
#define PARAM "kbs:///default/key/wasm-addition"

/* Line `n` of a recorded file, without its end. */
static struct prop_secret *line_of(const char *name, int n)
{
    struct prop_secret *all = vector_secret(name);
    const char *p = (const char *)prop_secret_data(all);
    for (; n > 0; n--)
        p = strchr(p, '\n') + 1;
    struct prop_secret *line = secret_of(p, strcspn(p, "\n"));
    prop_secret_free(all);
    return line;
}

static void assert_same(const struct prop_secret *a, const struct prop_secret *b)
{
    assert_secret_is(a, prop_secret_data(b), prop_secret_len(b));
}

/* --- the recorded exchange --- */

static void recorded_requests(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    static const struct {
        enum prop_kp_op op;
        const char *param, *begins;
    } want[] = { { PROP_KP_WRAP, PARAM, "{\"symkey\":" },
                 { PROP_KP_UNWRAP, "anything:goes", "{\"kid\":" } };
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct prop_secret *text = line_of(CASE "requests.jsonl", i), *again = NULL;
        struct prop_kp_request r = PROP_KP_REQUEST_INIT;
        OK(prop_kp_request_read(text, "toy", PROP_KP_ANY, &r, &err));
        assert_int_equal(r.op, want[i].op);
        assert_int_equal(r.n_params, 1);
        const char *param = (const char *)prop_secret_data(r.params[0]);
        assert_string_equal(param, want[i].param);
        assert_memory_equal(prop_secret_data(r.data), want[i].begins, strlen(want[i].begins));
        /* and written again: the very bytes that Go sent */
        OK(prop_kp_request_write(r.op, "toy", &param, 1, prop_secret_data(r.data),
                                 prop_secret_len(r.data), &again, &err));
        assert_same(again, text);
        prop_kp_request_release(&r);
        /* another provider's parameters are not ours */
        OK(prop_kp_request_read(text, "other", PROP_KP_ANY, &r, &err));
        assert_int_equal(r.n_params, 0);
        prop_kp_request_release(&r);
        prop_secret_free(again);
        prop_secret_free(text);
    }
}

static void recorded_replies(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    for (int i = 0; i < 2; i++) {
        enum prop_kp_op op = i == 0 ? PROP_KP_WRAP : PROP_KP_UNWRAP;
        struct prop_secret *b64 = line_of(CASE "replies-base64.jsonl", i), *from_b64 = NULL;
        struct prop_secret *array = line_of(CASE "replies-array.jsonl", i), *from_array = NULL;
        OK(prop_kp_reply_read(b64, op, &from_b64, &err));
        OK(prop_kp_reply_read(array, op, &from_array, &err));
        assert_int_equal(prop_secret_data(from_b64)[0], '{');
        if (op == PROP_KP_UNWRAP) { /* the wraps have fresh IVs each */
            struct prop_secret *written = NULL;
            prop_auto_buf struct prop_buf compact = PROP_BUF_INIT(1 << 20);
            assert_same(from_b64, from_array);
            /* ours is the recorded array without the spaces of Python's json */
            OK(prop_kp_reply_write(op, prop_secret_data(from_array), prop_secret_len(from_array),
                                   &written, &err));
            for (const char *p = (const char *)prop_secret_data(array); *p; p++)
                if (*p != ' ')
                    OK(prop_buf_add(&compact, p, 1, &err));
            assert_secret_is(written, compact.data, compact.len);
            prop_secret_free(written);
        }
        prop_secret_free(b64);
        prop_secret_free(array);
        prop_secret_free(from_b64);
        prop_secret_free(from_array);
    }
}

/* --- forms of requests --- */

struct form {
    const char *json;
    enum prop_kp_op op;
    const char *data;
    size_t n_params;
    const char *first;
};
static const struct form forms[] = {
    /* Rust: arrays of numbers, the other half missing, private options as they are */
    { "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":{\"a\":[[107,61,118]]},"
      "\"DecryptConfig\":{\"Parameters\":{}}},\"optsdata\":\"{\\\"symkey\\\":\\\"\\u00e9\\\"}\"}}",
      PROP_KP_WRAP, "{\"symkey\":\"\xc3\xa9\"}", 1, "k=v" },
    { "{\"op\":\"keyunwrap\",\"keyunwrapparams\":{\"dc\":{\"Parameters\":{}},"
      "\"annotation\":[0,9,10,99,100,255]}}", PROP_KP_UNWRAP, "\0\t\ncd\xff", 0, NULL },
    /* order, white space, unknown members, nulls, escapes in names and values */
    { " {\n\"keyunwrapparams\" : {\"annotation\":null,\"new\":[[],{}, {\"a\":[1.5e+3,-0,true,false]}]},"
      "\"keywrapparams\":{\"optsdata\":\"YQ==\",\"ec\":null},\r\n\t\"o\\u0070\":\"key\\u0077rap\"} \n",
      PROP_KP_WRAP, "a", 0, NULL },
    { "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":\"\\/\\/8=\",\"ec\":{\"Parameters\":"
      "{\"a\":[\"YQ==\",\"Yg==\"],\"privkeys\":[\"c2VjcmV0\"],\"b\":null}}},\"keyunwrapparams\":null}",
      PROP_KP_WRAP, "\xff\xff", 2, "a" },
    { "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":[1],\"ec\":{\"Parameters\":{\"a\":null}}}}",
      PROP_KP_WRAP, "\x01", 0, NULL },
    { "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":[1],\"ec\":{\"Parameters\":null,"
      "\"DecryptConfig\":null}}}", PROP_KP_WRAP, "\x01", 0, NULL },
    { "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":\"{\\ud83d\\ude00\"}}", PROP_KP_WRAP,
      "{\xf0\x9f\x98\x80", 0, NULL },
};

static void request_forms(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(forms); i++) {
        struct prop_secret *text = secret_text(forms[i].json);
        struct prop_kp_request r = PROP_KP_REQUEST_INIT;
        OK(prop_kp_request_read(text, "a", PROP_KP_ANY, &r, &err));
        assert_int_equal(r.op, forms[i].op);
        assert_int_equal(r.n_params, forms[i].n_params);
        if (forms[i].first)
            assert_string_equal((const char *)prop_secret_data(r.params[0]), forms[i].first);
        size_t len = i == 1 ? 6 : strlen(forms[i].data);
        assert_secret_is(r.data, forms[i].data, len);
        prop_kp_request_release(&r);
        prop_secret_free(text);
    }
}

/* --- what is refused --- */

#define WRAP(inside) "{\"op\":\"keywrap\",\"keywrapparams\":{" inside "}}"
static const char *const bad_requests[] = {
    "", " ", "{", "[]", "null", "17", "\"x\"", "{}", "{\"op\":\"keywrap\"}", "{]", "{\"op\"}",
    "{\"op\":}", "{,}", "{\"op\":\"keywrap\",}", "{\"op\":\"other\"}", "{\"op\":7}",
    "{\"op\":\"keywrapkeywrapkeywrapkeywrap\"}", "{\"op\":null}",
    "{\"keywrapparams\":{\"optsdata\":\"YQ==\"}}", /* no op */
    WRAP("\"optsdata\":null"), WRAP("\"optsdata\":\"\""), WRAP("\"optsdata\":[]"),
    WRAP("\"optsdata\":\"YQ\""), WRAP("\"optsdata\":\"YR==\""), WRAP("\"optsdata\":\"YQ== \""),
    WRAP("\"optsdata\":\"Y-==\""), WRAP("\"optsdata\":\" {}\""), WRAP("\"optsdata\":{}"),
    WRAP("\"optsdata\":true"), WRAP("\"optsdata\":[256]"), WRAP("\"optsdata\":[-1]"),
    WRAP("\"optsdata\":[1.0]"), WRAP("\"optsdata\":[1e1]"), WRAP("\"optsdata\":[01]"),
    WRAP("\"optsdata\":[1,]"), WRAP("\"optsdata\":[,1]"), WRAP("\"optsdata\":[1 2]"),
    WRAP("\"optsdata\":[\"1\"]"), WRAP("\"optsdata\":[null]"), WRAP("\"optsdata\":[[1]]"),
    WRAP("\"optsdata\":[1"), WRAP("\"optsdata\":[99999999999999999999]"),
    WRAP("\"optsdata\":\"YQ==\",\"optsdata\":\"Yg==\""),
    "{\"op\":\"keywrap\",\"op\":\"keyunwrap\",\"keywrapparams\":{\"optsdata\":[1]}}",
    "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":[1]},\"keywrapparams\":{}}",
    WRAP("\"optsdata\":[1],\"ec\":[]"), WRAP("\"optsdata\":[1],\"ec\":{},\"ec\":{}"),
    WRAP("\"optsdata\":[1],\"ec\":{\"Parameters\":{},\"Parameters\":{}}"),
    WRAP("\"optsdata\":[1],\"ec\":{\"Parameters\":[]}"),
    WRAP("\"optsdata\":[1],\"ec\":{\"Parameters\":{\"a\":[],\"a\":[]}}"),
    WRAP("\"optsdata\":[1],\"ec\":{\"Parameters\":{\"a\":\"YQ==\"}}"),
    WRAP("\"optsdata\":[1],\"ec\":{\"Parameters\":{\"a\":[null]}}"),
    WRAP("\"optsdata\":[1],\"ec\":{\"Parameters\":{\"a\":[[97,0,98]]}}"),
    WRAP("\"optsdata\":[1]") "x", WRAP("\"optsdata\":[1]") "{}",
    WRAP("\"optsdata\":[1],\"x\":\"\\x\""), WRAP("\"optsdata\":[1],\"x\":\"\\u12\""),
    WRAP("\"optsdata\":[1],\"x\":\"\\u0000\""), WRAP("\"optsdata\":[1],\"x\":\"\\ud800\""),
    WRAP("\"optsdata\":[1],\"x\":\"\\udc00\""), WRAP("\"optsdata\":[1],\"x\":\"\\ud800\\u0041\""),
    WRAP("\"optsdata\":[1],\"x\":\"\x01\""), WRAP("\"optsdata\":[1],\"x\":\"\xff\""),
    WRAP("\"optsdata\":[1],\"x\":\"\xc0\x80\""), WRAP("\"optsdata\":[1],\"x\":\"\xed\xa0\x80\""),
    WRAP("\"optsdata\":[1],\"x\":nul"), WRAP("\"optsdata\":[1],\"x\":truely"),
    WRAP("\"optsdata\":[1],\"x\":1."), WRAP("\"optsdata\":[1],\"x\":.5"),
    WRAP("\"optsdata\":[1],\"x\":1e"), WRAP("\"optsdata\":[1],\"x\":00"),
    WRAP("\"optsdata\":[1],\"x\":+1"), WRAP("\"optsdata\":[1],\"x\":{\"a\" 1}"),
    WRAP("\"optsdata\":[1],\"x\":[1}"), WRAP("\"optsdata\":[1],\"x\":{1:2}"),
};

static void refused(const void *text, size_t len, enum prop_kp_op only)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = secret_of(text, len);
    struct prop_kp_request r = PROP_KP_REQUEST_INIT;
    FAILS(prop_kp_request_read(s, "a", only, &r, &err), PROP_E_INPUT, "keyprovider-request");
    assert_null(r.data);
    assert_null(r.params);
    prop_secret_free(s);
}

static void requests_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad_requests); i++)
        refused(bad_requests[i], strlen(bad_requests[i]), PROP_KP_ANY);
    static const char with_nul[] = WRAP("\"optsdata\":[1]") "\0";
    refused(with_nul, sizeof with_nul - 1, PROP_KP_ANY);
    static const char wrap[] = WRAP("\"optsdata\":[1]");
    refused(wrap, strlen(wrap), PROP_KP_UNWRAP);
}

static void nesting_and_numbers(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    for (int depth = 64; depth <= 65; depth++) {
        prop_auto_buf struct prop_buf b = PROP_BUF_INIT(1 << 20);
        struct prop_kp_request r = PROP_KP_REQUEST_INIT;
        OK(prop_buf_puts(&b, "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":[1]},\"x\":", &err));
        for (int i = 0; i < depth; i++)
            OK(prop_buf_puts(&b, i % 2 ? "{\"a\":" : "[", &err));
        OK(prop_buf_puts(&b, "1", &err));
        for (int i = depth; i-- > 0;)
            OK(prop_buf_puts(&b, i % 2 ? "}" : "]", &err));
        OK(prop_buf_puts(&b, "}", &err));
        if (depth == 64) {
            struct prop_secret *s = secret_of(b.data, b.len);
            OK(prop_kp_request_read(s, "a", PROP_KP_ANY, &r, &err));
            prop_kp_request_release(&r);
            prop_secret_free(s);
        } else {
            refused(b.data, b.len, PROP_KP_ANY);
        }
    }
    for (size_t n = PROP_KP_LIMIT_PARAMS; n <= PROP_KP_LIMIT_PARAMS + 1; n++) {
        prop_auto_buf struct prop_buf b = PROP_BUF_INIT(1 << 20);
        struct prop_kp_request r = PROP_KP_REQUEST_INIT;
        OK(prop_buf_puts(&b, "{\"op\":\"keywrap\",\"keywrapparams\":{\"optsdata\":[1],\"ec\":"
                             "{\"Parameters\":{\"a\":[", &err));
        for (size_t i = 0; i < n; i++)
            OK(prop_buf_puts(&b, i ? ",\"YQ==\"" : "\"YQ==\"", &err));
        OK(prop_buf_puts(&b, "]}}}}", &err));
        if (n == PROP_KP_LIMIT_PARAMS) {
            struct prop_secret *s = secret_of(b.data, b.len);
            OK(prop_kp_request_read(s, "a", PROP_KP_ANY, &r, &err));
            assert_int_equal(r.n_params, n);
            prop_kp_request_release(&r);
            prop_secret_free(s);
        } else {
            refused(b.data, b.len, PROP_KP_ANY);
        }
    }
}

/* Every beginning of a request is refused, and no changed byte does harm. */
static void cut_and_changed(void **state)
{
    static const uint8_t marks[] = { 0x01, 0x20, 0x80 };
    (void)state;
    for (int line = 0; line < 2; line++) {
        struct prop_secret *text = line_of(CASE "requests.jsonl", line);
        size_t len = prop_secret_len(text);
        for (size_t n = 0; n < len; n++)
            refused(prop_secret_data(text), n, PROP_KP_ANY);
        for (size_t i = 0; i < len; i++) {
            for (size_t m = 0; m < sizeof marks; m++) {
                struct prop_kp_request r = PROP_KP_REQUEST_INIT;
                struct prop_err err = PROP_ERR_INIT;
                prop_secret_bytes(text)[i] ^= marks[m];
                int rc = prop_kp_request_read(text, "toy", PROP_KP_ANY, &r, &err);
                assert_true(rc == 0 || strcmp(prop_err_id(&err), "keyprovider-request") == 0);
                prop_kp_request_release(&r);
                prop_secret_bytes(text)[i] ^= marks[m];
            }
        }
        prop_secret_free(text);
    }
}

static void bad_replies(void **state)
{
    static const char *const bad[] = {
        "", "{}", "null", "{\"keywrapresults\":null}", "{\"keywrapresults\":{}}",
        "{\"keywrapresults\":{\"annotation\":null}}", "{\"keywrapresults\":{\"annotation\":[]}}",
        "{\"keywrapresults\":{\"annotation\":\"{}\"}}", "{\"keywrapresults\":{\"optsdata\":[1]}}",
        "{\"keyunwrapresults\":{\"optsdata\":[1]}}", "{\"keywrapresults\":{\"annotation\":[1]}}x",
        "{\"keywrapresults\":{\"annotation\":[1],\"annotation\":[2]}}",
        "{\"keywrapresults\":{\"annotation\":[1]},\"keywrapresults\":{\"annotation\":[2]}}",
        "Usage: provider [OPTIONS]\n",
    };
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        struct prop_secret *s = secret_text(bad[i]), *out = NULL;
        FAILS(prop_kp_reply_read(s, PROP_KP_WRAP, &out, &err), PROP_E_REMOTE, "provider-failed");
        assert_null(out);
        prop_secret_free(s);
    }
}

/* --- a whole call --- */

struct seen {
    char params[4][64];
    size_t n;
    int calls;
};

static int fake_wrap(void *ctx, const char *const *params, size_t n, const struct prop_secret *privopts,
                     struct prop_buf *out, struct prop_err *err)
{
    struct seen *s = ctx;
    s->calls++;
    s->n = n;
    for (size_t i = 0; i < n && i < 4; i++)
        (void)snprintf(s->params[i], sizeof s->params[i], "%s", params[i]);
    int rc = prop_buf_puts(out, "W", err);
    return rc ? rc : prop_buf_add(out, prop_secret_data(privopts), prop_secret_len(privopts), err);
}

static int fake_unwrap(void *ctx, const char *const *params, size_t n, const void *annotation,
                       size_t len, struct prop_secret **ret, struct prop_err *err)
{
    struct seen *s = ctx;
    (void)params;
    s->calls++;
    s->n = n;
    if (len && *(const char *)annotation == '!')
        return prop_err_set_id(err, PROP_E_DENIED, "not-today", "not today");
    return prop_secret_copy(annotation, len, ret, err);
}

static void answers(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct seen seen = { .n = 0 };
    const struct prop_kp_provider p = { "a", fake_wrap, fake_unwrap, &seen };
    struct prop_secret *reply = NULL;
    (void)state;

    struct prop_secret *q = secret_text(forms[3].json);
    OK(prop_kp_answer(&p, PROP_KP_ANY, q, &reply, &err));
    static const char wrapped[] = "{\"keywrapresults\":{\"annotation\":[87,255,255]}}";
    assert_secret_is(reply, wrapped, strlen(wrapped));
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.params[0], "a");
    assert_string_equal(seen.params[1], "b");
    prop_secret_free(reply);
    reply = NULL;
    OK(prop_kp_answer(&p, PROP_KP_WRAP, q, &reply, &err));
    prop_secret_free(reply);
    reply = NULL;
    FAILS(prop_kp_answer(&p, PROP_KP_UNWRAP, q, &reply, &err), PROP_E_INPUT, "keyprovider-request");
    prop_secret_free(q);

    /* gRPC says what is asked: "op" may be missing there */
    q = secret_text("{\"keyunwrapparams\":{\"annotation\":[0,255]}}");
    OK(prop_kp_answer(&p, PROP_KP_UNWRAP, q, &reply, &err));
    static const char opened[] = "{\"keyunwrapresults\":{\"optsdata\":[0,255]}}";
    assert_secret_is(reply, opened, strlen(opened));
    prop_secret_free(reply);
    reply = NULL;
    FAILS(prop_kp_answer(&p, PROP_KP_ANY, q, &reply, &err), PROP_E_INPUT, "keyprovider-request");
    prop_secret_free(q);

    q = secret_text("{\"op\":\"keyunwrap\",\"keyunwrapparams\":{\"annotation\":\"IQ==\"}}");
    FAILS(prop_kp_answer(&p, PROP_KP_ANY, q, &reply, &err), PROP_E_DENIED, "not-today");
    assert_null(reply);
    prop_secret_free(q);
    assert_int_equal(seen.calls, 4);
}

/* --- gRPC's frame --- */

static void frames(void **state)
{
    static const size_t sizes[] = { 0, 1, 2, 127, 128, 16383, 16384, PROP_KP_LIMIT_MESSAGE };
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(sizes); i++) {
        struct prop_secret *s = NULL, *frame = NULL, *back = NULL;
        OK(prop_secret_new(sizes[i], &s, &err));
        memset(prop_secret_bytes(s), 0xa5, sizes[i]);
        OK(prop_kp_frame_write(s, &frame, &err));
        OK(prop_kp_frame_read(frame, &back, &err));
        assert_same(back, s);
        prop_secret_free(s);
        prop_secret_free(frame);
        prop_secret_free(back);
    }
    struct prop_secret *s = NULL, *frame = NULL;
    OK(prop_secret_new(PROP_KP_LIMIT_MESSAGE + 1, &s, &err));
    FAILS(prop_kp_frame_write(s, &frame, &err), PROP_E_LIMIT, "over-limit");
    prop_secret_free(s);
    s = secret_text("{}"); /* by hand: prefix, tag of field 1 as bytes, length */
    OK(prop_kp_frame_write(s, &frame, &err));
    assert_secret_is(frame, "\0\0\0\0\x04\x0a\x02{}", 9);
    prop_secret_free(s);
    prop_secret_free(frame);
}

static void bad_frames(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum prop_code code;
    } bad[] = {
        { "", 0, PROP_E_INPUT },
        { "\0\0\0\0", 4, PROP_E_INPUT },
        { "\0\0\0\0\x05\x0a\x02{}", 9, PROP_E_INPUT },           /* cut */
        { "\0\0\0\0\x03\x0a\x02{}", 9, PROP_E_INPUT },           /* more behind */
        { "\0\0\0\0\x04\x0a\x03{}", 9, PROP_E_INPUT },           /* field longer than message */
        { "\0\0\0\0\x04\x08\x02{}", 9, PROP_E_INPUT },           /* not bytes */
        { "\0\xff\xff\xff\xff\x0a\x02{}", 9, PROP_E_INPUT },
        { "\0\0\0\0\x06\x0a\xff\xff\xff\xff\x7f", 11, PROP_E_INPUT },
        { "\1\0\0\0\x04\x0a\x02{}", 9, PROP_E_UNSUPPORTED },     /* compressed */
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *out = NULL;
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        struct prop_secret *s = secret_of(bad[i].bytes, bad[i].len);
        FAILS(prop_kp_frame_read(s, &out, &err), bad[i].code,
              bad[i].code == PROP_E_INPUT ? "grpc-message" : "grpc-compressed");
        assert_null(out);
        prop_secret_free(s);
    }
    /* fields that nobody knows yet, and none at all */
    struct prop_secret *s = secret_of("\0\0\0\0\x09\x12\x03new\x0a\x02{}", 14);
    OK(prop_kp_frame_read(s, &out, &err));
    assert_secret_is(out, "{}", 2);
    prop_secret_free(out);
    prop_secret_free(s);
    s = secret_of("\0\0\0\0\0", 5);
    OK(prop_kp_frame_read(s, &out, &err));
    assert_int_equal(prop_secret_len(out), 0);
    prop_secret_free(out);
    prop_secret_free(s);
}

/* A message of nothing but unknown fields costs its own size again, not twelve times that. */
static void many_fields(void **state)
{
    enum { FIELDS = 100000 };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL, *out = NULL;
    size_t len = 2 * FIELDS;
    (void)state;
    OK(prop_secret_new(PROP_KP_FRAME_PREFIX + len, &s, &err));
    uint8_t *p = prop_secret_bytes(s);
    for (size_t i = 0; i < 4; i++)
        p[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    for (size_t i = 0; i < FIELDS; i++) {
        p[PROP_KP_FRAME_PREFIX + 2 * i] = 0x10; /* field 2, varint */
        p[PROP_KP_FRAME_PREFIX + 2 * i + 1] = 1;
    }
    FAILS(prop_kp_frame_read(s, &out, &err), PROP_E_INPUT, "grpc-message");
    prop_secret_free(s);
}

static void pots(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kp_pot p = PROP_KP_POT_INIT(10000);
    struct prop_secret *out = NULL;
    (void)state;
    for (int i = 0; i < 10; i++) {
        char bytes[1000];
        memset(bytes, 'a' + i, sizeof bytes);
        OK(prop_kp_pot_add(&p, bytes, sizeof bytes, &err));
    }
    FAILS(prop_kp_pot_add(&p, "x", 1, &err), PROP_E_LIMIT, "over-limit");
    OK(prop_kp_pot_take(&p, &out, &err));
    assert_int_equal(prop_secret_len(out), 10000);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(prop_secret_data(out)[i], 'a' + (int)(i / 1000));
    prop_secret_free(out);
    OK(prop_kp_pot_take(&p, &out, &err)); /* empty again */
    assert_int_equal(prop_secret_len(out), 0);
    prop_secret_free(out);
    OK(prop_kp_pot_base64(&p, "\0\xff\x10", 3, &err));
    OK(prop_kp_pot_base64(&p, "fo", 2, &err));
    OK(prop_kp_pot_base64(&p, "f", 1, &err));
    OK(prop_kp_pot_numbers(&p, "\0\x09\x0a\x63\x64\xff", 6, &err));
    OK(prop_kp_pot_numbers(&p, "", 0, &err));
    OK(prop_kp_pot_take(&p, &out, &err));
    static const char want[] = "AP8QZm8=Zg==[0,9,10,99,100,255][]";
    assert_secret_is(out, want, strlen(want));
    prop_secret_free(out);
    prop_kp_pot_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_requests), cmocka_unit_test(recorded_replies),
        cmocka_unit_test(request_forms),     cmocka_unit_test(requests_refused),
        cmocka_unit_test(nesting_and_numbers), cmocka_unit_test(cut_and_changed),
        cmocka_unit_test(bad_replies),       cmocka_unit_test(answers),
        cmocka_unit_test(frames),            cmocka_unit_test(bad_frames),
        cmocka_unit_test(many_fields),       cmocka_unit_test(pots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
