/* TOML 1.0 to JSON: policy documents, init-data, Propeller's configuration. */
#ifndef PROP_ENGINE_TOML_H
#define PROP_ENGINE_TOML_H

#include "util/err.h"
#include "util/json.h"

/* Parse; date-times become strings. Owned by the caller.
 * Fails: PROP_E_INPUT (id "toml-syntax") with the line; PROP_E_UNSUPPORTED (id "no-engine") in a
 * build without the engine. */
int prop_toml_parse(const char *text, size_t len, const char *what, json_t **ret,
                    struct prop_err *err);

#endif
