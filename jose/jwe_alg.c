/* Key management rows: RSA key transport (RFC 7518 sections 4.2, 4.3) and ECDH-ES with AES key wrap
 * (section 4.6). RSA1_5 has no reader: PKCS#1 v1.5 decryption is an oracle by construction. */
#include "jose/jwe_alg.h"

#include "crypto/cipher.h"
#include "jose/jwk.h"
#include "jose/kdf.h"
#include "util/encode.h"
#include "util/mem.h"

#include <string.h>

#define RSA_MIN_BITS 2048  /* RFC 7518 sections 4.2, 4.3 */
#define PARTY_INFO_MAX 1024 /* bytes of apu, apv */

static int check_rsa_size(const struct prop_pkey *key, struct prop_err *err)
{
    if (prop_pkey_bits(key) >= RSA_MIN_BITS)
        return 0;
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "weak-key",
                           "an RSA key of %u bits, %d or more are needed", prop_pkey_bits(key),
                           RSA_MIN_BITS);
}

static int wrap_rsa(const struct prop_jwe_alg *alg, const struct prop_pkey *pub,
                    const struct prop_secret *cek, json_t *header, struct prop_buf *out,
                    struct prop_err *err)
{
    (void)header;
    int rc = check_rsa_size(pub, err);
    return rc ? rc : prop_rsa_encrypt(pub, alg->pad, cek, out, err);
}

static int unwrap_rsa(const struct prop_jwe_alg *alg, const struct prop_pkey *priv,
                      const json_t *header, const struct prop_buf *encrypted,
                      struct prop_secret **ret_cek, struct prop_err *err)
{
    (void)header;
    int rc = check_rsa_size(priv, err);
    return rc ? rc : prop_rsa_decrypt(priv, alg->pad, encrypted->data, encrypted->len, ret_cek,
                                      err);
}

/* The agreed key of one side's private and the other's public key. */
static int agree(const struct prop_jwe_alg *alg, const struct prop_pkey *priv,
                 const struct prop_pkey *pub, const struct prop_buf *apu,
                 const struct prop_buf *apv, struct prop_secret **ret_kek, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *z = NULL;
    int rc = prop_ecdh(priv, pub, &z, err);
    return rc ? rc : prop_kdf_concat(z, alg->name, apu->data, apu->len, apv->data, apv->len,
                                     alg->kek_bytes, ret_kek, err);
}

/* epk as {"crv","kty","x","y"}: the real KBS client puts the names in this order before it checks
 * the tag (kbs.md 2.6). */
static int set_epk(json_t *header, const struct prop_pkey *ephemeral, struct prop_err *err)
{
    static const char *const names[] = { "crv", "kty", "x", "y" };
    prop_auto_json json_t *jwk = NULL, *epk = json_object();
    int rc = epk ? prop_jwk_export(ephemeral, false, NULL, &jwk, err) : prop_err_nomem(err);
    if (rc)
        return rc;
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++)
        if (json_object_set(epk, names[i], json_object_get(jwk, names[i])))
            return prop_err_nomem(err);
    return json_object_set(header, "epk", epk) ? prop_err_nomem(err) : 0;
}

static int wrap_ecdh(const struct prop_jwe_alg *alg, const struct prop_pkey *pub,
                     const struct prop_secret *cek, json_t *header, struct prop_buf *out,
                     struct prop_err *err)
{
    static const struct prop_buf nobody = PROP_BUF_INIT(0); /* apu and apv are never written */
    prop_auto_pkey struct prop_pkey *ephemeral = NULL;
    prop_auto_secret struct prop_secret *kek = NULL;
    uint8_t wrapped[72];
    size_t len = 0;

    int rc = prop_pkey_generate(prop_pkey_get_type(pub), 0, &ephemeral, err);
    if (rc == 0)
        rc = agree(alg, ephemeral, pub, &nobody, &nobody, &kek, err);
    if (rc == 0)
        rc = prop_kw_wrap(kek, cek, wrapped, sizeof(wrapped), &len, err);
    if (rc == 0)
        rc = set_epk(header, ephemeral, err);
    return rc ? rc : prop_buf_add(out, wrapped, len, err);
}

struct ecdh_header {
    json_t *epk;
    const char *apu, *apv;
};
static const struct prop_json_field ecdh_fields[] = {
    { "epk", PROP_JSON_OBJECT, offsetof(struct ecdh_header, epk), PROP_JSON_REQUIRED },
    { "apu", PROP_JSON_STRING, offsetof(struct ecdh_header, apu), 0 },
    { "apv", PROP_JSON_STRING, offsetof(struct ecdh_header, apv), 0 },
};

