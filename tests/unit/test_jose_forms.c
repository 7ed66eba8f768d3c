/* Forms of JWE as other writers make them, built here from the primitives and not by our writer;
 * and everything about a form or header that has to be refused, each with its own cause. */
#include "tests/unit/support.h"

#include "crypto/cipher.h"
#include "jose/jwe.h"
#include "jose/kdf.h"

#define PLAIN "the plaintext"

/* One recipient's key, one ephemeral key, one content key for the whole file. */
static struct prop_pkey *key, *ephemeral;
static char *epk; /* JSON text of the ephemeral public key */
static uint8_t cek_bytes[32];

static int setup(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *jwk = NULL;
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &key, &err));
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &ephemeral, &err));
    OK(prop_jwk_export(ephemeral, false, NULL, &jwk, &err));
    epk = prop_json_compact(jwk);
    json_decref(jwk);
    for (size_t i = 0; i < sizeof(cek_bytes); i++)
        cek_bytes[i] = (uint8_t)(i * 7 + 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    prop_pkey_free(key);
    prop_pkey_free(ephemeral);
    prop_free(epk);
    return 0;
}

/* Everything below leaks through this list, and is freed after each test. */
static char *kept[128];
static size_t n_kept;

static const char *keep(char *p)
{
    assert_non_null(p);
    assert_true(n_kept < PROP_ARRAY_LEN(kept));
    kept[n_kept++] = p;
    return p;
}

static int drop(void **state)
{
    (void)state;
    while (n_kept)
        prop_free(kept[--n_kept]);
    return 0;
}

static const char *b64(const void *data, size_t len)
{
    return keep(prop_b64_encode(PROP_B64_URL, data, len));
}

/* The content key wrapped for our key: KEK of `alg`, as base64url. */
static const char *wrap(const char *alg, size_t kek_len, size_t cek_len, const char *apu,
                        const char *apv)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *z = NULL, *kek = NULL, *cek = secret_of(cek_bytes, cek_len);
    uint8_t out[64];
    size_t n = 0;
    OK(prop_ecdh(ephemeral, key, &z, &err));
    OK(prop_kdf_concat(z, alg, apu, apu ? strlen(apu) : 0, apv, apv ? strlen(apv) : 0, kek_len,
                       &kek, &err));
    OK(prop_kw_wrap(kek, cek, out, sizeof(out), &n, &err));
    prop_secret_free(z);
    prop_secret_free(kek);
    prop_secret_free(cek);
    return b64(out, n);
}

struct content {
    const char *protected_text, *iv, *ciphertext, *tag;
};

/* Encrypt PLAIN under a protected header (JSON text, NULL = none) and an aad member (or NULL). */
static struct content seal(const char *header, const char *aad_member, size_t cek_len)
{
    struct prop_err err = PROP_ERR_INIT;
    uint8_t iv[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, out[64], tag[16];
    struct prop_secret *cek = secret_of(cek_bytes, cek_len);
    struct content c;
    c.protected_text = header ? b64(header, strlen(header)) : "";
    const char *aad = keep(prop_asprintf("%s%s%s", c.protected_text, aad_member ? "." : "",
                                         aad_member ? aad_member : ""));
    OK(prop_gcm_seal(cek, iv, sizeof(iv), aad, strlen(aad), PLAIN, strlen(PLAIN), out, tag, &err));
    prop_secret_free(cek);
    c.iv = b64(iv, sizeof(iv));
    c.ciphertext = b64(out, strlen(PLAIN));
    c.tag = b64(tag, sizeof(tag));
    return c;
}

/* protected, iv, ciphertext, tag as members; `rest` is what else stands in the object. */
static const char *object(const struct content *c, const char *rest)
{
    return keep(prop_asprintf(
        "{\"protected\":\"%s\",%s,\"iv\":\"%s\",\"ciphertext\":\"%s\",\"tag\":\"%s\"}",
        c->protected_text, rest, c->iv, c->ciphertext, c->tag));
}

static const char *full_header(void)
{
    return keep(prop_asprintf("{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":%s}", epk));
}

static void opens(const char *jwe)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *plain = NULL;
    OK(prop_jwe_decrypt(jwe, strlen(jwe), key, &plain, &err));
    assert_secret_is(plain, PLAIN, strlen(PLAIN));
    prop_secret_free(plain);
}

static void refused_len(const char *jwe, size_t len, int code, const char *id)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *plain = NULL;
    FAILS(prop_jwe_decrypt(jwe, len, key, &plain, &err), code, id);
    assert_null(plain);
    assert_int_equal(prop_jwe_decrypt(jwe, len, key, &plain, NULL), code); /* err may be NULL */
}

