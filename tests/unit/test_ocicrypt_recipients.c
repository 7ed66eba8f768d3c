/* Every kind of recipient: wrapped, opened, read back, added to a layer that has others; and lists
 * made to waste a reader's time. */
#include "test_ocicrypt.h"

#include "crypto/x509.h"
#include "jose/jwk.h"
#include "ocicrypt/agent_spec.h"
#include "ocicrypt/packet.h"
#include "util/limits.h"

#define PRIVOPTS                                                                                   \
    "{\"symkey\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\",\"digest\":\"" WASM_SHA "\","    \
    "\"cipheroptions\":{\"nonce\":\"8PHy8/T19vf4+fr7/P3+/w==\"}}"
#define PUBOPTS "{\"cipher\":\"AES_256_CTR_HMAC_SHA256\",\"hmac\":\"hIY4SNTfelTaE7TzluwNRbqou8YVw9Z"    \
    "/je0JnhrJ8ns=\",\"cipheroptions\":{}}"
#define AGENT "provider:attestation-agent:"

static struct prop_secret *privopts(void)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    assert_ok(prop_secret_copy(PRIVOPTS, strlen(PRIVOPTS), &s, &err));
    return s;
}

static json_t *layer_json(void)
{
    json_t *v = json_pack("{s:s,s:s,s:i}", "mediaType", PROP_MT_WASM_LAYER, "digest", WASM_SHA,
                          "size", 41);
    assert_non_null(v);
    return v;
}

static struct prop_recipients *recipients(const char *spec)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_recipients *r = NULL;
    assert_ok(prop_recipients_new(&r, &err));
    assert_ok(prop_recipients_add(r, spec, &err));
    return r;
}

static void read_layer(json_t *json, struct prop_descriptor *ret)
{
    struct prop_err err = PROP_ERR_INIT;
    assert_ok(prop_descriptor_read(json, "layer", ret, &err));
}

/* The openers give back exactly the options that went in. */
static void assert_opens(struct prop_openers *o, const struct prop_descriptor *d)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *got = NULL;
    prop_auto_free char *pub = NULL;
    assert_ok(prop_openers_unwrap(o, d, &got, &pub, &err));
    assert_int_equal(prop_secret_len(got), strlen(PRIVOPTS));
    assert_memory_equal(prop_secret_data(got), PRIVOPTS, strlen(PRIVOPTS));
}

static bool warned(const struct prop_recipients *r, const char *words)
{
    const json_t *all = prop_recipients_warnings(r);
    for (size_t i = 0; i < json_array_size(all); i++)
        if (strstr(json_string_value(json_array_get(all, i)), words))
            return true;
    return false;
}

/* A file of our own with these bytes. */
static const char *file_of(const void *data, size_t len, const char *name)
{
    static char paths[8][256];
    static unsigned next;
    struct prop_err err = PROP_ERR_INIT;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/prop-rcpt-%d-%s",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid(), name);
    assert_ok(prop_file_write(path, data, len, 0600, true, &err));
    return path;
}

enum form { FORM_PEM, FORM_DER, FORM_CERT, FORM_JWK };

static const char *public_file(const struct prop_pkey *key, enum form form, const char *alg)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(65536);
    prop_auto_json json_t *jwk = NULL;
    if (form == FORM_PEM)
        assert_ok(prop_pkey_public_pem(key, &out, &err));
    else if (form == FORM_DER)
        assert_ok(prop_pkey_public_der(key, &out, &err));
    else if (form == FORM_CERT)
        assert_ok(prop_x509_make_ca(key, "receiver", 10, &out, &err));
    else {
        assert_ok(prop_jwk_export(key, false, alg, &jwk, &err));
        prop_auto_free char *text = prop_json_compact(jwk);
        assert_ok(prop_buf_puts(&out, text, &err));
    }
    return file_of(out.data, out.len, "public");
}

static const char *private_file(const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *pem = NULL;
    assert_ok(prop_pkey_private_pem(key, &pem, &err));
    return file_of(prop_secret_data(pem), prop_secret_len(pem), "private");
}

