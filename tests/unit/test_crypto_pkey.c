/* Asymmetric keys at work: OAEP, PKCS#1 v1.5 one way, ECDH, signatures, PEM out and in. */
#include "tests/unit/support.h"

static const enum prop_pkey_type types[] = { PROP_PKEY_RSA, PROP_PKEY_P256, PROP_PKEY_P384,
                                             PROP_PKEY_P521, PROP_PKEY_ED25519 };

static struct prop_pkey *generate(enum prop_pkey_type type)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *k = NULL;
    OK(prop_pkey_generate(type, 2048, &k, &err));
    assert_true(prop_pkey_is_private(k));
    assert_int_equal(prop_pkey_get_type(k), type);
    return k;
}

static void test_pem_round_trip(void **state)
{
    (void)state;
    static const unsigned bits[] = { 2048, 256, 384, 521, 256 };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(types); i++) {
        struct prop_pkey *k = generate(types[i]), *back = NULL, *pub = NULL, *der_pub = NULL;
        struct prop_secret *pem = NULL, *none = NULL;
        struct prop_buf pub_pem = PROP_BUF_INIT(8192), der = PROP_BUF_INIT(8192);
        assert_int_equal(prop_pkey_bits(k), bits[i]);
        OK(prop_pkey_private_pem(k, &pem, &err));
        assert_memory_equal(prop_secret_data(pem), "-----BEGIN PRIVATE KEY-----", 27);
        OK(prop_pkey_load_private(pem, NULL, "pem", &back, &err));
        OK(prop_pkey_public_pem(k, &pub_pem, &err));
        assert_memory_equal(pub_pem.data, "-----BEGIN PUBLIC KEY-----", 26);
        OK(prop_pkey_load_public(pub_pem.data, pub_pem.len, "pem", &pub, &err));
        OK(prop_pkey_public_der(k, &der, &err));
        OK(prop_pkey_load_public(der.data, der.len, "der", &der_pub, &err));
        assert_true(prop_pkey_same_public(k, back));
        assert_true(prop_pkey_same_public(k, pub));
        assert_true(prop_pkey_same_public(k, der_pub));
        assert_false(prop_pkey_is_private(pub));
        FAILS(prop_pkey_private_pem(pub, &none, &err), PROP_E_BUG, "internal-error");
        struct prop_pkey *other = generate(types[(i + 1) % PROP_ARRAY_LEN(types)]);
        assert_false(prop_pkey_same_public(k, other));
        prop_pkey_free(other);
        for (size_t cut = 0; cut < der.len; cut++) { /* every truncation */
            struct prop_pkey *bad = NULL;
            assert_int_equal(prop_pkey_load_public(der.data, cut, "cut", &bad, NULL), PROP_E_INPUT);
            assert_null(bad);
        }
        prop_buf_release(&pub_pem);
        prop_buf_release(&der);
        prop_secret_free(pem);
        prop_pkey_free(k);
        prop_pkey_free(back);
        prop_pkey_free(pub);
        prop_pkey_free(der_pub);
    }
}

static void test_generate_refuses(void **state)
{
    (void)state;
    static const unsigned bits[] = { 0, 512, 1024, 2047, 8193, 65536 };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *k = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bits); i++)
        FAILS(prop_pkey_generate(PROP_PKEY_RSA, bits[i], &k, &err), PROP_E_USAGE, "key-size");
    assert_null(k);
    prop_pkey_free(NULL);
}

