/* The types of component values as JSON, the form src/wave.rs describes. */
#include "engine/wasm_internal.h"

#include <string.h>

/* A component says its types itself: nesting beyond any sensible type is refused. */
#define MAX_DEPTH 40

typedef wasmtime_component_valtype_t valtype;

static void valtype_release(valtype *t)
{
    wasmtime_component_valtype_delete(t);
}
#define auto_valtype __attribute__((cleanup(valtype_release)))
#define VALTYPE_INIT { WASMTIME_COMPONENT_VALTYPE_BOOL, {NULL} }

static const char *const simple_names[] = {
    [WASMTIME_COMPONENT_VALTYPE_BOOL] = "bool", [WASMTIME_COMPONENT_VALTYPE_S8] = "s8",
    [WASMTIME_COMPONENT_VALTYPE_S16] = "s16",   [WASMTIME_COMPONENT_VALTYPE_S32] = "s32",
    [WASMTIME_COMPONENT_VALTYPE_S64] = "s64",   [WASMTIME_COMPONENT_VALTYPE_U8] = "u8",
    [WASMTIME_COMPONENT_VALTYPE_U16] = "u16",   [WASMTIME_COMPONENT_VALTYPE_U32] = "u32",
    [WASMTIME_COMPONENT_VALTYPE_U64] = "u64",   [WASMTIME_COMPONENT_VALTYPE_F32] = "f32",
    [WASMTIME_COMPONENT_VALTYPE_F64] = "f64",   [WASMTIME_COMPONENT_VALTYPE_CHAR] = "char",
    [WASMTIME_COMPONENT_VALTYPE_STRING] = "string",
};

static json_t *type_json(const valtype *t, unsigned depth);

void prop_wasm_json_append(json_t **list, json_t *v)
{
    if (!*list) {
        json_decref(v);
    } else if (json_array_append_new(*list, v)) {
        json_decref(*list);
        *list = NULL;
    }
}