struct way {
    enum prop_pkey_type type;
    enum form form;
    const char *jwk_alg, *option, *alg; /* alg: what must stand in the object */
};
static const struct way ways[] = {
    { PROP_PKEY_RSA, FORM_PEM, NULL, "", "RSA-OAEP" },
    { PROP_PKEY_RSA, FORM_DER, NULL, ":alg=RSA-OAEP", "RSA-OAEP" },
    { PROP_PKEY_RSA, FORM_CERT, NULL, ":alg=RSA-OAEP-256", "RSA-OAEP-256" },
    { PROP_PKEY_RSA, FORM_JWK, "RSA-OAEP-256", "", "RSA-OAEP-256" },
    { PROP_PKEY_RSA, FORM_JWK, "RSA-OAEP-256", ":alg=RSA-OAEP", "RSA-OAEP" },
    { PROP_PKEY_P256, FORM_PEM, NULL, ":alg=ECDH-ES+A256KW", "ECDH-ES+A256KW" },
    { PROP_PKEY_P384, FORM_CERT, NULL, "", "ECDH-ES+A256KW" },
    { PROP_PKEY_P521, FORM_PEM, NULL, "", "ECDH-ES+A256KW" },
    { PROP_PKEY_P521, FORM_JWK, NULL, "", "ECDH-ES+A256KW" },
    { PROP_PKEY_P521, FORM_DER, NULL, "", "ECDH-ES+A256KW" },
};

static void check_way(const struct way *w, const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = privopts();
    prop_auto_json json_t *json = layer_json(), *told = NULL;
    struct prop_descriptor d;
    const char *public = public_file(key, w->form, w->jwk_alg), *private = private_file(key);
    char spec[512];
    snprintf(spec, sizeof(spec), "jwe:%s%s", public, w->option);
    prop_auto_recipients struct prop_recipients *r = recipients(spec);
    prop_auto_openers struct prop_openers *o = NULL;
    assert_int_equal(warned(r, "RSA-OAEP-256"), strcmp(w->alg, "RSA-OAEP-256") == 0);
    assert_ok(prop_recipients_wrap(r, priv, PUBOPTS, json, &err));
    read_layer(json, &d);
    assert_ok(prop_layer_describe(&d, &told, &err));
    json_t *who = json_array_get(json_object_get(json_array_get(json_object_get(told, "schemes"), 0),
                                                 "recipients"), 0);
    assert_string_equal(json_string_value(json_object_get(who, "alg")), w->alg);
    assert_ok(prop_openers_new(&o, &err));
    assert_ok(prop_openers_add(o, private, &err));
    assert_opens(o, &d);
    prop_recipients_set_openers(r, o);
    assert_ok(prop_recipients_verify(r, &d, NULL, &err));
    assert_int_equal(unlink(public), 0);
    assert_int_equal(unlink(private), 0);
}

static void test_every_jwe_key(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *keys[PROP_PKEY_ED25519] = { NULL };
    for (size_t i = 0; i < PROP_ARRAY_LEN(ways); i++) {
        if (!keys[ways[i].type])
            assert_ok(prop_pkey_generate(ways[i].type, 2048, &keys[ways[i].type], &err));
        check_way(&ways[i], keys[ways[i].type]);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(keys); i++)
        prop_pkey_free(keys[i]);
}

/* A private key as the recipient: it receives, and what was wrapped is checked with it, also when a
 * block that somebody else put there stands in its place. */
static void test_private_half_at_hand(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = privopts();
    prop_auto_json json_t *json = layer_json(), *other = layer_json();
    struct prop_descriptor d;
    prop_auto_openers struct prop_openers *o = opener("rsa.pem");
    const char *key = private_key("rsa.pem");
    char spec[512];
    snprintf(spec, sizeof(spec), "jwe:%s", key);
    prop_auto_recipients struct prop_recipients *r = recipients(spec);
    prop_auto_recipients struct prop_recipients *public = recipients("jwe:" FIXTURES
                                                                     "keys/rsa.pub.pem");
    prop_auto_recipients struct prop_recipients *rsa2 = recipients("jwe:" FIXTURES
                                                                   "keys/rsa2.pub.pem");
    assert_ok(prop_recipients_wrap(r, priv, PUBOPTS, json, &err));
    read_layer(json, &d);
    assert_opens(o, &d);
    assert_ok(prop_recipients_verify(r, &d, NULL, &err));
    assert_ok(prop_recipients_wrap(rsa2, priv, PUBOPTS, other, &err));
    read_layer(other, &d);
    assert_ok(prop_recipients_verify(public, &d, NULL, &err)); /* counted only */
    assert_id(prop_recipients_verify(r, &d, NULL, &err), PROP_E_VERIFY, "jwe-no-key");
    prop_recipients_set_openers(public, o);
    assert_id(prop_recipients_verify(public, &d, NULL, &err), PROP_E_VERIFY, "jwe-no-key");
    forget_key(key);
}

