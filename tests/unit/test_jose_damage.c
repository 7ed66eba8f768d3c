/* Damage to a JWE or JWS: every bit flipped and every truncation, on real messages. Nothing of it
 * may open, and no plaintext may come out. */
#include "tests/unit/support.h"

#include "jose/jwe.h"
#include "jose/jws.h"

static const char *const parts[] = { "protected", "encrypted_key", "iv", "ciphertext", "tag" };

static void must_not_open(const char *jwe, size_t len, const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *plain = NULL;
    int rc = prop_jwe_decrypt(jwe, len, key, &plain, &err);
    if (rc == 0)
        print_error("opened: %.*s\n", (int)len, jwe);
    assert_int_not_equal(rc, 0);
    assert_int_equal(err.code, rc);
    assert_true(rc == PROP_E_VERIFY || rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED ||
                rc == PROP_E_LIMIT);
    assert_null(plain);
}

/* Flip each bit of one member's bytes. */
static void flip_part(const json_t *jwe, const char *part, const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf bytes = PROP_BUF_INIT(8192);
    const char *text = text_of(jwe, part);
    OK(prop_b64_decode(PROP_B64_URL, text, strlen(text), part, &bytes, &err));
    json_t *copy = json_deep_copy(jwe);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        char *b64 = prop_b64_encode(PROP_B64_URL, bytes.data, bytes.len);
        json_object_set_new(copy, part, json_string(b64));
        char *changed = prop_json_compact(copy);
        must_not_open(changed, strlen(changed), key);
        prop_free(changed);
        prop_free(b64);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    json_decref(copy);
    prop_buf_release(&bytes);
}

static void flip_all_parts(const char *vector)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json(vector), *jwe = NULL;
    struct prop_pkey *key = key_of_pem(text_of(v, "tee_private_key_pem"));
    const char *text = text_of(v, "resource_response_raw");
    OK(prop_json_parse(text, strlen(text), "jwe", &jwe, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(parts); i++)
        flip_part(jwe, parts[i], key);
    json_decref(jwe);
    json_decref(v);
    prop_pkey_free(key);
}

static void test_flip_p256(void **state)
{
    (void)state;
    flip_all_parts("kbs/kbs-vector-jwe-p-256.json");
}

static void test_flip_rsa(void **state)
{
    (void)state;
    flip_all_parts("kbs/kbs-vector-jwe-rsa-oaep-256.json");
}

/* Each bit of the text itself, whatever that makes of the JSON. */
static void test_flip_text(void **state)
{
    (void)state;
    json_t *v = vector_json("kbs/kbs-vector-jwe-p-256.json");
    struct prop_pkey *key = key_of_pem(text_of(v, "tee_private_key_pem"));
    char *text = prop_strdup(text_of(v, "resource_response_raw"));
    size_t len = strlen(text);
    for (size_t bit = 0; bit < len * 8; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        must_not_open(text, len, key);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
    }
    prop_free(text);
    prop_pkey_free(key);
    json_decref(v);
}

static void truncate_jwe(const char *text, const struct prop_pkey *key)
{
    size_t len = strlen(text);
    for (size_t n = 0; n < len; n++) {
        char *cut = prop_strndup(text, n); /* a copy of just that size, for the sanitizer */
        must_not_open(cut, n, key);
        json_t *list = NULL;
        if (prop_jwe_describe(cut, n, &list, NULL) == 0)
            json_decref(list);
        prop_free(cut);
    }
}

static void test_truncate_jwe(void **state)
{
    (void)state;
    static const char *const kbs[] = { "kbs/kbs-vector-jwe-p-256.json",
                                       "kbs/kbs-vector-jwe-p-521.json",
                                       "kbs/kbs-vector-jwe-rsa-oaep-256.json" };
    static const char *const rfc[] = { "jose/rfc7516-A.1.json", "jose/rfc7520-5.4.json" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(kbs); i++) {
        json_t *v = vector_json(kbs[i]);
        struct prop_pkey *key = key_of_pem(text_of(v, "tee_private_key_pem"));
        truncate_jwe(text_of(v, "resource_response_raw"), key);
        prop_pkey_free(key);
        json_decref(v);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(rfc); i++) {
        json_t *v = vector_json(rfc[i]);
        struct prop_pkey *key = key_of_jwk(json_object_get(v, "key"));
        truncate_jwe(text_of(v, "compact"), key);
        prop_pkey_free(key);
        json_decref(v);
    }
    json_t *v = vector_json("jose/ocicrypt.json"); /* general form with three recipients */
    struct prop_pkey *key = key_of_file("ocicrypt/keys/ec.pem");
    truncate_jwe(text_of(json_array_get(json_object_get(v, "cases"), 3), "jwe"), key);
    prop_pkey_free(key);
    json_decref(v);
}

static void must_not_verify(const char *jws, size_t len, const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    int rc = prop_jws_verify(jws, len, key, NULL, &err);
    if (rc == 0)
        print_error("verified: %.*s\n", (int)len, jws);
    assert_int_not_equal(rc, 0);
    assert_int_equal(err.code, rc);
}

static void test_damage_jws(void **state)
{
    (void)state;
    static const char *const files[] = { "jose/rfc7515-A.3.json", "jose/rfc7515-A.4.json",
                                         "jose/rfc8037-A.json" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        json_t *v = vector_json(files[i]);
        struct prop_pkey *key = key_of_jwk(json_object_get(v, "key"));
        char *text = prop_strdup(text_of(v, "compact"));
        size_t len = strlen(text);
        for (size_t n = 0; n < len; n++) {
            char *cut = prop_strndup(text, n);
            must_not_verify(cut, n, key);
            prop_free(cut);
        }
        for (size_t bit = 0; bit < len * 8; bit++) {
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
            must_not_verify(text, len, key);
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        }
        prop_free(text);
        prop_pkey_free(key);
        json_decref(v);
    }
}

/* Each truncation of a private JWK text is refused, never a crash. */
static void test_truncate_jwk(void **state)
{
    (void)state;
    struct prop_secret *text = vector_secret("ocicrypt/keys/rsakid.jwk");
    size_t len = prop_secret_len(text);
    const char *p = (const char *)prop_secret_data(text);
    while (len && p[len - 1] != '}')
        len--;
    for (size_t n = 0; n < len; n++) {
        json_t *v = NULL;
        assert_int_not_equal(prop_json_parse(p, n, "cut", &v, NULL), 0);
        assert_null(v);
    }
    /* without any one member it is another key, a public one, or none: never a crash */
    json_t *whole = vector_json("ocicrypt/keys/rsakid.jwk");
    const char *name;
    json_t *value;
    json_object_foreach(whole, name, value) {
        json_t *less = json_deep_copy(whole);
        struct prop_pkey *key = NULL;
        json_object_del(less, name);
        int rc = prop_jwk_import(less, "less", &key, NULL);
        bool only_describes = strcmp(name, "kid") == 0 || strcmp(name, "alg") == 0;
        bool makes_public = strcmp(name, "d") == 0;
        assert_int_equal(rc == 0, only_describes || makes_public);
        if (makes_public)
            assert_false(prop_pkey_is_private(key));
        prop_pkey_free(key);
        json_decref(less);
    }
    json_decref(whole);
    prop_secret_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_p256),    cmocka_unit_test(test_flip_rsa),
        cmocka_unit_test(test_flip_text),    cmocka_unit_test(test_truncate_jwe),
        cmocka_unit_test(test_damage_jws),   cmocka_unit_test(test_truncate_jwk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
