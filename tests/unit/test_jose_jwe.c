/* JWE: published vectors, what a real key broker and real ocicrypt writers made, our own writing
 * read back, and every form a reader meets. Damage is in test_jose_damage.c. */
#include "tests/unit/support.h"

#include "crypto/cipher.h"
#include "jose/jwe.h"
#include "jose/kdf.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

static struct prop_secret *open_with(const char *jwe, const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *plain = NULL;
    OK(prop_jwe_decrypt(jwe, strlen(jwe), key, &plain, &err));
    return plain;
}

static void assert_opens(const char *jwe, const struct prop_pkey *key, const char *plaintext)
{
    struct prop_secret *plain = open_with(jwe, key);
    assert_secret_is(plain, plaintext, strlen(plaintext));
    prop_secret_free(plain);
}

static void check_rfc_jwe(const char *file)
{
    json_t *v = vector_json(file);
    struct prop_pkey *key = key_of_jwk(json_object_get(v, "key"));
    assert_opens(text_of(v, "compact"), key, text_of(v, "plaintext"));
    prop_pkey_free(key);
    json_decref(v);
}

static void test_rfc7516_a1(void **state)
{
    (void)state;
    check_rfc_jwe("jose/rfc7516-A.1.json");
}

static void test_rfc7520_5_4(void **state)
{
    (void)state;
    check_rfc_jwe("jose/rfc7520-5.4.json");
}

/* Z and the derived key of RFC 7518 appendix C, from either side. */
static void test_rfc7518_c(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json("jose/rfc7518-C.json");
    struct prop_pkey *alice = key_of_jwk(json_object_get(v, "alice"));
    struct prop_pkey *bob = key_of_jwk(json_object_get(v, "bob"));
    struct prop_secret *z = NULL, *z2 = NULL, *key = NULL;

    OK(prop_ecdh(alice, bob, &z, &err));
    OK(prop_ecdh(bob, alice, &z2, &err));
    assert_true(prop_secret_equal(z, z2));
    assert_bytes_hex(prop_secret_data(z), prop_secret_len(z), text_of(v, "z_hex"));
    OK(prop_kdf_concat(z, "A128GCM", "Alice", 5, "Bob", 3, 16, &key, &err));
    char *b64 = prop_b64_encode(PROP_B64_URL, prop_secret_data(key), prop_secret_len(key));
    assert_string_equal(b64, text_of(v, "key_b64u"));

    prop_free(b64);
    prop_secret_free(z);
    prop_secret_free(z2);
    prop_secret_free(key);
    prop_pkey_free(alice);
    prop_pkey_free(bob);
    json_decref(v);
}

/* The derivation of ocicrypt.md 5.1: Z = 32 x 0x11. */
static void test_kdf_and_wrap_of_ocicrypt(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    uint8_t bytes[32], wrapped[64];
    size_t n = 0;
    memset(bytes, 0x11, sizeof(bytes));
    struct prop_secret *z = secret_of(bytes, sizeof(bytes)), *kek = NULL, *back = NULL;

    OK(prop_kdf_concat(z, "ECDH-ES+A256KW", NULL, 0, NULL, 0, 32, &kek, &err));
    assert_bytes_hex(prop_secret_data(kek), 32,
                     "2b91f686dd74adb8af60b622c02082ade214b7e61acce682eeb3bfedefbe57c7");
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    struct prop_secret *cek = secret_of(bytes, sizeof(bytes));
    OK(prop_kw_wrap(kek, cek, wrapped, sizeof(wrapped), &n, &err));
    assert_bytes_hex(wrapped, n,
                     "8db16b80057b7e205ce78d2d5f0540e3875afb1dcb1e787c7397774728c561d5"
                     "ad98e3d30b4052fa");
    OK(prop_kw_unwrap(kek, wrapped, n, &back, &err));
    assert_true(prop_secret_equal(back, cek));
    FAILS(prop_kdf_concat(z, "x", NULL, 0, NULL, 0, 33, &kek, &err), PROP_E_BUG, "internal-error");

    prop_secret_free(z);
    prop_secret_free(kek);
    prop_secret_free(cek);
    prop_secret_free(back);
}

