/* How a bare module is packed: what config and manifest stand around its one layer. */
#ifndef PROP_OCICRYPT_FORM_H
#define PROP_OCICRYPT_FORM_H

#include "crypto/digest.h"
#include "ocicrypt/form_names.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdint.h>

enum prop_form {
    PROP_FORM_PROPELLER, /* as wasm-to-oci makes it: what Propeller's proplet decrypts */
    PROP_FORM_CNCF,      /* the CNCF Wasm artifact */
    PROP_FORM_TAR        /* an OCI image with one tar layer: what image-rs unpacks */
};
/* "propeller", "cncf", "tar". PROP_E_USAGE (id "bad-form"). */
int prop_form_parse(const char *text, enum prop_form *ret, struct prop_err *err);
/* Media type of the plain layer. */
const char *prop_form_layer_type(enum prop_form form);
/* The time every part of an image states: $SOURCE_DATE_EPOCH, else the epoch, so that the same input
 * makes the same image. RFC 3339. */
void prop_form_created(char out[21]);
/* The config blob, always the same for the same module. `plain` NULL: nothing in it tells of the
 * plaintext. Times are $SOURCE_DATE_EPOCH, else the epoch. Fails: PROP_E_INPUT (id "not-wasm",
 * "bad-component") for the CNCF form. */
int prop_form_config(enum prop_form form, const struct prop_digest *plain,
                     const struct prop_wasm_scan *scan, struct prop_buf *out, struct prop_err *err);
/* The manifest around a layer; title NULL = none. Owned; NULL when memory is out. */
json_t *prop_form_manifest(enum prop_form form, const struct prop_digest *config,
                           uint64_t config_size, const struct prop_digest *layer,
                           uint64_t layer_size, const char *title);

#endif
