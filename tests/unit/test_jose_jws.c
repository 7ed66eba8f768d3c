/* JWS: published signatures, a real key broker's tokens, and what must not pass as one. */
#include "tests/unit/support.h"

#include "jose/jws.h"

static void check_rfc(const char *file, bool json_payload)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json(file), *claims = NULL;
    struct prop_pkey *key = key_of_jwk(json_object_get(v, "key")), *pub = public_of(key);
    const char *jws = text_of(v, "compact");
    OK(prop_jws_verify(jws, strlen(jws), pub, NULL, &err));
    if (json_payload) {
        OK(prop_jws_verify(jws, strlen(jws), pub, &claims, &err));
        assert_string_equal(text_of(claims, "iss"), "joe");
        json_decref(claims);
    } else {
        int rc = prop_jws_verify(jws, strlen(jws), pub, &claims, &err);
        assert_int_equal(rc, PROP_E_INPUT);
        assert_null(claims);
    }
    prop_pkey_free(key);
    prop_pkey_free(pub);
    json_decref(v);
}

static void test_published(void **state)
{
    (void)state;
    check_rfc("jose/rfc7515-A.3.json", true);
    check_rfc("jose/rfc7515-A.4.json", false);
    check_rfc("jose/rfc7520-4.3.json", false);
    check_rfc("jose/rfc8037-A.json", false);
}

static void test_written_by_jose(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json("jose/jose-11.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(v, "jws"), i, c) {
        struct prop_pkey *key = key_of_jwk(json_object_get(c, "key")), *pub = public_of(key);
        json_t *claims = NULL;
        const char *jws = text_of(c, "text");
        OK(prop_jws_verify(jws, strlen(jws), pub, &claims, &err));
        assert_string_equal(text_of(claims, "sub"), "made by jose");
        json_decref(claims);
        prop_pkey_free(key);
        prop_pkey_free(pub);
    }
    assert_int_equal(i, 3);
    json_decref(v);
}

/* Ed25519 signatures are the same each time: our token is the recorded one to the byte. */
static void test_admin_token(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json("kbs/kbs-vector-admin-jwt.json"), *claims = NULL, *header = NULL;
    struct prop_pkey *key = key_of_pem(text_of(v, "private_key_pem"));
    const char *payload = text_of(v, "payload_json"), *hdr = text_of(v, "header_json");
    struct prop_buf out = PROP_BUF_INIT(4096);
    OK(prop_json_parse(payload, strlen(payload), "claims", &claims, &err));
    OK(prop_jws_sign(key, NULL, claims, &out, &err));
    assert_string_equal(prop_buf_str(&out), text_of(v, "jwt"));
    prop_buf_clear(&out);
    OK(prop_json_parse(hdr, strlen(hdr), "header", &header, &err));
    OK(prop_jws_sign(key, header, claims, &out, &err));
    assert_string_equal(prop_buf_str(&out), text_of(v, "jwt"));
    prop_buf_release(&out);
    json_decref(claims);
    json_decref(header);
    json_decref(v);
    prop_pkey_free(key);
}

/* An attestation token that a real key broker signed, with the key in its own header. */
static void test_ear_token(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    const char *shared = getenv("PROP_SHARED");
    char path[512];
    (void)snprintf(path, sizeof path, "%s/protocol/transcripts/kbs-ear-token.jwt",
                   shared ? shared : "../shared");
    struct prop_secret *text = NULL;
    if (prop_file_read_secret(path, 1u << 20, PROP_SECRET_FILE_ANY_MODE, &text, &err) ==
        PROP_E_NOTFOUND) {
        print_message("not there: PROP_SHARED/protocol/transcripts/kbs-ear-token.jwt\n");
        skip();
    }
    assert_non_null(text);
    const char *jws = (const char *)prop_secret_data(text);
    size_t len = prop_secret_len(text);
    while (len && jws[len - 1] == '\n')
        len--;
    json_t *header = NULL, *claims = NULL, *verified = NULL;
    OK(prop_jws_decode(jws, len, &header, &claims, &err));
    struct prop_pkey *key = key_of_jwk(json_object_get(header, "jwk"));
    OK(prop_jws_verify(jws, len, key, &verified, &err));
    assert_true(json_equal(claims, verified));
    assert_string_equal(text_of(verified, "iss"), "CoCo-Attestation-Service");
    json_decref(header);
    json_decref(claims);
    json_decref(verified);
    prop_pkey_free(key);
    prop_secret_free(text);
}

