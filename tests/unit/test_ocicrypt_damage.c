/* Damage around an encrypted layer, in memory: every bit of every annotation, of what is inside it, and
 * of the manifest; layers swapped (test_ocicrypt_damage_layer.c has the layer's own bytes). A change is refused with a cause, or (a key id that
 * nothing authenticates, a member nobody reads) changes nothing: never does another plaintext come
 * out. */
#include "test_ocicrypt.h"

#include "util/limits.h"

struct subject {
    const char *name, *keys[3];
    bool ctr;
    unsigned step; /* every n-th bit only: private RSA operations are slow */
    /* members of the wrapped key's JSON that are all there is to it; none: it is no JSON */
    const char *members[6];
};

static const struct subject subjects[] = {
    { "40-wasm-coco-a256gcm", { "kek32.bin" }, false, 1, { "wrapped_data", "iv", "wrap_type" } },
    { "36-wasm-coco-packet-v2", { "kek32.bin" }, false, 1, { "wrapped_data", "iv", "wrap_type" } },
    { "32-wasm-coco-a256ctr", { "kek32.bin" }, true, 1, { "wrap_type" } },
    { "11-jwe-ec", { "ec.pem" }, false, 1, { "protected", "encrypted_key", "iv", "ciphertext", "tag" } },
    { "41-wasm-jwe-rsa", { "rsa.pem" }, false, 11,
      { "protected", "encrypted_key", "iv", "ciphertext", "tag" } },
    { "43-wasm-jwe-rust", { "ec.pem" }, false, 7, { "protected", "iv", "ciphertext", "tag" } },
    { "17-pkcs7", { "rsa.crt", "rsa.pem" }, false, 11, { NULL } },
};

struct scene {
    const struct subject *s;
    struct prop_openers *openers;
    struct prop_manifest m;
    struct prop_descriptor *layer;
    struct prop_buf blob, plain;
    size_t refused, opened;
};

static struct prop_openers *openers_of(const struct subject *s)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_openers *o = NULL;
    assert_ok(prop_openers_new(&o, &err));
    for (size_t i = 0; i < 3 && s->keys[i]; i++) {
        const char *path = private_key(s->keys[i]);
        assert_ok(prop_openers_add(o, path, &err));
        forget_key(path);
    }
    prop_openers_allow_a256ctr(o, s->ctr);
    return o;
}

static void scene_open(const struct subject *s, struct scene *ret)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest digest;
    char layout[256];
    *ret = (struct scene){ .s = s, .blob = PROP_BUF_INIT(1u << 20), .plain = PROP_BUF_INIT(1u << 20) };
    snprintf(layout, sizeof(layout), FIXTURES "%s/layout", s->name);
    load_manifest(layout, &ret->m);
    ret->layer = &ret->m.layers[0];
    load_blob(layout, &ret->layer->digest, &ret->blob);
    ret->openers = openers_of(s);
    assert_ok(decrypt_layer(ret->openers, ret->layer, &ret->blob, &ret->plain, &digest, &err));
    assert_true(ret->plain.len > 0);
}

static void scene_close(struct scene *c)
{
    prop_openers_free(c->openers);
    prop_manifest_release(&c->m);
    prop_buf_release(&c->blob);
    prop_buf_release(&c->plain);
}

/* Refused in the right way, or the same plaintext. */
static int attempt(struct scene *c, const struct prop_descriptor *layer)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1u << 20);
    struct prop_digest digest;
    int rc = decrypt_layer(c->openers, layer, &c->blob, &out, &digest, &err);
    if (rc == 0) {
        assert_int_equal(out.len, c->plain.len);
        assert_memory_equal(out.data, c->plain.data, out.len);
        c->opened++;
        return 0;
    }
    if (rc != PROP_E_INPUT && rc != PROP_E_VERIFY && rc != PROP_E_UNSUPPORTED && rc != PROP_E_LIMIT)
        fail_msg("%s: %d %s: %s", c->s->name, rc, prop_err_id(&err), err.message);
    assert_true(err.code == rc && err.message[0] && *prop_err_id(&err));
    c->refused++;
    return rc;
}

/* Do two JSON texts agree in these members? */
static bool same_members(const void *a, const void *b, size_t len, const char *const *members)
{
    prop_auto_json json_t *x = NULL, *y = NULL;
    if (prop_json_parse(a, len, "a", &x, NULL) != 0 || prop_json_parse(b, len, "b", &y, NULL) != 0)
        return false;
    for (size_t i = 0; i < 6 && members[i]; i++)
        if (!json_equal(json_object_get(x, members[i]), json_object_get(y, members[i])))
            return false;
    return true;
}

