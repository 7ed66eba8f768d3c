/* PKCS#7 EnvelopedData: skopeo's own bytes read, ours of the same shape, every damage refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/pkcs7.h"
#include "crypto/random.h"
#include "crypto/x509.h"
#include "support.h"
#include "util/file.h"
#include "util/limits.h"

#define FIXTURES "tests/vectors/ocicrypt/"

static struct prop_cert *cert;
static struct prop_pkey *key;

static int load(void **state)
{
    (void)state;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(65536);
    prop_auto_secret struct prop_secret *pem = NULL;
    if (prop_file_read(FIXTURES "keys/rsa.crt", &text, NULL) != 0 ||
        prop_cert_load(text.data, text.len, "rsa.crt", &cert, NULL) != 0 ||
        prop_file_read_secret(FIXTURES "keys/rsa.pem", 65536, PROP_SECRET_FILE_ANY_MODE, &pem,
                              NULL) != 0)
        return -1;
    return prop_pkey_load_private(pem, NULL, "rsa.pem", &key, NULL);
}

static int unload(void **state)
{
    (void)state;
    prop_cert_free(cert);
    prop_pkey_free(key);
    return 0;
}

static void fixture(struct prop_buf *out)
{
    assert_int_equal(prop_file_read(FIXTURES "17-pkcs7/pkcs7.der", out, NULL), 0);
}

/* Parse and open with the fixture's certificate and key. */
static int open_der(const void *der, size_t len, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    int rc = prop_pkcs7_parse(der, len, &p, err);
    return rc != 0 ? rc : prop_pkcs7_open(&p, cert, key, ret, err);
}

static void test_fixture_opens(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf der = PROP_BUF_INIT(65536);
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    prop_auto_secret struct prop_secret *plain = NULL;
    char name[64];
    fixture(&der);
    assert_int_equal(prop_pkcs7_parse(der.data, der.len, &p, &err), 0);
    assert_int_equal(p.n, 1);
    assert_string_equal(p.enc, "A128GCM");
    assert_true(prop_pkcs7_names(&p, cert));
    assert_string_equal(prop_cert_name_text(p.recipients[0].issuer, p.recipients[0].issuer_len,
                                            name, sizeof(name)), "CN=ocicrypt fixture");
    assert_string_equal(prop_cert_name_text(p.recipients[0].issuer, p.recipients[0].issuer_len,
                                            name, 6), "CN=oc");
    assert_string_equal(prop_cert_name_text((const uint8_t *)"0\x01", 2, name, sizeof(name)), "?");
    assert_string_equal(prop_cert_name_text((const uint8_t *)"", 0, name, 2), "?");
    assert_int_equal(prop_pkcs7_open(&p, cert, key, &plain, &err), 0);
    assert_int_equal(prop_secret_len(plain), 193);
    assert_memory_equal(prop_secret_data(plain), "{\"symkey\":\"", 11);
}

/* The same plaintext for the same certificate: every byte of ours that is not random is skopeo's. */
static void test_written_as_skopeo_writes(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf theirs = PROP_BUF_INIT(65536), ours = PROP_BUF_INIT(65536);
    prop_auto_secret struct prop_secret *plain = NULL, *again = NULL;
    /* wrapped key, nonce, ciphertext and tag */
    static const struct { size_t from, len; } random[] = { { 107, 256 }, { 397, 12 }, { 418, 209 } };
    fixture(&theirs);
    assert_int_equal(open_der(theirs.data, theirs.len, &plain, &err), 0);
    assert_int_equal(prop_pkcs7_seal(plain, cert, &ours, &err), 0);
    assert_int_equal(open_der(ours.data, ours.len, &again, &err), 0);
    assert_true(prop_secret_equal(plain, again));
    assert_int_equal(ours.len, theirs.len);
    for (size_t i = 0; i < PROP_ARRAY_LEN(random); i++) {
        assert_memory_not_equal(ours.data + random[i].from, theirs.data + random[i].from,
                                random[i].len);
        memcpy(ours.data + random[i].from, theirs.data + random[i].from, random[i].len);
    }
    assert_memory_equal(ours.data, theirs.data, theirs.len);
}

/* The two-byte lengths of the four sequences around the fixture's content. */
static void resize(uint8_t *der, int by)
{
    static const size_t at[] = { 2, 17, 21, 365 };
    for (size_t i = 0; i < PROP_ARRAY_LEN(at); i++) {
        int v = (der[at[i]] << 8 | der[at[i] + 1]) + by;
        der[at[i]] = (uint8_t)(v >> 8);
        der[at[i] + 1] = (uint8_t)v;
    }
}

