/* The layer cipher: the published vector, exact option texts, every way to cut the input, and what
 * must be refused. */
#include "test_ocicrypt.h"

#include "ocicrypt/layer_internal.h"
#include "ocicrypt/options.h"

#include "crypto/parhash.h"
#include "crypto/random.h"

#define PRIVOPTS                                                                                   \
    "{\"symkey\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\",\"digest\":\"" WASM_SHA "\","    \
    "\"cipheroptions\":{\"nonce\":\"8PHy8/T19vf4+fr7/P3+/w==\"}}"
#define PUBOPTS                                                                                    \
    "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":"                                            \
    "\"hIY4SNTfelTaE7TzluwNRbqou8YVw9Z/je0JnhrJ8ns=\",\"cipheroptions\":{}}"

static struct prop_secret *vector_key(void)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *key = NULL;
    uint8_t k[32];
    for (unsigned i = 0; i < 32; i++)
        k[i] = (uint8_t)i;
    assert_ok(prop_secret_copy(k, sizeof(k), &key, &err));
    return key;
}

static const uint8_t vector_nonce[16] = { 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7,
                                          0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff };

static struct prop_secret *secret(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    assert_ok(prop_secret_copy(text, strlen(text), &s, &err));
    return s;
}

/* ocicrypt.md section 4 */
static void test_vector(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *key = vector_key();
    prop_auto_buf struct prop_buf wasm = PROP_BUF_INIT(100), out = PROP_BUF_INIT(100);
    struct prop_layer_enc *enc = NULL;
    struct prop_layer_sealed sealed;
    char hex[128], digest[PROP_DIGEST_TEXT];
    read_file(FIXTURES "wasm/addition.wasm", &wasm);
    assert_int_equal(wasm.len, 41);
    assert_ok(prop_layer_enc_new_with(key, vector_nonce, keep, &out, &enc, &err));
    assert_ok(prop_layer_enc_update(enc, wasm.data, wasm.len, &err));
    assert_ok(prop_layer_enc_final(enc, &sealed, &err));
    prop_layer_enc_free(enc);
    prop_hex_encode(out.data, out.len, hex);
    assert_string_equal(hex, "9261bee0229680cb5b6ee734424d1c15b55c7941f12d33c06dc631454a778c87986b21"
                             "7b1438f4f273");
    assert_string_equal(prop_digest_format(&sealed.cipher, digest),
        "sha256:eb1472e192d98a80fb0c8ce1a9c18ebf2c3229923bc7b2694c3a815ba00dc62b");
    assert_string_equal(prop_digest_format(&sealed.plain, digest), WASM_SHA);
    assert_int_equal(sealed.size, 41);
    assert_string_equal(sealed.pubopts, PUBOPTS);
    assert_int_equal(prop_secret_len(sealed.privopts), 193);
    assert_memory_equal(prop_secret_data(sealed.privopts), PRIVOPTS, 193);
    prop_layer_sealed_release(&sealed);
}

static void fill(uint8_t *data, size_t len)
{
    uint32_t x = 2463534242u;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        data[i] = (uint8_t)x;
    }
}

/* Encrypt in pieces of `step`, check every output against one-shot primitives, decrypt. */
static void round_trip(size_t len, size_t step)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf cipher = PROP_BUF_INIT(len + 1), plain = PROP_BUF_INIT(len + 1);
    prop_auto_free uint8_t *data = prop_alloc(len + 1);
    struct prop_layer_enc *enc = NULL;
    struct prop_layer_dec *dec = NULL;
    struct prop_layer_sealed s;
    struct prop_digest want, got, stated;
    fill(data, len);
    assert_ok(prop_layer_enc_new(keep, &cipher, &enc, &err));
    for (size_t at = 0; at < len; at += step)
        assert_ok(prop_layer_enc_update(enc, data + at, len - at < step ? len - at : step, &err));
    assert_ok(prop_layer_enc_final(enc, &s, &err));
    prop_layer_enc_free(enc);
    assert_int_equal(cipher.len, len);
    assert_int_equal(s.size, len);
    assert_ok(prop_digest_of(PROP_SHA256, data, len, &want, &err));
    assert_true(prop_digest_equal(&want, &s.plain));
    assert_ok(prop_digest_of(PROP_SHA256, cipher.data, len, &got, &err));
    assert_true(prop_digest_equal(&got, &s.cipher));
    assert_ok(prop_layer_dec_new(s.pubopts, s.privopts, keep, &plain, &dec, &err));
    for (size_t at = 0; at < len; at += step)
        assert_ok(prop_layer_dec_update(dec, cipher.data + at, len - at < step ? len - at : step,
                                        &err));
    assert_ok(prop_layer_dec_final(dec, &got, &stated, &err));
    prop_layer_dec_free(dec);
    assert_true(prop_digest_equal(&want, &got));
    assert_true(prop_digest_equal(&want, &stated));
    assert_int_equal(plain.len, len);
    assert_memory_equal(plain.data ? plain.data : data, data, len);
    prop_layer_sealed_release(&s);
}