/* Responses of a real key broker open with their TEE keys; Z and KEK are as it derived them. */
static void check_kbs(const char *file)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json(file);
    struct prop_pkey *key = key_of_pem(text_of(v, "tee_private_key_pem"));
    struct prop_secret *want = secret_hex(text_of(v, "plaintext_hex"));
    struct prop_secret *plain = open_with(text_of(v, "resource_response_raw"), key);
    assert_true(prop_secret_equal(plain, want));

    json_t *derivation = json_object_get(v, "derivation");
    if (json_object_get(derivation, "kek")) {
        struct prop_secret *z = secret_hex(text_of(derivation, "Z")), *kek = NULL;
        OK(prop_kdf_concat(z, "ECDH-ES+A256KW", NULL, 0, NULL, 0, 32, &kek, &err));
        assert_bytes_hex(prop_secret_data(kek), 32, text_of(derivation, "kek"));
        prop_secret_free(z);
        prop_secret_free(kek);
    }
    /* The JWK we would send for this key is the one that was sent. */
    json_t *jwk = NULL, *sent = json_object_get(v, "tee_pubkey_jwk");
    OK(prop_jwk_export(key, false, text_of(sent, "alg"), &jwk, &err));
    assert_true(json_equal(jwk, sent));

    json_decref(jwk);
    prop_secret_free(plain);
    prop_secret_free(want);
    prop_pkey_free(key);
    json_decref(v);
}

static void test_kbs_responses(void **state)
{
    (void)state;
    check_kbs("kbs/kbs-vector-jwe-p-256.json");
    check_kbs("kbs/kbs-vector-jwe-p-521.json");
    check_kbs("kbs/kbs-vector-jwe-rsa-oaep-256.json");
}

/* RSA1_5 is written for old clients of the development KBS, and never read. */
static void test_kbs_rsa1_5_is_not_read(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json("kbs/kbs-vector-jwe-rsa1_5.json");
    struct prop_pkey *key = key_of_pem(text_of(v, "tee_private_key_pem"));
    struct prop_secret *plain = NULL;
    const char *jwe = text_of(v, "resource_response_raw");
    FAILS(prop_jwe_decrypt(jwe, strlen(jwe), key, &plain, &err), PROP_E_UNSUPPORTED, "jwe-alg");
    assert_non_null(strstr(err.message, "RSA1_5"));
    assert_null(plain);
    prop_pkey_free(key);
    json_decref(v);
}

/* PKCS#1 v1.5 decryption with OpenSSL itself: the room does not offer it. */
static struct prop_secret *openssl_rsa1_5(const char *pem, const struct prop_buf *in)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    uint8_t out[512];
    size_t n = sizeof(out);
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
    assert_int_equal(EVP_PKEY_decrypt(ctx, out, &n, in->data, in->len), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    return secret_of(out, n);
}

static void decode_member(const json_t *o, const char *name, struct prop_buf *out)
{
    struct prop_err err = PROP_ERR_INIT;
    const char *text = text_of(o, name);
    OK(prop_b64_decode(PROP_B64_URL, text, strlen(text), name, out, &err));
}

/* Open a flattened RSA1_5 object with OpenSSL's key transport and our AES-GCM. */
static struct prop_secret *open_rsa1_5(const char *jwe, const char *pem)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf ek = PROP_BUF_INIT(512), iv = PROP_BUF_INIT(64), ct = PROP_BUF_INIT(512),
                    tag = PROP_BUF_INIT(64);
    struct prop_secret *plain = NULL;
    json_t *o = NULL;
    OK(prop_json_parse(jwe, strlen(jwe), "jwe", &o, &err));
    decode_member(o, "encrypted_key", &ek);
    decode_member(o, "iv", &iv);
    decode_member(o, "ciphertext", &ct);
    decode_member(o, "tag", &tag);
    const char *aad = text_of(o, "protected");
    assert_string_equal(aad, "eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMjU2R0NNIn0"); /* as recorded */
    struct prop_secret *cek = openssl_rsa1_5(pem, &ek);
    OK(prop_gcm_open(cek, iv.data, iv.len, aad, strlen(aad), ct.data, ct.len, tag.data, &plain,
                     &err));
    prop_secret_free(cek);
    prop_buf_release(&ek);
    prop_buf_release(&iv);
    prop_buf_release(&ct);
    prop_buf_release(&tag);
    json_decref(o);
    return plain;
}