static int read_epk(const json_t *epk, struct prop_pkey **ret, struct prop_err *err)
{
    prop_auto_pkey struct prop_pkey *key = NULL;
    int rc = prop_jwk_import(epk, "epk of the JWE", &key, err);
    if (rc)
        return rc;
    if (prop_pkey_is_private(key))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-jwe", "epk of the JWE is a private key");
    *ret = PROP_TAKE(key);
    return 0;
}

static int unwrap_ecdh(const struct prop_jwe_alg *alg, const struct prop_pkey *priv,
                       const json_t *header, const struct prop_buf *encrypted,
                       struct prop_secret **ret_cek, struct prop_err *err)
{
    struct ecdh_header h = { 0 };
    prop_auto_pkey struct prop_pkey *epk = NULL;
    prop_auto_secret struct prop_secret *kek = NULL;
    prop_auto_buf struct prop_buf apu = PROP_BUF_INIT(PARTY_INFO_MAX);
    prop_auto_buf struct prop_buf apv = PROP_BUF_INIT(PARTY_INFO_MAX);

    int rc = prop_json_read(header, "JWE header", ecdh_fields, PROP_ARRAY_LEN(ecdh_fields), &h,
                            err);
    if (rc == 0)
        rc = read_epk(h.epk, &epk, err);
    if (rc == 0 && h.apu)
        rc = prop_b64_decode(PROP_B64_URL, h.apu, strlen(h.apu), "apu of the JWE", &apu, err);
    if (rc == 0 && h.apv)
        rc = prop_b64_decode(PROP_B64_URL, h.apv, strlen(h.apv), "apv of the JWE", &apv, err);
    if (rc)
        return rc;
    if (prop_pkey_get_type(epk) != prop_pkey_get_type(priv)) /* somebody else's recipient */
        return prop_err_set(err, PROP_E_VERIFY, "epk of the JWE is on another curve");
    rc = agree(alg, priv, epk, &apu, &apv, &kek, err);
    return rc ? rc : prop_kw_unwrap(kek, encrypted->data, encrypted->len, ret_cek, err);
}

#define RSA_ROW(name, pad, use) { name, false, use, pad, 0, wrap_rsa, unwrap_rsa }
#define ECDH_ROW(name, bytes, use)                                                                 \
    { name, true, use, PROP_RSA_OAEP_SHA1, bytes, wrap_ecdh, unwrap_ecdh }
static const struct prop_jwe_alg algs[] = {
    RSA_ROW("RSA-OAEP", PROP_RSA_OAEP_SHA1, PROP_JWE_WRITE | PROP_JWE_READ | PROP_JWE_DEFAULT),
    RSA_ROW("RSA-OAEP-256", PROP_RSA_OAEP_SHA256, PROP_JWE_WRITE | PROP_JWE_READ),
    { "RSA1_5", false, PROP_JWE_WRITE_ASKED, PROP_RSA_PKCS1_V15, 0, wrap_rsa, NULL },
    ECDH_ROW("ECDH-ES+A256KW", 32, PROP_JWE_WRITE | PROP_JWE_READ | PROP_JWE_DEFAULT),
    ECDH_ROW("ECDH-ES+A192KW", 24, PROP_JWE_READ),
    ECDH_ROW("ECDH-ES+A128KW", 16, PROP_JWE_READ),
};

static const struct prop_jwe_enc encs[] = {
    { "A256GCM", 32 }, { "A192GCM", 24 }, { "A128GCM", 16 },
};

const struct prop_jwe_alg *prop_jwe_alg_find(const char *name)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(algs); i++)
        if (strcmp(algs[i].name, name) == 0)
            return &algs[i];
    return NULL;
}

const struct prop_jwe_alg *prop_jwe_alg_default(const struct prop_pkey *key)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(algs); i++)
        if ((algs[i].use & PROP_JWE_DEFAULT) && prop_jwe_alg_fits(&algs[i], key))
            return &algs[i];
    return NULL;
}

const struct prop_jwe_enc *prop_jwe_enc_find(const char *name)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(encs); i++)
        if (strcmp(encs[i].name, name) == 0)
            return &encs[i];
    return NULL;
}

bool prop_jwe_alg_fits(const struct prop_jwe_alg *alg, const struct prop_pkey *key)
{
    enum prop_pkey_type type = prop_pkey_get_type(key);
    if (type == PROP_PKEY_ED25519)
        return false;
    return alg->ec == (type != PROP_PKEY_RSA);
}
