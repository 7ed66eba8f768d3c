/* Attestation-agent packets and recipients: the published vectors, exact bytes, kid rules, and
 * every refusal of `-r`. */
#include "test_ocicrypt.h"

#include "crypto/cipher.h"
#include "ocicrypt/packet.h"

#define PRIVOPTS                                                                                   \
    "{\"symkey\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\",\"digest\":\"" WASM_SHA "\","    \
    "\"cipheroptions\":{\"nonce\":\"8PHy8/T19vf4+fr7/P3+/w==\"}}"
#define PUBOPTS "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"hIY4SNTfelTaE7TzluwNRbqou8YVw9Z"    \
    "/je0JnhrJ8ns=\",\"cipheroptions\":{}}"

static struct prop_secret *bytes32(uint8_t value)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    uint8_t b[32];
    memset(b, value, sizeof(b));
    assert_ok(prop_secret_copy(b, sizeof(b), &s, &err));
    return s;
}

static struct prop_secret *secret(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    assert_ok(prop_secret_copy(text, strlen(text), &s, &err));
    return s;
}

static const struct prop_resource_id addition = { "", "default", "key", "wasm-addition" };

static void sha_hex(const void *data, size_t len, char out[PROP_DIGEST_TEXT])
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest d;
    assert_ok(prop_digest_of(PROP_SHA256, data, len, &d, &err));
    (void)prop_digest_hex(&d, out);
}

/* ocicrypt.md section 4: A256GCM under 32 x 0x42 with a zero IV */
static void test_gcm_vector(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    static const uint8_t iv[12] = { 0 };
    prop_auto_secret struct prop_secret *kek = bytes32(0x42), *priv = secret(PRIVOPTS);
    prop_auto_secret struct prop_secret *again = NULL, *other = bytes32(0x43), *none = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    char hex[PROP_DIGEST_TEXT], tag[33];
    static const char head[] = "{\"kid\":\"kbs:///default/key/wasm-addition\",\"wrapped_data\":\"";
    static const char tail[] = "\",\"iv\":\"AAAAAAAAAAAAAAAA\",\"wrap_type\":\"A256GCM\"}";
    assert_ok(prop_packet_seal(kek, &addition, iv, priv, &text, &err));
    assert_memory_equal(text.data, head, strlen(head));
    assert_memory_equal(text.data + text.len - strlen(tail), tail, strlen(tail));
    assert_ok(prop_packet_parse(text.data, text.len, &p, &err));
    assert_int_equal(p.data.len, 209);
    sha_hex(p.data.data, p.data.len, hex);
    assert_string_equal(hex, "277895a0c0fe211ba7e8d3d7b43799740325c46d6244bb3c0af821afa701a664");
    prop_hex_encode(p.data.data + 193, 16, tag);
    assert_string_equal(tag, "07471eba824b00460f4a4e880a3a8bb9");
    assert_ok(prop_packet_open(&p, kek, &again, &err));
    assert_true(prop_secret_equal(again, priv));
    assert_id(prop_packet_open(&p, other, &none, &err), PROP_E_VERIFY, "kek-wrong");
    assert_null(none);
}