static void refused(const char *jwe, int code, const char *id)
{
    refused_len(jwe, strlen(jwe), code, id);
}

static void test_flattened_and_compact(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    struct content c = seal(full_header(), NULL, 32);
    opens(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))));
    opens(keep(prop_asprintf("%s.%s.%s.%s.%s", c.protected_text, ek, c.iv, c.ciphertext, c.tag)));
    opens(keep(prop_asprintf(" \n\t%s\r\n",
                             object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))))));
    /* unknown members are somebody else's business */
    opens(object(&c, keep(prop_asprintf("\"x\":[1,{}],\"encrypted_key\":\"%s\"", ek))));
}

static void test_where_headers_stand(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    const char *alg = "\"alg\":\"ECDH-ES+A256KW\"";
    struct content c = seal("{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\"}", NULL, 32);
    opens(object(&c, keep(prop_asprintf("\"unprotected\":{\"epk\":%s},\"encrypted_key\":\"%s\"",
                                        epk, ek)))); /* as libjose does */
    opens(object(&c, keep(prop_asprintf("\"header\":{\"epk\":%s},\"encrypted_key\":\"%s\"", epk,
                                        ek))));
    c = seal("{\"enc\":\"A256GCM\"}", NULL, 32);
    const char *header = keep(prop_asprintf("\"header\":{%s,\"epk\":%s}", alg, epk));
    opens(object(&c, keep(prop_asprintf("%s,\"encrypted_key\":\"%s\"", header, ek))));
    opens(object(&c, keep(prop_asprintf("\"recipients\":[{%s,\"encrypted_key\":\"%s\"}]", header,
                                        ek))));
    opens(object(&c, keep(prop_asprintf("\"recipients\":[{%s,\"encrypted_key\":\"%s\"}],"
                                        "\"encrypted_key\":\"%s\"", header, ek, ek))));
    opens(object(&c, keep(prop_asprintf("\"unprotected\":{%s},\"recipients\":[{\"header\":{"
                                        "\"epk\":%s},\"encrypted_key\":\"%s\"}]", alg, epk, ek))));
    c = seal(NULL, NULL, 32); /* nothing protected at all, with and without the empty member */
    const char *un = keep(prop_asprintf("\"unprotected\":{%s,\"enc\":\"A256GCM\",\"epk\":%s}", alg,
                                        epk));
    opens(object(&c, keep(prop_asprintf("%s,\"encrypted_key\":\"%s\"", un, ek))));
    opens(keep(prop_asprintf("{%s,\"encrypted_key\":\"%s\",\"iv\":\"%s\",\"ciphertext\":\"%s\","
                             "\"tag\":\"%s\"}", un, ek, c.iv, c.ciphertext, c.tag)));
}

static void test_repeated_header_parameter(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    struct content c = seal(full_header(), NULL, 32);
    /* the protected one counts, whatever the others say */
    opens(object(&c, keep(prop_asprintf("\"header\":{\"alg\":\"dir\",\"enc\":\"A128GCM\"},"
                                        "\"unprotected\":{\"alg\":\"none\"},"
                                        "\"encrypted_key\":\"%s\"", ek))));
}

static void test_aad_member(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    struct content c = seal(full_header(), "bW9yZQ", 32);
    opens(object(&c, keep(prop_asprintf("\"aad\":\"bW9yZQ\",\"encrypted_key\":\"%s\"", ek))));
    refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))), PROP_E_VERIFY,
            "jwe-no-key");
    refused(object(&c, keep(prop_asprintf("\"aad\":\"bW9yZg\",\"encrypted_key\":\"%s\"", ek))),
            PROP_E_VERIFY, "jwe-no-key");
    refused(object(&c, keep(prop_asprintf("\"aad\":\"bW9yZR\",\"encrypted_key\":\"%s\"", ek))),
            PROP_E_INPUT, "bad-base64");
    c = seal(full_header(), "", 32); /* present and empty is not absent */
    opens(object(&c, keep(prop_asprintf("\"aad\":\"\",\"encrypted_key\":\"%s\"", ek))));
    refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))), PROP_E_VERIFY,
            "jwe-no-key");
}

