/* Inside this room: layers through the cipher between two places, for the files that work on images. */
#ifndef PROP_OCICRYPT_IMAGE_FLOW_H
#define PROP_OCICRYPT_IMAGE_FLOW_H

#include "oci/image.h"
#include "ocicrypt/layer.h"
#include "ocicrypt/recipient.h"

#include <stdbool.h>
#include <stdint.h>

/* Something that gives plaintext to a sink: a blob, a bare module, a module in a tar. */
struct prop_flow_source {
    int (*read)(void *ctx, prop_sink_fn sink, void *sink_ctx, struct prop_err *err);
    void *ctx;
    uint64_t size;                        /* UINT64_MAX = unknown */
    const struct prop_digest *known;      /* `read` holds the bytes to it; NULL = not known */
    int (*again)(void *ctx, struct prop_err *err); /* before `read` begins anew; NULL: read once */
};
/* Encrypt it into a blob of dst. ret_wasm: it starts as a Wasm module does. Where an upload broke and
 * ciphertext that was sent is needed again, it is begun anew, under another key: one key and nonce never
 * see two plaintexts. */
int prop_flow_encrypt(struct prop_dst *dst, const struct prop_flow_source *from, bool *ret_wasm,
                      struct prop_layer_sealed *ret, struct prop_err *err);

/* Where plaintext goes: a blob of dst, or, without dst, a sink that holds it back until the verdict. */
struct prop_flow_target {
    struct prop_dst *dst;
    prop_layer_sink sink;
    void *ctx;
    bool verify_first; /* not a byte before the verdict: the ciphertext waits in an unnamed file */
};
/* Decrypt one layer of src: 0 only when blob digest, HMAC and, for modules, the stated digest hold. */
int prop_flow_decrypt(struct prop_src *src, const struct prop_descriptor *layer,
                      struct prop_openers *openers, const struct prop_flow_target *to,
                      struct prop_digest *ret_plain, struct prop_err *err);

/* New digest and size of a blob in its descriptor. */
int prop_flow_set_blob(json_t *descriptor, const struct prop_digest *digest, uint64_t size,
                       struct prop_err *err);
/* Wrap the layer's key into its descriptor, and see that it comes out again. */
int prop_flow_seal(const struct prop_recipients *to, const struct prop_layer_sealed *sealed,
                   json_t *layer, struct prop_err *err);

#endif
