#include "crypto/cipher.h"

#include "crypto/ossl.h"

#include <openssl/err.h>

#include <limits.h>

struct prop_ctr {
    EVP_CIPHER_CTX *ctx;
};

int prop_ctr_new(const struct prop_secret *key32, const uint8_t nonce[16], struct prop_ctr **ret,
                 struct prop_err *err)
{
    if (prop_secret_len(key32) != 32)
        return prop_err_set_id(err, PROP_E_INPUT, "key-length",
                               "invalid key length of %zu bytes, 32 are needed",
                               prop_secret_len(key32));
    prop_auto_ctr struct prop_ctr *c = prop_zalloc(sizeof *c);
    if (!c)
        return prop_err_nomem(err);
    c->ctx = EVP_CIPHER_CTX_new();
    if (!c->ctx || EVP_EncryptInit_ex2(c->ctx, EVP_aes_256_ctr(), prop_secret_data(key32), nonce,
                                       NULL) != 1)
        return prop_ossl_error(err, "AES-256-CTR");
    *ret = PROP_TAKE(c);
    return 0;
}

/* EVP lengths are int: longer runs go in pieces. */
static int cipher_update(EVP_CIPHER_CTX *ctx, const void *in, size_t len, void *out)
{
    const uint8_t *i = in;
    uint8_t *o = out;
    while (len) {
        int piece = len > (1u << 30) ? (1 << 30) : (int)len;
        int done = 0;
        if (EVP_CipherUpdate(ctx, o, &done, i, piece) != 1 || done != piece)
            return -1;
        i += piece;
        o += piece;
        len -= (size_t)piece;
    }
    return 0;
}

int prop_ctr_update(struct prop_ctr *c, const void *in, size_t len, void *out, struct prop_err *err)
{
    return cipher_update(c->ctx, in, len, out) ? prop_ossl_error(err, "AES-256-CTR") : 0;
}

void prop_ctr_free(struct prop_ctr *c)
{
    if (!c)
        return;
    EVP_CIPHER_CTX_free(c->ctx);
    prop_free(c);
}

static const EVP_CIPHER *gcm_for(size_t key_len)
{
    switch (key_len) {
    case 16: return EVP_aes_128_gcm();
    case 24: return EVP_aes_192_gcm();
    case 32: return EVP_aes_256_gcm();
    default: return NULL;
    }
}

/* Set up GCM and feed the AAD; the caller frees *ret. */
static int gcm_begin(const struct prop_secret *key, const uint8_t *iv, size_t iv_len,
                     const void *aad, size_t aad_len, int encrypt, EVP_CIPHER_CTX **ret,
                     struct prop_err *err)
{
    const EVP_CIPHER *cipher = gcm_for(prop_secret_len(key));
    if (!cipher || iv_len < 1 || iv_len > 16 || aad_len > INT_MAX)
        return prop_err_set_id(err, PROP_E_INPUT, "key-length",
                               "AES-GCM with a key of %zu and an IV of %zu bytes",
                               prop_secret_len(key), iv_len);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    if (!ctx || EVP_CipherInit_ex(ctx, cipher, NULL, NULL, NULL, encrypt) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)iv_len, NULL) != 1 ||
        EVP_CipherInit_ex(ctx, NULL, NULL, prop_secret_data(key), iv, encrypt) != 1 ||
        (aad_len && EVP_CipherUpdate(ctx, NULL, &n, aad, (int)aad_len) != 1)) {
        EVP_CIPHER_CTX_free(ctx);
        return prop_ossl_error(err, "AES-GCM");
    }
    *ret = ctx;
    return 0;
}

int prop_gcm_seal(const struct prop_secret *key, const uint8_t *iv, size_t iv_len, const void *aad,
                  size_t aad_len, const void *in, size_t len, uint8_t *out, uint8_t tag[16],
                  struct prop_err *err)
{
    EVP_CIPHER_CTX *ctx = NULL;
    int rc = gcm_begin(key, iv, iv_len, aad, aad_len, 1, &ctx, err);
    if (rc)
        return rc;
    int n = 0;
    uint8_t none[16];
    if (cipher_update(ctx, in, len, out) || EVP_CipherFinal_ex(ctx, none, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) != 1)
        rc = prop_ossl_error(err, "AES-GCM");
    EVP_CIPHER_CTX_free(ctx);
    return rc;
}