static void test_party_info(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, "Alice", "Bob");
    const char *header = keep(prop_asprintf(
        "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":%s,\"apu\":\"QWxpY2U\","
        "\"apv\":\"Qm9i\"}", epk));
    struct content c = seal(header, NULL, 32);
    opens(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))));
    c = seal(full_header(), NULL, 32);
    opens(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\",\"header\":{"
                                        "\"apu\":\"QWxpY2U\",\"apv\":\"Qm9i\"}", ek))));
    refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))), PROP_E_VERIFY,
            "jwe-no-key");
    refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\",\"header\":{\"apu\":\"*\"}",
                                          ek))), PROP_E_INPUT, "bad-base64");
    refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\",\"header\":{\"apv\":7}", ek))),
            PROP_E_INPUT, "json-shape");
}

static void test_other_strengths(void **state)
{
    (void)state;
    const struct { const char *alg; size_t kek; const char *enc; size_t cek; } rows[] = {
        { "ECDH-ES+A128KW", 16, "A128GCM", 16 }, { "ECDH-ES+A192KW", 24, "A192GCM", 24 },
        { "ECDH-ES+A128KW", 16, "A256GCM", 32 }, { "ECDH-ES+A256KW", 32, "A128GCM", 16 },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        const char *h = keep(prop_asprintf("{\"alg\":\"%s\",\"enc\":\"%s\",\"epk\":%s}",
                                           rows[i].alg, rows[i].enc, epk));
        struct content c = seal(h, NULL, rows[i].cek);
        opens(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"",
                                            wrap(rows[i].alg, rows[i].kek, rows[i].cek, NULL,
                                                 NULL)))));
    }
    /* a content key that is longer than `enc` takes */
    const char *h = keep(prop_asprintf("{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A128GCM\","
                                       "\"epk\":%s}", epk));
    struct content c = seal(h, NULL, 32);
    refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"",
                                          wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL)))),
            PROP_E_VERIFY, "jwe-no-key");
}

static void test_several_recipients(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *plain = NULL;
    struct prop_pkey *other = NULL;
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &other, &err));
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    const char *mine = keep(prop_asprintf(
        "{\"header\":{\"alg\":\"ECDH-ES+A256KW\",\"epk\":%s},\"encrypted_key\":\"%s\"}", epk, ek));
    struct content c = seal("{\"enc\":\"A256GCM\"}", NULL, 32);
    static const char *const before[] = {
        "{\"header\":{\"alg\":\"dir\"}}", "{\"header\":{\"alg\":\"RSA1_5\"}}",
        "{\"header\":{\"alg\":\"RSA-OAEP\"},\"encrypted_key\":\"AAAA\"}",
        "{\"header\":{\"alg\":\"ECDH-ES+A256KW\",\"epk\":{\"kty\":\"EC\"}}}",
        "{\"header\":{}}", "{}", "{\"header\":{\"alg\":\"x\",\"crit\":[\"y\"]}}",
        "{\"header\":{\"alg\":\"RSA-OAEP\"},\"encrypted_key\":\"*\"}", "7",
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(before); i++) { /* none of them hides ours */
        const char *jwe = object(&c, keep(prop_asprintf("\"recipients\":[%s,%s]", before[i],
                                                        mine)));
        opens(jwe);
        FAILS(prop_jwe_decrypt(jwe, strlen(jwe), other, &plain, &err), PROP_E_VERIFY,
              "jwe-no-key");
    }
    const char *twice = object(&c, keep(prop_asprintf(
        "\"recipients\":[{\"header\":{\"alg\":\"ECDH-ES+A256KW\",\"epk\":%s},"
        "\"encrypted_key\":\"%s\"},%s]", epk, b64("0123456789012345678901234567890123456789", 40),
        mine)));
    opens(twice); /* same alg, the second is ours */
    prop_pkey_free(other);
}

