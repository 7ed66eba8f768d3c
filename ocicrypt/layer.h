/* The layer cipher AES_256_CTR_HMAC_SHA256 (ocicrypt.md 3, 4): streaming, one pass, flat memory.
 * Hashing runs beside the cipher on a second thread where there is a second core. */
#ifndef PROP_OCICRYPT_LAYER_H
#define PROP_OCICRYPT_LAYER_H

#include "crypto/digest.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stddef.h>
#include <stdint.h>

typedef int (*prop_layer_sink)(void *ctx, const void *data, size_t len, struct prop_err *err);

/* Encrypt: new (fresh random key and nonce), update..., final, free. */
struct prop_layer_enc;
struct prop_layer_sealed {
    struct prop_digest plain;    /* sha256 of the plaintext */
    struct prop_digest cipher;   /* sha256 of the ciphertext: the blob's digest */
    uint64_t size;               /* both */
    char *pubopts;               /* public options JSON text, owned */
    struct prop_secret *privopts;/* private options JSON text: what recipients get, owned */
};
int prop_layer_enc_new(prop_layer_sink sink, void *ctx, struct prop_layer_enc **ret,
                       struct prop_err *err);
/* `data` is read during the call only. */
int prop_layer_enc_update(struct prop_layer_enc *e, const void *data, size_t len,
                          struct prop_err *err);
int prop_layer_enc_final(struct prop_layer_enc *e, struct prop_layer_sealed *ret,
                         struct prop_err *err);
void prop_layer_enc_free(struct prop_layer_enc *e);
void prop_layer_sealed_release(struct prop_layer_sealed *s);

/* Decrypt: the sink gets plaintext that is NOT yet authenticated and must hold it back (an unnamed
 * file, sealed memory) until final returned 0. */
struct prop_layer_dec;
int prop_layer_dec_new(const char *pubopts, const struct prop_secret *privopts,
                       prop_layer_sink sink, void *ctx, struct prop_layer_dec **ret,
                       struct prop_err *err);
int prop_layer_dec_update(struct prop_layer_dec *d, const void *data, size_t len,
                          struct prop_err *err);
/* Fails: PROP_E_VERIFY (id "hmac-mismatch"). ret_plain: digest of what was decrypted;
 * ret_stated (may be NULL): the digest the private options state (a remark only, ocicrypt.md 3). */
int prop_layer_dec_final(struct prop_layer_dec *d, struct prop_digest *ret_plain,
                         struct prop_digest *ret_stated, struct prop_err *err);
void prop_layer_dec_free(struct prop_layer_dec *d);

#endif