static const struct { enum prop_pkey_type type; const char *alg; } kinds[] = {
    { PROP_PKEY_ED25519, "EdDSA" }, { PROP_PKEY_P256, "ES256" },
    { PROP_PKEY_P384, "ES384" },    { PROP_PKEY_P521, "ES512" },
};

static void test_sign_and_verify(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *keys[4] = { NULL };
    for (size_t i = 0; i < 4; i++)
        OK(prop_pkey_generate(kinds[i].type, 0, &keys[i], &err));
    json_t *claims = json_pack("{s:s, s:i}", "sub", "x", "n", 1);
    for (size_t i = 0; i < 4; i++) {
        struct prop_buf out = PROP_BUF_INIT(4096);
        json_t *header = NULL, *back = NULL, *got = NULL;
        OK(prop_jws_sign(keys[i], NULL, claims, &out, &err));
        OK(prop_jws_decode(prop_buf_str(&out), out.len, &header, &back, &err));
        assert_string_equal(text_of(header, "alg"), kinds[i].alg);
        assert_string_equal(text_of(header, "typ"), "JWT");
        assert_true(json_equal(back, claims));
        for (size_t k = 0; k < 4; k++) {
            struct prop_pkey *pub = public_of(keys[k]);
            if (k == i)
                OK(prop_jws_verify(prop_buf_str(&out), out.len, pub, &got, &err));
            else
                FAILS(prop_jws_verify(prop_buf_str(&out), out.len, pub, &got, &err),
                      PROP_E_UNSUPPORTED, "jws-alg");
            prop_pkey_free(pub);
        }
        struct prop_pkey *stranger = NULL;
        OK(prop_pkey_generate(kinds[i].type, 0, &stranger, &err));
        FAILS(prop_jws_verify(prop_buf_str(&out), out.len, stranger, NULL, &err), PROP_E_VERIFY,
              "bad-signature");
        prop_pkey_free(stranger);
        json_decref(header);
        json_decref(back);
        json_decref(got);
        prop_buf_release(&out);
    }
    json_decref(claims);
    for (size_t i = 0; i < 4; i++)
        prop_pkey_free(keys[i]);
}

static void test_own_header(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL, *rsa = NULL;
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &key, &err));
    OK(prop_pkey_generate(PROP_PKEY_RSA, 2048, &rsa, &err));
    json_t *claims = json_pack("{s:i}", "exp", 1);
    json_t *header = json_pack("{s:s, s:s, s:{s:s}}", "typ", "JWT", "alg", "ES256", "jwk", "kty",
                               "EC");
    struct prop_buf out = PROP_BUF_INIT(4096), none = PROP_BUF_INIT(4096);
    OK(prop_jws_sign(key, header, claims, &out, &err));
    const char *want =
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiIsImp3ayI6eyJrdHkiOiJFQyJ9fQ.eyJleHAiOjF9.";
    assert_memory_equal(out.data, want, strlen(want)); /* members in their own order */
    static const char *const wrong[] = { "EdDSA", "none", "HS256", "ES384", "RS256", "" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(wrong); i++) {
        json_object_set_new(header, "alg", json_string(wrong[i]));
        FAILS(prop_jws_sign(key, header, claims, &none, &err), PROP_E_UNSUPPORTED, "jws-alg");
    }
    FAILS(prop_jws_sign(rsa, NULL, claims, &none, &err), PROP_E_UNSUPPORTED, "jws-alg");
    assert_int_equal(none.len, 0);
    prop_buf_release(&out);
    json_decref(header);
    json_decref(claims);
    prop_pkey_free(key);
    prop_pkey_free(rsa);
}

/* header.payload with a signature made over just that text, so that only the header is wrong. */
static char *signed_text(const struct prop_pkey *key, const char *header, const char *payload)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf sig = PROP_BUF_INIT(256);
    char *h = prop_b64_encode(PROP_B64_URL, header, strlen(header));
    char *p = prop_b64_encode(PROP_B64_URL, payload, strlen(payload));
    char *text = prop_asprintf("%s.%s", h, p);
    OK(prop_sign(key, text, strlen(text), &sig, &err));
    char *s = prop_b64_encode(PROP_B64_URL, sig.data, sig.len);
    char *jws = prop_asprintf("%s.%s", text, s);
    prop_free(h);
    prop_free(p);
    prop_free(text);
    prop_free(s);
    prop_buf_release(&sig);
    return jws;
}