/* Flip each bit of an annotation's text, as it stands in the manifest. */
static void flip_text(struct scene *c, const char *key)
{
    struct prop_err err = PROP_ERR_INIT;
    char *text = prop_strdup(prop_descriptor_annotation(c->layer, key));
    assert_non_null(text);
    size_t bits = strlen(text) * 8;
    for (size_t bit = 0; bit < bits; bit += c->s->step) {
        char was = text[bit / 8];
        text[bit / 8] = (char)(was ^ (1 << bit % 8));
        /* what is no UTF-8 does not get past the manifest's parser (flip_manifest) */
        if (text[bit / 8] != 0 && (text[bit / 8] & 0x80) == 0) {
            assert_ok(prop_descriptor_annotate(c->layer->json, key, text, &err));
            (void)attempt(c, c->layer);
        }
        text[bit / 8] = was;
    }
    assert_ok(prop_descriptor_annotate(c->layer->json, key, text, &err));
    prop_free(text);
}

/* Flip each bit of what an annotation holds, in good base64. */
static void flip_content(struct scene *c, const char *key, const char *const *members)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf raw = PROP_BUF_INIT(1u << 16);
    char *text = prop_strdup(prop_descriptor_annotation(c->layer, key));
    assert_non_null(text);
    assert_ok(prop_b64_decode(PROP_B64_STD, text, strlen(text), "annotation", &raw, &err));
    uint8_t *was = prop_alloc(raw.len);
    assert_non_null(was);
    memcpy(was, raw.data, raw.len);
    for (size_t bit = 0; bit < raw.len * 8; bit += c->s->step) {
        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, raw.data, raw.len);
        assert_ok(prop_descriptor_annotate(c->layer->json, key, b64, &err));
        /* opened: then what is authenticated is untouched (in PKCS#7 that is the wrapped key, the
         * nonce and the data; not version numbers and the name of the content's type) */
        if (attempt(c, c->layer) == 0 && members[0] &&
            !same_members(was, raw.data, raw.len, members))
            fail_msg("%s: '%s' opened with bit %zu flipped", c->s->name, key, bit);
        raw.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_ok(prop_descriptor_annotate(c->layer->json, key, text, &err));
    prop_free(text);
    prop_free(was);
}

static void test_flip_annotations(void **state)
{
    (void)state;
    static const char *const pubopts[] = { "cipher", "hmac", NULL };
    for (size_t i = 0; i < PROP_ARRAY_LEN(subjects); i++) {
        struct scene c;
        scene_open(&subjects[i], &c);
        prop_auto_json json_t *keys = json_deep_copy(json_object_get(c.layer->json, "annotations"));
        const char *key;
        json_t *value;
        json_object_foreach(keys, key, value) {
            if (strncmp(key, PROP_ENC_PREFIX, strlen(PROP_ENC_PREFIX)) != 0)
                continue;
            bool is_pub = strcmp(key, PROP_ENC_PUBOPTS) == 0;
            flip_text(&c, key);
            flip_content(&c, key, is_pub ? pubopts : c.s->members);
        }
        assert_int_equal(attempt(&c, c.layer), 0); /* put back as it was */
        if (c.refused < 100 || c.refused < c.opened * 2)
            fail_msg("%s: %zu refused, %zu opened", c.s->name, c.refused, c.opened);
        scene_close(&c);
    }
}

/* The manifest's bytes. Whoever pinned it refuses all of this; here its digest is taken as given, as
 * if the one who changed it had named it anew. */
static void test_flip_manifest(void **state)
{
    (void)state;
    static const size_t which[] = { 0, 3 };
    for (size_t i = 0; i < PROP_ARRAY_LEN(which); i++) {
        struct scene c;
        struct prop_err err = PROP_ERR_INIT;
        prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);
        scene_open(&subjects[which[i]], &c);
        assert_ok(prop_manifest_write(c.m.json, &bytes, &err));
        for (size_t bit = 0; bit < bytes.len * 8; bit++) {
            prop_auto_manifest struct prop_manifest m = { .json = NULL };
            bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            prop_err_clear(&err);
            int rc = prop_manifest_parse(bytes.data, bytes.len, NULL, "manifest", &m, &err);
            bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (rc != 0) {
                assert_true(rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED || rc == PROP_E_LIMIT);
                c.refused++;
            } else if (m.n_layers != 1 || !prop_layer_is_encrypted(&m.layers[0]) ||
                       !prop_digest_equal(&m.layers[0].digest, &c.layer->digest) ||
                       m.layers[0].size != c.blob.len) {
                c.refused++; /* no such blob, or nothing to decrypt */
            } else {
                (void)attempt(&c, &m.layers[0]);
            }
        }
        assert_true(c.refused > bytes.len && c.opened > 0);
        scene_close(&c);
    }
}