static struct prop_openers *pkcs7_opener(void)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_openers *o = opener("rsa.pem");
    assert_ok(prop_openers_add(o, FIXTURES "keys/rsa.crt", &err));
    return o;
}

static void test_pkcs7(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = privopts();
    prop_auto_json json_t *json = layer_json();
    struct prop_descriptor d;
    prop_auto_recipients struct prop_recipients *r = recipients("pkcs7:" FIXTURES "keys/rsa.crt");
    prop_auto_openers struct prop_openers *o = pkcs7_opener();
    assert_true(warned(r, "Rust"));
    assert_false(warned(r, "several key schemes"));
    assert_ok(prop_recipients_add(r, "jwe:" FIXTURES "keys/ec.pub.pem", &err));
    assert_true(warned(r, "several key schemes"));
    prop_recipients_set_openers(r, o);
    assert_ok(prop_recipients_wrap(r, priv, PUBOPTS, json, &err));
    read_layer(json, &d);
    assert_opens(o, &d);
    assert_ok(prop_recipients_verify(r, &d, NULL, &err));
}

/* Certificates that others should not be asked to use. */
static void test_pkcs7_certificate_remarks(void **state)
{
    static const struct {
        unsigned days;
        const char *words;
    } cases[] = { { 0, "has expired" }, { 3650, "key usage" } };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    (void)state;
    assert_ok(prop_pkey_generate(PROP_PKEY_RSA, 2048, &key, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_buf struct prop_buf pem = PROP_BUF_INIT(1u << 20);
        assert_ok(prop_x509_make_ca(key, "t", cases[i].days, &pem, &err));
        const char *path = file_of(pem.data, pem.len, "cert.pem");
        prop_auto_free char *spec = prop_asprintf("pkcs7:%s", path);
        prop_auto_recipients struct prop_recipients *r = recipients(spec);
        assert_true(warned(r, cases[i].words));
        assert_int_equal(unlink(path), 0);
    }
    prop_pkey_free(key);
    prop_auto_recipients struct prop_recipients *good =
        recipients("pkcs7:" FIXTURES "keys/rsa.crt");
    assert_false(warned(good, "the certificate"));
}

/* A pkcs7 block that is damaged never hides the jwe one behind it, nor the other way round. */
static void test_a_bad_scheme_hides_nothing(void **state)
{
    (void)state;
    static const char *const keys[] = { PROP_ENC_KEYS "pkcs7", PROP_ENC_KEYS "jwe",
                                        PROP_ENC_KEYS "pgp", PROP_ENC_KEYS "provider.x",
                                        PROP_ENC_KEYS "provider.attestation-agent" };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = privopts();
    prop_auto_openers struct prop_openers *o = pkcs7_opener();
    for (size_t i = 0; i < 2; i++) {
        prop_auto_json json_t *json = layer_json();
        struct prop_descriptor d;
        prop_auto_recipients struct prop_recipients *r =
            recipients(i == 0 ? "pkcs7:" FIXTURES "keys/rsa.crt" : "jwe:" FIXTURES "keys/rsa.pub.pem");
        assert_ok(prop_recipients_wrap(r, priv, PUBOPTS, json, &err));
        for (size_t k = 0; k < PROP_ARRAY_LEN(keys); k++)
            if (k != i)
                assert_ok(prop_descriptor_annotate(json, keys[k], "MIIBbQ==,e30=,!", &err));
        read_layer(json, &d);
        assert_opens(o, &d);
    }
}

/* --- attestation-agent: where the KEK comes from --- */

struct supply {
    struct prop_resource_id asked;
    unsigned fetched, generated;
    int fail;
};

static struct prop_secret *kek_of(uint8_t value)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    uint8_t b[32];
    memset(b, value, sizeof(b));
    assert_ok(prop_secret_copy(b, sizeof(b), &s, &err));
    return s;
}

