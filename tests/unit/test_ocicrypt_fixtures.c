/* Every recorded image: decrypts to the stated plaintext with each of its keys, and nothing else
 * does; what is damaged is refused. */
#include "test_ocicrypt.h"

struct image_case {
    const char *name;
    const char *keys[4];
    bool ctr; /* needs the opt-in */
};

static const struct image_case cases[] = {
    { "10-jwe-rsa", { "rsa.pem" }, false },
    { "11-jwe-ec", { "ec.pem" }, false },
    { "12-jwe-ec2", { "ec2.pem" }, false },
    { "13-jwe-multi", { "rsa.pem", "ec.pem", "rsa2.pem" }, false },
    { "14-jwe-recompressed", { "rsa.pem" }, false },
    { "15-jwe-tar", { "rsa.pem" }, false },
    { "16-jwe-jwk-kid", { "rsakid.jwk" }, false },
    { "18-jwe-one-of-two-layers", { "ec.pem" }, false },
    { "20-keyprovider-cmd", { "kek32.bin" }, false },
    { "21-keyprovider-and-jwe", { "rsa.pem", "ec.pem", "kek32.bin" }, false },
    { "30-coco-a256gcm", { "kek32.bin" }, false },
    { "31-coco-a256ctr-asked", { "kek32.bin" }, false },
    { "32-wasm-coco-a256ctr", { "kek32.bin" }, true },
    { "34-coco-no-kid", { "kek32.bin" }, false },
    { "36-wasm-coco-packet-v2", { "kek32.bin" }, false },
    { "40-wasm-coco-a256gcm", { "kek32.bin" }, false },
    { "41-wasm-jwe-rsa", { "rsa.pem" }, false },
    { "42-wasm-jwe-multi", { "ec.pem", "rsa2.pem" }, false },
    { "43-wasm-jwe-rust", { "rsa.pem", "ec.pem" }, false },
    { "44-wasm-jwe-comma", { "rsa.pem", "rsa2.pem", "ec2.pem" }, false },
    { "45-cncf-jwe", { "ec.pem" }, false },
};

static void layout_of(const char *name, char out[256])
{
    snprintf(out, 256, FIXTURES "%s/layout", name);
}

/* The plaintext digest that expect.json states for a layer. */
static void expected(const char *name, size_t layer, struct prop_digest *ret)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *json = NULL;
    char path[256], text[PROP_DIGEST_TEXT];
    snprintf(path, sizeof(path), FIXTURES "%s/expect.json", name);
    assert_ok(prop_json_parse_file(path, 1u << 20, &json, &err));
    const char *hex = json_string_value(json_object_get(
        json_array_get(json_object_get(json, "layers"), layer), "plain_sha256"));
    assert_non_null(hex);
    snprintf(text, sizeof(text), "sha256:%s", hex);
    assert_ok(prop_digest_parse(text, ret, &err));
}

static void check_image(const struct image_case *c, struct prop_openers *o)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    char layout[256];
    size_t encrypted = 0;
    layout_of(c->name, layout);
    load_manifest(layout, &m);
    for (size_t i = 0; i < m.n_layers; i++) {
        prop_auto_buf struct prop_buf blob = PROP_BUF_INIT(1u << 20), out = PROP_BUF_INIT(1u << 20);
        struct prop_digest want, got;
        if (!prop_layer_is_encrypted(&m.layers[i]))
            continue;
        encrypted++;
        load_blob(layout, &m.layers[i].digest, &blob);
        expected(c->name, i, &want);
        int rc = decrypt_layer(o, &m.layers[i], &blob, &out, &got, &err);
        if (rc != 0)
            fail_msg("%s: %s", c->name, err.message);
        assert_true(prop_digest_equal(&want, &got));
    }
    assert_int_equal(encrypted, 1);
}

static void test_all_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++)
        for (size_t k = 0; k < 4 && cases[i].keys[k]; k++) {
            struct prop_openers *o = opener(cases[i].keys[k]);
            prop_openers_allow_a256ctr(o, cases[i].ctr);
            check_image(&cases[i], o);
            prop_openers_free(o);
        }
}

/* A wrong key in front of the right one changes nothing. */
static void test_wrong_keys_beside(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    static const char *const all[] = { "ec.pem", "rsa2.pem", "rsa.pem", "ec2.pem", "rsakid.jwk",
                                       "kek32.bin" };
    struct prop_openers *o = NULL;
    assert_ok(prop_openers_new(&o, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(all); i++) {
        const char *path = private_key(all[i]);
        assert_ok(prop_openers_add(o, path, &err));
        forget_key(path);
    }
    prop_openers_allow_a256ctr(o, true);
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++)
        check_image(&cases[i], o);
    prop_openers_free(o);
}