static void test_header_refusals(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    const struct { const char *members, *id; int code; } rows[] = {
        { "\"alg\":\"none\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"dir\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"ECDH-ES\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"A256KW\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"PBES2-HS256+A128KW\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"HS256\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"ecdh-es+a256kw\",\"enc\":\"A256GCM\"", "jwe-alg", PROP_E_UNSUPPORTED },
        { "\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256CBC-HS512\"", "jwe-enc", PROP_E_UNSUPPORTED },
        { "\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"none\"", "jwe-enc", PROP_E_UNSUPPORTED },
        { "\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"zip\":\"DEF\"", "jwe-zip",
          PROP_E_UNSUPPORTED },
        { "\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"crit\":[\"exp\"]", "jwe-crit",
          PROP_E_UNSUPPORTED },
        { "\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"crit\":[]", "jwe-crit",
          PROP_E_UNSUPPORTED },
        { "\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"", "jwe-no-key", PROP_E_VERIFY },
        { "\"alg\":\"ECDH-ES+A256KW\"", "json-shape", PROP_E_INPUT },
        { "\"enc\":\"A256GCM\"", "json-shape", PROP_E_INPUT },
        { "\"alg\":[\"ECDH-ES+A256KW\"],\"enc\":\"A256GCM\"", "json-shape", PROP_E_INPUT },
        { "\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"alg\":\"ECDH-ES+A256KW\"",
          "json-syntax", PROP_E_INPUT }, /* a member twice */
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        const char *h = keep(prop_asprintf("{%s,\"epk\":%s}", rows[i].members, epk));
        struct content c = seal(h, NULL, 32);
        refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))), rows[i].code,
                rows[i].id);
        drop(NULL);
        ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    }
    struct content c = seal(full_header(), NULL, 32); /* crit and zip count wherever they stand */
    refused(object(&c, keep(prop_asprintf("\"unprotected\":{\"zip\":\"DEF\"},"
                                          "\"encrypted_key\":\"%s\"", ek))),
            PROP_E_UNSUPPORTED, "jwe-zip");
    refused(object(&c, keep(prop_asprintf("\"header\":{\"crit\":[\"b64\"]},"
                                          "\"encrypted_key\":\"%s\"", ek))),
            PROP_E_UNSUPPORTED, "jwe-crit");
}

static void test_bad_epk(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    json_t *good = NULL;
    struct prop_err err = PROP_ERR_INIT;
    OK(prop_json_parse(epk, strlen(epk), "epk", &good, &err));
    const char *x = text_of(good, "x"), *y = text_of(good, "y");
    const char *zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const char *x384 = "YU4rRUzdmVqmRtWOs2OpDE_T5fsNIodcG8G5FWPrTPMyxpzsSOGaQLpe2FpxBmu2";
    const char *y384 = "A8-yxCHxkfBz3hKZfI1jUYMjUhsEveZ9THuwFjH2sCNdtksRJU7D5-SkgaFL1ETP";
    const struct { const char *crv, *x, *y, *id; int code; } rows[] = {
        { "P-256", y, x, "bad-key-numbers", PROP_E_INPUT }, /* not on the curve */
        { "P-256", x, x, "bad-key-numbers", PROP_E_INPUT },
        { "P-256", zero, zero, "bad-key-numbers", PROP_E_INPUT },
        { "P-256", x, "AAAA", "bad-jwk", PROP_E_INPUT }, /* short */
        { "P-384", x, y, "bad-jwk", PROP_E_INPUT },
        { "P-384", x384, y384, "jwe-no-key", PROP_E_VERIFY }, /* fine, but another curve */
        { "secp256k1", x, y, "jwk-type", PROP_E_UNSUPPORTED },
        { "X25519", x, y, "jwk-type", PROP_E_UNSUPPORTED },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        const char *h = keep(prop_asprintf(
            "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"kty\":\"EC\","
            "\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}}", rows[i].crv, rows[i].x, rows[i].y));
        struct content c = seal(h, NULL, 32);
        refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))), rows[i].code,
                rows[i].id);
    }
    json_t *secret_epk = NULL;
    OK(prop_jwk_export(ephemeral, true, NULL, &secret_epk, &err));
    const char *text = keep(prop_json_compact(secret_epk));
    const char *h = keep(prop_asprintf("{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\","
                                       "\"epk\":%s}", text));
    struct content c = seal(h, NULL, 32);
    refused(object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"", ek))), PROP_E_INPUT,
            "bad-jwe");
    json_decref(secret_epk);
    json_decref(good);
}

