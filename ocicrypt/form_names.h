/* What a Wasm binary is, and what a component imports and exports, read as its bytes go by: no engine,
 * no second pass, bounded memory (component-model Binary.md: preamble, sections 10 and 11). */
#ifndef PROP_OCICRYPT_FORM_NAMES_H
#define PROP_OCICRYPT_FORM_NAMES_H

#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

#include <stddef.h>
#include <stdint.h>

enum prop_wasm_kind {
    PROP_WASM_NONE,     /* no Wasm binary */
    PROP_WASM_MODULE,
    PROP_WASM_COMPONENT
};

struct prop_wasm_scan;
int prop_wasm_scan_new(struct prop_wasm_scan **ret, struct prop_err *err);
/* The next bytes. Malformed content is no failure here: it is told at the end. */
int prop_wasm_scan_update(struct prop_wasm_scan *s, const void *data, size_t len,
                          struct prop_err *err);
enum prop_wasm_kind prop_wasm_scan_kind(const struct prop_wasm_scan *s);
/* The names of a component, as new arrays of strings in the order of the binary.
 * Fails: PROP_E_INPUT (id "bad-component") when they cannot be read. */
int prop_wasm_scan_names(const struct prop_wasm_scan *s, json_t **ret_imports,
                         json_t **ret_exports, struct prop_err *err);
void prop_wasm_scan_free(struct prop_wasm_scan *s);
PROP_DEFINE_AUTO(struct prop_wasm_scan *, prop_wasm_scan_free)
#define prop_auto_wasm_scan __attribute__((cleanup(prop_wasm_scan_free_p)))

#endif