/* Unwrap the first encrypted layer of a fixture. */
static int unwrap(const char *name, struct prop_openers *o, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_secret struct prop_secret *priv = NULL;
    prop_auto_free char *pub = NULL;
    char layout[256];
    layout_of(name, layout);
    load_manifest(layout, &m);
    int rc = prop_openers_unwrap(o, &m.layers[m.n_layers - 1], &priv, &pub, err);
    assert_true((rc == 0) == (priv != NULL && pub != NULL));
    return rc;
}

static void test_wrong_keys(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *zero = NULL;
    struct prop_openers *rsa2 = opener("rsa2.pem"), *ec2 = opener("ec2.pem");
    struct prop_openers *kek = opener("kek32.bin"), *wrong = NULL, *none = NULL;
    assert_ok(prop_secret_new(32, &zero, &err));
    assert_ok(prop_openers_new(&wrong, &err));
    assert_ok(prop_openers_add_kek(wrong, zero, &err));
    assert_ok(prop_openers_new(&none, &err));
    assert_id(unwrap("10-jwe-rsa", rsa2, &err), PROP_E_VERIFY, "jwe-no-key");
    assert_id(unwrap("11-jwe-ec", ec2, &err), PROP_E_VERIFY, "jwe-no-key");
    assert_id(unwrap("44-wasm-jwe-comma", ec2, &err), 0, "ok");
    assert_id(unwrap("40-wasm-coco-a256gcm", wrong, &err), PROP_E_VERIFY, "kek-wrong");
    assert_id(unwrap("33-coco-sample", kek, &err), PROP_E_VERIFY, "kek-wrong");
    assert_id(unwrap("32-wasm-coco-a256ctr", kek, &err), PROP_E_DENIED, "a256ctr-refused");
    prop_openers_allow_a256ctr(wrong, true);
    assert_id(unwrap("32-wasm-coco-a256ctr", wrong, &err), PROP_E_VERIFY, "kek-wrong");
    assert_id(unwrap("10-jwe-rsa", kek, &err), PROP_E_UNSUPPORTED, "no-usable-scheme");
    assert_non_null(strstr(err.message, "jwe"));
    assert_id(unwrap("40-wasm-coco-a256gcm", rsa2, &err), PROP_E_UNSUPPORTED, "no-usable-scheme");
    assert_non_null(strstr(err.message, "attestation-agent"));
    assert_id(unwrap("17-pkcs7", rsa2, &err), PROP_E_UNSUPPORTED, "no-usable-scheme");
    assert_non_null(strstr(err.message, "pkcs7"));
    assert_id(unwrap("40-wasm-coco-a256gcm", none, &err), PROP_E_UNSUPPORTED, "no-usable-scheme");
    prop_openers_free(rsa2);
    prop_openers_free(ec2);
    prop_openers_free(kek);
    prop_openers_free(wrong);
    prop_openers_free(none);
}

/* 33 opens with the key that its page documents, given by hand; a key source may not yield it. */
static int give_sample(void *ctx, const struct prop_resource_id *kid, struct prop_secret **ret,
                       struct prop_err *err)
{
    static const char hex[] = "d99b7705b0ba7a168295b3a3367270b0dd9b371bf514ca8b9ba7f0a33711daea";
    uint8_t raw[32];
    if (ctx)
        *(struct prop_resource_id *)ctx = *kid;
    assert_int_equal(prop_hex_decode(hex, 64, raw, 32), 0);
    return prop_secret_copy(raw, 32, ret, err);
}

static void test_sample_key(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *sample = NULL;
    static const struct image_case sample_case = { "33-coco-sample", { NULL }, false };
    struct prop_openers *o = NULL, *source = NULL;
    assert_ok(give_sample(NULL, NULL, &sample, &err));
    assert_ok(prop_openers_new(&o, &err));
    assert_ok(prop_openers_add_kek(o, sample, &err));
    check_image(&sample_case, o);
    assert_ok(prop_openers_new(&source, &err));
    prop_openers_set_kek_source(source, give_sample, NULL);
    assert_id(unwrap("33-coco-sample", source, &err), PROP_E_DENIED, "public-kek");
    prop_openers_free(o);
    prop_openers_free(source);
}