/* The recorded answer opens this way, and so does what we write for the same JWK. */
static void test_kbs_rsa1_5_is_written(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json("kbs/kbs-vector-jwe-rsa1_5.json");
    const char *pem = text_of(v, "tee_private_key_pem");
    struct prop_pkey *pub = key_of_jwk(json_object_get(v, "tee_pubkey_jwk"));
    struct prop_secret *want = secret_hex(text_of(v, "plaintext_hex"));
    struct prop_buf out = PROP_BUF_INIT(4096);

    struct prop_secret *recorded = open_rsa1_5(text_of(v, "resource_response_raw"), pem);
    assert_true(prop_secret_equal(recorded, want));
    OK(prop_jwe_encrypt(want, pub, "RSA1_5", NULL, PROP_JWE_ALLOW_RSA1_5, &out, &err));
    struct prop_secret *ours = open_rsa1_5(prop_buf_str(&out), pem);
    assert_true(prop_secret_equal(ours, want));

    prop_secret_free(recorded);
    prop_secret_free(ours);
    prop_secret_free(want);
    prop_buf_release(&out);
    prop_pkey_free(pub);
    json_decref(v);
}

/* What skopeo and ocicrypt-rs wrote opens with each of the keys it was written for, and with no
 * other fixture key. */
static void test_ocicrypt_fixtures(void **state)
{
    (void)state;
    static const char *const all[] = { "rsa.pem", "rsa2.pem", "ec.pem", "ec2.pem", "rsakid.jwk" };
    struct prop_err err = PROP_ERR_INIT;
    json_t *v = vector_json("jose/ocicrypt.json"), *c;
    size_t i, opened = 0;
    json_array_foreach(json_object_get(v, "cases"), i, c) {
        const char *jwe = text_of(c, "jwe");
        for (size_t k = 0; k < PROP_ARRAY_LEN(all); k++) {
            char name[128], want[256];
            (void)snprintf(name, sizeof(name), "ocicrypt/keys/%s", all[k]);
            (void)snprintf(want, sizeof(want), "{\"symkey\":\"%s\"", text_of(c, "symkey"));
            struct prop_pkey *key = key_of_file(name);
            struct prop_secret *plain = NULL;
            json_t *n;
            size_t j;
            bool mine = false;
            json_array_foreach(json_object_get(c, "keys"), j, n)
                mine = mine || strcmp(json_string_value(n), all[k]) == 0;
            if (mine) {
                OK(prop_jwe_decrypt(jwe, strlen(jwe), key, &plain, &err));
                assert_memory_equal(prop_secret_data(plain), want, strlen(want));
                opened++;
            } else {
                FAILS(prop_jwe_decrypt(jwe, strlen(jwe), key, &plain, &err), PROP_E_VERIFY,
                      "jwe-no-key");
            }
            prop_secret_free(plain);
            prop_pkey_free(key);
        }
    }
    assert_int_equal(opened, 14);
    json_decref(v);
}

/* What Debian's jose wrote, in every form it has. */
static void test_written_by_jose(void **state)
{
    (void)state;
    json_t *v = vector_json("jose/jose-11.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(v, "jwe"), i, c) {
        struct prop_pkey *key = key_of_jwk(json_object_get(c, "key"));
        assert_opens(text_of(c, "text"), key, text_of(v, "plaintext"));
        prop_pkey_free(key);
    }
    assert_true(i >= 20);
    json_decref(v);
}

static const struct { enum prop_pkey_type type; const char *alg, *header_start; } ways[] = {
    { PROP_PKEY_RSA, NULL, "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}" },
    { PROP_PKEY_RSA, "RSA-OAEP-256", "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\"}" },
    { PROP_PKEY_P256, NULL,
      "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"crv\":\"P-256\",\"kty\":\"EC\","
      "\"x\":\"" },
    { PROP_PKEY_P384, "ECDH-ES+A256KW",
      "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"crv\":\"P-384\",\"kty\":\"EC\","
      "\"x\":\"" },
    { PROP_PKEY_P521, NULL,
      "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"crv\":\"P-521\",\"kty\":\"EC\","
      "\"x\":\"" },
};

/* The protected header of a flattened object, as text. */
static void protected_of(const json_t *jwe, struct prop_buf *out)
{
    struct prop_err err = PROP_ERR_INIT;
    const char *text = text_of(jwe, "protected");
    OK(prop_b64_decode(PROP_B64_URL, text, strlen(text), "protected", out, &err));
}

