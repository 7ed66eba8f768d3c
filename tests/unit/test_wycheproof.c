/* Project Wycheproof's vectors (tests/vectors/wycheproof) through crypto/ and the JWK reader. */
#include "tests/unit/support.h"

#include "crypto/cipher.h"

/* The file's tests; each is handed to `check` with whether it has to work. */
static void for_each(const char *file, void (*check)(const json_t *t, bool valid), size_t want)
{
    char name[64];
    json_t *list, *t;
    size_t i;
    (void)snprintf(name, sizeof(name), "wycheproof/%s.json", file);
    list = vector_json(name);
    json_array_foreach(list, i, t)
        check(t, strcmp(text_of(t, "result"), "valid") == 0);
    assert_int_equal(i, want);
    json_decref(list);
}

/* What came out, against what should have; names the test. */
static void judge(const json_t *t, bool worked, bool valid)
{
    if (worked != valid)
        print_error("test %lld (%s) %s\n", json_integer_value(json_object_get(t, "tcId")),
                    text_of(t, "result"), worked ? "passed" : "was refused");
    assert_int_equal(worked, valid);
}

static struct prop_secret *member(const json_t *t, const char *name)
{
    return secret_hex(text_of(t, name));
}

static void check_gcm(const json_t *t, bool valid)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *key = member(t, "key"), *iv = member(t, "iv"), *aad = member(t, "aad");
    struct prop_secret *msg = member(t, "msg"), *ct = member(t, "ct"), *tag = member(t, "tag");
    struct prop_secret *plain = NULL;
    uint8_t out[1024], got[16];
    assert_int_equal(prop_secret_len(tag), 16);
    int rc = prop_gcm_open(key, prop_secret_data(iv), 12, prop_secret_data(aad),
                           prop_secret_len(aad), prop_secret_data(ct), prop_secret_len(ct),
                           prop_secret_data(tag), &plain, &err);
    judge(t, rc == 0, valid);
    if (valid) {
        assert_true(prop_secret_equal(plain, msg));
        OK(prop_gcm_seal(key, prop_secret_data(iv), 12, prop_secret_data(aad),
                         prop_secret_len(aad), prop_secret_data(msg), prop_secret_len(msg), out,
                         got, &err));
        assert_memory_equal(out, prop_secret_data(ct), prop_secret_len(ct));
        assert_memory_equal(got, prop_secret_data(tag), 16);
    } else {
        assert_int_equal(rc, PROP_E_VERIFY);
        assert_null(plain);
    }
    struct prop_secret *all[] = { key, iv, aad, msg, ct, tag, plain };
    for (size_t i = 0; i < PROP_ARRAY_LEN(all); i++)
        prop_secret_free(all[i]);
}

static void test_aes_gcm(void **state)
{
    (void)state;
    for_each("aes_gcm", check_gcm, 197);
}

/* Keys of 16 to 64 bytes are wrapped here; the longer ones of the file are refused both ways. */
static void check_wrap(const json_t *t, bool valid)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *kek = member(t, "key"), *msg = member(t, "msg"), *ct = member(t, "ct");
    struct prop_secret *back = NULL;
    uint8_t out[72];
    size_t n = 0;
    bool in_range = prop_secret_len(ct) <= sizeof(out);
    int rc = prop_kw_unwrap(kek, prop_secret_data(ct), prop_secret_len(ct), &back, &err);
    judge(t, rc == 0, valid && in_range);
    if (rc == 0) {
        assert_true(prop_secret_equal(back, msg));
        OK(prop_kw_wrap(kek, msg, out, sizeof(out), &n, &err));
        assert_secret_is(ct, out, n);
    } else {
        assert_int_equal(rc, PROP_E_VERIFY);
        assert_null(back);
    }
    prop_secret_free(kek);
    prop_secret_free(msg);
    prop_secret_free(ct);
    prop_secret_free(back);
}

static void test_aes_wrap(void **state)
{
    (void)state;
    for_each("aes_wrap", check_wrap, 165);
}

static void check_ecdh(const json_t *t, bool valid)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *priv = NULL, *pub = NULL;
    struct prop_secret *z = NULL, *want = member(t, "shared");
    int rc = prop_jwk_import(json_object_get(t, "private"), "private", &priv, &err);
    if (rc == 0)
        rc = prop_jwk_import(json_object_get(t, "public"), "public", &pub, &err);
    if (rc == 0)
        rc = prop_ecdh(priv, pub, &z, &err);
    judge(t, rc == 0, valid);
    if (rc == 0)
        assert_true(prop_secret_equal(z, want));
    else
        assert_true(rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED);
    prop_secret_free(z);
    prop_secret_free(want);
    prop_pkey_free(priv);
    prop_pkey_free(pub);
}

static void test_ecdh(void **state)
{
    (void)state;
    for_each("ecdh_jwk", check_ecdh, 238);
}

static void check_signature(const json_t *t, bool valid)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    struct prop_secret *msg = member(t, "msg"), *sig = member(t, "sig");
    int rc = prop_jwk_import(json_object_get(t, "key"), "key", &key, &err);
    if (rc == 0)
        rc = prop_verify(key, prop_secret_data(msg), prop_secret_len(msg), prop_secret_data(sig),
                         prop_secret_len(sig), &err);
    judge(t, rc == 0, valid);
    assert_true(rc == 0 || rc == PROP_E_VERIFY || rc == PROP_E_INPUT);
    prop_secret_free(msg);
    prop_secret_free(sig);
    prop_pkey_free(key);
}

static void test_ecdsa(void **state)
{
    (void)state;
    for_each("ecdsa_jwk", check_signature, 347);
}

static void test_ed25519(void **state)
{
    (void)state;
    for_each("ed25519_jwk", check_signature, 150);
}

static struct prop_pkey *oaep_key; /* the file's first test brings it */
static enum prop_rsa_pad oaep_pad;

static void check_oaep(const json_t *t, bool valid)
{
    struct prop_err err = PROP_ERR_INIT;
    if (json_object_get(t, "key")) {
        struct prop_secret *der = member(t, "key");
        OK(prop_pkey_load_private(der, NULL, "wycheproof", &oaep_key, &err));
        prop_secret_free(der);
    }
    struct prop_secret *ct = member(t, "ct"), *msg = member(t, "msg"), *back = NULL;
    bool labelled = text_of(t, "label")[0] != 0; /* ours is always the empty label */
    int rc = prop_rsa_decrypt(oaep_key, oaep_pad, prop_secret_data(ct), prop_secret_len(ct), &back,
                              &err);
    judge(t, rc == 0, valid && !labelled);
    if (rc == 0)
        assert_true(prop_secret_equal(back, msg));
    else
        assert_int_equal(rc, PROP_E_VERIFY);
    prop_secret_free(ct);
    prop_secret_free(msg);
    prop_secret_free(back);
}

static void test_rsa_oaep(void **state)
{
    (void)state;
    oaep_pad = PROP_RSA_OAEP_SHA1;
    for_each("rsa_oaep_sha1", check_oaep, 36);
    prop_pkey_free(oaep_key);
    oaep_key = NULL;
    oaep_pad = PROP_RSA_OAEP_SHA256;
    for_each("rsa_oaep_sha256", check_oaep, 37);
    prop_pkey_free(oaep_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aes_gcm), cmocka_unit_test(test_aes_wrap),
        cmocka_unit_test(test_ecdh),    cmocka_unit_test(test_ecdsa),
        cmocka_unit_test(test_ed25519), cmocka_unit_test(test_rsa_oaep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
