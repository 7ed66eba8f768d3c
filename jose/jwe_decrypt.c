/* Reading JWE (RFC 7516 section 5.2). Every recipient is tried until one opens; a recipient that is
 * malformed or of an unknown algorithm never hides another that works. The plaintext leaves
 * prop_gcm_open only after its tag held, and a wrong key is not told apart from a wrong tag. */
#include "jose/jwe.h"

#include "crypto/cipher.h"
#include "jose/jwe_alg.h"
#include "jose/jwe_parts.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stddef.h>
#include <string.h>

#define WRAPPED_MAX 2048 /* an RSA block of 8192 bits, with room */

struct header {
    const char *alg, *enc;
    json_t *zip, *crit;
};
static const struct prop_json_field header_fields[] = {
    { "alg", PROP_JSON_STRING, offsetof(struct header, alg), PROP_JSON_REQUIRED },
    { "enc", PROP_JSON_STRING, offsetof(struct header, enc), PROP_JSON_REQUIRED },
    { "zip", PROP_JSON_ANY, offsetof(struct header, zip), 0 },
    { "crit", PROP_JSON_ANY, offsetof(struct header, crit), 0 },
};

/* What all recipients share, decoded. */
struct sealed {
    struct prop_buf iv, ciphertext, tag, aad;
};

static void sealed_release(struct sealed *s)
{
    prop_buf_release(&s->iv);
    prop_buf_release(&s->ciphertext);
    prop_buf_release(&s->tag);
    prop_buf_release(&s->aad);
}
#define auto_sealed __attribute__((cleanup(sealed_release)))

static int decode(const char *text, const char *what, size_t want, struct prop_buf *out,
                  struct prop_err *err)
{
    int rc = prop_b64_decode(PROP_B64_URL, text, strlen(text), what, out, err);
    if (rc)
        return rc;
    if (want && out->len != want)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-jwe", "%s has %zu bytes, needs %zu", what,
                               out->len, want);
    return 0;
}

static int decode_sealed(const struct prop_jwe_parts *parts, struct sealed *s,
                         struct prop_err *err)
{
    prop_auto_buf struct prop_buf aad = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    int rc = decode(parts->iv, "iv of the JWE", 12, &s->iv, err);
    if (rc == 0)
        rc = decode(parts->ciphertext, "ciphertext of the JWE", 0, &s->ciphertext, err);
    if (rc == 0)
        rc = decode(parts->tag, "tag of the JWE", 16, &s->tag, err);
    if (rc == 0 && parts->aad) /* used as text, but it has to be base64url */
        rc = decode(parts->aad, "aad of the JWE", 0, &aad, err);
    return rc ? rc : prop_jwe_parts_aad(parts, &s->aad, err);
}

static int no_key(struct prop_err *err)
{
    int rc = prop_err_set_id(err, PROP_E_VERIFY, "jwe-no-key",
                             "the JWE does not open with this key, or it was changed");
    (void)prop_err_hint(err, "check that the key is the one it was encrypted for");
    return rc;
}

/* The rows of one recipient, or why it cannot be read. */
static int check_header(const json_t *merged, const struct prop_jwe_alg **ret_alg,
                        const struct prop_jwe_enc **ret_enc, struct prop_err *err)
{
    struct header h = { 0 };
    int rc = prop_json_read(merged, "JWE header", header_fields, PROP_ARRAY_LEN(header_fields), &h,
                            err);
    if (rc)
        return rc;
    if (h.crit)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwe-crit",
                               "the JWE's header has critical extensions ('crit')");
    if (h.zip)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwe-zip",
                               "compressed JWE content ('zip') is not supported");
    const struct prop_jwe_alg *alg = prop_jwe_alg_find(h.alg);
    if (!alg || !(alg->use & PROP_JWE_READ))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwe-alg",
                               "JWE key management '%.40s' is not supported", h.alg);
    const struct prop_jwe_enc *enc = prop_jwe_enc_find(h.enc);
    if (!enc)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwe-enc",
                               "JWE content encryption '%.40s' is not supported", h.enc);
    *ret_alg = alg;
    *ret_enc = enc;
    return 0;
}