/* A layer of one image under another's manifest, and annotations that changed places. */
static void test_swapped(void **state)
{
    (void)state;
    struct scene a, b;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1u << 20);
    struct prop_digest digest;
    static const struct subject other = { "34-coco-no-kid", { "kek32.bin" }, false, 1, { NULL } };
    scene_open(&subjects[0], &a); /* both open with the same KEK */
    scene_open(&other, &b);
    assert_id(decrypt_layer(a.openers, a.layer, &b.blob, &out, &digest, &err), PROP_E_VERIFY,
              "hmac-mismatch");
    assert_id(decrypt_layer(b.openers, b.layer, &a.blob, &out, &digest, &err), PROP_E_VERIFY,
              "hmac-mismatch");
    const char *const keys[] = { PROP_ENC_PUBOPTS, PROP_ENC_KEYS PROP_SCHEME_AGENT };
    for (size_t i = 0; i < PROP_ARRAY_LEN(keys); i++) {
        prop_auto_free char *mine = prop_strdup(prop_descriptor_annotation(a.layer, keys[i]));
        assert_ok((prop_err_clear(&err), prop_descriptor_annotate(a.layer->json, keys[i],
                       prop_descriptor_annotation(b.layer, keys[i]), &err)));
        assert_id(decrypt_layer(a.openers, a.layer, &a.blob, &out, &digest, &err), PROP_E_VERIFY,
                  "hmac-mismatch");
        assert_ok((prop_err_clear(&err), prop_descriptor_annotate(a.layer->json, keys[i], mine, &err)));
    }
    assert_int_equal(attempt(&a, a.layer), 0);
    scene_close(&a);
    scene_close(&b);
}

/* Replace an annotation by base64 of `head` + what was inside from its second byte on. */
static void with_member(struct scene *c, const char *key, const char *head, int want, const char *id)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf raw = PROP_BUF_INIT(1u << 16), out = PROP_BUF_INIT(1u << 20);
    prop_auto_free char *was = prop_strdup(prop_descriptor_annotation(c->layer, key));
    struct prop_digest digest;
    assert_non_null(was);
    assert_ok(prop_b64_decode(PROP_B64_STD, was, strlen(was), "annotation", &raw, &err));
    assert_true(raw.data[0] == '{');
    prop_auto_free char *text = prop_asprintf("%s%.*s", head, (int)raw.len - 1, (char *)raw.data + 1);
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, (uint8_t *)text, strlen(text));
    assert_ok(prop_descriptor_annotate(c->layer->json, key, b64, &err));
    if (want == 0)
        assert_int_equal(attempt(c, c->layer), 0);
    else
        assert_id(decrypt_layer(c->openers, c->layer, &c->blob, &out, &digest, &err), want, id);
    assert_ok((prop_err_clear(&err), prop_descriptor_annotate(c->layer->json, key, was, &err)));
}

static void test_members(void **state)
{
    (void)state;
    const char *agent = PROP_ENC_KEYS PROP_SCHEME_AGENT, *jwe = PROP_ENC_KEYS PROP_SCHEME_JWE;
    struct scene a, j;
    scene_open(&subjects[0], &a);
    scene_open(&subjects[3], &j);
    with_member(&a, agent, "{\"future\":{\"x\":[1,2]},", 0, NULL);
    with_member(&a, agent, "{\"iv\":\"AAAAAAAAAAAAAAAA\",", PROP_E_INPUT, "bad-annotation");
    with_member(&a, agent, "{\"kid\":\"kbs:///a/b/c\",", PROP_E_INPUT, "bad-annotation");
    with_member(&a, agent, "{\"provider\":\"aliyun\",", PROP_E_UNSUPPORTED, "unsupported-packet");
    with_member(&a, agent, "{\"version\":\"9\",", PROP_E_UNSUPPORTED, "unsupported-packet");
    with_member(&j, jwe, "{\"future\":1,", 0, NULL);
    with_member(&j, jwe, "{\"iv\":\"AAAAAAAAAAAAAAAA\",", PROP_E_INPUT, "json-syntax");
    with_member(&j, jwe, "{\"recipients\":[],", PROP_E_INPUT, "bad-jwe");
    with_member(&a, PROP_ENC_PUBOPTS, "{\"future\":null,", 0, NULL);
    with_member(&a, PROP_ENC_PUBOPTS, "{\"hmac\":\"AAAA\",", PROP_E_INPUT, "bad-options");
    with_member(&a, PROP_ENC_PUBOPTS, "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",", PROP_E_INPUT,
                "bad-options");
    scene_close(&a);
    scene_close(&j);
}

