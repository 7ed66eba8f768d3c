/* The index.json of a layout: which name stands for which manifest (registry.md 7.2). */
#ifndef PROP_OCI_LAYOUT_INDEX_H
#define PROP_OCI_LAYOUT_INDEX_H

#include "oci/manifest.h"
#include "util/err.h"

#include <stddef.h>

#define PROP_ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"

/* Parse an index and check its form. `what` names it. Owned (json_decref). */
int prop_index_parse(const void *bytes, size_t len, const char *what, json_t **ret,
                     struct prop_err *err);
/* An empty one; NULL when memory is out. */
json_t *prop_index_new(void);
/* The entry of `name`: an annotation's text, or "[name]@sha256:..." for a digest, or NULL for the
 * only entry. `ret` borrows from the index. Fails: PROP_E_NOTFOUND (id "image-not-found"),
 * PROP_E_USAGE (id "which-image") when there are several; the hint lists the names. */
int prop_index_find(const json_t *index, const char *name, const char *what,
                    struct prop_descriptor *ret, struct prop_err *err);
/* May an image without a name be written here? Not beside images that have one: nobody could ask
 * for it again. Fails: PROP_E_USAGE (id "which-image"); the hint lists the names. */
int prop_index_check_nameless(const json_t *index, const char *what, struct prop_err *err);
/* Make `name` stand for this manifest; an older entry of that name loses it. NULL = no name: the
 * entry takes the place of those that have none either. */
int prop_index_put(json_t *index, const char *name, const char *media_type,
                   const struct prop_digest *digest, uint64_t size, struct prop_err *err);
/* All names, sorted, as a new JSON array; NULL when memory is out. */
json_t *prop_index_names(const json_t *index);
/* Check the text of an oci-layout file. */
int prop_layout_check_version(const void *bytes, size_t len, const char *what,
                              struct prop_err *err);
/* "<root>/blobs/sha256/<hex>"; NULL when memory is out. */
char *prop_layout_blob_path(const char *root, const struct prop_digest *digest);
/* Read and check "<dir>/oci-layout" and "<dir>/index.json".
 * Fails: PROP_E_NOTFOUND (id "no-such-source"), PROP_E_INPUT (id "not-a-layout"). */
int prop_layout_load(const char *dir, json_t **ret, struct prop_err *err);

#endif