static void test_bad_shapes(void **state)
{
    (void)state;
    static const struct { const char *text, *id; int code; } rows[] = {
        { "", "bad-jwe", PROP_E_INPUT },
        { "....", "json-shape", PROP_E_INPUT }, /* five empty parts: iv has to have 12 bytes */
        { "...", "bad-jwe", PROP_E_INPUT },
        { ".....", "bad-jwe", PROP_E_INPUT },
        { "[]", "bad-jwe", PROP_E_INPUT },
        { "null", "bad-jwe", PROP_E_INPUT },
        { "{", "json-syntax", PROP_E_INPUT },
        { "{}", "json-shape", PROP_E_INPUT },
        { "{}x", "json-syntax", PROP_E_INPUT },
        { "{\"ciphertext\":\"\"}", "json-shape", PROP_E_INPUT },
        { "{\"ciphertext\":1,\"tag\":\"\"}", "json-shape", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"tag\":\"\"}", "json-syntax", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"protected\":{}}", "json-shape", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"protected\":\"W10\"}", "bad-jwe", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"protected\":\"e30=\"}", "bad-base64",
          PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"protected\":\"e31\"}", "bad-base64", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"protected\":\"e30e\"}", "json-syntax",
          PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"recipients\":[]}", "bad-jwe", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"recipients\":{}}", "json-shape", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"recipients\":[{}],\"header\":{}}", "bad-jwe",
          PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\",\"unprotected\":[]}", "json-shape", PROP_E_INPUT },
        { "{\"ciphertext\":\"\",\"tag\":\"\\u0000\"}", "json-syntax", PROP_E_INPUT },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_secret *plain = NULL;
        if (strcmp(rows[i].text, "....") == 0) {
            FAILS(prop_jwe_decrypt("....", 4, key, &plain, &err), PROP_E_INPUT, "bad-jwe");
            continue;
        }
        refused(rows[i].text, rows[i].code, rows[i].id);
    }
    refused_len("a.b.c.d\0.e", 10, PROP_E_INPUT, "bad-jwe");
}

static void test_bad_parts(void **state)
{
    (void)state;
    const char *ek = wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL);
    struct content c = seal(full_header(), NULL, 32);
    const struct { const char *ek, *iv, *ct, *tag, *id; } rows[] = {
        { ek, "", c.ciphertext, c.tag, "bad-jwe" },
        { ek, "AAAAAAAAAAAAAAAAAAAAAA", c.ciphertext, c.tag, "bad-jwe" }, /* 16-byte iv */
        { ek, c.iv, c.ciphertext, "AAAAAAAAAAAAAAAA", "bad-jwe" },        /* 12-byte tag */
        { ek, c.iv, c.ciphertext, "", "bad-jwe" },
        { ek, keep(prop_asprintf("%s=", c.iv)), c.ciphertext, c.tag, "bad-base64" },
        { ek, c.iv, keep(prop_asprintf("%s=", c.ciphertext)), c.tag, "bad-base64" },
        { ek, c.iv, keep(prop_asprintf(" %s", c.ciphertext)), c.tag, "bad-base64" },
        { ek, c.iv, "+/+/", c.tag, "bad-base64" },
        { ek, c.iv, c.ciphertext, keep(prop_asprintf("%s==", c.tag)), "bad-base64" },
        { keep(prop_asprintf("%s==", ek)), c.iv, c.ciphertext, c.tag, "bad-base64" },
        { "A", c.iv, c.ciphertext, c.tag, "bad-base64" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++)
        refused(keep(prop_asprintf("%s.%s.%s.%s.%s", c.protected_text, rows[i].ek, rows[i].iv,
                                   rows[i].ct, rows[i].tag)), PROP_E_INPUT, rows[i].id);
    static const char *const keys[] = { "", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(keys); i++)
        refused(keep(prop_asprintf("%s.%s.%s.%s.%s", c.protected_text, keys[i], c.iv, c.ciphertext,
                                   c.tag)), PROP_E_VERIFY, "jwe-no-key");
    /* bytes behind a compact text, also a line end */
    refused(keep(prop_asprintf("%s.%s.%s.%s.%s\n", c.protected_text, ek, c.iv, c.ciphertext,
                               c.tag)), PROP_E_INPUT, "bad-base64");
    refused(keep(prop_asprintf("%s.%s.%s.%s.%s.x", c.protected_text, ek, c.iv, c.ciphertext,
                               c.tag)), PROP_E_INPUT, "bad-jwe");
}

