/* What the Rust half of the engine (src/) gives C. Only the .c files of this room include it.
 *
 * Every call answers one of the numbers below. `ret_text` (may be NULL) receives an owned text in
 * every case: the result, the error, or "". Give it back with prop_ffi_text_free.
 */
#ifndef PROP_ENGINE_FFI_H
#define PROP_ENGINE_FFI_H

#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum prop_ffi_status {
    PROP_FFI_OK = 0,
    PROP_FFI_ERROR = 1,     /* the text says why */
    PROP_FFI_UNDEFINED = 2, /* a Rego rule without a value */
    PROP_FFI_PANIC = 3,     /* a bug on the other side, caught */
    PROP_FFI_CIRCLE = 4     /* a Rego rule that needs itself; the text says which */
};

void prop_ffi_text_free(char *text);
PROP_DEFINE_AUTO(char *, prop_ffi_text_free)
#define prop_auto_ffi_text __attribute__((cleanup(prop_ffi_text_free_p)))

struct prop_ffi_rego;
int prop_ffi_rego_new(const char *name, size_t name_len, const char *text, size_t len,
                      struct prop_ffi_rego **ret, char **ret_text);
void prop_ffi_rego_free(struct prop_ffi_rego *r);
int prop_ffi_rego_set_reference(struct prop_ffi_rego *r,
                                char *(*lookup)(void *ctx, const char *name),
                                void (*release)(char *text), void *ctx, char **ret_text);
int prop_ffi_rego_set_data(struct prop_ffi_rego *r, const char *json, size_t len, char **ret_text);
int prop_ffi_rego_set_input(struct prop_ffi_rego *r, const char *json, size_t len, char **ret_text);
int prop_ffi_rego_eval(struct prop_ffi_rego *r, const char *rule, size_t len, char **ret_text);
int prop_ffi_rego_describe(struct prop_ffi_rego *r, char **ret_text);
int prop_ffi_rego_outline(struct prop_ffi_rego *r, char **ret_text);
int prop_ffi_rego_extend(const struct prop_ffi_rego *r, const char *text, size_t len,
                         struct prop_ffi_rego **ret, char **ret_text);

int prop_ffi_toml_to_json(const char *text, size_t len, char **ret_text);

/* Component values as WAVE text; types and values are JSON as src/wave.rs describes. */
int prop_ffi_wave_parse(const char *type, size_t type_len, const char *text, size_t len,
                        char **ret_text);
int prop_ffi_wave_format(const char *type, size_t type_len, const char *value, size_t len,
                         char **ret_text);
/* Floats as Rust reads and prints them; `wide` is f64. */
int prop_ffi_float_parse(bool wide, const char *text, size_t len, uint64_t *ret_bits,
                         char **ret_text);
int prop_ffi_float_format(bool wide, uint64_t bits, char **ret_text);

/* Caps a store that wasmtime_store_limiter was called on: growing a memory past `bytes`, or a table
 * past `elements`, ends the guest instead of answering -1. `context` is a wasmtime_context_t. */
struct wasmtime_context;
void prop_ffi_store_cap(struct wasmtime_context *context, uint64_t bytes, uint64_t elements,
                        size_t instances, size_t memories);

#endif
