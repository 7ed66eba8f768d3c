/* Whole images: encrypt or decrypt from one place to another. */
#ifndef PROP_OCICRYPT_IMAGE_H
#define PROP_OCICRYPT_IMAGE_H

#include "oci/image.h"
#include "ocicrypt/recipient.h"
#include "util/err.h"

struct prop_encrypt_options {
    const struct prop_recipients *recipients;
    const char *title;      /* layer title for bare sources; NULL = base name; "" = none */
};
struct prop_encrypt_result {
    struct prop_digest manifest;
    uint64_t manifest_size;
    struct prop_digest layer;       /* first encrypted layer (ciphertext) */
    struct prop_digest plain;       /* its plaintext */
    uint64_t bytes;                 /* plaintext bytes encrypted */
    size_t layers;                  /* how many */
    bool is_wasm;                   /* the first one starts as a Wasm module does */
};
/* Encrypt every layer (a bare module becomes one wasm layer, wasm-to-oci form) while it is written
 * to dst, then put the manifest by digest. The name is NOT given: call prop_dst_tag.
 * Fails: PROP_E_USAGE (id "already-encrypted", "no-recipient"), PROP_E_INPUT (id "no-layers"),
 * PROP_E_UNSUPPORTED (id "index", "foreign-layer", "docker-manifest"). */
int prop_image_encrypt(struct prop_src *src, struct prop_dst *dst,
                       const struct prop_encrypt_options *o, struct prop_encrypt_result *ret,
                       struct prop_err *err);

/* Decrypt an image to another place: annotations removed, media types restored. Each plaintext
 * layer is held back until its HMAC and digest hold. The name is not given either.
 * Fails: PROP_E_INPUT (id "not-encrypted") when no layer is encrypted, what unwrapping and the
 * layer cipher fail with, PROP_E_VERIFY (id "plain-digest-mismatch"). */
int prop_image_decrypt(struct prop_src *src, struct prop_dst *dst, struct prop_openers *openers,
                       struct prop_digest *ret_manifest, struct prop_err *err);

/* Decrypt the one Wasm layer of an image into memory the callback provides: the guest's way.
 * `sink` receives unverified plaintext; valid only if this returns 0. With `plain_ok` false a plain
 * image is PROP_E_DENIED (id "not-encrypted"). Fails otherwise as prop_image_decrypt, and with what
 * the sink failed with. */
int prop_image_decrypt_module(struct prop_src *src, const struct prop_manifest *m,
                              struct prop_openers *openers, bool plain_ok, prop_sink_fn sink,
                              void *ctx, struct prop_err *err);

/* The one Wasm layer of a manifest (both types, plain or encrypted), or PROP_E_INPUT (id
 * "no-wasm-layer") with a list of what is there. Borrowed. */
int prop_manifest_wasm_layer(const struct prop_manifest *m, const struct prop_descriptor **ret,
                             struct prop_err *err);

#endif