/* The same annotation twice in the manifest: whichever counted, somebody else would read the other. */
static void test_annotation_twice(void **state)
{
    (void)state;
    struct scene a;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    scene_open(&subjects[0], &a);
    assert_ok(prop_manifest_write(a.m.json, &bytes, &err));
    assert_ok(prop_buf_add(&bytes, "", 1, &err));
    const char *at = strstr((const char *)bytes.data, "\"" PROP_ENC_PUBOPTS "\":");
    assert_non_null(at);
    prop_auto_free char *twice = prop_asprintf("%.*s\"%s\":\"e30=\",%s",
                                               (int)(at - (const char *)bytes.data), (char *)bytes.data,
                                               PROP_ENC_PUBOPTS, at);
    assert_int_equal(prop_manifest_parse(twice, strlen(twice), NULL, "manifest", &m, &err),
                     PROP_E_INPUT);
    scene_close(&a);
}

/* --- options --- */

static int dec_new(const char *pubopts, const char *privopts, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *priv = NULL;
    struct prop_layer_dec *dec = NULL;
    assert_int_equal(prop_secret_copy(privopts, strlen(privopts), &priv, err), 0);
    int rc = prop_layer_dec_new(pubopts, priv, keep, NULL, &dec, err);
    prop_layer_dec_free(dec);
    return rc;
}

static void test_option_lengths(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    uint8_t zeros[64] = { 0 };
    const char *const cipher = "\"cipher\":\"AES_256_CTR_HMAC_SHA256\"";
    prop_auto_free char *b32 = prop_b64_encode(PROP_B64_STD, zeros, 32);
    prop_auto_free char *pub = prop_asprintf("{%s,\"hmac\":\"%s\",\"cipheroptions\":{}}", cipher, b32);
    for (size_t n = 0; n <= sizeof(zeros); n++) {
        prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, zeros, n);
        prop_auto_free char *nonce = prop_asprintf(
            "{\"symkey\":\"%s\",\"cipheroptions\":{\"nonce\":\"%s\"}}", b32, b64);
        prop_auto_free char *key = prop_asprintf(
            "{\"symkey\":\"%s\",\"cipheroptions\":{\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}}", b64);
        prop_auto_free char *hmac = prop_asprintf("{%s,\"hmac\":\"%s\",\"cipheroptions\":{}}", cipher, b64);
        if (n == 16)
            assert_ok((prop_err_clear(&err), dec_new(pub, nonce, &err)));
        else
            assert_id(dec_new(pub, nonce, &err), PROP_E_INPUT, "bad-options");
        if (n == 32)
            assert_ok((prop_err_clear(&err), dec_new(hmac, key, &err)));
        else
            assert_id(dec_new(pub, key, &err), PROP_E_INPUT, "bad-options");
        if (n != 32) {
            prop_auto_free char *good = prop_asprintf(
                "{\"symkey\":\"%s\",\"cipheroptions\":{\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}}", b32);
            assert_id(dec_new(hmac, good, &err), PROP_E_INPUT, "bad-options");
            prop_auto_free char *none = prop_asprintf("{%s,\"cipheroptions\":{}}", cipher);
            assert_id(dec_new(none, good, &err), PROP_E_INPUT, "bad-options");
        }
    }
}

/* --- numbers --- */

struct asked {
    size_t times;
};

static int ask(void *ctx, const struct prop_resource_id *kid, struct prop_secret **ret,
               struct prop_err *err)
{
    struct asked *a = ctx;
    (void)kid;
    (void)ret;
    a->times++;
    return prop_err_set_id(err, PROP_E_DENIED, "denied", "no");
}