/* {kind: inner}; NULL for a NULL. */
static json_t *wrap(const char *kind, json_t *inner)
{
    json_t *o = inner ? json_object() : NULL;

    if (!o || json_object_set_new(o, kind, inner)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *pair(json_t *a, json_t *b)
{
    json_t *list = json_array();

    prop_wasm_json_append(&list, a);
    prop_wasm_json_append(&list, b);
    return list;
}

/* [name, type or null] */
static json_t *named(const char *name, size_t len, const valtype *t, unsigned depth)
{
    return pair(json_stringn(name, len), t ? type_json(t, depth) : json_null());
}

static json_t *record_json(const wasmtime_component_record_type_t *r, unsigned depth)
{
    json_t *list = json_array();
    const char *name = NULL;
    size_t len = 0;

    for (size_t i = 0; i < wasmtime_component_record_type_field_count(r); i++) {
        auto_valtype valtype t = VALTYPE_INIT;
        (void)wasmtime_component_record_type_field_nth(r, i, &name, &len, &t);
        prop_wasm_json_append(&list, named(name, len, &t, depth));
    }
    return wrap("record", list);
}

static json_t *tuple_json(const wasmtime_component_tuple_type_t *r, unsigned depth)
{
    json_t *list = json_array();

    for (size_t i = 0; i < wasmtime_component_tuple_type_types_count(r); i++) {
        auto_valtype valtype t = VALTYPE_INIT;
        (void)wasmtime_component_tuple_type_types_nth(r, i, &t);
        prop_wasm_json_append(&list, type_json(&t, depth));
    }
    return wrap("tuple", list);
}

static json_t *variant_json(const wasmtime_component_variant_type_t *v, unsigned depth)
{
    json_t *list = json_array();
    const char *name = NULL;
    size_t len = 0;

    for (size_t i = 0; i < wasmtime_component_variant_type_case_count(v); i++) {
        auto_valtype valtype t = VALTYPE_INIT;
        bool has = false;
        (void)wasmtime_component_variant_type_case_nth(v, i, &name, &len, &has, &t);
        prop_wasm_json_append(&list, named(name, len, has ? &t : NULL, depth));
    }
    return wrap("variant", list);
}

static json_t *enum_json(const wasmtime_component_enum_type_t *e)
{
    json_t *list = json_array();
    const char *name = NULL;
    size_t len = 0;

    for (size_t i = 0; i < wasmtime_component_enum_type_names_count(e); i++) {
        (void)wasmtime_component_enum_type_names_nth(e, i, &name, &len);
        prop_wasm_json_append(&list, json_stringn(name, len));
    }
    return wrap("enum", list);
}

static json_t *flags_json(const wasmtime_component_flags_type_t *f)
{
    json_t *list = json_array();
    const char *name = NULL;
    size_t len = 0;

    for (size_t i = 0; i < wasmtime_component_flags_type_names_count(f); i++) {
        (void)wasmtime_component_flags_type_names_nth(f, i, &name, &len);
        prop_wasm_json_append(&list, json_stringn(name, len));
    }
    return wrap("flags", list);
}

static json_t *result_json(const wasmtime_component_result_type_t *r, unsigned depth)
{
    auto_valtype valtype ok = VALTYPE_INIT;
    auto_valtype valtype bad = VALTYPE_INIT;
    bool has_ok = wasmtime_component_result_type_ok(r, &ok);
    bool has_bad = wasmtime_component_result_type_err(r, &bad);

    return wrap("result", pair(has_ok ? type_json(&ok, depth) : json_null(),
                               has_bad ? type_json(&bad, depth) : json_null()));
}

static json_t *map_json(const wasmtime_component_map_type_t *m, unsigned depth)
{
    auto_valtype valtype key = VALTYPE_INIT;
    auto_valtype valtype value = VALTYPE_INIT;

    wasmtime_component_map_type_key(m, &key);
    wasmtime_component_map_type_value(m, &value);
    return wrap("map", pair(type_json(&key, depth), type_json(&value, depth)));
}

/* NULL for what has no text form (resources, streams, futures) or is nested too deep. */
static json_t *type_json(const valtype *t, unsigned depth)
{
    auto_valtype valtype inner = VALTYPE_INIT;

    if (depth >= MAX_DEPTH)
        return NULL;
    depth++;
    switch (t->kind) {
    case WASMTIME_COMPONENT_VALTYPE_LIST:
        wasmtime_component_list_type_element(t->of.list, &inner);
        return wrap("list", type_json(&inner, depth));
    case WASMTIME_COMPONENT_VALTYPE_OPTION:
        wasmtime_component_option_type_ty(t->of.option, &inner);
        return wrap("option", type_json(&inner, depth));
    case WASMTIME_COMPONENT_VALTYPE_RECORD:
        return record_json(t->of.record, depth);
    case WASMTIME_COMPONENT_VALTYPE_TUPLE:
        return tuple_json(t->of.tuple, depth);
    case WASMTIME_COMPONENT_VALTYPE_VARIANT:
        return variant_json(t->of.variant, depth);
    case WASMTIME_COMPONENT_VALTYPE_ENUM:
        return enum_json(t->of.enum_);
    case WASMTIME_COMPONENT_VALTYPE_FLAGS:
        return flags_json(t->of.flags);
    case WASMTIME_COMPONENT_VALTYPE_RESULT:
        return result_json(t->of.result, depth);
    case WASMTIME_COMPONENT_VALTYPE_MAP:
        return map_json(t->of.map, depth);
    default:
        return t->kind < PROP_ARRAY_LEN(simple_names) ? json_string(simple_names[t->kind]) : NULL;
    }
}

int prop_wasm_type_json(const valtype *type, json_t **ret, struct prop_err *err)
{
    json_t *j = type_json(type, 0);

    if (!j)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-text-form",
                               "the function has a value that cannot be written as text");
    *ret = j;
    return 0;
}