static int fetch(void *ctx, const struct prop_resource_id *kid, struct prop_secret **ret,
                 struct prop_err *err)
{
    struct supply *s = ctx;
    s->asked = *kid;
    s->fetched++;
    if (s->fail)
        return prop_err_set_id(err, PROP_E_DENIED, "policy-deny", "no");
    *ret = kek_of(0x11);
    return 0;
}

static int generate(void *ctx, struct prop_resource_id *kid, struct prop_secret **ret,
                    struct prop_err *err)
{
    struct supply *s = ctx;
    (void)err;
    s->asked = *kid;
    s->generated++;
    if (!kid->repo[0])
        *kid = (struct prop_resource_id){ "", "default", "key", "fresh" };
    *ret = kek_of(0x22);
    return 0;
}

static void test_kek_supply(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct supply s = { .fetched = 0 };
    const struct prop_kek_supply none = { NULL, NULL, NULL }, asks = { fetch, NULL, &s },
                                 makes = { fetch, generate, &s };
    prop_auto_recipients struct prop_recipients *r = NULL;
    const char *kek = private_key("kek32.bin");
    char with_file[512];
    snprintf(with_file, sizeof(with_file), AGENT "keypath=%s::keyid=kbs:///a/b/file", kek);
    assert_ok(prop_recipients_new(&r, &err));
    prop_recipients_set_supply(r, &none);
    assert_id(prop_recipients_add(r, AGENT "keyid=kbs:///a/b/c", &err), PROP_E_USAGE,
              "bad-recipient");
    prop_recipients_set_supply(r, &asks);
    assert_ok((prop_err_clear(&err), prop_recipients_add(r, AGENT "keyid=kbs:///a/b/c", &err)));
    assert_string_equal(s.asked.tag, "c");
    assert_int_equal(s.fetched, 1);
    assert_id(prop_recipients_add(r, "provider:attestation-agent", &err), PROP_E_USAGE,
              "bad-recipient");
    /* what is wrong with the name is found before anybody is asked */
    assert_id(prop_recipients_add(r, AGENT "keyid=kbs:///a/b/c", &err), PROP_E_USAGE,
              "duplicate-recipient");
    assert_id(prop_recipients_add(r, AGENT "keyid=kbs://evil.example.com/a/b/d", &err),
              PROP_E_USAGE, "kid-host");
    assert_int_equal(s.fetched, 1);
    s.fail = 1;
    assert_id(prop_recipients_add(r, AGENT "keyid=kbs:///a/b/d", &err), PROP_E_DENIED,
              "policy-deny");
    assert_int_equal(prop_recipients_count(r), 1);
    prop_recipients_set_supply(r, &makes);
    assert_id(prop_recipients_add(r, AGENT "keyid=kbs://evil.example.com/a/b/d", &err),
              PROP_E_USAGE, "kid-host");
    assert_int_equal(s.generated, 0);
    assert_ok((prop_err_clear(&err), prop_recipients_add(r, "provider:attestation-agent", &err)));
    assert_string_equal(s.asked.repo, "");
    assert_ok(prop_recipients_add(r, AGENT "keyid=kbs:///a/b/e", &err));
    assert_int_equal(s.generated, 2);
    assert_ok(prop_recipients_add(r, with_file, &err)); /* a file wins */
    assert_int_equal(s.generated, 2);
    assert_int_equal(prop_recipients_count(r), 4);
    assert_id(prop_recipients_add(r, AGENT "keypath=x", &err), PROP_E_USAGE, "bad-recipient");
    assert_id(prop_recipients_add(r, AGENT "keyid=::keypath=x", &err), PROP_E_USAGE,
              "bad-recipient");
    forget_key(kek);
}

