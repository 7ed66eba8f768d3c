/* What only this room and its tests may do with a layer cipher. */
#ifndef PROP_OCICRYPT_LAYER_INTERNAL_H
#define PROP_OCICRYPT_LAYER_INTERNAL_H

#include "ocicrypt/layer.h"

/* As prop_layer_enc_new with this key and nonce: test vectors. A pair must never be used twice. */
int prop_layer_enc_new_with(const struct prop_secret *key, const uint8_t nonce[16],
                            prop_layer_sink sink, void *ctx, struct prop_layer_enc **ret,
                            struct prop_err *err);

/* Before the first update: the digest of the plaintext is known, and whoever delivers the bytes
 * holds them to it (prop_src_blob), so they are not hashed a second time. */
void prop_layer_enc_known_plain(struct prop_layer_enc *e, const struct prop_digest *plain);

#endif
