/* Symmetric ciphers in use: AES-256-CTR (layers), AES-GCM (JWE, packets), AES key wrap (RFC 3394). */
#ifndef PROP_CRYPTO_CIPHER_H
#define PROP_CRYPTO_CIPHER_H

#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stddef.h>
#include <stdint.h>

/* AES-256-CTR, the whole 16-byte block is the counter, big-endian (ocicrypt.md 4). Encryption and
 * decryption are the same operation. `in` and `out` may be the same memory. */
struct prop_ctr;
int prop_ctr_new(const struct prop_secret *key32, const uint8_t nonce[16], struct prop_ctr **ret,
                 struct prop_err *err);
int prop_ctr_update(struct prop_ctr *c, const void *in, size_t len, void *out,
                    struct prop_err *err);
void prop_ctr_free(struct prop_ctr *c);
PROP_DEFINE_AUTO(struct prop_ctr *, prop_ctr_free)
#define prop_auto_ctr __attribute__((cleanup(prop_ctr_free_p)))

/* AES-GCM with a 16-byte tag (SP 800-38D). The key's length (16, 24, 32) chooses AES-128/192/256.
 * seal: `out` takes len bytes. open: the plaintext is handed out only if the tag holds
 * (PROP_E_VERIFY otherwise, nothing is returned). `iv_len` is 12 in every caller of ours. */
int prop_gcm_seal(const struct prop_secret *key, const uint8_t *iv, size_t iv_len,
                  const void *aad, size_t aad_len, const void *in, size_t len, uint8_t *out,
                  uint8_t tag[16], struct prop_err *err);
int prop_gcm_open(const struct prop_secret *key, const uint8_t *iv, size_t iv_len,
                  const void *aad, size_t aad_len, const void *in, size_t len,
                  const uint8_t tag[16], struct prop_secret **ret, struct prop_err *err);

/* AES key wrap, RFC 3394 with the default IV. KEK 16, 24 or 32 bytes; the wrapped key is 8 bytes
 * longer than `key` (16 to 64 bytes, a multiple of 8). unwrap: PROP_E_VERIFY when it does not open. */
int prop_kw_wrap(const struct prop_secret *kek, const struct prop_secret *key, uint8_t *out,
                 size_t out_size, size_t *ret_len, struct prop_err *err);
int prop_kw_unwrap(const struct prop_secret *kek, const uint8_t *wrapped, size_t len,
                   struct prop_secret **ret, struct prop_err *err);

#endif