/* A256CTR: written on request only, opened on request only, never taken for a GCM packet. */
static void test_a256ctr(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = privopts(), *none = NULL;
    prop_auto_free char *pub = NULL;
    prop_auto_json json_t *json = layer_json();
    struct prop_descriptor d;
    prop_auto_recipients struct prop_recipients *r = NULL, *gcm = NULL;
    prop_auto_openers struct prop_openers *o = opener("kek32.bin");
    const char *kek = private_key("kek32.bin");
    char spec[512];
    snprintf(spec, sizeof(spec), AGENT "keypath=%s::keyid=kbs:///a/b/c::algorithm=A256CTR", kek);
    assert_ok(prop_recipients_new(&r, &err));
    assert_id(prop_recipients_add(r, spec, &err), PROP_E_UNSUPPORTED, "a256ctr-refused");
    assert_non_null(strstr(err.hint, "--allow-a256ctr"));
    prop_recipients_allow_a256ctr(r, true);
    assert_ok((prop_err_clear(&err), prop_recipients_add(r, spec, &err)));
    assert_true(warned(r, "no integrity"));
    assert_ok(prop_recipients_wrap(r, priv, PUBOPTS, json, &err));
    read_layer(json, &d);
    assert_ok(prop_recipients_verify(r, &d, NULL, &err));
    assert_id(prop_openers_unwrap(o, &d, &none, &pub, &err), PROP_E_DENIED, "a256ctr-refused");
    prop_openers_allow_a256ctr(o, true);
    assert_opens(o, &d);
    /* who asked for GCM is not content with it */
    *strstr(spec, "::algorithm") = 0;
    gcm = recipients(spec);
    assert_id(prop_recipients_verify(gcm, &d, NULL, &err), PROP_E_VERIFY, "recipient-missing");
    forget_key(kek);
}

/* --- more recipients for a layer --- */

static void test_append(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *priv = privopts(), *kek = kek_of(5);
    prop_auto_json json_t *json = layer_json();
    struct prop_descriptor d;
    static const struct prop_resource_id kid = { "", "a", "b", "c" };
    prop_auto_recipients struct prop_recipients *first = recipients("jwe:" FIXTURES
                                                                    "keys/ec.pub.pem");
    prop_auto_recipients struct prop_recipients *more = recipients("pkcs7:" FIXTURES
                                                                   "keys/rsa.crt");
    prop_auto_openers struct prop_openers *ec = opener("ec.pem"), *pkcs7 = pkcs7_opener(),
                                          *rsa = opener("rsa2.pem"), *jwk = opener("rsakid.jwk"),
                                          *packet = NULL;
    size_t added = 0;
    assert_ok(prop_openers_new(&packet, &err));
    assert_ok(prop_openers_add_kek(packet, kek, &err));
    assert_ok(prop_recipients_add(more, "jwe:" FIXTURES "keys/rsa2.pub.pem", &err));
    assert_ok(prop_recipients_add(more, "jwe:" FIXTURES "keys/rsakid.pub.jwk", &err));
    assert_ok(prop_recipients_add_kek(more, kek, &kid, &err));
    assert_ok(prop_recipients_wrap(first, priv, PUBOPTS, json, &err));
    prop_auto_json json_t *before = json_deep_copy(json);
    assert_ok(prop_recipients_append(more, priv, json, &added, &err));
    assert_int_equal(added, 4);
    read_layer(json, &d);
    struct prop_openers *const all[] = { ec, pkcs7, rsa, jwk, packet };
    for (size_t i = 0; i < PROP_ARRAY_LEN(all); i++)
        assert_opens(all[i], &d);
    assert_true(json_equal(json_object_get(json, "mediaType"), json_object_get(before, "mediaType")));
    /* again: the certificate, the JWK's kid and the KEK are known; the bare key is not */
    assert_ok(prop_recipients_append(more, priv, json, &added, &err));
    assert_int_equal(added, 1);
    prop_recipients_set_openers(more, rsa);
    assert_ok(prop_recipients_append(more, priv, json, &added, &err));
    assert_int_equal(added, 0);
    read_layer(json, &d);
    assert_ok(prop_recipients_verify(more, &d, NULL, &err));
    assert_ok(prop_recipients_verify(first, &d, NULL, &err));
}

/* --- made to waste time --- */