static int try_recipient(const struct prop_jwe_parts *parts, size_t i, const struct sealed *s,
                         const struct prop_pkey *key, struct prop_secret **ret,
                         struct prop_err *err)
{
    const struct prop_jwe_alg *alg = NULL;
    const struct prop_jwe_enc *enc = NULL;
    const char *text = NULL;
    prop_auto_json json_t *merged = NULL;
    prop_auto_secret struct prop_secret *cek = NULL;
    prop_auto_buf struct prop_buf wrapped = PROP_BUF_INIT(WRAPPED_MAX);

    int rc = prop_jwe_parts_header(parts, i, &merged, err);
    if (rc == 0)
        rc = check_header(merged, &alg, &enc, err);
    if (rc == 0)
        rc = prop_jwe_parts_key(parts, i, &text, err);
    if (rc == 0)
        rc = decode(text, "encrypted_key of the JWE", 0, &wrapped, err);
    if (rc)
        return rc;
    if (!prop_jwe_alg_fits(alg, key))
        return no_key(err);
    rc = alg->unwrap(alg, key, merged, &wrapped, &cek, err);
    if (rc)
        return rc == PROP_E_VERIFY ? no_key(err) : rc;
    if (prop_secret_len(cek) != enc->key_bytes)
        return no_key(err);
    rc = prop_gcm_open(cek, s->iv.data, s->iv.len, s->aad.data, s->aad.len, s->ciphertext.data,
                       s->ciphertext.len, s->tag.data, ret, err);
    return rc == PROP_E_VERIFY ? no_key(err) : rc;
}

/* Which of two recipients' failures is told: a key that did not open says most. */
static int weight(int rc)
{
    switch (rc) {
    case PROP_E_VERIFY: return 3;
    case PROP_E_INPUT: return 2;
    default: return 1;
    }
}

static bool is_about_recipient(int rc)
{
    return rc == PROP_E_VERIFY || rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED ||
           rc == PROP_E_LIMIT;
}

int prop_jwe_decrypt(const char *jwe, size_t len, const struct prop_pkey *key,
                     struct prop_secret **ret, struct prop_err *err)
{
    const struct prop_buf empty = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    prop_auto_jwe_parts struct prop_jwe_parts parts = { 0 };
    auto_sealed struct sealed s = { empty, empty, empty, empty };
    struct prop_err worst = PROP_ERR_INIT;

    if (!prop_pkey_is_private(key))
        return prop_err_set_id(err, PROP_E_INPUT, "not-a-private-key",
                               "a public key opens nothing");
    int rc = prop_jwe_parts_init(jwe, len, &parts, err);
    if (rc == 0)
        rc = decode_sealed(&parts, &s, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < parts.n_recipients; i++) {
        struct prop_err e = PROP_ERR_INIT;
        rc = try_recipient(&parts, i, &s, key, ret, &e);
        if (rc == 0)
            return 0;
        if (worst.code == PROP_OK || !is_about_recipient(rc) ||
            weight(rc) > weight((int)worst.code))
            worst = e;
        if (!is_about_recipient(rc)) /* memory, our own mistake: trying on would not help */
            break;
    }
    if (err)
        *err = worst;
    return (int)worst.code;
}

static int describe_one(const json_t *merged, json_t *list, struct prop_err *err)
{
    static const char *const names[] = { "alg", "enc", "kid" };
    prop_auto_json json_t *o = json_object();
    if (!o)
        return prop_err_nomem(err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        json_t *v = json_object_get(merged, names[i]);
        if (json_is_string(v) && json_object_set(o, names[i], v))
            return prop_err_nomem(err);
    }
    json_t *crv = json_object_get(json_object_get(merged, "epk"), "crv");
    if (json_is_string(crv) && json_object_set(o, "epk_crv", crv))
        return prop_err_nomem(err);
    return json_array_append(list, o) ? prop_err_nomem(err) : 0;
}

int prop_jwe_describe(const char *jwe, size_t len, json_t **ret, struct prop_err *err)
{
    prop_auto_jwe_parts struct prop_jwe_parts parts = { 0 };
    prop_auto_json json_t *list = json_array();
    int rc = list ? prop_jwe_parts_init(jwe, len, &parts, err) : prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < parts.n_recipients; i++) {
        prop_auto_json json_t *merged = NULL;
        rc = prop_jwe_parts_header(&parts, i, &merged, err);
        if (rc == 0)
            rc = describe_one(merged, list, err);
    }
    if (rc)
        return rc;
    *ret = PROP_TAKE(list);
    return 0;
}