/* The same, A256CTR with a 16-byte zero IV: written, and built here, read by the code. */
static void test_ctr_vector(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *kek = bytes32(0x42), *priv = secret(PRIVOPTS);
    prop_auto_secret struct prop_secret *again = NULL, *other = bytes32(0x43), *none = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096), raw = PROP_BUF_INIT(4096);
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    char hex[PROP_DIGEST_TEXT];
    prop_auto_ctr struct prop_ctr *ctr = NULL;
    static const uint8_t iv[16] = { 0 };
    assert_ok(prop_buf_reserve(&raw, 193, &err));
    assert_ok(prop_ctr_new(kek, iv, &ctr, &err));
    assert_ok(prop_ctr_update(ctr, prop_secret_data(priv), 193, raw.data, &err));
    sha_hex(raw.data, 193, hex);
    assert_string_equal(hex, "8f9dd57e1e6121eba76d9822ccd4f9b9053021924271b9a4da593f3017a9fb4a");
    assert_ok(prop_buf_puts(&text, "{\"wrap_type\":\"A256CTR\",\"kid\":\"kbs:///a/b/c\",\"iv\":\""
                                   "AAAAAAAAAAAAAAAAAAAAAA==\",\"wrapped_data\":\"", &err));
    assert_ok(prop_b64_append(&text, PROP_B64_STD, raw.data, 193, &err));
    assert_ok(prop_buf_puts(&text, "\"}", &err));
    assert_ok(prop_packet_parse(text.data, text.len, &p, &err));
    assert_false(p.has_tag);
    assert_ok(prop_packet_open(&p, kek, &again, &err));
    assert_true(prop_secret_equal(again, priv));
    assert_id(prop_packet_open(&p, other, &none, &err), PROP_E_VERIFY, "kek-wrong");
    assert_null(none);
    prop_auto_buf struct prop_buf written = PROP_BUF_INIT(4096);
    prop_auto_packet struct prop_packet w = PROP_PACKET_INIT;
    assert_ok((prop_err_clear(&err),
               prop_packet_seal_ctr(kek, &addition, iv, priv, &written, &err)));
    assert_ok(prop_packet_parse(written.data, written.len, &w, &err));
    assert_false(w.has_tag);
    assert_int_equal(w.data.len, raw.len = 193);
    assert_memory_equal(w.data.data, raw.data, 193);
    assert_int_equal(w.iv.len, 16);
}

/* Every byte of a packet's wrapped data and IV counts. */
static void test_gcm_tampered(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *kek = bytes32(7), *priv = secret(PRIVOPTS), *none = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    assert_ok(prop_packet_seal(kek, &addition, NULL, priv, &text, &err));
    assert_ok(prop_packet_parse(text.data, text.len, &p, &err));
    for (size_t i = 0; i < p.data.len + p.iv.len; i++) {
        uint8_t *at = i < p.data.len ? p.data.data + i : p.iv.data + (i - p.data.len);
        *at ^= 1;
        assert_id(prop_packet_open(&p, kek, &none, &err), PROP_E_VERIFY, "kek-wrong");
        *at ^= 1;
    }
    assert_null(none);
}

struct packet_case {
    const char *text;
    int code;
    const char *id;
};

static void test_packets_refused(void **state)
{
    (void)state;
#define GCM "\"iv\":\"AAAAAAAAAAAAAAAA\",\"wrap_type\":\"A256GCM\""
#define DATA "\"wrapped_data\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""
    static const struct packet_case cases[] = {
        { "", PROP_E_INPUT, "bad-annotation" },
        { "[]", PROP_E_INPUT, "bad-annotation" },
        { "{}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\",\"kid\":\"k\"," DATA "," GCM "}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\"," GCM "}", PROP_E_INPUT, "bad-annotation" },
        { "{" DATA "," GCM "}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":7," DATA "," GCM "}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\"," DATA ",\"wrap_type\":\"A256GCM\"}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\"," DATA ",\"iv\":\"AAAAAAAAAAAAAAAA\"}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\"," DATA ",\"iv\":\"AAAA\",\"wrap_type\":\"A256GCM\"}", PROP_E_INPUT,
          "bad-annotation" },
        { "{\"kid\":\"k\"," DATA ",\"iv\":\"AAAAAAAAAAAAAAAA\",\"wrap_type\":\"A256CTR\"}",
          PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\",\"wrapped_data\":\"AAAA\"," GCM "}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\",\"wrapped_data\":\"A\"," GCM "}", PROP_E_INPUT, "bad-annotation" },
        { "{\"kid\":\"k\"," DATA ",\"iv\":\"AAAAAAAAAAAAAAAA\",\"wrap_type\":\"A128GCM\"}",
          PROP_E_UNSUPPORTED, "unsupported-packet" },
        { "{\"kid\":\"k\",\"provider\":\"aliyun\"," DATA "," GCM "}", PROP_E_UNSUPPORTED,
          "unsupported-packet" },
        { "{\"kid\":\"k\",\"version\":\"0.2.0\"," DATA "," GCM "}", PROP_E_UNSUPPORTED,
          "unsupported-packet" },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_packet p = PROP_PACKET_INIT;
        assert_id(prop_packet_parse(cases[i].text, strlen(cases[i].text), &p, &err), cases[i].code,
                  cases[i].id);
        assert_null(p.json);
    }
}