static void test_hostile_lists(void **state)
{
    (void)state;
    enum { N = 100000 };
    static const char *const keys[] = { PROP_ENC_KEYS "jwe", PROP_ENC_KEYS "pkcs7",
                                        PROP_ENC_KEYS "provider.attestation-agent",
                                        PROP_ENC_KEYS "pgp" };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_openers struct prop_openers *o = pkcs7_opener();
    prop_auto_buf struct prop_buf list = PROP_BUF_INIT(1u << 20);
    prop_auto_free char *pub64 = prop_b64_encode(PROP_B64_STD, PUBOPTS, strlen(PUBOPTS));
    for (int i = 0; i < N; i++)
        assert_ok(prop_buf_puts(&list, "e30=,", &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(keys); i++) {
        prop_auto_json json_t *json = layer_json(), *told = NULL;
        prop_auto_secret struct prop_secret *none = NULL;
        prop_auto_free char *pub = NULL;
        struct prop_descriptor d;
        json_object_set_new(json, "mediaType", json_string(PROP_MT_WASM_LAYER "+encrypted"));
        assert_ok(prop_descriptor_annotate(json, PROP_ENC_PUBOPTS, pub64, &err));
        assert_ok(prop_descriptor_annotate(json, keys[i], prop_buf_str(&list), &err));
        read_layer(json, &d);
        if (strstr(keys[i], "pgp"))
            assert_id(prop_openers_unwrap(o, &d, &none, &pub, &err), PROP_E_UNSUPPORTED,
                      "pgp-unsupported");
        else
            assert_id(prop_openers_unwrap(o, &d, &none, &pub, &err), PROP_E_LIMIT, "over-limit");
        assert_id(prop_layer_describe(&d, &told, &err), PROP_E_LIMIT, "over-limit");
        prop_err_clear(&err);
    }
}

/* Tens of thousands of annotations, each with a block of its own that names another key: every one is
 * looked at once, and the key broker is asked eight times. */
static void test_hostile_annotations(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct prop_err err = PROP_ERR_INIT;
    struct supply s = { .fail = 1 };
    prop_auto_openers struct prop_openers *o = NULL;
    prop_auto_json json_t *json = layer_json();
    prop_auto_secret struct prop_secret *none = NULL;
    prop_auto_free char *pub = NULL;
    prop_auto_free char *pub64 = prop_b64_encode(PROP_B64_STD, PUBOPTS, strlen(PUBOPTS));
    prop_auto_buf struct prop_buf list = PROP_BUF_INIT(1u << 20);
    struct prop_descriptor d;
    json_object_set_new(json, "mediaType", json_string(PROP_MT_WASM_LAYER "+encrypted"));
    assert_ok(prop_descriptor_annotate(json, PROP_ENC_PUBOPTS, pub64, &err));
    for (int i = 0; i < N; i++) {
        char key[80];
        snprintf(key, sizeof(key), PROP_ENC_KEYS "provider.x%d", i);
        assert_ok(prop_descriptor_annotate(json, key, "e30=", &err));
    }
    for (int i = 0; i < 200; i++) {
        char text[256];
        snprintf(text, sizeof(text), "{\"kid\":\"kbs:///a/b/k%d\",\"wrapped_data\":\"AAAAAAAAAAAAAAAAAAAA"
                 "AAAAAAAA\",\"iv\":\"AAAAAAAAAAAAAAAA\",\"wrap_type\":\"A256GCM\"}", i);
        assert_ok(prop_b64_append(&list, PROP_B64_STD, text, strlen(text), &err));
        assert_ok(prop_buf_puts(&list, ",", &err));
    }
    assert_ok(prop_descriptor_annotate(json, PROP_ENC_KEYS PROP_SCHEME_AGENT, prop_buf_str(&list),
                                       &err));
    read_layer(json, &d);
    assert_ok(prop_openers_new(&o, &err));
    prop_openers_set_kek_source(o, fetch, &s);
    for (int layer = 0; layer < 20; layer++)
        assert_int_not_equal(prop_openers_unwrap(o, &d, &none, &pub, &err), 0);
    assert_int_equal(s.fetched, 64); /* over all layers of one image */
    assert_string_equal(prop_err_id(&err), "over-limit");
}

/* OpenPGP and PKCS#11 are told apart and named, and nothing of them is opened. */
static void test_recognised_only(void **state)
{
    (void)state;
    /* two PKESK packets, old header then new, RSA and ECDH; then a data packet of unknown length */
    static const uint8_t pgp[] = { 0x84, 12, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0xff, 0xff,
                                   0xc1, 12, 3, 0xfe, 2, 3, 4, 5, 6, 7, 8, 18, 0xff, 0xff,
                                   0xd2, 0xff };
    static const char pkcs11[] = "{\"version\":0,\"recipients\":[{\"version\":0,\"blob\":\"AAAA\","
                                 "\"hash\":\"sha256\"},{\"version\":0,\"blob\":\"AAAA\"}]}";
    const struct {
        const char *key, *id, *member, *values[2];
        const void *data;
        size_t len;
    } cases[] = {
        { PROP_ENC_KEYS "pgp", "pgp-unsupported", "key_id", { "0102030405060708", "fe02030405060708" },
          pgp, sizeof(pgp) },
        { PROP_ENC_KEYS "pkcs11", "pkcs11-unsupported", "hash", { "sha256", "sha1" }, pkcs11,
          sizeof(pkcs11) - 1 },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_openers struct prop_openers *o = pkcs7_opener();
    prop_auto_free char *pub64 = prop_b64_encode(PROP_B64_STD, PUBOPTS, strlen(PUBOPTS));
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        prop_auto_json json_t *json = layer_json(), *told = NULL;
        prop_auto_secret struct prop_secret *none = NULL;
        prop_auto_free char *pub = NULL;
        prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, cases[i].data, cases[i].len);
        struct prop_descriptor d;
        json_object_set_new(json, "mediaType", json_string(PROP_MT_WASM_LAYER "+encrypted"));
        assert_ok((prop_err_clear(&err),
                   prop_descriptor_annotate(json, PROP_ENC_PUBOPTS, pub64, &err)));
        assert_ok(prop_descriptor_annotate(json, cases[i].key, text, &err));
        read_layer(json, &d);
        assert_ok(prop_layer_describe(&d, &told, &err));
        const json_t *who = json_object_get(
            json_array_get(json_object_get(told, "schemes"), 0), "recipients");
        assert_int_equal(json_array_size(who), 2);
        for (size_t k = 0; k < 2; k++)
            assert_string_equal(json_string_value(json_object_get(json_array_get(who, k),
                                                                  cases[i].member)),
                                cases[i].values[k]);
        assert_id(prop_openers_unwrap(o, &d, &none, &pub, &err), PROP_E_UNSUPPORTED, cases[i].id);
        assert_true(err.hint[0] != 0);
    }
}