/* 17: the certificate and its key together, in either order, and neither alone. */
static void test_pkcs7(void **state)
{
    (void)state;
    static const char *const names[] = { "rsa.crt", "rsa.pem", "rsa.crt" };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_buf struct prop_buf blob = PROP_BUF_INIT(1u << 20);
    struct prop_digest want, got;
    char layout[256];
    layout_of("17-pkcs7", layout);
    load_manifest(layout, &m);
    load_blob(layout, &m.layers[0].digest, &blob);
    assert_ok(prop_digest_parse(
        "sha256:c4003c1e5ef06678e7da5fab8ea0504c218fbb26792091b3b16285cc9cdfff77", &want, &err));
    for (size_t i = 0; i < 2; i++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1u << 20);
        struct prop_openers *o = opener(names[i]);
        assert_id(unwrap("17-pkcs7", o, &err), i == 0 ? PROP_E_VERIFY : PROP_E_UNSUPPORTED,
                  i == 0 ? "pkcs7-no-key" : "no-usable-scheme");
        const char *path = private_key(names[i + 1]);
        assert_ok((prop_err_clear(&err), prop_openers_add(o, path, &err)));
        forget_key(path);
        assert_ok(decrypt_layer(o, &m.layers[0], &blob, &out, &got, &err));
        assert_true(prop_digest_equal(&want, &got));
        prop_openers_free(o);
    }
    /* A certificate may be readable by everybody, a private key beside it may not. */
    struct prop_openers *o = NULL;
    assert_ok(prop_openers_new(&o, &err));
    assert_ok(prop_openers_add(o, FIXTURES "keys/rsa.crt", &err));
    prop_openers_free(o);
}

/* A KEK source is asked for the packet's kid, and its own failure is what is told. */
struct source {
    struct prop_resource_id asked;
    unsigned calls;
    bool deny;
};

static int source_fn(void *ctx, const struct prop_resource_id *kid, struct prop_secret **ret,
                     struct prop_err *err)
{
    struct source *s = ctx;
    prop_auto_buf struct prop_buf kek = PROP_BUF_INIT(64);
    s->asked = *kid;
    s->calls++;
    if (s->deny)
        return prop_err_set_id(err, PROP_E_DENIED, "policy-deny", "the policy says no");
    read_file(FIXTURES "keys/kek32.bin", &kek);
    return prop_secret_copy(kek.data, kek.len, ret, err);
}

static void test_kek_source(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct source s = { .calls = 0 };
    struct prop_openers *o = NULL;
    assert_ok(prop_openers_new(&o, &err));
    prop_openers_set_kek_source(o, source_fn, &s);
    assert_ok(unwrap("40-wasm-coco-a256gcm", o, &err));
    assert_string_equal(s.asked.repo, "default");
    assert_string_equal(s.asked.type, "key");
    assert_string_equal(s.asked.tag, "wasm-addition");
    assert_int_equal(s.calls, 1);
    assert_ok(unwrap("34-coco-no-kid", o, &err));
    assert_string_equal(s.asked.type, "image-kek");
    assert_id(unwrap("32-wasm-coco-a256ctr", o, &err), PROP_E_DENIED, "a256ctr-refused");
    assert_int_equal(s.calls, 2); /* refused before anyone was asked */
    assert_id(unwrap("20-keyprovider-cmd", o, &err), PROP_E_UNSUPPORTED, "no-usable-scheme");
    s.deny = true; /* a key that was given is not asked for again */
    assert_id(unwrap("40-wasm-coco-a256gcm", o, &err), 0, "ok");
    assert_int_equal(s.calls, 2);
    prop_openers_free(o);
    o = NULL;
    assert_ok(prop_openers_new(&o, &err));
    prop_openers_set_kek_source(o, source_fn, &s);
    assert_id(unwrap("40-wasm-coco-a256gcm", o, &err), PROP_E_DENIED, "policy-deny");
    prop_openers_free(o);
}

