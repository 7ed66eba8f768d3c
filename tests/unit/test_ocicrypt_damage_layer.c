/* Damage to an encrypted layer's bytes: each is found by the HMAC, and by nothing less. */
#include "test_ocicrypt.h"

#include "crypto/parhash.h"
#include "crypto/random.h"

/* One layer of our own, large enough for several chunks, sealed under a known key. */
struct sealed {
    struct prop_buf blob;
    struct prop_layer_sealed s;
};

static void seal(size_t len, struct sealed *ret)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_layer_enc *enc = NULL;
    uint8_t *data = prop_alloc(len + 1);
    assert_non_null(data);
    prop_random(data, len);
    ret->blob = (struct prop_buf)PROP_BUF_INIT(4u << 20);
    assert_ok(prop_layer_enc_new(keep, &ret->blob, &enc, &err));
    assert_ok(prop_layer_enc_update(enc, data, len, &err));
    assert_ok(prop_layer_enc_final(enc, &ret->s, &err));
    prop_layer_enc_free(enc);
    prop_free(data);
}

static int unseal(const struct sealed *s, const void *data, size_t len, struct prop_err *err)
{
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(4u << 20);
    struct prop_layer_dec *dec = NULL;
    struct prop_digest plain, stated;
    assert_int_equal(prop_layer_dec_new(s->s.pubopts, s->s.privopts, keep, &out, &dec, err), 0);
    int rc = prop_layer_dec_update(dec, data, len, err);
    if (rc == 0)
        rc = prop_layer_dec_final(dec, &plain, &stated, err);
    prop_layer_dec_free(dec);
    return rc;
}

static void flip_layer(struct sealed *s, size_t bit)
{
    struct prop_err err = PROP_ERR_INIT;
    s->blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_id(unseal(s, s->blob.data, s->blob.len, &err), PROP_E_VERIFY, "hmac-mismatch");
    s->blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void test_flip_layer(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct sealed s;
    seal(41, &s);
    for (size_t bit = 0; bit < s.blob.len * 8; bit++)
        flip_layer(&s, bit);
    assert_ok(unseal(&s, s.blob.data, s.blob.len, &err));
    prop_buf_release(&s.blob);
    prop_layer_sealed_release(&s.s);
    /* several chunks: both ends, the borders, and bits all over */
    seal(PROP_PARHASH_CHUNK * 3 + 777, &s);
    size_t bits = s.blob.len * 8;
    for (size_t i = 0; i < 8; i++) {
        flip_layer(&s, i);
        flip_layer(&s, bits - 1 - i);
    }
    for (size_t border = PROP_PARHASH_CHUNK; border < s.blob.len; border += PROP_PARHASH_CHUNK) {
        flip_layer(&s, border * 8 - 1);
        flip_layer(&s, border * 8);
    }
    for (size_t bit = 0; bit < bits; bit += bits / 50 + 1)
        flip_layer(&s, bit);
    assert_ok(unseal(&s, s.blob.data, s.blob.len, &err));
    prop_buf_release(&s.blob);
    prop_layer_sealed_release(&s.s);
}

static void test_cut_and_grown(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct sealed s;
    seal(1000, &s);
    for (size_t len = 0; len < s.blob.len; len++)
        assert_id(unseal(&s, s.blob.data, len, &err), PROP_E_VERIFY, "hmac-mismatch");
    uint8_t longer[1064] = { 0 };
    memcpy(longer, s.blob.data, s.blob.len);
    for (size_t n = 1; n <= 64; n++)
        assert_id(unseal(&s, longer, s.blob.len + n, &err), PROP_E_VERIFY, "hmac-mismatch");
    prop_buf_release(&s.blob);
    prop_layer_sealed_release(&s.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_layer),
        cmocka_unit_test(test_cut_and_grown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