static void test_round_trips(void **state)
{
    (void)state;
    static const size_t chunk = PROP_PARHASH_CHUNK;
    round_trip(0, 1);
    round_trip(1, 1);
    round_trip(chunk - 1, 4096);
    round_trip(chunk, chunk);
    round_trip(chunk + 1, 65536);
    round_trip(3 * chunk + 17, 31);
    round_trip((PROP_PARHASH_CHUNKS * 2 + 3) * chunk + 5, 100003);
    round_trip((PROP_PARHASH_CHUNKS + 1) * chunk, 5 * chunk);
}

/* Two encryptions of one text share nothing. */
static void test_fresh_keys(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf out[2] = { PROP_BUF_INIT(64), PROP_BUF_INIT(64) };
    struct prop_layer_sealed s[2];
    for (int i = 0; i < 2; i++) {
        struct prop_layer_enc *enc = NULL;
        assert_ok(prop_layer_enc_new(keep, &out[i], &enc, &err));
        assert_ok(prop_layer_enc_update(enc, "0123456789abcdef", 16, &err));
        assert_ok(prop_layer_enc_final(enc, &s[i], &err));
        prop_layer_enc_free(enc);
    }
    assert_memory_not_equal(out[0].data, out[1].data, 16);
    assert_false(prop_secret_equal(s[0].privopts, s[1].privopts));
    prop_layer_sealed_release(&s[0]);
    prop_layer_sealed_release(&s[1]);
    prop_buf_release(&out[0]);
    prop_buf_release(&out[1]);
}

static int refuse(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    (void)ctx;
    (void)data;
    (void)len;
    return prop_err_set_id(err, PROP_E_IO, "disk-full", "no room");
}

static void test_sink_failure(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_layer_enc *enc = NULL;
    struct prop_layer_sealed s;
    prop_auto_free uint8_t *data = prop_zalloc(PROP_PARHASH_CHUNK);
    assert_ok(prop_layer_enc_new(refuse, NULL, &enc, &err));
    assert_id(prop_layer_enc_update(enc, data, PROP_PARHASH_CHUNK, &err), PROP_E_IO, "disk-full");
    prop_layer_enc_free(enc);
    assert_ok((prop_err_clear(&err), prop_layer_enc_new(refuse, NULL, &enc, &err)));
    assert_ok(prop_layer_enc_update(enc, data, 10, &err));
    assert_id(prop_layer_enc_final(enc, &s, &err), PROP_E_IO, "disk-full");
    prop_layer_enc_free(enc);
}

