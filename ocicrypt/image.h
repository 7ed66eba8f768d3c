/* Whole images: encrypt or decrypt from one place to another. */
#ifndef PROP_OCICRYPT_IMAGE_H
#define PROP_OCICRYPT_IMAGE_H

#include "oci/image.h"
#include "ocicrypt/form.h"
#include "ocicrypt/recipient.h"
#include "util/err.h"

struct prop_encrypt_options {
    const struct prop_recipients *recipients;
    const char *title;      /* layer title for bare sources; NULL = base name; "" = none */
    enum prop_form form;    /* of bare sources */
    /* Of images: which layers ("all", a number from 0 or negative from the end, a media type); none
     * = all. Layers that are encrypted already get the recipients added, which needs `openers`. */
    const char *const *layers;
    size_t n_layers;
    struct prop_openers *openers;
    /* Of an index: which images ("os/arch[/variant]"); none = all. The others are left out; one
     * that was chosen alone is written alone. */
    const char *const *platforms;
    size_t n_platforms;
    /* Leave out what lets others confirm a guessed plaintext: its digests, a component's imports and
     * exports, titles. */
    bool hide;
    /* Arrays that are filled, or NULL; borrowed. `images`: {"digest","platform"?,
     * "layers":[{"media_type","digest","size","plain"?,"action"}]} with the action "encrypted",
     * "recipients-added", "left-plain" or "left-encrypted". `warnings`: texts. */
    json_t *images, *warnings;
};
struct prop_encrypt_result {
    struct prop_digest manifest;    /* the index's, or the image's */
    uint64_t manifest_size;
    struct prop_digest layer;       /* first encrypted layer (ciphertext) */
    struct prop_digest plain;       /* its plaintext */
    uint64_t bytes;                 /* plaintext bytes encrypted */
    size_t layers;                  /* how many */
    bool is_wasm;                   /* the first one starts as a Wasm module does */
    size_t images;                  /* written; more than one are in an index */
    size_t rewrapped;               /* layers that were encrypted and got recipients */
    size_t left_plain;              /* layers that were not chosen */
    size_t converted;               /* images that were Docker's and are OCI's now */
};
/* Encrypt the layers (a bare module becomes one layer in the form asked for) while they are written
 * to dst, then put the manifest by digest. The name is NOT given: call prop_dst_tag.
 * Fails: PROP_E_USAGE (id "already-encrypted" without openers, "no-recipient", "no-such-layer",
 * "bad-layer", and as prop_image_walk), PROP_E_INPUT (id "no-layers", "empty-module", "not-wasm",
 * "bad-component"), PROP_E_UNSUPPORTED (id "foreign-layer", "media-type", "schema1",
 * "private-diff-ids"). */
int prop_image_encrypt(struct prop_src *src, struct prop_dst *dst,
                       const struct prop_encrypt_options *o, struct prop_encrypt_result *ret,
                       struct prop_err *err);

/* Read back what was put and is not named yet: the manifests are those written, and every layer that
 * was encrypted opens for every recipient whose key is at hand. `images` is what prop_image_encrypt
 * filled. ret_layers (may be NULL): array of prop_layer_describe's objects, owned.
 * Fails: PROP_E_VERIFY, as prop_recipients_verify. */
int prop_image_read_back(struct prop_dst *dst, const struct prop_encrypt_result *r,
                         const struct prop_recipients *to, const json_t *images,
                         json_t **ret_layers, struct prop_err *err);

struct prop_decrypt_options {
    struct prop_openers *openers;
    /* Of an index only the images for these; the others are left out. None = all. */
    const char *const *platforms;
    size_t n_platforms;
    /* Plaintext leaves for the destination only when its whole layer was found good: for places on
     * other machines, which cannot be made to forget it. Needs room for the layer in $TMPDIR. */
    bool verify_first;
};
/* Decrypt an image, or every image of an index, to another place: annotations removed, media types
 * restored. No layer is a blob of the destination before its HMAC and digest hold. The name is not
 * given either. Fails: PROP_E_INPUT (id "not-encrypted") when no layer is encrypted, what unwrapping
 * and the layer cipher fail with, PROP_E_VERIFY (id "plain-digest-mismatch"). */
int prop_image_decrypt(struct prop_src *src, struct prop_dst *dst,
                       const struct prop_decrypt_options *o, struct prop_digest *ret_manifest,
                       struct prop_err *err);

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
