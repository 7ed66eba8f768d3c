/* The public and private options objects of an encrypted layer (ocicrypt.md 3). Written exactly as
 * Go does; read tolerantly: any member order, unknown members ignored. */
#ifndef PROP_OCICRYPT_OPTIONS_H
#define PROP_OCICRYPT_OPTIONS_H

#include "crypto/digest.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdint.h>

#define PROP_LAYER_CIPHER "AES_256_CTR_HMAC_SHA256"
#define PROP_LAYER_KEY 32
#define PROP_LAYER_NONCE 16
#define PROP_LAYER_HMAC 32

/* Both objects put together: what decryption needs. */
struct prop_layer_options {
    struct prop_secret *key;             /* owned */
    uint8_t nonce[PROP_LAYER_NONCE];
    uint8_t hmac[PROP_LAYER_HMAC];
    struct prop_digest stated;           /* of the source blob; len 0 = none stated */
};
void prop_layer_options_release(struct prop_layer_options *o);
#define prop_auto_layer_options __attribute__((cleanup(prop_layer_options_release)))

/* Public options text; owned by the caller (prop_free). */
int prop_layer_pubopts_write(const uint8_t hmac[PROP_LAYER_HMAC], char **ret,
                             struct prop_err *err);
/* Private options text. */
int prop_layer_privopts_write(const struct prop_secret *key,
                              const uint8_t nonce[PROP_LAYER_NONCE],
                              const struct prop_digest *plain, struct prop_secret **ret,
                              struct prop_err *err);

/* Read both. The nonce may stand in either; where both have one they must agree, since the HMAC
 * does not cover the public one.
 * Fails: PROP_E_INPUT (id "bad-options"), PROP_E_UNSUPPORTED (id "unsupported-cipher"),
 * PROP_E_VERIFY (id "nonce-mismatch"). */
int prop_layer_options_read(const char *pubopts, const struct prop_secret *privopts,
                            struct prop_layer_options *ret, struct prop_err *err);

/* Is this text private options at all: 0, or as prop_layer_options_read fails. Tells a right key
 * from a wrong one where the wrapping has no tag. */
int prop_layer_privopts_check(const struct prop_secret *privopts, struct prop_err *err);

#endif