/* Any flipped bit of the ciphertext, a byte less, a byte more. */
static void test_tampered(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = secret(PRIVOPTS);
    uint8_t blob[42];
    assert_int_equal(prop_hex_decode("9261bee0229680cb5b6ee734424d1c15b55c7941f12d33c06dc631454a778c"
                                     "87986b217b1438f4f27300", 84, blob, 42), 0);
    for (size_t bit = 0; bit <= 41 * 8 + 2; bit++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(64);
        struct prop_layer_dec *dec = NULL;
        struct prop_digest plain;
        size_t len = bit == 41 * 8 + 1 ? 40 : bit == 41 * 8 + 2 ? 42 : 41;
        if (bit < 41 * 8)
            blob[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_ok((prop_err_clear(&err), prop_layer_dec_new(PUBOPTS, priv, keep, &out, &dec, &err)));
        assert_ok(prop_layer_dec_update(dec, blob, len, &err));
        if (bit == 41 * 8)
            assert_ok(prop_layer_dec_final(dec, &plain, NULL, &err));
        else
            assert_id(prop_layer_dec_final(dec, &plain, NULL, &err), PROP_E_VERIFY,
                      "hmac-mismatch");
        prop_layer_dec_free(dec);
        if (bit < 41 * 8)
            blob[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

struct options_case {
    const char *pub, *priv;
    int code;
    const char *id;
};

static void test_options_refused(void **state)
{
    (void)state;
#define PUB(hmac, more) "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":" hmac more "}"
#define HMAC "\"hIY4SNTfelTaE7TzluwNRbqou8YVw9Z/je0JnhrJ8ns=\""
#define KEY "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\""
#define NONCE "\"cipheroptions\":{\"nonce\":\"8PHy8/T19vf4+fr7/P3+/w==\"}"
    static const struct options_case cases[] = {
        { "{\"cipher\":\"AES_128_CTR\"}", PRIVOPTS, PROP_E_UNSUPPORTED, "unsupported-cipher" },
        { "{}", PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { "", PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { "[]", PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\"}", PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { PUB("\"\"", ""), PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { PUB("\"AAAA\"", ""), PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { PUB("\"!\"", ""), PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { PUB(HMAC, ",\"hmac\":" HMAC), PRIVOPTS, PROP_E_INPUT, "bad-options" },
        { PUB(HMAC, ",\"cipheroptions\":{\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}"), PRIVOPTS,
          PROP_E_VERIFY, "nonce-mismatch" },
        { PUBOPTS, "", PROP_E_INPUT, "bad-options" },
        { PUBOPTS, "{}", PROP_E_INPUT, "bad-options" },
        { PUBOPTS, "{\"symkey\":\"AAAA\"," NONCE "}", PROP_E_INPUT, "bad-options" },
        { PUBOPTS, "{\"symkey\":" KEY "}", PROP_E_INPUT, "bad-options" },
        { PUBOPTS, "{\"symkey\":\"AAECAwQFBg\nICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}", PROP_E_INPUT,
          "bad-options" },
        { PUBOPTS, "{\"symkey\":" KEY ",\"cipheroptions\":{\"nonce\":\"AAAA\"}}", PROP_E_INPUT,
          "bad-options" },
        { PUBOPTS, "{\"symkey\":" KEY ",\"cipheroptions\":{\"nonce\":7}}", PROP_E_INPUT,
          "bad-options" },
        { PUBOPTS, "{\"symkey\":" KEY ",\"digest\":\"sha256:zz\"," NONCE "}", PROP_E_INPUT,
          "bad-options" },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_secret struct prop_secret *priv = secret(cases[i].priv);
        struct prop_layer_options o = { .key = NULL };
        assert_id(prop_layer_options_read(cases[i].pub, priv, &o, &err), cases[i].code,
                  cases[i].id);
        assert_null(o.key);
        assert_null(strstr(err.message, "AAECAwQF")); /* no message quotes the key */
    }
    assert_id(prop_layer_options_read(NULL, NULL, NULL, &err), PROP_E_INPUT, "bad-options");
}

/* Forms other writers make: any order, unknown members, null, the nonce in the public half. */
static void test_options_tolerated(void **state)
{
    (void)state;
    static const struct options_case cases[] = {
        { "{\"hmac\":" HMAC ",\"x\":1,\"cipheroptions\":null,\"cipher\":\"AES_256_CTR_HMAC_SHA256\"}",
          "{\"cipheroptions\":{\"nonce\":\"8PHy8/T19vf4+fr7/P3+/w==\",\"y\":\"\"},\"symkey\":" KEY
          ",\"digest\":\"\"}", 0, NULL },
        { PUB(HMAC, "," NONCE), "{\"symkey\":" KEY ",\"cipheroptions\":{}}", 0, NULL },
        { PUB(HMAC, "," NONCE), "{\"symkey\":" KEY "," NONCE "}", 0, NULL },
        { PUB(HMAC, ""), PRIVOPTS, 0, NULL },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_secret struct prop_secret *priv = secret(cases[i].priv);
        prop_auto_layer_options struct prop_layer_options o = { .key = NULL };
        assert_ok(prop_layer_options_read(cases[i].pub, priv, &o, &err));
        assert_memory_equal(o.nonce, vector_nonce, 16);
        assert_int_equal(prop_secret_data(o.key)[31], 31);
    }
}

/* Parallel hashing gives what the plain hashes give, for any number of hashes and chunk cuts. */
static void test_parhash(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    static const enum prop_hash_alg algs[] = { PROP_SHA256, PROP_SHA512, PROP_SHA384, PROP_SHA1 };
    prop_auto_parhash struct prop_parhash *p = NULL;
    struct prop_hash *want[4] = { NULL };
    size_t index[4];
    assert_ok(prop_parhash_new(2, &p, &err));
    for (size_t i = 0; i < 4; i++) {
        struct prop_hash *h = NULL;
        assert_ok(prop_hash_new(algs[i], &h, &err));
        assert_ok(prop_parhash_add(p, i % 2, h, &index[i], &err));
        assert_ok(prop_hash_new(algs[i], &want[i], &err));
    }
    for (size_t n = 0; n < 70; n++) {
        size_t len = n % 7 == 0 ? 0 : (n * 7919) % PROP_PARHASH_CHUNK + 1;
        for (size_t lane = 0; lane < 2; lane++) {
            uint8_t *at = NULL;
            assert_ok(prop_parhash_lane(p, lane, &at, &err));
            fill(at, len);
            if (lane == 1)
                memset(at, (int)n, len);
            for (size_t i = lane; i < 4; i += 2)
                assert_ok(prop_hash_update(want[i], at, len, &err));
        }
        assert_ok(prop_parhash_submit(p, len, &err));
    }
    for (size_t i = 0; i < 4; i++) {
        struct prop_digest a, b;
        assert_ok(prop_parhash_final(p, index[i], &a, &err));
        assert_ok(prop_hash_final(want[i], &b, &err));
        assert_true(prop_digest_equal(&a, &b));
        prop_hash_free(want[i]);
    }
}

/* Bytes of any length through prop_parhash_write give what one hash gives. */
static void test_parhash_write(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    size_t len = PROP_PARHASH_CHUNK * (PROP_PARHASH_CHUNKS + 3) + 1234;
    uint8_t *data = prop_alloc(len);
    assert_non_null(data);
    prop_random(data, len);
    prop_auto_parhash struct prop_parhash *p = NULL;
    struct prop_hash *h = NULL;
    struct prop_digest got, want;
    size_t digest;
    assert_ok(prop_parhash_new(1, &p, &err));
    assert_ok(prop_hash_new(PROP_SHA256, &h, &err));
    assert_ok(prop_parhash_add(p, 0, h, &digest, &err));
    for (size_t at = 0, n; at < len; at += n) {
        n = len - at < 77777 ? len - at : 77777;
        assert_ok(prop_parhash_write(p, data + at, n, &err));
    }
    assert_ok(prop_digest_of(PROP_SHA256, data, len, &want, &err));
    assert_ok(prop_parhash_final(p, digest, &got, &err));
    assert_true(prop_digest_equal(&got, &want));
    prop_free(data);
}

static void test_parhash_misuse(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_parhash struct prop_parhash *p = NULL;
    struct prop_hash *h = NULL;
    struct prop_digest d;
    uint8_t *at = NULL;
    size_t index;
    assert_int_equal(prop_parhash_new(0, &p, &err), PROP_E_BUG);
    assert_int_equal(prop_parhash_new(3, &p, &err), PROP_E_BUG);
    assert_ok((prop_err_clear(&err), prop_parhash_new(1, &p, &err)));
    assert_ok(prop_hash_new(PROP_SHA256, &h, &err));
    assert_ok(prop_parhash_add(p, 0, h, &index, &err));
    assert_int_equal(prop_parhash_submit(p, 1, &err), PROP_E_BUG);
    assert_int_equal(prop_parhash_lane(p, 1, &at, &err), PROP_E_BUG);
    assert_int_equal(prop_parhash_final(p, 1, &d, &err), PROP_E_BUG);
    assert_ok((prop_err_clear(&err), prop_parhash_lane(p, 0, &at, &err)));
    assert_int_equal(prop_parhash_submit(p, PROP_PARHASH_CHUNK + 1, &err), PROP_E_BUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_fresh_keys),
        cmocka_unit_test(test_sink_failure),
        cmocka_unit_test(test_tampered),
        cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_options_tolerated),
        cmocka_unit_test(test_parhash),
        cmocka_unit_test(test_parhash_write),
        cmocka_unit_test(test_parhash_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
