/* TOML to JSON through the toml crate. */
#include "engine/toml.h"

#include "engine/ffi.h"

#include <string.h>

int prop_toml_parse(const char *text, size_t len, const char *what, json_t **ret,
                    struct prop_err *err)
{
    prop_auto_ffi_text char *answer = NULL;
    int status = prop_ffi_toml_to_json(text, len, &answer);
    json_error_t e;

    if (status == PROP_FFI_PANIC)
        return prop_err_set(err, PROP_E_BUG, "%s: the engine stopped: %s", what, answer);
    if (status != PROP_FFI_OK)
        return prop_err_set_id(err, PROP_E_INPUT, "toml-syntax", "%s: %.*s", what,
                               (int)strcspn(answer, "\n"), answer);
    json_t *v = json_loads(answer, JSON_REJECT_DUPLICATES, &e);
    if (!v)
        return prop_err_set_id(err, PROP_E_INPUT, "toml-syntax", "%s: %s", what, e.text);
    *ret = v;
    return 0;
}