static void test_round_trips(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(ways); i++) {
        struct prop_pkey *key = NULL;
        OK(prop_pkey_generate(ways[i].type, 2048, &key, &err));
        struct prop_pkey *pub = public_of(key);
        struct prop_secret *plain = secret_text("kept from everybody else");
        struct prop_buf flat = PROP_BUF_INIT(65536), compact = PROP_BUF_INIT(65536);

        OK(prop_jwe_encrypt(plain, pub, ways[i].alg, NULL, PROP_JWE_FLATTENED, &flat, &err));
        assert_opens(prop_buf_str(&flat), key, "kept from everybody else");
        OK(prop_jwe_encrypt(plain, pub, ways[i].alg, NULL, PROP_JWE_COMPACT, &compact, &err));
        assert_opens(prop_buf_str(&compact), key, "kept from everybody else");

        /* Members and header in the order that the real KBS client rebuilds (kbs.md 2.6). */
        json_t *o = NULL;
        OK(prop_json_parse(prop_buf_str(&flat), flat.len, "own", &o, &err));
        static const char *const order[] = { "protected", "encrypted_key", "iv", "ciphertext",
                                             "tag" };
        const char *name;
        json_t *value;
        size_t n = 0;
        json_object_foreach(o, name, value) {
            assert_true(n < 5);
            assert_string_equal(name, order[n]);
            n++;
        }
        assert_int_equal(n, 5);
        struct prop_buf header = PROP_BUF_INIT(4096);
        protected_of(o, &header);
        assert_memory_equal(header.data, ways[i].header_start, strlen(ways[i].header_start));

        prop_buf_release(&header);
        json_decref(o);
        prop_buf_release(&flat);
        prop_buf_release(&compact);
        prop_secret_free(plain);
        prop_pkey_free(pub);
        prop_pkey_free(key);
    }
}

static void test_kid_and_empty_plaintext(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    struct prop_secret *nothing = secret_of("", 0);
    struct prop_buf out = PROP_BUF_INIT(65536), again = PROP_BUF_INIT(65536);
    json_t *list = NULL;

    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &key, &err));
    OK(prop_jwe_encrypt(nothing, key, NULL, "k\"1\\", 0, &out, &err));
    assert_opens(prop_buf_str(&out), key, "");
    OK(prop_jwe_describe(prop_buf_str(&out), out.len, &list, &err));
    const json_t *d = json_array_get(list, 0);
    assert_string_equal(text_of(d, "alg"), "ECDH-ES+A256KW");
    assert_string_equal(text_of(d, "enc"), "A256GCM");
    assert_string_equal(text_of(d, "kid"), "k\"1\\");
    assert_string_equal(text_of(d, "epk_crv"), "P-256");

    OK(prop_jwe_encrypt(nothing, key, NULL, NULL, 0, &again, &err)); /* nothing is reused */
    assert_string_not_equal(prop_buf_str(&out), prop_buf_str(&again));

    json_decref(list);
    prop_buf_release(&out);
    prop_buf_release(&again);
    prop_secret_free(nothing);
    prop_pkey_free(key);
}

/* A resource of the key broker's largest size. */
static void test_large_plaintext(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    struct prop_secret *plain = NULL, *back = NULL;
    struct prop_buf out = PROP_BUF_INIT(8u << 20), small = PROP_BUF_INIT(1u << 20);
    OK(prop_secret_new(2u << 20, &plain, &err));
    memset(prop_secret_bytes(plain), 0xa5, prop_secret_len(plain));
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &key, &err));
    OK(prop_jwe_encrypt(plain, key, NULL, NULL, 0, &out, &err));
    OK(prop_jwe_decrypt(prop_buf_str(&out), out.len, key, &back, &err));
    assert_true(prop_secret_equal(plain, back));
    FAILS(prop_jwe_encrypt(plain, key, NULL, NULL, 0, &small, &err), PROP_E_LIMIT, "over-limit");
    assert_int_equal(small.len, 0);
    prop_buf_release(&out);
    prop_buf_release(&small);
    prop_secret_free(plain);
    prop_secret_free(back);
    prop_pkey_free(key);
}