static void test_limits(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf many = PROP_BUF_INIT(65536);
    OK(prop_buf_puts(&many, "{\"ciphertext\":\"\",\"tag\":\"\",\"recipients\":[{}", &err));
    for (int i = 1; i < 257; i++)
        OK(prop_buf_puts(&many, ",{}", &err));
    OK(prop_buf_puts(&many, "]}", &err));
    refused(prop_buf_str(&many), PROP_E_LIMIT, "jwe-recipients");
    prop_buf_release(&many);

    char *deep = prop_alloc(201);
    assert_non_null(deep);
    memset(deep, '{', 200);
    deep[200] = 0;
    refused(deep, PROP_E_LIMIT, "json-depth");
    prop_free(deep);

    size_t len = (8u << 20) + 1;
    char *long_text = prop_alloc(len);
    assert_non_null(long_text);
    memset(long_text, 'A', len);
    refused_len(long_text, len, PROP_E_LIMIT, "over-limit");
    prop_free(long_text);
}

static void test_key_that_cannot_open(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *plain = NULL;
    struct prop_pkey *pub = public_of(key), *ed = NULL;
    struct content c = seal(full_header(), NULL, 32);
    const char *jwe = object(&c, keep(prop_asprintf("\"encrypted_key\":\"%s\"",
                                                    wrap("ECDH-ES+A256KW", 32, 32, NULL, NULL))));
    FAILS(prop_jwe_decrypt(jwe, strlen(jwe), pub, &plain, &err), PROP_E_INPUT,
          "not-a-private-key");
    OK(prop_pkey_generate(PROP_PKEY_ED25519, 0, &ed, &err));
    FAILS(prop_jwe_decrypt(jwe, strlen(jwe), ed, &plain, &err), PROP_E_VERIFY, "jwe-no-key");
    prop_pkey_free(pub);
    prop_pkey_free(ed);
}

static void test_describe_without_key(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *list = NULL;
    struct content c = seal("{\"enc\":\"A256CBC-HS512\"}", NULL, 32);
    const char *jwe = object(&c, "\"recipients\":[{\"header\":{\"alg\":\"dir\",\"kid\":7}},"
                                 "{\"header\":{\"alg\":\"RSA-OAEP\",\"kid\":\"a\"}}]");
    OK(prop_jwe_describe(jwe, strlen(jwe), &list, &err));
    char *text = prop_json_compact(list);
    assert_string_equal(text, "[{\"alg\":\"dir\",\"enc\":\"A256CBC-HS512\"},"
                              "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256CBC-HS512\",\"kid\":\"a\"}]");
    prop_free(text);
    json_decref(list);
    list = NULL;
    FAILS(prop_jwe_describe("x", 1, &list, &err), PROP_E_INPUT, "bad-jwe");
    assert_null(list);
}

#define TEST(name) cmocka_unit_test_teardown(name, drop)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flattened_and_compact), TEST(test_where_headers_stand),
        TEST(test_repeated_header_parameter), TEST(test_aad_member), TEST(test_party_info),
        TEST(test_other_strengths), TEST(test_several_recipients), TEST(test_header_refusals),
        TEST(test_bad_epk), TEST(test_bad_shapes), TEST(test_bad_parts), TEST(test_limits),
        TEST(test_key_that_cannot_open), TEST(test_describe_without_key),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