static void test_oaep(void **state)
{
    (void)state;
    static const enum prop_rsa_pad pads[] = { PROP_RSA_OAEP_SHA1, PROP_RSA_OAEP_SHA256 };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *k = key_of_file("ocicrypt/keys/rsa.pem"), *pub = public_of(k);
    struct prop_pkey *wrong = key_of_file("ocicrypt/keys/rsa2.pem");
    struct prop_secret *in = secret_text("a content key of thirty-two byte"), *back = NULL;
    for (size_t i = 0; i < 2; i++) {
        struct prop_buf out = PROP_BUF_INIT(1024), again = PROP_BUF_INIT(1024);
        OK(prop_rsa_encrypt(pub, pads[i], in, &out, &err));
        assert_int_equal(out.len, 256);
        OK(prop_rsa_decrypt(k, pads[i], out.data, out.len, &back, &err));
        assert_true(prop_secret_equal(in, back));
        prop_secret_free(back);
        back = NULL;
        OK(prop_rsa_encrypt(pub, pads[i], in, &again, &err));
        assert_memory_not_equal(out.data, again.data, 256);
        /* the other hash, another key, a cut and a changed block: one and the same failure */
        FAILS(prop_rsa_decrypt(k, pads[1 - i], out.data, out.len, &back, &err), PROP_E_VERIFY,
              "unwrap-failed");
        FAILS(prop_rsa_decrypt(wrong, pads[i], out.data, out.len, &back, &err), PROP_E_VERIFY,
              "unwrap-failed");
        FAILS(prop_rsa_decrypt(k, pads[i], out.data, out.len - 1, &back, &err), PROP_E_VERIFY,
              "unwrap-failed");
        FAILS(prop_rsa_decrypt(k, pads[i], out.data, 0, &back, &err), PROP_E_VERIFY,
              "unwrap-failed");
        out.data[100] ^= 1;
        FAILS(prop_rsa_decrypt(k, pads[i], out.data, out.len, &back, &err), PROP_E_VERIFY,
              "unwrap-failed");
        assert_null(back);
        prop_buf_release(&out);
        prop_buf_release(&again);
    }
    prop_secret_free(in);
    prop_pkey_free(k);
    prop_pkey_free(pub);
    prop_pkey_free(wrong);
}

static void test_rsa_refuses(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *ec = generate(PROP_PKEY_P256), *rsa = key_of_file("ocicrypt/keys/rsa.pem");
    struct prop_secret *in = secret_text("x"), *back = NULL, *big = NULL;
    struct prop_buf out = PROP_BUF_INIT(1024);
    uint8_t block[256] = { 0 };
    FAILS(prop_rsa_encrypt(ec, PROP_RSA_OAEP_SHA1, in, &out, &err), PROP_E_UNSUPPORTED,
          "key-type");
    FAILS(prop_rsa_decrypt(ec, PROP_RSA_OAEP_SHA1, block, 256, &back, &err), PROP_E_UNSUPPORTED,
          "key-type");
    FAILS(prop_rsa_decrypt(rsa, PROP_RSA_PKCS1_V15, block, 256, &back, &err), PROP_E_UNSUPPORTED,
          "rsa1_5");
    OK(prop_secret_new(300, &big, &err));
    assert_int_not_equal(prop_rsa_encrypt(rsa, PROP_RSA_OAEP_SHA1, big, &out, &err), 0);
    assert_int_equal(out.len, 0);
    OK(prop_rsa_encrypt(rsa, PROP_RSA_PKCS1_V15, in, &out, &err));
    assert_int_equal(out.len, 256);
    prop_buf_release(&out);
    prop_secret_free(in);
    prop_secret_free(big);
    prop_pkey_free(ec);
    prop_pkey_free(rsa);
}