/* A primitive [0], which other writers make of it, and octet strings in pieces. */
static void test_other_content_forms(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf der = PROP_BUF_INIT(65536);
    prop_auto_secret struct prop_secret *plain = NULL, *split = NULL;
    fixture(&der);
    /* a0 81 d4 { 04 81 d1 ... } becomes 80 81 d1 ..., three bytes less */
    uint8_t flat[1024];
    memcpy(flat, der.data, 412);
    resize(flat, -3);
    memcpy(flat + 412, der.data + 415, der.len - 415);
    flat[412] = 0x80;
    assert_int_equal(open_der(flat, der.len - 3, &plain, &err), 0);
    assert_int_equal(prop_secret_len(plain), 193);
    /* a0 81 d6 { 04 01 xx, 04 81 d0 ... }: two bytes more */
    uint8_t pieces[1024];
    memcpy(pieces, der.data, 415);
    resize(pieces, 2);
    pieces[414] = 0xd6;
    const uint8_t head[] = { 0x04, 0x01, der.data[418], 0x04, 0x81, 0xd0 };
    memcpy(pieces + 415, head, sizeof(head));
    memcpy(pieces + 421, der.data + 419, der.len - 419);
    assert_int_equal(open_der(pieces, der.len + 2, &split, &err), 0);
    assert_true(prop_secret_equal(plain, split));
}

/* One bit in every byte, every length, bytes behind it. What still opens is the same plaintext. */
static void test_damage(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf der = PROP_BUF_INIT(65536);
    prop_auto_secret struct prop_secret *plain = NULL;
    size_t opened = 0;
    fixture(&der);
    assert_int_equal(open_der(der.data, der.len, &plain, &err), 0);
    for (size_t i = 0; i < der.len; i++)
        for (unsigned bit = 0; bit < 8; bit += 3) {
            prop_auto_secret struct prop_secret *got = NULL;
            prop_err_clear(&err);
            der.data[i] ^= (uint8_t)(1u << bit);
            int rc = open_der(der.data, der.len, &got, &err);
            der.data[i] ^= (uint8_t)(1u << bit);
            if (rc == 0) {
                assert_true(prop_secret_equal(plain, got));
                opened++;
            } else {
                assert_true(rc == PROP_E_INPUT || rc == PROP_E_VERIFY || rc == PROP_E_UNSUPPORTED);
                assert_true(err.message[0] != 0);
            }
        }
    /* two version numbers, and the content type's 9 bytes, which nobody looks at */
    assert_true(opened <= 3 * (2 + 9));
    for (size_t len = 0; len < der.len; len++) {
        prop_auto_secret struct prop_secret *got = NULL;
        assert_int_equal(open_der(der.data, len, &got, &err), PROP_E_INPUT);
        assert_string_equal(prop_err_id(&err), "bad-pkcs7");
    }
    prop_auto_secret struct prop_secret *got = NULL;
    assert_int_equal(prop_buf_add(&der, "", 1, &err), 0);
    assert_int_equal(open_der(der.data, der.len, &got, &err), PROP_E_INPUT);
    assert_null(got);
}

static void test_wrong_keys(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf der = PROP_BUF_INIT(65536), pem = PROP_BUF_INIT(65536);
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    prop_auto_pkey struct prop_pkey *other = NULL, *ec = NULL;
    prop_auto_cert struct prop_cert *theirs = NULL, *curved = NULL;
    prop_auto_secret struct prop_secret *none = NULL, *text = NULL;
    fixture(&der);
    assert_int_equal(prop_pkcs7_parse(der.data, der.len, &p, &err), 0);
    assert_int_equal(prop_pkey_generate(PROP_PKEY_RSA, 2048, &other, &err), 0);
    assert_int_equal(prop_x509_make_ca(other, "other", 10, &pem, &err), 0);
    assert_int_equal(prop_cert_load(pem.data, pem.len, "other", &theirs, &err), 0);
    assert_false(prop_pkcs7_names(&p, theirs));
    assert_int_equal(prop_pkcs7_open(&p, theirs, other, &none, &err), PROP_E_VERIFY);
    assert_string_equal(prop_err_id(&err), "pkcs7-no-key");
    assert_int_equal(prop_pkcs7_open(&p, cert, other, &none, &err), PROP_E_VERIFY);
    assert_null(none);
    /* an EC certificate cannot receive */
    prop_buf_clear(&pem);
    assert_int_equal(prop_pkey_generate(PROP_PKEY_P256, 0, &ec, &err), 0);
    assert_int_equal(prop_x509_make_ca(ec, "curve", 10, &pem, &err), 0);
    assert_int_equal(prop_cert_load(pem.data, pem.len, "curve", &curved, &err), 0);
    assert_int_equal(prop_secret_copy("x", 1, &text, &err), 0);
    assert_int_equal(prop_pkcs7_seal(text, curved, &pem, &err), PROP_E_UNSUPPORTED);
    assert_string_equal(prop_err_id(&err), "recipient-key");
}

