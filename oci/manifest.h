/* Descriptors and manifests: strict reading, and writing in the member order of Go's image-spec,
 * so that encrypt-then-decrypt gives back the same bytes (ocicrypt.md 7, registry.md 1). */
#ifndef PROP_OCI_MANIFEST_H
#define PROP_OCI_MANIFEST_H

#include "crypto/digest.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stdint.h>

#define PROP_MT_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define PROP_MT_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define PROP_MT_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define PROP_MT_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define PROP_MT_WASM_LAYER "application/vnd.wasm.content.layer.v1+wasm"
#define PROP_MT_WASM_CONFIG "application/vnd.wasm.config.v1+json"
#define PROP_MT_CNCF_LAYER "application/wasm"
#define PROP_MT_CNCF_CONFIG "application/vnd.wasm.config.v0+json"
#define PROP_MT_ENCRYPTED "+encrypted"
#define PROP_ANNOTATION_TITLE "org.opencontainers.image.title"

struct prop_descriptor {
    const char *media_type;    /* borrowed from `json` */
    struct prop_digest digest;
    uint64_t size;
    json_t *json;              /* the whole descriptor object, borrowed from the manifest */
};

struct prop_manifest {
    json_t *json;              /* owned */
    struct prop_descriptor config;
    struct prop_descriptor *layers; /* owned array */
    size_t n_layers;
};

/* Parse an image manifest. `media_type` is what the server or layout said, or NULL.
 * Fails: PROP_E_INPUT (schemaVersion not 2, missing members, duplicate keys, types that disagree),
 *        PROP_E_UNSUPPORTED (id "index") for an index or list, PROP_E_LIMIT. */
int prop_manifest_parse(const void *bytes, size_t len, const char *media_type, const char *what,
                        struct prop_manifest *ret, struct prop_err *err);
void prop_manifest_release(struct prop_manifest *m);
#define prop_auto_manifest __attribute__((cleanup(prop_manifest_release)))

/* The media type of manifest bytes: the body's, else what the server said (NULL = nothing), else by
 * shape. Owned. Fails: PROP_E_INPUT (id "media-type-mismatch" when they disagree, or malformed),
 * PROP_E_UNSUPPORTED (id "media-type"). An index is not refused here. */
int prop_manifest_type(const void *bytes, size_t len, const char *said, const char *what,
                       char **ret, struct prop_err *err);

/* Read one descriptor object; `what` names it. */
int prop_descriptor_read(json_t *object, const char *what, struct prop_descriptor *ret,
                         struct prop_err *err);
/* New descriptor object {mediaType, digest, size}; NULL when memory is out. Owned. */
json_t *prop_descriptor_new(const char *media_type, const struct prop_digest *digest,
                            uint64_t size);
/* An annotation of a descriptor, or NULL; borrowed. Set or remove (value NULL) one. */
const char *prop_descriptor_annotation(const struct prop_descriptor *d, const char *key);
int prop_descriptor_annotate(json_t *descriptor, const char *key, const char *value,
                             struct prop_err *err);

/* Canonical bytes: compact, Go's member order, annotation keys sorted, < > & escaped. */
int prop_manifest_write(const json_t *manifest, struct prop_buf *out, struct prop_err *err);

/* The same escapes for an index.json, members as they stand. */
int prop_index_write(const json_t *index, struct prop_buf *out, struct prop_err *err);

/* Build the wasm-to-oci manifest object (registry.md 1.1) around a layer descriptor. Owned. */
json_t *prop_manifest_new_wasm(const struct prop_digest *layer_digest, uint64_t layer_size,
                               const char *title);
/* The two bytes of its config blob, "{}", and their digest. */
extern const char prop_wasm_config_blob[3];
int prop_wasm_config_digest(struct prop_digest *ret, struct prop_err *err);

#endif
