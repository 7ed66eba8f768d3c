/* Files as an artifact: one Wasm module in one of its forms, or any files as oras packs them. */
#ifndef PROP_CMD_PROPPUSH_PACK_H
#define PROP_CMD_PROPPUSH_PACK_H

#include "cmd/cli/cli.h"
#include "oci/image.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum proppush_form {
    PROPPUSH_FORM_WASM_TO_OCI,
    PROPPUSH_FORM_CNCF,
    PROPPUSH_FORM_TAR,
    PROPPUSH_FORM_ORAS
};
/* "wasm-to-oci" (or "propeller"), "cncf", "tar", "oras". PROP_E_USAGE (id "bad-form"). */
int proppush_form_parse(const char *text, enum proppush_form *ret, struct prop_err *err);

/* "FILE" or "FILE:TYPE"; a file of that very name wins. Owned strings. */
struct proppush_file {
    char *path;
    char *type;  /* or NULL */
    char *title; /* of its layer; "" = none */
};
int proppush_file_read(const char *text, struct proppush_file *ret, struct prop_err *err);
void proppush_file_release(struct proppush_file *f);

struct proppush_pack {
    const struct proppush_file *files;
    size_t n;
    enum proppush_form form;
    const char *media_type;    /* of files without their own; NULL = by content */
    const char *artifact_type; /* or NULL */
    const char *author;        /* cncf only, or NULL */
    const struct proppush_file *config; /* oras only, or NULL */
    json_t *annotations;       /* object of texts; borrowed */
    json_t *subject;           /* descriptor, or NULL; borrowed */
    /* A dry run: what is not there yet is counted instead of written. */
    struct prop_dst *ask;
    uint64_t *new_blobs, *new_bytes;
};
/* Put layers, config and manifest (by digest; the name is not given). `manifest` gets its bytes.
 * Fails: PROP_E_USAGE (id "bad-form") for what the form cannot hold, PROP_E_INPUT (id "not-wasm").
 */
int proppush_pack_put(const struct proppush_pack *p, const struct prop_oci_options *oci,
                      struct prop_dst *dst, struct prop_buf *manifest, struct prop_digest *ret,
                      struct prop_err *err);
/* --annotation K=V, several; PROP_E_USAGE (id "bad-annotation"). Owned. */
int proppush_annotations_read(const struct prop_strs *texts, json_t **ret, struct prop_err *err);

#endif
