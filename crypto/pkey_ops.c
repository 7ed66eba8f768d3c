/* What keys do: RSA key transport, ECDH, signatures. */
#include "crypto/ossl.h"
#include "crypto/pkey.h"
#include "crypto/random.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

static int rsa_begin(const struct prop_pkey *k, enum prop_rsa_pad pad, bool encrypt,
                     EVP_PKEY_CTX **ret, struct prop_err *err)
{
    if (prop_pkey_get_type(k) != PROP_PKEY_RSA)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-type", "an RSA key is needed here");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, prop_pkey_evp(k), NULL);
    const EVP_MD *md = pad == PROP_RSA_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();
    int mode = pad == PROP_RSA_PKCS1_V15 ? RSA_PKCS1_PADDING : RSA_PKCS1_OAEP_PADDING;
    int ok = ctx && (encrypt ? EVP_PKEY_encrypt_init(ctx) : EVP_PKEY_decrypt_init(ctx)) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(ctx, mode) == 1;
    if (ok && mode == RSA_PKCS1_OAEP_PADDING)
        ok = EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1;
    if (ok) {
        *ret = ctx;
        return 0;
    }
    EVP_PKEY_CTX_free(ctx);
    return prop_ossl_error(err, "RSA");
}

int prop_rsa_encrypt(const struct prop_pkey *pub, enum prop_rsa_pad pad,
                     const struct prop_secret *in, struct prop_buf *out, struct prop_err *err)
{
    EVP_PKEY_CTX *ctx = NULL;
    int rc = rsa_begin(pub, pad, true, &ctx, err);
    if (rc)
        return rc;
    size_t len = (size_t)EVP_PKEY_get_size(prop_pkey_evp(pub));
    rc = prop_buf_reserve(out, len, err);
    if (!rc && EVP_PKEY_encrypt(ctx, out->data + out->len, &len, prop_secret_data(in),
                                prop_secret_len(in)) != 1)
        rc = prop_ossl_error(err, "RSA encryption");
    if (!rc) {
        out->len += len;
        out->data[out->len] = 0;
    }
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

int prop_rsa_decrypt(const struct prop_pkey *priv, enum prop_rsa_pad pad, const void *in, size_t len,
                     struct prop_secret **ret, struct prop_err *err)
{
    if (pad == PROP_RSA_PKCS1_V15)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "rsa1_5", "RSA1_5 is never decrypted here");
    EVP_PKEY_CTX *ctx = NULL;
    int rc = rsa_begin(priv, pad, false, &ctx, err);
    if (rc)
        return rc;
    prop_auto_secret struct prop_secret *s = NULL;
    size_t n = (size_t)EVP_PKEY_get_size(prop_pkey_evp(priv));
    rc = prop_secret_new(n, &s, err);
    if (!rc && EVP_PKEY_decrypt(ctx, prop_secret_bytes(s), &n, in, len) != 1)
        rc = prop_err_set_id(err, PROP_E_VERIFY, "unwrap-failed", "the wrapped key does not open");
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    if (rc)
        return rc;
    prop_secret_truncate(s, n);
    *ret = PROP_TAKE(s);
    return 0;
}

int prop_rsa_decrypt_or_random(const struct prop_pkey *priv, const void *in, size_t len,
                               size_t want, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *s = NULL, *fallback = NULL;
    size_t room = (size_t)EVP_PKEY_get_size(prop_pkey_evp(priv)), n = room;
    EVP_PKEY_CTX *ctx = NULL;
    int rc;
    if ((rc = prop_random_secret(want, &fallback, err)) != 0 ||
        (rc = prop_secret_new(room, &s, err)) != 0 ||
        (rc = rsa_begin(priv, PROP_RSA_PKCS1_V15, false, &ctx, err)) != 0)
        return rc;
    int ok = EVP_PKEY_decrypt(ctx, prop_secret_bytes(s), &n, in, len) == 1 && n == want;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    if (ok)
        prop_secret_truncate(s, n);
    *ret = ok ? PROP_TAKE(s) : PROP_TAKE(fallback);
    return 0;
}