static void test_general_form(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *keys[4] = { NULL };
    const enum prop_pkey_type types[4] = { PROP_PKEY_P256, PROP_PKEY_P256, PROP_PKEY_RSA,
                                           PROP_PKEY_P521 };
    for (size_t i = 0; i < 4; i++)
        OK(prop_pkey_generate(types[i], 2048, &keys[i], &err));
    const struct prop_pkey *three[] = { keys[0], keys[1], keys[2] };
    struct prop_secret *plain = secret_text("for three"), *got = NULL;
    struct prop_buf out = PROP_BUF_INIT(65536);
    json_t *list = NULL, *o = NULL;

    OK(prop_jwe_encrypt_general(plain, three, 3, &out, &err));
    for (size_t i = 0; i < 3; i++)
        assert_opens(prop_buf_str(&out), keys[i], "for three");
    FAILS(prop_jwe_decrypt(prop_buf_str(&out), out.len, keys[3], &got, &err), PROP_E_VERIFY,
          "jwe-no-key");
    OK(prop_jwe_describe(prop_buf_str(&out), out.len, &list, &err));
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(text_of(json_array_get(list, 2), "alg"), "RSA-OAEP");
    OK(prop_json_parse(prop_buf_str(&out), out.len, "own", &o, &err));
    assert_null(json_object_get(o, "encrypted_key")); /* RFC 7516 forbids it beside recipients */

    struct prop_buf none = PROP_BUF_INIT(65536);
    FAILS(prop_jwe_encrypt_general(plain, three, 0, &none, &err), PROP_E_LIMIT, "jwe-recipients");
    json_decref(o);
    json_decref(list);
    prop_buf_release(&out);
    prop_secret_free(plain);
    for (size_t i = 0; i < 4; i++)
        prop_pkey_free(keys[i]);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *rsa = NULL, *ec = NULL, *ed = NULL;
    struct prop_secret *plain = secret_text("x");
    struct prop_buf out = PROP_BUF_INIT(65536);
    OK(prop_pkey_generate(PROP_PKEY_RSA, 2048, &rsa, &err));
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &ec, &err));
    OK(prop_pkey_generate(PROP_PKEY_ED25519, 0, &ed, &err));
    const struct { const struct prop_pkey *key; const char *alg; unsigned flags; } bad[] = {
        { rsa, "RSA1_5", 0 },          { rsa, "ECDH-ES+A256KW", 0 }, { ec, "RSA-OAEP", 0 },
        { ec, "RSA1_5", PROP_JWE_ALLOW_RSA1_5 }, { ec, "ECDH-ES+A128KW", 0 }, { ec, "ECDH-ES", 0 },
        { ed, NULL, 0 },               { ed, "ECDH-ES+A256KW", 0 },  { rsa, "none", 0 },
        { rsa, "", 0 },                { rsa, "dir", 0 },            { ec, "A256KW", 0 },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        FAILS(prop_jwe_encrypt(plain, bad[i].key, bad[i].alg, NULL, bad[i].flags, &out, &err),
              PROP_E_UNSUPPORTED, "jwe-alg");
        assert_int_equal(out.len, 0);
    }
    OK(prop_jwe_encrypt(plain, rsa, "RSA1_5", NULL, PROP_JWE_ALLOW_RSA1_5, &out, &err));
    const struct prop_pkey *keys[] = { rsa, ed };
    struct prop_buf general = PROP_BUF_INIT(65536);
    FAILS(prop_jwe_encrypt_general(plain, keys, 2, &general, &err), PROP_E_UNSUPPORTED, "jwe-alg");
    prop_buf_release(&out);
    prop_secret_free(plain);
    prop_pkey_free(rsa);
    prop_pkey_free(ec);
    prop_pkey_free(ed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7516_a1),
        cmocka_unit_test(test_rfc7520_5_4),
        cmocka_unit_test(test_rfc7518_c),
        cmocka_unit_test(test_kdf_and_wrap_of_ocicrypt),
        cmocka_unit_test(test_kbs_responses),
        cmocka_unit_test(test_kbs_rsa1_5_is_not_read),
        cmocka_unit_test(test_kbs_rsa1_5_is_written),
        cmocka_unit_test(test_written_by_jose),
        cmocka_unit_test(test_ocicrypt_fixtures),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_kid_and_empty_plaintext),
        cmocka_unit_test(test_large_plaintext),
        cmocka_unit_test(test_general_form),
        cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