static void test_ecdh(void **state)
{
    (void)state;
    static const struct { enum prop_pkey_type type; size_t width; } rows[] = {
        { PROP_PKEY_P256, 32 }, { PROP_PKEY_P384, 48 }, { PROP_PKEY_P521, 66 },
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *ed = generate(PROP_PKEY_ED25519), *rsa = key_of_file("ocicrypt/keys/rsa.pem");
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_pkey *a = generate(rows[i].type), *b = generate(rows[i].type);
        struct prop_pkey *other = generate(rows[(i + 1) % 3].type);
        struct prop_secret *x = NULL, *y = NULL, *none = NULL;
        OK(prop_ecdh(a, b, &x, &err));
        OK(prop_ecdh(b, a, &y, &err));
        assert_int_equal(prop_secret_len(x), rows[i].width);
        assert_true(prop_secret_equal(x, y));
        FAILS(prop_ecdh(a, other, &none, &err), PROP_E_UNSUPPORTED, "key-type");
        FAILS(prop_ecdh(a, ed, &none, &err), PROP_E_UNSUPPORTED, "key-type");
        FAILS(prop_ecdh(ed, a, &none, &err), PROP_E_UNSUPPORTED, "key-type");
        FAILS(prop_ecdh(rsa, rsa, &none, &err), PROP_E_UNSUPPORTED, "key-type");
        assert_null(none);
        prop_secret_free(x);
        prop_secret_free(y);
        prop_pkey_free(a);
        prop_pkey_free(b);
        prop_pkey_free(other);
    }
    prop_pkey_free(ed);
    prop_pkey_free(rsa);
}

/* A shared x that begins with zero bytes keeps its width: the P-521 key broker vector. */
static void test_ecdh_keeps_leading_zeros(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json("kbs/kbs-vector-jwe-p-521.json"), *header = NULL;
    json_t *derivation = json_object_get(v, "derivation");
    const char *text = text_of(derivation, "protected_json");
    OK(prop_json_parse(text, strlen(text), "header", &header, &err));
    struct prop_pkey *epk = key_of_jwk(json_object_get(header, "epk"));
    struct prop_pkey *key = key_of_pem(text_of(v, "tee_private_key_pem"));
    struct prop_secret *z = NULL;
    OK(prop_ecdh(key, epk, &z, &err));
    assert_bytes_hex(prop_secret_data(z), prop_secret_len(z), text_of(derivation, "Z"));
    assert_int_equal(prop_secret_data(z)[0], 0);
    prop_secret_free(z);
    prop_pkey_free(epk);
    prop_pkey_free(key);
    json_decref(header);
    json_decref(v);
}

static void test_signatures(void **state)
{
    (void)state;
    static const size_t widths[] = { 0, 64, 96, 132, 64 };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 1; i < PROP_ARRAY_LEN(types); i++) {
        struct prop_pkey *k = generate(types[i]), *pub = public_of(k), *other = generate(types[i]);
        struct prop_buf sig = PROP_BUF_INIT(256);
        OK(prop_sign(k, "message", 7, &sig, &err));
        assert_int_equal(sig.len, widths[i]);
        OK(prop_verify(pub, "message", 7, sig.data, sig.len, &err));
        FAILS(prop_verify(pub, "messagf", 7, sig.data, sig.len, &err), PROP_E_VERIFY,
              "bad-signature");
        FAILS(prop_verify(other, "message", 7, sig.data, sig.len, &err), PROP_E_VERIFY,
              "bad-signature");
        for (size_t cut = 0; cut < sig.len; cut++)
            FAILS(prop_verify(pub, "message", 7, sig.data, cut, &err), PROP_E_VERIFY,
                  "bad-signature");
        OK(prop_buf_add(&sig, "x", 1, &err));
        FAILS(prop_verify(pub, "message", 7, sig.data, sig.len, &err), PROP_E_VERIFY,
              "bad-signature");
        uint8_t zeros[132] = { 0 };
        FAILS(prop_verify(pub, "message", 7, zeros, widths[i], &err), PROP_E_VERIFY,
              "bad-signature");
        prop_buf_release(&sig);
        prop_pkey_free(k);
        prop_pkey_free(pub);
        prop_pkey_free(other);
    }
    struct prop_pkey *rsa = key_of_file("ocicrypt/keys/rsa.pem");
    struct prop_buf sig = PROP_BUF_INIT(512);
    FAILS(prop_sign(rsa, "x", 1, &sig, &err), PROP_E_UNSUPPORTED, "key-type");
    FAILS(prop_verify(rsa, "x", 1, "y", 1, &err), PROP_E_UNSUPPORTED, "key-type");
    prop_pkey_free(rsa);
}

