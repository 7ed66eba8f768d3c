/* JWK import, export and thumbprints; and the malformed keys that are refused. */
#include "tests/unit/support.h"

static struct prop_pkey *import(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = NULL;
    OK(prop_json_parse(text, strlen(text), "jwk", &v, &err));
    struct prop_pkey *k = key_of_jwk(v);
    json_decref(v);
    return k;
}

static void test_thumbprints(void **state)
{
    (void)state;
    static const char *const files[] = { "jose/rfc7638-3.1.json", "jose/rfc8037-A.json" };
    struct prop_err err = PROP_ERR_INIT;
    char out[44];
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        json_t *v = vector_json(files[i]);
        struct prop_pkey *key = key_of_jwk(json_object_get(v, "key"));
        OK(prop_jwk_thumbprint(key, out, &err));
        assert_string_equal(out, text_of(v, "thumbprint"));
        prop_pkey_free(key);
        json_decref(v);
    }
}

/* Export gives back the members that were imported, private ones included. */
static void round_trip(const json_t *jwk)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = key_of_jwk(jwk);
    json_t *back = NULL, *pub = NULL, *value;
    const char *name;
    OK(prop_jwk_export(key, true, NULL, &back, &err));
    json_object_foreach(back, name, value)
        assert_true(json_equal(value, json_object_get(jwk, name)));
    assert_non_null(json_object_get(back, "d"));
    OK(prop_jwk_export(key, false, NULL, &pub, &err));
    static const char *const secret[] = { "d", "p", "q", "dp", "dq", "qi" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(secret); i++)
        assert_null(json_object_get(pub, secret[i]));
    struct prop_pkey *public_key = key_of_jwk(pub);
    assert_true(prop_pkey_same_public(key, public_key));
    json_t *none = NULL;
    FAILS(prop_jwk_export(public_key, true, NULL, &none, &err), PROP_E_BUG, "internal-error");
    assert_null(none);
    prop_pkey_free(public_key);
    prop_pkey_free(key);
    json_decref(back);
    json_decref(pub);
}

static void test_round_trips(void **state)
{
    (void)state;
    static const char *const files[] = { "jose/rfc7516-A.1.json", "jose/rfc7520-5.4.json",
                                         "jose/rfc7515-A.3.json", "jose/rfc7515-A.4.json",
                                         "jose/rfc7520-4.3.json", "jose/rfc8037-A.json" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        json_t *v = vector_json(files[i]);
        round_trip(json_object_get(v, "key"));
        json_decref(v);
    }
    json_t *fixture = vector_json("ocicrypt/keys/rsakid.jwk");
    round_trip(fixture);
    json_decref(fixture);
}

static void test_generated(void **state)
{
    (void)state;
    static const enum prop_pkey_type types[] = { PROP_PKEY_RSA, PROP_PKEY_P256, PROP_PKEY_P384,
                                                 PROP_PKEY_P521, PROP_PKEY_ED25519 };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(types); i++) {
        struct prop_pkey *key = NULL;
        json_t *jwk = NULL;
        OK(prop_pkey_generate(types[i], 2048, &key, &err));
        OK(prop_jwk_export(key, true, NULL, &jwk, &err));
        round_trip(jwk);
        prop_pkey_free(key);
        json_decref(jwk);
    }
}

/* kty, crv, alg, then the numbers. */
static void test_member_order(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    json_t *jwk = NULL;
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &key, &err));
    OK(prop_jwk_export(key, false, "ECDH-ES+A256KW", &jwk, &err));
    char *text = prop_json_compact(jwk);
    const char *start = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ECDH-ES+A256KW\",\"x\":\"";
    assert_memory_equal(text, start, strlen(start));
    assert_non_null(strstr(text, "\",\"y\":\""));
    prop_free(text);
    json_decref(jwk);
    prop_pkey_free(key);
}

/* Members that only describe do not matter; a private key of three numbers is one. */
static void test_tolerated(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_pkey_free(import("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"use\":\"sig\",\"key_ops\":[1],"
                          "\"kid\":\"a\",\"alg\":\"EdDSA\",\"y\":\"AA\","
                          "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"));
    json_t *v = vector_json("jose/rfc7516-A.1.json"), *jwk = json_object_get(v, "key");
    static const char *const primes[] = { "p", "q", "dp", "dq", "qi" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(primes); i++)
        json_object_del(jwk, primes[i]);
    struct prop_pkey *key = key_of_jwk(jwk);
    assert_true(prop_pkey_is_private(key));
    json_t *back = NULL;
    OK(prop_jwk_export(key, true, NULL, &back, &err));
    assert_true(json_equal(back, jwk));
    /* and a d that does not fit is noticed without the primes too */
    json_t *other = vector_json("ocicrypt/keys/rsakid.jwk");
    json_object_set(jwk, "d", json_object_get(other, "d"));
    struct prop_pkey *bad = NULL;
    FAILS(prop_jwk_import(jwk, "jwk", &bad, &err), PROP_E_INPUT, "bad-key-numbers");
    json_decref(other);
    json_decref(back);
    prop_pkey_free(key);
    json_decref(v);
}

