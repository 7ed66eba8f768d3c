/* Digests, HMAC, ciphers, key wrap: published vectors, and every call's refusals. */
#include "tests/unit/support.h"

#include "crypto/cipher.h"
#include "crypto/digest.h"
#include "crypto/random.h"

/* FIPS 180-4 examples: "abc". */
static void test_digests(void **state)
{
    (void)state;
    static const struct { enum prop_hash_alg alg; const char *name, *hex; } rows[] = {
        { PROP_SHA1, "sha1", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { PROP_SHA256, "sha256",
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { PROP_SHA384, "sha384",
          "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
          "8086072ba1e7cc2358baeca134c825a7" },
        { PROP_SHA512, "sha512",
          "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
          "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
    };
    struct prop_err err = PROP_ERR_INIT;
    char text[PROP_DIGEST_TEXT], want[PROP_DIGEST_TEXT];
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_digest d, streamed;
        prop_auto_hash struct prop_hash *h = NULL;
        OK(prop_digest_of(rows[i].alg, "abc", 3, &d, &err));
        assert_string_equal(prop_digest_hex(&d, text), rows[i].hex);
        assert_int_equal(d.len, prop_hash_len(rows[i].alg));
        assert_string_equal(prop_hash_name(rows[i].alg), rows[i].name);
        (void)snprintf(want, sizeof(want), "%s:%s", rows[i].name, rows[i].hex);
        assert_string_equal(prop_digest_format(&d, text), want);
        OK(prop_hash_new(rows[i].alg, &h, &err));
        OK(prop_hash_update(h, "a", 1, &err));
        OK(prop_hash_update(h, "", 0, &err));
        OK(prop_hash_update(h, "bc", 2, &err));
        OK(prop_hash_final(h, &streamed, &err));
        assert_true(prop_digest_equal(&d, &streamed));
    }
    struct prop_digest empty;
    OK(prop_digest_of(PROP_SHA256, "", 0, &empty, &err));
    assert_string_equal(prop_digest_hex(&empty, text),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_digest_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", ":", "sha256", "sha256:", "sha256:00",
        "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
        "sha256:ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n",
        "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };
    static const char *const other[] = { "md5:00", "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
                                         "SHA256:00", "sha384:00", "blake3:00", ":00" };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest d, e;
    char text[PROP_DIGEST_TEXT];
    const char *good = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    OK(prop_digest_parse(good, &d, &err));
    assert_string_equal(prop_digest_format(&d, text), good);
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        int rc = prop_digest_parse(bad[i], &e, &err);
        assert_true(rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(other); i++)
        FAILS(prop_digest_parse(other[i], &e, &err), PROP_E_UNSUPPORTED, "digest-algorithm");
    OK(prop_digest_of(PROP_SHA256, "abd", 3, &e, &err));
    assert_false(prop_digest_equal(&d, &e));
    FAILS(prop_digest_check(&e, &d, "layer 1", &err), PROP_E_VERIFY, "digest-mismatch");
    assert_non_null(strstr(err.message, "layer 1"));
    assert_non_null(strstr(err.message, good));
    OK(prop_digest_check(&d, &d, "layer 1", &err));
    struct prop_digest none = { PROP_SHA256, 0, { 0 } };
    assert_false(prop_digest_equal(&none, &none)); /* no digest equals nothing */
}

/* RFC 4231 test cases 2 and 6. */
static void test_hmac(void **state)
{
    (void)state;
    uint8_t aa[131];
    memset(aa, 0xaa, sizeof(aa));
    const struct { const void *key; size_t key_len; const char *data, *hex; } rows[] = {
        { "Jefe", 4, "what do ya want for nothing?",
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { aa, 131, "Test Using Larger Than Block-Size Key - Hash Key First",
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        prop_auto_hash struct prop_hash *h = NULL;
        struct prop_secret *key = secret_of(rows[i].key, rows[i].key_len);
        struct prop_digest d;
        OK(prop_hmac_new(PROP_SHA256, key, &h, &err));
        prop_secret_free(key); /* borrowed during the call only */
        OK(prop_hash_update(h, rows[i].data, strlen(rows[i].data), &err));
        OK(prop_hash_final(h, &d, &err));
        assert_bytes_hex(d.bytes, d.len, rows[i].hex);
    }
}

/* The whole vector of ocicrypt.md section 4, from the module to the wrapped options. */
static void test_layer_vector(void **state)
{
    (void)state;
    static const char options[] =
        "{\"symkey\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\",\"digest\":\"sha256:f61fd62f"
        "57c41269c3c23f360eeaf1090b1db9c38651106674d48bc65dba88ba\",\"cipheroptions\":{\"nonce\":"
        "\"8PHy8/T19vf4+fr7/P3+/w==\"}}";
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *wasm = vector_secret("ocicrypt/wasm/addition.wasm");
    struct prop_secret *key = secret_hex("000102030405060708090a0b0c0d0e0f"
                                         "101112131415161718191a1b1c1d1e1f");
    uint8_t nonce[16], out[64], again[64];
    prop_auto_ctr struct prop_ctr *ctr = NULL, *back = NULL;
    hex_bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", nonce, sizeof(nonce));
    assert_int_equal(prop_secret_len(wasm), 41);
    OK(prop_ctr_new(key, nonce, &ctr, &err));
    OK(prop_ctr_update(ctr, prop_secret_data(wasm), 7, out, &err)); /* in uneven pieces */
    OK(prop_ctr_update(ctr, NULL, 0, NULL, &err));
    OK(prop_ctr_update(ctr, prop_secret_data(wasm) + 7, 34, out + 7, &err));
    assert_bytes_hex(out, 41, "9261bee0229680cb5b6ee734424d1c15b55c7941f12d33c06dc631454a778c87"
                              "986b217b1438f4f273");
    struct prop_digest d;
    OK(prop_digest_of(PROP_SHA256, out, 41, &d, &err));
    assert_bytes_hex(d.bytes, d.len,
                     "eb1472e192d98a80fb0c8ce1a9c18ebf2c3229923bc7b2694c3a815ba00dc62b");
    prop_auto_hash struct prop_hash *mac = NULL;
    OK(prop_hmac_new(PROP_SHA256, key, &mac, &err));
    OK(prop_hash_update(mac, out, 41, &err));
    OK(prop_hash_final(mac, &d, &err));
    char *b64 = prop_b64_encode(PROP_B64_STD, d.bytes, d.len);
    assert_string_equal(b64, "hIY4SNTfelTaE7TzluwNRbqou8YVw9Z/je0JnhrJ8ns=");
    prop_free(b64);
    memcpy(again, out, 41);
    OK(prop_ctr_new(key, nonce, &back, &err));
    OK(prop_ctr_update(back, again, 41, again, &err)); /* in place */
    assert_memory_equal(again, prop_secret_data(wasm), 41);

    uint8_t kek_bytes[32], iv[16] = { 0 }, wrapped[256];
    memset(kek_bytes, 0x42, sizeof(kek_bytes));
    struct prop_secret *kek = secret_of(kek_bytes, sizeof(kek_bytes));
    assert_int_equal(strlen(options), 193);
    OK(prop_gcm_seal(kek, iv, 12, NULL, 0, options, 193, wrapped, wrapped + 193, &err));
    assert_bytes_hex(wrapped + 193, 16, "07471eba824b00460f4a4e880a3a8bb9");
    OK(prop_digest_of(PROP_SHA256, wrapped, 209, &d, &err));
    assert_bytes_hex(d.bytes, d.len,
                     "277895a0c0fe211ba7e8d3d7b43799740325c46d6244bb3c0af821afa701a664");
    prop_auto_ctr struct prop_ctr *wrap = NULL;
    OK(prop_ctr_new(kek, iv, &wrap, &err));
    OK(prop_ctr_update(wrap, options, 193, wrapped, &err));
    OK(prop_digest_of(PROP_SHA256, wrapped, 193, &d, &err));
    assert_bytes_hex(d.bytes, d.len,
                     "8f9dd57e1e6121eba76d9822ccd4f9b9053021924271b9a4da593f3017a9fb4a");
    prop_secret_free(kek);
    prop_secret_free(key);
    prop_secret_free(wasm);
}

/* NIST SP 800-38A F.5.5, CTR-AES256; and the counter that runs over its last block. */
static void test_ctr_nist(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *key = secret_hex("603deb1015ca71be2b73aef0857d7781"
                                         "1f352c073b6108d72d9810a30914dff4");
    uint8_t nonce[16], in[64], out[64];
    prop_auto_ctr struct prop_ctr *c = NULL, *w = NULL, *z = NULL;
    hex_bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", nonce, sizeof(nonce));
    size_t n = hex_bytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                         "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
                         in, sizeof(in));
    OK(prop_ctr_new(key, nonce, &c, &err));
    OK(prop_ctr_update(c, in, n, out, &err));
    assert_bytes_hex(out, n, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
                             "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
    /* all 128 bits count: after ff..ff comes 00..00 */
    uint8_t ones[16], zeros[32] = { 0 }, first[32], second[16];
    memset(ones, 0xff, sizeof(ones));
    OK(prop_ctr_new(key, ones, &w, &err));
    OK(prop_ctr_update(w, zeros, 32, first, &err));
    OK(prop_ctr_new(key, zeros, &z, &err));
    OK(prop_ctr_update(z, zeros, 16, second, &err));
    assert_memory_equal(first + 16, second, 16);

    struct prop_secret *short_key = secret_of("0123456789abcdef", 16);
    struct prop_ctr *none = NULL;
    FAILS(prop_ctr_new(short_key, nonce, &none, &err), PROP_E_INPUT, "key-length");
    assert_null(none);
    prop_secret_free(short_key);
    prop_secret_free(key);
}

/* Test cases 2, 4 (AES-128), 10 (AES-192) and 14, 16 (AES-256) of the GCM specification. */
static void test_gcm_vectors(void **state)
{
    (void)state;
    const char *k128 = "feffe9928665731c6d6a8f9467308308";
    const char *k192 = "feffe9928665731c6d6a8f9467308308feffe9928665731c";
    const char *k256 = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    const char *plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    const char *aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2", *iv = "cafebabefacedbaddecaf888";
    const struct { const char *key, *iv, *aad, *plain, *cipher, *tag; } rows[] = {
        { "00000000000000000000000000000000", "000000000000000000000000", "",
          "00000000000000000000000000000000", "0388dace60b6a392f328c2b971b2fe78",
          "ab6e47d42cec13bdf53a67b21257bddf" },
        { k128, iv, aad, plain,
          "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
          "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
          "5bc94fbc3221a5db94fae95ae7121a47" },
        { k192, iv, aad, plain,
          "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c"
          "7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
          "2519498e80f1478f37ba55bd6d27618c" },
        { "0000000000000000000000000000000000000000000000000000000000000000",
          "000000000000000000000000", "", "00000000000000000000000000000000",
          "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919" },
        { k256, iv, aad, plain,
          "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
          "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
          "76fc6ece0f4e1768cddf8853bb2d551b" },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_secret *key = secret_hex(rows[i].key), *back = NULL;
        uint8_t n[12], a[32], in[64], out[64], tag[16];
        size_t a_len = hex_bytes(rows[i].aad, a, sizeof(a));
        size_t len = hex_bytes(rows[i].plain, in, sizeof(in));
        hex_bytes(rows[i].iv, n, sizeof(n));
        OK(prop_gcm_seal(key, n, 12, a, a_len, in, len, out, tag, &err));
        assert_bytes_hex(out, len, rows[i].cipher);
        assert_bytes_hex(tag, 16, rows[i].tag);
        OK(prop_gcm_open(key, n, 12, a, a_len, out, len, tag, &back, &err));
        assert_secret_is(back, in, len);
        prop_secret_free(back);
        back = NULL;
        for (size_t bit = 0; bit < (len + 16 + a_len + 12) * 8; bit++) { /* each bit counts */
            uint8_t *where = bit / 8 < len               ? out + bit / 8
                             : bit / 8 < len + 16        ? tag + (bit / 8 - len)
                             : bit / 8 < len + 16 + a_len ? a + (bit / 8 - len - 16)
                                                         : n + (bit / 8 - len - 16 - a_len);
            *where ^= (uint8_t)(1u << bit % 8);
            FAILS(prop_gcm_open(key, n, 12, a, a_len, out, len, tag, &back, &err), PROP_E_VERIFY,
                  "tag-mismatch");
            assert_null(back);
            *where ^= (uint8_t)(1u << bit % 8);
        }
        prop_secret_free(key);
    }
}

static void test_gcm_edges(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *key = NULL, *bad = NULL, *back = NULL;
    uint8_t iv[12] = { 0 }, tag[16], none[1];
    OK(prop_random_secret(32, &key, &err));
    OK(prop_random_secret(20, &bad, &err));
    OK(prop_gcm_seal(key, iv, 12, NULL, 0, NULL, 0, none, tag, &err));
    OK(prop_gcm_open(key, iv, 12, NULL, 0, NULL, 0, tag, &back, &err));
    assert_int_equal(prop_secret_len(back), 0);
    prop_secret_free(back);
    back = NULL;
    FAILS(prop_gcm_seal(bad, iv, 12, NULL, 0, "x", 1, none, tag, &err), PROP_E_INPUT,
          "key-length");
    FAILS(prop_gcm_open(bad, iv, 12, NULL, 0, "x", 1, tag, &back, &err), PROP_E_INPUT,
          "key-length");
    FAILS(prop_gcm_open(key, iv, 0, NULL, 0, "x", 1, tag, &back, &err), PROP_E_INPUT,
          "key-length");
    assert_null(back);
    prop_secret_free(key);
    prop_secret_free(bad);
}

/* RFC 3394 sections 4.1 to 4.6. */
static void test_key_wrap(void **state)
{
    (void)state;
    const char *kek = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const char *key = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f";
    static const struct { size_t kek, key; const char *wrapped; } rows[] = {
        { 16, 16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5" },
        { 24, 16, "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d" },
        { 32, 16, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7" },
        { 24, 24, "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2" },
        { 32, 24, "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1" },
        { 32, 32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43b"
                  "fb988b9b7a02dd21" },
    };
    struct prop_err err = PROP_ERR_INIT;
    uint8_t kek_bytes[32], key_bytes[32], out[72];
    hex_bytes(kek, kek_bytes, 32);
    hex_bytes(key, key_bytes, 32);
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_secret *k = secret_of(kek_bytes, rows[i].kek);
        /* 4.4 and 4.5 wrap the first 24 bytes, 4.6 all 32 */
        struct prop_secret *v = secret_of(key_bytes, rows[i].key), *back = NULL;
        size_t n = 0;
        OK(prop_kw_wrap(k, v, out, sizeof(out), &n, &err));
        assert_bytes_hex(out, n, rows[i].wrapped);
        OK(prop_kw_unwrap(k, out, n, &back, &err));
        assert_true(prop_secret_equal(back, v));
        prop_secret_free(back);
        back = NULL;
        for (size_t bit = 0; bit < n * 8; bit++) {
            out[bit / 8] ^= (uint8_t)(1u << bit % 8);
            FAILS(prop_kw_unwrap(k, out, n, &back, &err), PROP_E_VERIFY, "unwrap-failed");
            assert_null(back);
            out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t cut = 0; cut < n; cut++)
            FAILS(prop_kw_unwrap(k, out, cut, &back, &err), PROP_E_VERIFY, "unwrap-failed");
        FAILS(prop_kw_wrap(k, v, out, n - 1, &n, &err), PROP_E_INPUT, "key-length");
        prop_secret_free(k);
        prop_secret_free(v);
    }
    struct prop_secret *k = secret_of(kek_bytes, 32), *odd = secret_of(key_bytes, 17);
    size_t n = 0;
    FAILS(prop_kw_wrap(k, odd, out, sizeof(out), &n, &err), PROP_E_INPUT, "key-length");
    prop_secret_free(k);
    prop_secret_free(odd);
}

static void test_random(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *a = NULL, *b = NULL, *none = NULL;
    OK(prop_random_secret(32, &a, &err));
    OK(prop_random_secret(32, &b, &err));
    OK(prop_random_secret(0, &none, &err));
    assert_false(prop_secret_equal(a, b));
    assert_int_equal(prop_secret_len(none), 0);
    prop_secret_free(a);
    prop_secret_free(b);
    prop_secret_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),      cmocka_unit_test(test_digest_text),
        cmocka_unit_test(test_hmac),         cmocka_unit_test(test_layer_vector),
        cmocka_unit_test(test_ctr_nist),     cmocka_unit_test(test_gcm_vectors),
        cmocka_unit_test(test_gcm_edges),    cmocka_unit_test(test_key_wrap),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
