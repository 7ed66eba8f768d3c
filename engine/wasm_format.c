/* Component values to text: Wasmtime's C values to JSON here, JSON to WAVE in src/wave.rs. */
#include "engine/wasm_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/ffi.h"

typedef wasmtime_component_val_t val;

static json_t *val_json(const val *v);

static json_t *name_json(const wasm_name_t *n)
{
    return json_stringn(n->size ? n->data : "", n->size);
}

static json_t *decimal(uint64_t v, bool negative)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%s%" PRIu64, negative ? "-" : "", v);
    return json_string(text);
}

static json_t *s64_json(int64_t v)
{
    return decimal(v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

static json_t *f32_json(float32_t v)
{
    uint32_t bits = 0;

    memcpy(&bits, &v, sizeof bits);
    return decimal(bits, false);
}

static json_t *f64_json(float64_t v)
{
    uint64_t bits = 0;

    memcpy(&bits, &v, sizeof bits);
    return decimal(bits, false);
}

static json_t *vals_json(const val *data, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        prop_wasm_json_append(&list, val_json(&data[i]));
    return list;
}

static json_t *record_json(const wasmtime_component_valrecord_t *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < r->size; i++)
        prop_wasm_json_append(&list, val_json(&r->data[i].val));
    return list;
}

static json_t *map_json(const wasmtime_component_valmap_t *m)
{
    json_t *list = json_array();

    for (size_t i = 0; i < m->size; i++) {
        json_t *entry = json_array();
        prop_wasm_json_append(&entry, val_json(&m->data[i].key));
        prop_wasm_json_append(&entry, val_json(&m->data[i].value));
        prop_wasm_json_append(&list, entry);
    }
    return list;
}

static json_t *flags_json(const wasmtime_component_valflags_t *f)
{
    json_t *list = json_array();

    for (size_t i = 0; i < f->size; i++)
        prop_wasm_json_append(&list, name_json(&f->data[i]));
    return list;
}

/* [name] or [name, payload] */
static json_t *named_json(json_t *name, const val *payload)
{
    json_t *list = json_array();

    prop_wasm_json_append(&list, name);
    if (payload)
        prop_wasm_json_append(&list, val_json(payload));
    return list;
}

static json_t *compound_json(const val *v)
{
    switch (v->kind) {
    case WASMTIME_COMPONENT_LIST:
        return vals_json(v->of.list.data, v->of.list.size);
    case WASMTIME_COMPONENT_TUPLE:
        return vals_json(v->of.tuple.data, v->of.tuple.size);
    case WASMTIME_COMPONENT_RECORD:
        return record_json(&v->of.record);
    case WASMTIME_COMPONENT_VARIANT:
        return named_json(name_json(&v->of.variant.discriminant), v->of.variant.val);
    case WASMTIME_COMPONENT_RESULT:
        return named_json(json_string(v->of.result.is_ok ? "ok" : "err"), v->of.result.val);
    case WASMTIME_COMPONENT_OPTION:
        return vals_json(v->of.option, v->of.option ? 1 : 0);
    case WASMTIME_COMPONENT_FLAGS:
        return flags_json(&v->of.flags);
    case WASMTIME_COMPONENT_MAP:
        return map_json(&v->of.map);
    default:
        return NULL;
    }
}

static json_t *val_json(const val *v)
{
    switch (v->kind) {
    case WASMTIME_COMPONENT_BOOL:
        return json_boolean(v->of.boolean);
    case WASMTIME_COMPONENT_S8:
        return json_integer(v->of.s8);
    case WASMTIME_COMPONENT_U8:
        return json_integer(v->of.u8);
    case WASMTIME_COMPONENT_S16:
        return json_integer(v->of.s16);
    case WASMTIME_COMPONENT_U16:
        return json_integer(v->of.u16);
    case WASMTIME_COMPONENT_S32:
        return json_integer(v->of.s32);
    case WASMTIME_COMPONENT_U32:
        return json_integer(v->of.u32);
    case WASMTIME_COMPONENT_S64:
        return s64_json(v->of.s64);
    case WASMTIME_COMPONENT_U64:
        return decimal(v->of.u64, false);
    case WASMTIME_COMPONENT_F32:
        return f32_json(v->of.f32);
    case WASMTIME_COMPONENT_F64:
        return f64_json(v->of.f64);
    case WASMTIME_COMPONENT_CHAR:
        return json_integer(v->of.character);
    case WASMTIME_COMPONENT_STRING:
        return name_json(&v->of.string);
    case WASMTIME_COMPONENT_ENUM:
        return name_json(&v->of.enumeration);
    default:
        return compound_json(v);
    }
}

int prop_wasm_value_format(const wasmtime_component_valtype_t *type, const val *v, char **ret,
                           struct prop_err *err)
{
    prop_auto_json json_t *tj = NULL;
    prop_auto_ffi_text char *answer = NULL;
    int rc = prop_wasm_type_json(type, &tj, err);

    if (rc)
        return rc;
    prop_auto_json json_t *vj = val_json(v);
    prop_auto_free char *type_text = prop_json_compact(tj);
    prop_auto_free char *value_text = vj ? prop_json_compact(vj) : NULL;
    if (!type_text || !value_text)
        return prop_err_nomem(err);
    int status = prop_ffi_wave_format(type_text, strlen(type_text), value_text, strlen(value_text),
                                      &answer);
    if (status != PROP_FFI_OK)
        return prop_err_set(err, PROP_E_BUG, "a result of type %s: %s", type_text, answer);
    char *copy = prop_strdup(answer);
    if (!copy)
        return prop_err_nomem(err);
    *ret = copy;
    return 0;
}