/* Every prefix of an OpenPGP message is told without reading past its end. */
static void test_cut_pgp(void **state)
{
    (void)state;
    static const uint8_t pgp[] = { 0xc1, 0xff, 0, 0, 0, 12, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0xff, 0xff,
                                   0xc1, 0xc0, 0x00, 3, 1, 2, 3, 4, 5, 6, 7, 8 };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_free char *pub64 = prop_b64_encode(PROP_B64_STD, PUBOPTS, strlen(PUBOPTS));
    for (size_t len = 1; len <= sizeof(pgp); len++) {
        prop_auto_json json_t *json = layer_json(), *told = NULL;
        uint8_t *copy = prop_alloc(len);
        memcpy(copy, pgp, len);
        prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, copy, len);
        struct prop_descriptor d;
        json_object_set_new(json, "mediaType", json_string(PROP_MT_WASM_LAYER "+encrypted"));
        assert_ok(prop_descriptor_annotate(json, PROP_ENC_PUBOPTS, pub64, &err));
        assert_ok(prop_descriptor_annotate(json, PROP_ENC_KEYS "pgp", text, &err));
        read_layer(json, &d);
        assert_ok(prop_layer_describe(&d, &told, &err));
        prop_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_jwe_key),      cmocka_unit_test(test_private_half_at_hand),
        cmocka_unit_test(test_pkcs7), cmocka_unit_test(test_pkcs7_certificate_remarks),
                     cmocka_unit_test(test_a_bad_scheme_hides_nothing),
        cmocka_unit_test(test_kek_supply),         cmocka_unit_test(test_a256ctr),
        cmocka_unit_test(test_append),             cmocka_unit_test(test_hostile_lists),
        cmocka_unit_test(test_hostile_annotations), cmocka_unit_test(test_recognised_only),
        cmocka_unit_test(test_cut_pgp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