static void test_kid_rules(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *kek = bytes32(1), *sample = NULL, *shorter = NULL;
    struct prop_recipients *r = NULL;
    struct prop_resource_id foreign = { "evil.example.com", "default", "key", "x" };
    uint8_t raw[32];
    assert_ok(prop_recipients_new(&r, &err));
    assert_id(prop_recipients_add_kek(r, kek, &foreign, &err), PROP_E_USAGE, "kid-host");
    assert_non_null(strstr(err.hint, "kbs:///default/key/x"));
    assert_int_equal(prop_hex_decode("d99b7705b0ba7a168295b3a3367270b0dd9b371bf514ca8b9ba7f0a33711daea",
                                     64, raw, 32), 0);
    assert_ok((prop_err_clear(&err), prop_secret_copy(raw, 32, &sample, &err)));
    assert_id(prop_recipients_add_kek(r, sample, &addition, &err), PROP_E_DENIED, "public-kek");
    assert_ok((prop_err_clear(&err), prop_secret_copy(raw, 31, &shorter, &err)));
    assert_id(prop_recipients_add_kek(r, shorter, &addition, &err), PROP_E_INPUT, "kek-length");
    assert_int_equal(prop_recipients_count(r), 0);
    assert_ok((prop_err_clear(&err), prop_recipients_add_kek(r, kek, &addition, &err)));
    assert_id(prop_recipients_add_kek(r, kek, &addition, &err), PROP_E_USAGE, "duplicate-recipient");
    assert_int_equal(prop_recipients_count(r), 1);
    prop_recipients_free(r);
}

#define AGENT "provider:attestation-agent"
#define KEK FIXTURES "keys/kek32.bin"

/* The text with the fixture's KEK replaced by our private copy: key files must be ours alone. */
static void with_key(const char *text, const char *kek, char out[512])
{
    size_t n = 0;
    while (*text && n < 511) {
        if (strncmp(text, KEK, strlen(KEK)) == 0) {
            n += (size_t)snprintf(out + n, 512 - n, "%s", kek);
            text += strlen(KEK);
        } else {
            out[n++] = *text++;
        }
    }
    out[n] = 0;
}