/* 60-negative: each with its own cause, and no plaintext that anyone might take for good. */
static void test_negative(void **state)
{
    (void)state;
    static const struct { const char *name; int code; const char *id; } bad[] = {
        { "bad-hmac", PROP_E_VERIFY, "hmac-mismatch" },
        { "bad-ciphertext", PROP_E_VERIFY, "hmac-mismatch" },
        { "bad-jwe-tag", PROP_E_VERIFY, "jwe-no-key" },
        { "unknown-cipher", PROP_E_UNSUPPORTED, "unsupported-cipher" },
        { "no-pubopts", PROP_E_INPUT, "bad-annotation" },
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_openers *o = opener("rsa.pem");
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        prop_auto_manifest struct prop_manifest m = { .json = NULL };
        prop_auto_buf struct prop_buf blob = PROP_BUF_INIT(1000), out = PROP_BUF_INIT(1000);
        struct prop_digest got;
        char layout[256];
        snprintf(layout, sizeof(layout), FIXTURES "60-negative/%s", bad[i].name);
        load_manifest(layout, &m);
        load_blob(layout, &m.layers[0].digest, &blob);
        assert_id(decrypt_layer(o, &m.layers[0], &blob, &out, &got, &err), bad[i].code, bad[i].id);
    }
    prop_openers_free(o);
}

/* Flip one bit in every character of an annotation's decoded blocks. What still opens must be the
 * right plaintext; that is so only where nothing depends on the byte. Returns how many. */
static size_t flip_annotation(const char *name, const char *key, struct prop_openers *o,
                              size_t *ret_total)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_buf struct prop_buf blob = PROP_BUF_INIT(1u << 20), text = PROP_BUF_INIT(1u << 20);
    struct prop_digest want, got;
    size_t opened = 0;
    char layout[256];
    layout_of(name, layout);
    load_manifest(layout, &m);
    struct prop_descriptor *layer = &m.layers[0];
    load_blob(layout, &layer->digest, &blob);
    expected(name, 0, &want);
    const char *value = prop_descriptor_annotation(layer, key);
    assert_non_null(value);
    assert_ok(prop_b64_decode(PROP_B64_STD, value, strlen(value), "annotation", &text, &err));
    for (size_t i = 0; i < text.len; i++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1u << 20);
        text.data[i] ^= (uint8_t)(1u << (i % 7));
        prop_auto_free char *changed = prop_b64_encode(PROP_B64_STD, text.data, text.len);
        text.data[i] ^= (uint8_t)(1u << (i % 7));
        assert_ok((prop_err_clear(&err), prop_descriptor_annotate(layer->json, key, changed, &err)));
        int rc = decrypt_layer(o, layer, &blob, &out, &got, &err);
        if (rc == 0) {
            assert_true(prop_digest_equal(&want, &got));
            opened++;
        } else {
            assert_true(rc == PROP_E_VERIFY || rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED ||
                        rc == PROP_E_DENIED);
            assert_true(err.message[0] != 0);
        }
    }
    *ret_total = text.len;
    return opened;
}

static void test_flipped_annotations(void **state)
{
    (void)state;
    struct prop_openers *rsa = opener("rsa.pem"), *ec = opener("ec.pem"), *kek = opener("kek32.bin");
    size_t total = 0;
    /* JWE: every byte is a member's name, structure, or under the tag. */
    assert_int_equal(flip_annotation("41-wasm-jwe-rsa", PROP_ENC_KEYS "jwe", rsa, &total), 0);
    assert_true(total > 700);
    assert_int_equal(flip_annotation("45-cncf-jwe", PROP_ENC_KEYS "jwe", ec, &total), 0);
    /* Packet: only the kid's 33 characters say nothing to one who holds the KEK. */
    assert_true(flip_annotation("40-wasm-coco-a256gcm", PROP_ENC_KEYS PROP_SCHEME_AGENT, kek,
                                &total) <= 33);
    /* Public options: only the name of the empty "cipheroptions" (13 characters) may change. */
    assert_true(flip_annotation("41-wasm-jwe-rsa", PROP_ENC_PUBOPTS, rsa, &total) <= 13);
    assert_true(total > 100);
    prop_openers_free(rsa);
    prop_openers_free(ec);
    prop_openers_free(kek);
}