/* A key unwrapped with the wrong padding is random, never an error that would tell. */
static void test_no_oracle(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    uint8_t junk[256];
    prop_auto_secret struct prop_secret *a = NULL, *b = NULL, *c = NULL;
    prop_random(junk, sizeof(junk));
    junk[0] = 0;
    assert_int_equal(prop_rsa_decrypt_or_random(key, junk, sizeof(junk), 16, &a, &err), 0);
    assert_int_equal(prop_rsa_decrypt_or_random(key, junk, sizeof(junk), 16, &b, &err), 0);
    assert_int_equal(prop_rsa_decrypt_or_random(key, junk, 3, 16, &c, &err), 0);
    assert_int_equal(prop_secret_len(a), 16);
    assert_int_equal(prop_secret_len(c), 16);
    assert_false(prop_secret_equal(a, b));
}

static void test_not_messages(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t len; } cases[] = {
        { "", 0 }, { "0", 1 }, { "\x30\x80", 2 }, { "\x30\x00", 2 }, { "\x30\x84\xff\xff\xff\xff", 6 },
        { "\x30\x85\x01\x00\x00\x00\x00", 7 }, { "\x3f\x01\x00", 3 }, { "\x30\x81\x01\x00", 4 },
        { "\x30\x82\x00\x81", 4 }, { "{\"kid\":1}", 9 },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_pkcs7 p = PROP_PKCS7_INIT;
        assert_int_equal(prop_pkcs7_parse(cases[i].bytes, cases[i].len, &p, &err), PROP_E_INPUT);
        assert_null(p.recipients);
    }
    assert_false(prop_cert_is("", 0));
    assert_false(prop_cert_is("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 60));
}

/* More recipients than anybody has: refused before memory is spent on them. */
static void test_many_recipients(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkcs7 p = PROP_PKCS7_INIT;
    prop_auto_buf struct prop_buf der = PROP_BUF_INIT(1u << 20);
    /* SEQUENCE { OID envelopedData, [0] { SEQUENCE { INTEGER 0, SET { N empty ones }, SEQUENCE {} } } } */
    static const uint8_t oid[] = { 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3 };
    static const uint8_t version[] = { 2, 1, 0 }, none[] = { 0x30, 0 };
    const size_t set = 2 * N, body = 3 + 5 + set + 2, wrapper = 5 + body, all = 11 + 5 + wrapper;
    const struct { uint8_t tag; size_t len; } heads[] = { { 0x30, all }, { 0xa0, wrapper },
                                                          { 0x30, body }, { 0x31, set } };
    for (size_t i = 0; i < PROP_ARRAY_LEN(heads); i++) {
        const uint8_t h[] = { heads[i].tag, 0x83, (uint8_t)(heads[i].len >> 16),
                              (uint8_t)(heads[i].len >> 8), (uint8_t)heads[i].len };
        if (i == 3)
            assert_int_equal(prop_buf_add(&der, version, sizeof(version), &err), 0);
        assert_int_equal(prop_buf_add(&der, h, sizeof(h), &err), 0);
        if (i == 0)
            assert_int_equal(prop_buf_add(&der, oid, sizeof(oid), &err), 0);
    }
    for (int i = 0; i <= N; i++)
        assert_int_equal(prop_buf_add(&der, none, sizeof(none), &err), 0);
    assert_int_equal(prop_pkcs7_parse(der.data, der.len, &p, &err), PROP_E_LIMIT);
    assert_null(p.recipients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixture_opens),      cmocka_unit_test(test_written_as_skopeo_writes),
        cmocka_unit_test(test_other_content_forms), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_wrong_keys),         cmocka_unit_test(test_no_oracle),
        cmocka_unit_test(test_not_messages),       cmocka_unit_test(test_many_recipients),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