int prop_gcm_open(const struct prop_secret *key, const uint8_t *iv, size_t iv_len, const void *aad,
                  size_t aad_len, const void *in, size_t len, const uint8_t tag[16],
                  struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *plain = NULL;
    int rc = prop_secret_new(len, &plain, err);
    EVP_CIPHER_CTX *ctx = NULL;
    if (!rc)
        rc = gcm_begin(key, iv, iv_len, aad, aad_len, 0, &ctx, err);
    if (rc)
        return rc;
    uint8_t expected[16], none[16];
    int n = 0;
    for (int i = 0; i < 16; i++)
        expected[i] = tag[i];
    if (cipher_update(ctx, in, len, prop_secret_bytes(plain)) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, expected) != 1)
        rc = prop_ossl_error(err, "AES-GCM");
    else if (EVP_CipherFinal_ex(ctx, none, &n) != 1)
        rc = prop_err_set_id(err, PROP_E_VERIFY, "tag-mismatch", "the authentication tag is wrong");
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    if (rc)
        return rc;
    *ret = PROP_TAKE(plain);
    return 0;
}

static const EVP_CIPHER *wrap_for(size_t kek_len)
{
    switch (kek_len) {
    case 16: return EVP_aes_128_wrap();
    case 24: return EVP_aes_192_wrap();
    case 32: return EVP_aes_256_wrap();
    default: return NULL;
    }
}

static EVP_CIPHER_CTX *wrap_begin(const struct prop_secret *kek, int encrypt)
{
    const EVP_CIPHER *cipher = wrap_for(prop_secret_len(kek));
    EVP_CIPHER_CTX *ctx = cipher ? EVP_CIPHER_CTX_new() : NULL;
    if (!ctx)
        return NULL;
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex(ctx, cipher, NULL, prop_secret_data(kek), NULL, encrypt) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

int prop_kw_wrap(const struct prop_secret *kek, const struct prop_secret *key, uint8_t *out,
                 size_t out_size, size_t *ret_len, struct prop_err *err)
{
    size_t len = prop_secret_len(key);
    if (len < 16 || len > 64 || len % 8 || out_size < len + 8)
        return prop_err_set_id(err, PROP_E_INPUT, "key-length",
                               "key wrap of %zu bytes is not possible", len);
    EVP_CIPHER_CTX *ctx = wrap_begin(kek, 1);
    int n = 0, rc = 0;
    if (!ctx || EVP_CipherUpdate(ctx, out, &n, prop_secret_data(key), (int)len) != 1 ||
        (size_t)n != len + 8)
        rc = prop_ossl_error(err, "AES key wrap");
    EVP_CIPHER_CTX_free(ctx);
    if (!rc)
        *ret_len = (size_t)n;
    return rc;
}

int prop_kw_unwrap(const struct prop_secret *kek, const uint8_t *wrapped, size_t len,
                   struct prop_secret **ret, struct prop_err *err)
{
    if (len < 24 || len > 72 || len % 8)
        return prop_err_set_id(err, PROP_E_VERIFY, "unwrap-failed",
                               "a wrapped key of %zu bytes does not open", len);
    EVP_CIPHER_CTX *ctx = wrap_begin(kek, 0);
    if (!ctx)
        return prop_ossl_error(err, "AES key unwrap");
    prop_auto_secret struct prop_secret *key = NULL;
    int n = 0, rc = prop_secret_new(len, &key, err);
    if (!rc && (EVP_CipherUpdate(ctx, prop_secret_bytes(key), &n, wrapped, (int)len) != 1 ||
                (size_t)n != len - 8))
        rc = prop_err_set_id(err, PROP_E_VERIFY, "unwrap-failed", "the wrapped key does not open");
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    if (rc)
        return rc;
    prop_secret_truncate(key, len - 8);
    *ret = PROP_TAKE(key);
    return 0;
}