int prop_ecdh(const struct prop_pkey *priv, const struct prop_pkey *peer, struct prop_secret **ret,
              struct prop_err *err)
{
    enum prop_pkey_type type = prop_pkey_get_type(priv);
    if (type != prop_pkey_get_type(peer) || type == PROP_PKEY_RSA || type == PROP_PKEY_ED25519)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-type",
                               "two EC keys on one curve are needed for ECDH");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, prop_pkey_evp(priv), NULL);
    size_t n = 0;
    prop_auto_secret struct prop_secret *z = NULL;
    int rc = 0;
    if (!ctx || EVP_PKEY_derive_init(ctx) != 1 ||
        EVP_PKEY_derive_set_peer(ctx, prop_pkey_evp(peer)) != 1 ||
        EVP_PKEY_derive(ctx, NULL, &n) != 1)
        rc = prop_ossl_error(err, "ECDH");
    if (!rc)
        rc = prop_secret_new(n, &z, err);
    if (!rc && EVP_PKEY_derive(ctx, prop_secret_bytes(z), &n) != 1)
        rc = prop_ossl_error(err, "ECDH");
    EVP_PKEY_CTX_free(ctx);
    if (rc)
        return rc;
    prop_secret_truncate(z, n);
    *ret = PROP_TAKE(z);
    return 0;
}

/* JOSE's hash and half width per curve; Ed25519 hashes by itself. */
static int signature_shape(const struct prop_pkey *k, const EVP_MD **md, size_t *half,
                           struct prop_err *err)
{
    switch (prop_pkey_get_type(k)) {
    case PROP_PKEY_P256: *md = EVP_sha256(); *half = 32; return 0;
    case PROP_PKEY_P384: *md = EVP_sha384(); *half = 48; return 0;
    case PROP_PKEY_P521: *md = EVP_sha512(); *half = 66; return 0;
    case PROP_PKEY_ED25519: *md = NULL; *half = 32; return 0;
    case PROP_PKEY_RSA: break;
    }
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-type",
                           "RSA keys do not sign here (Ed25519 and EC keys do)");
}

/* DER ECDSA-Sig-Value to r||s. */
static int der_to_raw(const uint8_t *der, size_t len, size_t half, uint8_t *out)
{
    const unsigned char *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
    int ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) > 0 &&
             BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) > 0;
    ECDSA_SIG_free(sig);
    return ok ? 0 : -1;
}

int prop_sign(const struct prop_pkey *priv, const void *data, size_t len, struct prop_buf *sig,
              struct prop_err *err)
{
    const EVP_MD *md = NULL;
    size_t half = 0;
    int rc = signature_shape(priv, &md, &half, err);
    if (rc)
        return rc;
    uint8_t out[160], raw[132];
    size_t n = sizeof out;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestSignInit(ctx, NULL, md, NULL, prop_pkey_evp(priv)) != 1 ||
        EVP_DigestSign(ctx, out, &n, data, len) != 1 || (md && der_to_raw(out, n, half, raw)))
        rc = prop_ossl_error(err, "signature");
    EVP_MD_CTX_free(ctx);
    return rc ? rc : prop_buf_add(sig, md ? raw : out, md ? 2 * half : n, err);
}

/* r||s to DER; NULL for numbers that cannot be. The caller frees with OPENSSL_free. */
static unsigned char *raw_to_der(const uint8_t *raw, size_t half, size_t *ret_len)
{
    unsigned char *der = NULL;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)half, NULL), *s = BN_bin2bn(raw + half, (int)half, NULL);
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        int n = i2d_ECDSA_SIG(sig, &der);
        *ret_len = n > 0 ? (size_t)n : 0;
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return der;
}

int prop_verify(const struct prop_pkey *pub, const void *data, size_t len, const void *sig,
                size_t sig_len, struct prop_err *err)
{
    const EVP_MD *md = NULL;
    size_t half = 0;
    int rc = signature_shape(pub, &md, &half, err);
    if (rc)
        return rc;
    unsigned char *der = NULL;
    size_t n = sig_len;
    if (md && sig_len == 2 * half)
        der = raw_to_der(sig, half, &n);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = sig_len == 2 * half && (!md || der) && ctx &&
             EVP_DigestVerifyInit(ctx, NULL, md, NULL, prop_pkey_evp(pub)) == 1 &&
             EVP_DigestVerify(ctx, md ? der : sig, n, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ERR_clear_error();
    return ok ? 0 : prop_err_set_id(err, PROP_E_VERIFY, "bad-signature", "the signature is wrong");
}