/* ECDSA numbers at their fixed width: many signatures, so that short r and s occur. */
static void test_signature_width(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *k = generate(PROP_PKEY_P256);
    bool short_one = false;
    for (int i = 0; i < 2000 && !short_one; i++) {
        struct prop_buf sig = PROP_BUF_INIT(256);
        OK(prop_sign(k, &i, sizeof(i), &sig, &err));
        assert_int_equal(sig.len, 64);
        OK(prop_verify(k, &i, sizeof(i), sig.data, sig.len, &err));
        short_one = sig.data[0] == 0 || sig.data[32] == 0;
        prop_buf_release(&sig);
    }
    assert_true(short_one); /* 2000 misses have a chance of 1 in 6 million */
    prop_pkey_free(k);
}

/* Numbers in and out, and numbers that are no key. */
static void test_numbers(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(types); i++) {
        struct prop_pkey *k = generate(types[i]), *back = NULL;
        struct prop_pkey_numbers n, pub;
        prop_pkey_numbers_init(&n);
        prop_pkey_numbers_init(&pub);
        OK(prop_pkey_get_numbers(k, true, &n, &err));
        assert_non_null(n.d);
        OK(prop_pkey_from_numbers(types[i], &n, &back, &err));
        assert_true(prop_pkey_is_private(back));
        assert_true(prop_pkey_same_public(k, back));
        OK(prop_pkey_get_numbers(k, false, &pub, &err));
        assert_null(pub.d);
        prop_pkey_free(back);
        back = NULL;
        prop_secret_bytes(n.d)[prop_secret_len(n.d) - 1] ^= 2; /* d of another key */
        FAILS(prop_pkey_from_numbers(types[i], &n, &back, &err), PROP_E_INPUT, "bad-key-numbers");
        struct prop_buf *x = types[i] == PROP_PKEY_RSA ? &pub.n : &pub.x;
        if (types[i] != PROP_PKEY_ED25519) {
            x->data[x->len - 1] ^= 1; /* off the curve; an even modulus */
            FAILS(prop_pkey_from_numbers(types[i], &pub, &back, &err), PROP_E_INPUT,
                  "bad-key-numbers");
        }
        prop_buf_clear(x);
        FAILS(prop_pkey_from_numbers(types[i], &pub, &back, &err), PROP_E_INPUT,
              "bad-key-numbers");
        assert_null(back);
        prop_pkey_numbers_release(&n);
        prop_pkey_numbers_release(&pub);
        prop_pkey_numbers_release(&pub); /* twice is fine */
        prop_pkey_free(k);
    }
}

/* Any bytes at all: an error, never a crash. */
static void test_garbage(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "x", "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\n\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "0\x82\xff\xff", "0\x84\x7f\xff\xff\xff", "0\x80\x30\x80",
    };
    struct prop_pkey *k = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(texts); i++) {
        struct prop_secret *s = secret_text(texts[i]);
        int rc = prop_pkey_load_private(s, NULL, "garbage", &k, NULL);
        assert_true(rc == PROP_E_INPUT || rc == PROP_E_AUTH);
        assert_int_equal(prop_pkey_load_public(texts[i], strlen(texts[i]), "garbage", &k, NULL),
                         PROP_E_INPUT);
        assert_null(k);
        prop_secret_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pem_round_trip), cmocka_unit_test(test_generate_refuses),
        cmocka_unit_test(test_oaep),           cmocka_unit_test(test_rsa_refuses),
        cmocka_unit_test(test_ecdh),           cmocka_unit_test(test_ecdh_keeps_leading_zeros),
        cmocka_unit_test(test_signatures),     cmocka_unit_test(test_signature_width),
        cmocka_unit_test(test_numbers),        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