static void test_header_refusals(void **state)
{
    (void)state;
    static const struct { const char *header, *payload, *id; int code; } rows[] = {
        { "{\"alg\":\"none\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED },
        { "{\"alg\":\"None\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED },
        { "{\"alg\":\"HS256\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED },
        { "{\"alg\":\"HS512\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED },
        { "{\"alg\":\"RS256\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED },
        { "{\"alg\":\"PS256\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED },
        { "{\"alg\":\"ES256\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED },
        { "{\"alg\":\"Ed25519\"}", "{}", "jws-alg", PROP_E_UNSUPPORTED }, /* kbs.md 1.2 */
        { "{\"alg\":\"EdDSA\",\"crit\":[\"b64\"],\"b64\":false}", "{}", "jws-crit",
          PROP_E_UNSUPPORTED },
        { "{\"alg\":\"EdDSA\",\"crit\":null}", "{}", "jws-crit", PROP_E_UNSUPPORTED },
        { "{\"typ\":\"JWT\"}", "{}", "json-shape", PROP_E_INPUT },
        { "{\"alg\":7}", "{}", "json-shape", PROP_E_INPUT },
        { "{\"alg\":\"none\",\"alg\":\"EdDSA\"}", "{}", "json-syntax", PROP_E_INPUT },
        { "[\"EdDSA\"]", "{}", "bad-jws", PROP_E_INPUT },
        { "{\"alg\":\"EdDSA\"}", "[]", "bad-jws", PROP_E_INPUT },
        { "{\"alg\":\"EdDSA\"}", "{\"exp\":1,\"exp\":2}", "json-syntax", PROP_E_INPUT },
        { "{\"alg\":\"EdDSA\"}", "{} {}", "json-syntax", PROP_E_INPUT },
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    OK(prop_pkey_generate(PROP_PKEY_ED25519, 0, &key, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        char *jws = signed_text(key, rows[i].header, rows[i].payload);
        json_t *claims = NULL;
        FAILS(prop_jws_verify(jws, strlen(jws), key, &claims, &err), rows[i].code, rows[i].id);
        assert_null(claims);
        prop_free(jws);
    }
    /* sanity of the helper: a good header passes */
    char *good = signed_text(key, "{\"alg\":\"EdDSA\"}", "{}");
    OK(prop_jws_verify(good, strlen(good), key, NULL, &err));
    prop_free(good);
    prop_pkey_free(key);
}

static void test_shapes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", ".", "..", "a", "a.b", "a.b.c.d", "e30.e30", "e30.e30.", "e30.e30.AA=",
        "eyJhbGciOiJFZERTQSJ9..AA", "eyJhbGciOiJFZERTQSJ9.e30.A", "eyJhbGciOiJFZERTQSJ9.e30.AA\n",
        " eyJhbGciOiJFZERTQSJ9.e30.AA", "eyJhbGciOiJFZERTQSJ9=.e30.AA", "{}",
        "eyJhbGciOiJFZERTQSJ9.e30.", /* alg EdDSA with an empty signature */
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    OK(prop_pkey_generate(PROP_PKEY_ED25519, 0, &key, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        prop_err_clear(&err);
        int rc = prop_jws_verify(bad[i], strlen(bad[i]), key, NULL, &err);
        assert_true(rc == PROP_E_INPUT || rc == PROP_E_VERIFY);
        assert_true(err.message[0]);
    }
    json_t *h = NULL, *c = NULL;
    FAILS(prop_jws_decode("e30.W10.AA", 10, &h, &c, &err), PROP_E_INPUT, "bad-jws");
    FAILS(prop_jws_decode("W10.e30.AA", 10, &h, &c, &err), PROP_E_INPUT, "bad-jws");
    assert_null(h);
    assert_null(c);
    OK(prop_jws_decode("e30.e30.AA", 10, &h, &c, &err));
    json_decref(h);
    json_decref(c);
    size_t len = (1u << 20) + 1;
    char *big = prop_alloc(len);
    memset(big, 'A', len);
    FAILS(prop_jws_verify(big, len, key, NULL, &err), PROP_E_LIMIT, "over-limit");
    prop_free(big);
    prop_pkey_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),       cmocka_unit_test(test_written_by_jose),
        cmocka_unit_test(test_admin_token),
        cmocka_unit_test(test_ear_token),       cmocka_unit_test(test_sign_and_verify),
        cmocka_unit_test(test_own_header),      cmocka_unit_test(test_header_refusals),
        cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