/* A block that does not decode never hides the next one; the list itself has a limit. */
static void test_lists(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_buf struct prop_buf list = PROP_BUF_INIT(1u << 21);
    prop_auto_secret struct prop_secret *priv = NULL, *none = NULL;
    prop_auto_free char *pub = NULL, *no_pub = NULL;
    struct prop_openers *o = opener("rsa.pem");
    char layout[256];
    layout_of("41-wasm-jwe-rsa", layout);
    load_manifest(layout, &m);
    json_t *layer = m.layers[0].json;
    prop_auto_free char *good =
        prop_strdup(prop_descriptor_annotation(&m.layers[0], PROP_ENC_KEYS "jwe"));
    assert_ok(prop_buf_printf(&list, &err, "!!!!,,e30=,bm90IGpzb24=,%s", good));
    assert_ok(prop_descriptor_annotate(layer, PROP_ENC_KEYS "jwe", prop_buf_str(&list), &err));
    assert_ok(prop_openers_unwrap(o, &m.layers[0], &priv, &pub, &err));
    prop_buf_clear(&list);
    for (int i = 0; i < 300; i++)
        assert_ok(prop_buf_puts(&list, "e30=,", &err));
    assert_ok(prop_descriptor_annotate(layer, PROP_ENC_KEYS "jwe", prop_buf_str(&list), &err));
    assert_id(prop_openers_unwrap(o, &m.layers[0], &none, &no_pub, &err), PROP_E_LIMIT, "over-limit");
    assert_ok((prop_err_clear(&err),
               prop_descriptor_annotate(layer, PROP_ENC_KEYS "jwe", "%%%", &err)));
    assert_id(prop_openers_unwrap(o, &m.layers[0], &none, &no_pub, &err), PROP_E_INPUT,
              "bad-annotation");
    assert_ok((prop_err_clear(&err),
               prop_descriptor_annotate(layer, PROP_ENC_KEYS "jwe", NULL, &err)));
    assert_id(prop_openers_unwrap(o, &m.layers[0], &none, &no_pub, &err), PROP_E_INPUT,
              "bad-annotation");
    prop_openers_free(o);
}

/* What inspect is told without a key. */
static void describe(const char *name, json_t **ret)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    char layout[256];
    layout_of(name, layout);
    load_manifest(layout, &m);
    assert_ok(prop_layer_describe(&m.layers[m.n_layers - 1], ret, &err));
}

static const char *string_at(const json_t *doc, const char *name)
{
    const json_t *scheme = json_array_get(json_object_get(doc, "schemes"), 0);
    const json_t *first = json_array_get(json_object_get(scheme, "recipients"), 0);
    const char *text = json_string_value(json_object_get(first, name));
    return text ? text : "";
}

static bool warned(const json_t *doc, const char *words)
{
    const json_t *warnings = json_object_get(doc, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++)
        if (strstr(json_string_value(json_array_get(warnings, i)), words))
            return true;
    return false;
}

static void test_describe(void **state)
{
    (void)state;
    static const struct { const char *name, *member, *value, *warning; } what[] = {
        { "40-wasm-coco-a256gcm", "kid", "kbs:///default/key/wasm-addition", "title" },
        { "40-wasm-coco-a256gcm", "wrap_type", "A256GCM", NULL },
        { "32-wasm-coco-a256ctr", "wrap_type", "A256CTR", "no integrity" },
        { "33-coco-sample", "kid", "kbs:///default/test-key/1", "everybody has" },
        { "34-coco-no-kid", "wrap_type", "A256GCM", "not a kbs:///" },
        { "16-jwe-jwk-kid", "kid", "fixture-rsa-1", NULL },
        { "11-jwe-ec", "alg", "ECDH-ES+A256KW", NULL },
        { "21-keyprovider-and-jwe", "enc", "A256GCM", "several key schemes" },
        { "17-pkcs7", "issuer", "CN=ocicrypt fixture", "not read by the Rust library" },
        { "17-pkcs7", "serial", "1c8d3cdb1c696d13e407f81d9c5f0342273521f9", NULL },
        { "17-pkcs7", "enc", "A128GCM", NULL },
        { "13-jwe-multi", "alg", "RSA-OAEP", "share an algorithm" },
        { "20-keyprovider-cmd", "wrap_type", "A256GCM", "need that key provider" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(what); i++) {
        prop_auto_json json_t *doc = NULL;
        describe(what[i].name, &doc);
        assert_true(json_is_true(json_object_get(doc, "encrypted")));
        if (strcmp(what[i].name, "21-keyprovider-and-jwe") != 0)
            assert_string_equal(string_at(doc, what[i].member), what[i].value);
        if (what[i].warning && !warned(doc, what[i].warning))
            fail_msg("%s: no warning about '%s'", what[i].name, what[i].warning);
    }
    prop_auto_json json_t *plain = NULL;
    describe("01-plain-wasm-to-oci", &plain);
    assert_true(json_is_false(json_object_get(plain, "encrypted")));
    assert_true(warned(plain, "not encrypted"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_open),
        cmocka_unit_test(test_wrong_keys_beside),
        cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_sample_key),
        cmocka_unit_test(test_pkcs7),
        cmocka_unit_test(test_kek_source),
        cmocka_unit_test(test_negative),
        cmocka_unit_test(test_flipped_annotations),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