static void test_recipient_specs(void **state)
{
    (void)state;
    static const struct packet_case cases[] = {
        { "rsa.pem", PROP_E_USAGE, "bad-recipient" },
        { "", PROP_E_USAGE, "bad-recipient" },
        { "jwe:" FIXTURES "keys/none.pem", PROP_E_NOTFOUND, "not-found" },
        { "pkcs7:" FIXTURES "keys/none.pem", PROP_E_NOTFOUND, "not-found" },
        { "pkcs7:" FIXTURES "keys/rsa.pub.pem", PROP_E_INPUT, "not-a-certificate" },
        { "jwe:" FIXTURES "keys/rsa.pub.pem:alg=RSA1_5", PROP_E_UNSUPPORTED, "jwe-alg" },
        { "jwe:" FIXTURES "keys/rsa.pub.pem:alg=ECDH-ES+A256KW", PROP_E_UNSUPPORTED, "jwe-alg" },
        { "jwe:" FIXTURES "keys/ec.pub.pem:alg=RSA-OAEP", PROP_E_UNSUPPORTED, "jwe-alg" },
        { "jwe:" FIXTURES "keys/ec.pub.pem:alg=", PROP_E_UNSUPPORTED, "jwe-alg" },
        { "pgp:me@example.com", PROP_E_UNSUPPORTED, "recipient-unsupported" },
        { "pkcs11:k.yaml", PROP_E_UNSUPPORTED, "recipient-unsupported" },
        { "provider:toy:x", PROP_E_NOTFOUND, "no-such-provider" },
        { "provider:attestation-agents:x", PROP_E_NOTFOUND, "no-such-provider" },
        { AGENT, PROP_E_USAGE, "bad-recipient" },
        { AGENT ":", PROP_E_USAGE, "bad-recipient" },
        { AGENT ":keypath=" KEK, PROP_E_USAGE, "bad-recipient" },
        { AGENT ":keyid=kbs:///a/b/c", PROP_E_USAGE, "bad-recipient" },
        { AGENT ":keypath=" KEK "::keyid=kbs:///a/b/c::color=red", PROP_E_USAGE, "bad-recipient" },
        { AGENT ":keypath=" KEK "::keypath=" KEK "::keyid=kbs:///a/b/c", PROP_E_USAGE,
          "bad-recipient" },
        { AGENT ":keypath=" KEK "::keyid=kbs:///a/b/c::algorithm=A128GCM", PROP_E_USAGE,
          "bad-recipient" },
        { AGENT ":keypath=" KEK "::keyid=kbs:///a/b/c::algorithm=A256CTR", PROP_E_UNSUPPORTED,
          "a256ctr-refused" },
        { AGENT ":sample=true", PROP_E_DENIED, "public-kek" },
        { AGENT ":keypath=" KEK "::keyid=kbs://kbs.example.com/a/b/c", PROP_E_USAGE, "kid-host" },
        { AGENT ":keypath=" KEK "::keyid=kbs:///a/b", PROP_E_INPUT, "bad-resource-path" },
        { AGENT ":keypath=" FIXTURES "keys/rsa.pem::keyid=kbs:///a/b/c", PROP_E_INPUT,
          "kek-length" },
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_recipients *r = NULL;
    const char *kek = private_key("kek32.bin");
    char spec[512];
    assert_ok(prop_recipients_new(&r, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        with_key(cases[i].text, kek, spec);
        assert_id(prop_recipients_add(r, spec, &err), cases[i].code, cases[i].id);
    }
    assert_int_equal(prop_recipients_count(r), 0);
    prop_err_clear(&err);
    snprintf(spec, sizeof(spec), AGENT ":algorithm=A256GCM::keyid=kbs:///a/b/c::keypath=%s", kek);
    assert_ok(prop_recipients_add(r, spec, &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/rsa.pub.pem", &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/rsa.crt", &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/rsakid.pub.jwk", &err));
    assert_int_equal(prop_recipients_count(r), 4);
    prop_recipients_free(r);
    forget_key(kek);
}

static json_t *layer_json(void)
{
    json_t *v = json_pack("{s:s,s:s,s:i,s:{s:s}}", "mediaType", PROP_MT_WASM_LAYER, "digest",
                          WASM_SHA, "size", 41, "annotations", PROP_ANNOTATION_TITLE, "a.wasm");
    assert_non_null(v);
    return v;
}

/* Several recipients of both schemes: each opens it alone; verify sees a missing one. */
static void test_wrap_and_open(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = secret(PRIVOPTS), *kek = bytes32(9);
    prop_auto_json json_t *json = layer_json();
    struct prop_recipients *r = NULL;
    struct prop_descriptor d;
    struct prop_digest plain, wrong = { .alg = PROP_SHA256, .len = 32 };
    static const char *const keys[] = { "rsa.pem", "ec.pem", "ec2.pem", "rsakid.jwk" };
    assert_ok(prop_digest_parse(WASM_SHA, &plain, &err));
    assert_ok(prop_recipients_new(&r, &err));
    assert_id(prop_recipients_wrap(r, priv, PUBOPTS, json, &err), PROP_E_USAGE, "no-recipient");
    prop_err_clear(&err);
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/rsa.pub.pem", &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/ec.pub.pem", &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/ec2.pub.pem", &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/rsakid.pub.jwk", &err));
    assert_ok(prop_recipients_add_kek(r, kek, &addition, &err));
    assert_ok(prop_recipients_wrap(r, priv, PUBOPTS, json, &err));
    assert_id(prop_recipients_wrap(r, priv, PUBOPTS, json, &err), PROP_E_USAGE,
              "already-encrypted");
    assert_ok((prop_err_clear(&err), prop_descriptor_read(json, "layer", &d, &err)));
    assert_true(prop_layer_is_encrypted(&d));
    assert_string_equal(d.media_type, PROP_MT_WASM_LAYER "+encrypted");
    assert_string_equal(prop_descriptor_annotation(&d, PROP_ANNOTATION_TITLE), "a.wasm");
    assert_ok(prop_recipients_verify(r, &d, &plain, &err));
    assert_id(prop_recipients_verify(r, &d, &wrong, &err), PROP_E_VERIFY, "digest-mismatch");
    for (size_t i = 0; i <= PROP_ARRAY_LEN(keys); i++) {
        struct prop_openers *o = NULL;
        prop_auto_secret struct prop_secret *got = NULL;
        prop_auto_free char *pub = NULL;
        prop_err_clear(&err);
        if (i < PROP_ARRAY_LEN(keys)) {
            o = opener(keys[i]);
        } else {
            assert_ok(prop_openers_new(&o, &err));
            assert_ok(prop_openers_add_kek(o, kek, &err));
        }
        assert_ok(prop_openers_unwrap(o, &d, &got, &pub, &err));
        assert_true(prop_secret_equal(got, priv));
        assert_string_equal(pub, PUBOPTS);
        prop_openers_free(o);
    }
    assert_ok(prop_descriptor_annotate(json, PROP_ENC_KEYS PROP_SCHEME_AGENT, NULL, &err));
    assert_id(prop_recipients_verify(r, &d, &plain, &err), PROP_E_VERIFY, "recipient-missing");
    prop_recipients_free(r);
}

/* JWE objects are flattened ones, comma-joined; stripping restores the descriptor. */
static void test_annotation_form(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = secret(PRIVOPTS);
    prop_auto_json json_t *json = layer_json();
    prop_auto_json json_t *before = json_deep_copy(json);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(8192);
    struct prop_recipients *r = NULL;
    const char *block = NULL;
    size_t len = 0, n = 0;
    assert_ok(prop_recipients_new(&r, &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/rsa.pub.pem", &err));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/ec.pub.pem", &err));
    assert_ok(prop_recipients_wrap(r, priv, PUBOPTS, json, &err));
    const char *cursor = json_string_value(json_object_get(json_object_get(json, "annotations"),
                                                           PROP_ENC_KEYS "jwe"));
    while (prop_enc_next_block(&cursor, &block, &len)) {
        prop_auto_json json_t *jwe = NULL;
        static const char *const order[] = { "protected", "encrypted_key", "iv", "ciphertext",
                                             "tag" };
        const char *key;
        json_t *value;
        size_t i = 0;
        assert_ok(prop_enc_decode_block("jwe", block, len, &text, &err));
        assert_ok(prop_json_parse((char *)text.data, text.len, "jwe", &jwe, &err));
        json_object_foreach(jwe, key, value) {
            assert_true(i < PROP_ARRAY_LEN(order));
            assert_string_equal(key, order[i++]);
        }
        assert_int_equal(i, 5);
        n++;
    }
    assert_int_equal(n, 2);
    prop_enc_strip(json);
    assert_int_equal(json_object_set_new(json, "mediaType", json_string(PROP_MT_WASM_LAYER)), 0);
    assert_true(json_equal(json, before));
    prop_recipients_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gcm_vector),
        cmocka_unit_test(test_ctr_vector),
        cmocka_unit_test(test_gcm_tampered),
        cmocka_unit_test(test_packets_refused),
        cmocka_unit_test(test_kid_rules),
        cmocka_unit_test(test_recipient_specs),
        cmocka_unit_test(test_wrap_and_open),
        cmocka_unit_test(test_annotation_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