static void refused(const json_t *jwk, int code, const char *id)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    FAILS(prop_jwk_import(jwk, "the test's key", &key, &err), code, id);
    assert_null(key);
    assert_non_null(strstr(err.message, "the test's key"));
    assert_int_equal(prop_jwk_import(jwk, "the test's key", &key, NULL), code);
}

/* A vector's key with one member set (NULL: deleted). */
static void refused_with(const char *file, const char *name, const char *value, int code,
                         const char *id)
{
    json_t *v = vector_json(file), *jwk = json_object_get(v, "key");
    if (value)
        json_object_set_new(jwk, name, json_string(value));
    else
        json_object_del(jwk, name);
    refused(jwk, code, id);
    json_decref(v);
}

static void test_refused(void **state)
{
    (void)state;
    const char *rsa = "jose/rfc7516-A.1.json", *ec = "jose/rfc7515-A.3.json",
               *ed = "jose/rfc8037-A.json";
    refused_with(ec, "kty", NULL, PROP_E_INPUT, "json-shape");
    refused_with(ec, "kty", "oct", PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(ec, "kty", "ec", PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(ec, "kty", "OKP", PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(ec, "crv", "P-384", PROP_E_INPUT, "bad-jwk");
    refused_with(ec, "crv", "secp256k1", PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(ec, "crv", NULL, PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(ec, "y", NULL, PROP_E_INPUT, "bad-jwk");
    refused_with(ec, "y", "", PROP_E_INPUT, "bad-jwk");
    /* not on the curve: y of another point */
    refused_with(ec, "y", "HlLtdXARY_f55A3fnzQbPcm6hgr34Mp8p-nuzQCE0Zw", PROP_E_INPUT,
                 "bad-key-numbers");
    refused_with(ec, "d", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", PROP_E_INPUT,
                 "bad-key-numbers"); /* d = 1 is not this key's */
    refused_with(ec, "d", "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE", PROP_E_INPUT,
                 "bad-key-numbers"); /* d = n */
    refused_with(ec, "d", "AQ", PROP_E_INPUT, "bad-jwk");
    /* base64url: padding, other alphabet, stray bits, white space */
    refused_with(ec, "x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=", PROP_E_INPUT,
                 "bad-base64");
    refused_with(ec, "x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEV", PROP_E_INPUT,
                 "bad-base64");
    refused_with(ec, "x", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVE+", PROP_E_INPUT,
                 "bad-base64");
    refused_with(ec, "x", " f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", PROP_E_INPUT,
                 "bad-base64");
    refused_with(ed, "x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ", PROP_E_INPUT, "bad-jwk");
    refused_with(ed, "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", PROP_E_INPUT,
                 "bad-key-numbers"); /* d belongs to another x */
    refused_with(ed, "crv", "X25519", PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(ed, "crv", "Ed448", PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(rsa, "n", NULL, PROP_E_INPUT, "bad-jwk");
    refused_with(rsa, "e", NULL, PROP_E_INPUT, "bad-jwk");
    refused_with(rsa, "e", "AAEAAQ", PROP_E_INPUT, "bad-jwk"); /* leading zero */
    refused_with(rsa, "e", "AQABAQABAQABAQAB", PROP_E_INPUT, "bad-jwk");
    refused_with(rsa, "e", "Ag", PROP_E_INPUT, "bad-key-numbers"); /* even */
    refused_with(rsa, "q", NULL, PROP_E_INPUT, "bad-jwk");          /* all primes or none */
    refused_with(rsa, "oth", "x", PROP_E_UNSUPPORTED, "jwk-type");
    refused_with(rsa, "p", "AQAB", PROP_E_INPUT, "bad-key-numbers");
    refused_with(rsa, "n", "oahUIoWw0K0usKNuOR6H4w", PROP_E_UNSUPPORTED, "weak-key");
}

static void test_not_an_object(void **state)
{
    (void)state;
    json_t *a = json_array(), *d = json_pack("{s:s,s:s,s:i}", "kty", "EC", "crv", "P-256", "x", 1);
    refused(a, PROP_E_INPUT, "json-shape");
    refused(d, PROP_E_INPUT, "json-shape");
    json_decref(a);
    json_decref(d);
}

/* RSA sizes: under 2048 bits is too weak, over 8192 more than we let ourselves compute with. */
static void test_rsa_sizes(void **state)
{
    (void)state;
    static const struct { size_t bytes; uint8_t first; } sizes[] = {
        { 128, 0xff }, { 255, 0xff }, { 256, 0x7f }, { 1025, 0x80 }, { 2049, 0x80 },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(sizes); i++) {
        uint8_t n[2049];
        memset(n, 0xff, sizeof(n));
        n[0] = sizes[i].first;
        char *b64 = prop_b64_encode(PROP_B64_URL, n, sizes[i].bytes);
        json_t *jwk = json_pack("{s:s,s:s,s:s}", "kty", "RSA", "n", b64, "e", "AQAB");
        bool over_buffer = sizes[i].bytes > 2048;
        refused(jwk, over_buffer ? PROP_E_LIMIT : PROP_E_UNSUPPORTED,
                over_buffer ? "over-limit" : "weak-key");
        json_decref(jwk);
        prop_free(b64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thumbprints), cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_generated),   cmocka_unit_test(test_member_order),
        cmocka_unit_test(test_tolerated),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_an_object), cmocka_unit_test(test_rsa_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