/* `n` times `block` in a comma list. */
static void many(struct scene *c, const char *key, const char *block, size_t n)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf list = PROP_BUF_INIT(64u << 20);
    for (size_t i = 0; i < n; i++)
        assert_ok(prop_buf_puts(&list, i ? "," : "", &err) ||
                  prop_buf_puts(&list, block, &err));
    assert_ok(prop_buf_add(&list, "", 1, &err));
    assert_ok(prop_descriptor_annotate(c->layer->json, key, (char *)list.data, &err));
}

/* 10^5 recipients: refused as too many before a key is asked for or tried. */
static void test_many_recipients(void **state)
{
    (void)state;
    const char *agent = PROP_ENC_KEYS PROP_SCHEME_AGENT;
    struct scene c;
    struct asked asked = { 0 };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1u << 20);
    struct prop_digest digest;
    prop_auto_json json_t *about = NULL;
    scene_open(&subjects[0], &c);
    prop_auto_openers struct prop_openers *o = NULL;
    assert_ok(prop_openers_new(&o, &err));
    prop_openers_set_kek_source(o, ask, &asked);
    prop_auto_free char *packet = prop_strdup(prop_descriptor_annotation(c.layer, agent));
    assert_non_null(packet);
    static const size_t counts[] = { PROP_LIMIT_RECIPIENTS + 1, 100000 };
    for (size_t i = 0; i < PROP_ARRAY_LEN(counts); i++) {
        many(&c, agent, counts[i] > 1000 ? "e30=" : packet, counts[i]);
        prop_err_clear(&err);
        assert_int_equal(decrypt_layer(o, c.layer, &c.blob, &out, &digest, &err), PROP_E_LIMIT);
        prop_err_clear(&err);
        int rc = prop_layer_describe(c.layer, &about, &err); /* says so, or refuses */
        assert_true(rc == 0 || rc == PROP_E_LIMIT);
        json_decref(about);
        about = NULL;
    }
    assert_int_equal(asked.times, 0);
    /* longer than an annotation may be */
    many(&c, agent, "e30=", PROP_LIMIT_ANNOTATION / 4);
    prop_err_clear(&err);
    assert_int_equal(decrypt_layer(o, c.layer, &c.blob, &out, &digest, &err), PROP_E_LIMIT);
    /* as many as may be: one kid is asked for once */
    many(&c, agent, packet, PROP_LIMIT_RECIPIENTS);
    prop_err_clear(&err);
    assert_int_not_equal(decrypt_layer(o, c.layer, &c.blob, &out, &digest, &err), 0);
    assert_true(asked.times >= 1 && asked.times <= PROP_LIMIT_RECIPIENTS);
    scene_close(&c);
}

/* 10^5 recipients inside one JWE object. */
static void test_many_in_one_object(void **state)
{
    (void)state;
    const char *jwe = PROP_ENC_KEYS PROP_SCHEME_JWE;
    struct scene c;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(16u << 20), out = PROP_BUF_INIT(1u << 20);
    struct prop_digest digest;
    scene_open(&subjects[3], &c);
    for (size_t n = 1000; n <= 100000; n *= 10) {
        text.len = 0;
        assert_ok(prop_buf_puts(&text, "{\"protected\":\"eyJlbmMiOiJBMjU2R0NNIn0\",\"iv\":\"AAAAAAAAAAAAAAAA\","
                                   "\"ciphertext\":\"AA\",\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"recipients\":[",
                                   &err));
        for (size_t i = 0; i < n; i++)
            assert_ok(prop_buf_puts(&text, i ? ",{\"encrypted_key\":\"AA\"}"
                                                : "{\"encrypted_key\":\"AA\"}", &err));
        assert_ok(prop_buf_puts(&text, "]}", &err));
        prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, text.data, text.len);
        assert_ok(prop_descriptor_annotate(c.layer->json, jwe, b64, &err));
        prop_err_clear(&err);
        int rc = decrypt_layer(c.openers, c.layer, &c.blob, &out, &digest, &err);
        if (rc != PROP_E_LIMIT && rc != PROP_E_INPUT && rc != PROP_E_UNSUPPORTED && rc != PROP_E_VERIFY)
            fail_msg("%zu recipients: %d %s", n, rc, err.message);
        assert_true(n < 100000 || rc == PROP_E_LIMIT);
        prop_err_clear(&err);
    }
    scene_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_annotations), cmocka_unit_test(test_flip_manifest),
        cmocka_unit_test(test_swapped),          cmocka_unit_test(test_members),
        cmocka_unit_test(test_annotation_twice), cmocka_unit_test(test_option_lengths),
        cmocka_unit_test(test_many_recipients),  cmocka_unit_test(test_many_in_one_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
