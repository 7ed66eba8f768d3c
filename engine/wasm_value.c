/* Component values from text: WAVE to JSON is done by src/wave.rs, which describes the form, JSON
 * to Wasmtime's C values here. */
#include "engine/wasm_internal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/ffi.h"

typedef wasmtime_component_valtype_t valtype;
typedef wasmtime_component_val_t val;

static void valtype_release(valtype *t)
{
    wasmtime_component_valtype_delete(t);
}
#define auto_valtype __attribute__((cleanup(valtype_release)))
#define VALTYPE_INIT { WASMTIME_COMPONENT_VALTYPE_BOOL, {NULL} }

/* The JSON comes from src/wave.rs and fits the type: nothing of it is checked again. */

static void set_name(wasm_name_t *out, const json_t *j)
{
    wasm_byte_vec_new(out, json_string_length(j), json_string_value(j));
}

static void val_read(const valtype *t, const json_t *j, val *out);

static val *val_boxed(const valtype *t, const json_t *j)
{
    val v = {WASMTIME_COMPONENT_BOOL, {0}};

    if (!j)
        return NULL;
    val_read(t, j, &v);
    return wasmtime_component_val_new(&v);
}

static void list_read(const valtype *t, const json_t *j, val *out)
{
    auto_valtype valtype inner = VALTYPE_INIT;

    wasmtime_component_list_type_element(t->of.list, &inner);
    out->kind = WASMTIME_COMPONENT_LIST;
    wasmtime_component_vallist_new_uninit(&out->of.list, json_array_size(j));
    for (size_t i = 0; i < out->of.list.size; i++)
        val_read(&inner, json_array_get(j, i), &out->of.list.data[i]);
}

static void tuple_read(const valtype *t, const json_t *j, val *out)
{
    out->kind = WASMTIME_COMPONENT_TUPLE;
    wasmtime_component_valtuple_new_uninit(&out->of.tuple, json_array_size(j));
    for (size_t i = 0; i < out->of.tuple.size; i++) {
        auto_valtype valtype inner = VALTYPE_INIT;
        (void)wasmtime_component_tuple_type_types_nth(t->of.tuple, i, &inner);
        val_read(&inner, json_array_get(j, i), &out->of.tuple.data[i]);
    }
}

static void record_read(const valtype *t, const json_t *j, val *out)
{
    const char *name = NULL;
    size_t len = 0;

    out->kind = WASMTIME_COMPONENT_RECORD;
    wasmtime_component_valrecord_new_uninit(&out->of.record, json_array_size(j));
    for (size_t i = 0; i < out->of.record.size; i++) {
        auto_valtype valtype inner = VALTYPE_INIT;
        (void)wasmtime_component_record_type_field_nth(t->of.record, i, &name, &len, &inner);
        wasm_byte_vec_new(&out->of.record.data[i].name, len, name);
        val_read(&inner, json_array_get(j, i), &out->of.record.data[i].val);
    }
}

static void variant_read(const valtype *t, const json_t *j, val *out)
{
    const json_t *which = json_array_get(j, 0);
    const json_t *payload = json_array_get(j, 1);
    const char *name = NULL;
    size_t len = 0;

    out->kind = WASMTIME_COMPONENT_VARIANT;
    out->of.variant.val = NULL;
    set_name(&out->of.variant.discriminant, which);
    for (size_t i = 0; i < wasmtime_component_variant_type_case_count(t->of.variant); i++) {
        auto_valtype valtype inner = VALTYPE_INIT;
        bool has = false;
        (void)wasmtime_component_variant_type_case_nth(t->of.variant, i, &name, &len, &has, &inner);
        if (has && len == json_string_length(which) &&
            memcmp(name, json_string_value(which), len) == 0)
            out->of.variant.val = val_boxed(&inner, payload);
    }
}

static void result_read(const valtype *t, const json_t *j, val *out)
{
    auto_valtype valtype inner = VALTYPE_INIT;
    bool ok = strcmp(json_string_value(json_array_get(j, 0)), "ok") == 0;
    bool has = ok ? wasmtime_component_result_type_ok(t->of.result, &inner)
                  : wasmtime_component_result_type_err(t->of.result, &inner);

    out->kind = WASMTIME_COMPONENT_RESULT;
    out->of.result.is_ok = ok;
    out->of.result.val = has ? val_boxed(&inner, json_array_get(j, 1)) : NULL;
}

static void option_read(const valtype *t, const json_t *j, val *out)
{
    auto_valtype valtype inner = VALTYPE_INIT;

    wasmtime_component_option_type_ty(t->of.option, &inner);
    out->kind = WASMTIME_COMPONENT_OPTION;
    out->of.option = val_boxed(&inner, json_array_get(j, 0));
}

static void flags_read(const json_t *j, val *out)
{
    out->kind = WASMTIME_COMPONENT_FLAGS;
    wasmtime_component_valflags_new_uninit(&out->of.flags, json_array_size(j));
    for (size_t i = 0; i < out->of.flags.size; i++)
        set_name(&out->of.flags.data[i], json_array_get(j, i));
}

static void map_read(const valtype *t, const json_t *j, val *out)
{
    auto_valtype valtype key = VALTYPE_INIT;
    auto_valtype valtype value = VALTYPE_INIT;

    wasmtime_component_map_type_key(t->of.map, &key);
    wasmtime_component_map_type_value(t->of.map, &value);
    out->kind = WASMTIME_COMPONENT_MAP;
    wasmtime_component_valmap_new_uninit(&out->of.map, json_array_size(j));
    for (size_t i = 0; i < out->of.map.size; i++) {
        const json_t *entry = json_array_get(j, i);
        val_read(&key, json_array_get(entry, 0), &out->of.map.data[i].key);
        val_read(&value, json_array_get(entry, 1), &out->of.map.data[i].value);
    }
}

static void float_read(uint8_t kind, const json_t *j, val *out)
{
    uint64_t bits = strtoull(json_string_value(j), NULL, 10);
    uint32_t narrow = (uint32_t)bits;

    out->kind = kind;
    if (kind == WASMTIME_COMPONENT_F32)
        memcpy(&out->of.f32, &narrow, sizeof narrow);
    else
        memcpy(&out->of.f64, &bits, sizeof bits);
}

static void simple_read(const valtype *t, const json_t *j, val *out)
{
    switch (t->kind) {
    case WASMTIME_COMPONENT_VALTYPE_BOOL:
        *out = (val){WASMTIME_COMPONENT_BOOL, {.boolean = json_is_true(j)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_S8:
        *out = (val){WASMTIME_COMPONENT_S8, {.s8 = (int8_t)json_integer_value(j)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_S16:
        *out = (val){WASMTIME_COMPONENT_S16, {.s16 = (int16_t)json_integer_value(j)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_S32:
        *out = (val){WASMTIME_COMPONENT_S32, {.s32 = (int32_t)json_integer_value(j)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_S64:
        *out = (val){WASMTIME_COMPONENT_S64, {.s64 = strtoll(json_string_value(j), NULL, 10)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_U8:
        *out = (val){WASMTIME_COMPONENT_U8, {.u8 = (uint8_t)json_integer_value(j)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_U16:
        *out = (val){WASMTIME_COMPONENT_U16, {.u16 = (uint16_t)json_integer_value(j)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_U32:
        *out = (val){WASMTIME_COMPONENT_U32, {.u32 = (uint32_t)json_integer_value(j)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_U64:
        *out = (val){WASMTIME_COMPONENT_U64, {.u64 = strtoull(json_string_value(j), NULL, 10)}};
        break;
    case WASMTIME_COMPONENT_VALTYPE_F32:
        float_read(WASMTIME_COMPONENT_F32, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_F64:
        float_read(WASMTIME_COMPONENT_F64, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_CHAR:
        *out = (val){WASMTIME_COMPONENT_CHAR, {.character = (uint32_t)json_integer_value(j)}};
        break;
    default:
        out->kind = WASMTIME_COMPONENT_STRING;
        set_name(&out->of.string, j);
        break;
    }
}

static void val_read(const valtype *t, const json_t *j, val *out)
{
    switch (t->kind) {
    case WASMTIME_COMPONENT_VALTYPE_LIST:
        list_read(t, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_TUPLE:
        tuple_read(t, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_RECORD:
        record_read(t, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_VARIANT:
        variant_read(t, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_RESULT:
        result_read(t, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_OPTION:
        option_read(t, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_FLAGS:
        flags_read(j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_MAP:
        map_read(t, j, out);
        break;
    case WASMTIME_COMPONENT_VALTYPE_ENUM:
        out->kind = WASMTIME_COMPONENT_ENUM;
        set_name(&out->of.enumeration, j);
        break;
    default:
        simple_read(t, j, out);
        break;
    }
}

static int parse_wave(const char *type, const char *text, const char *what, char **ret_answer,
                      struct prop_err *err)
{
    int status = prop_ffi_wave_parse(type, strlen(type), text, strlen(text), ret_answer);

    if (status == PROP_FFI_OK)
        return 0;
    prop_err_set_id(err, PROP_E_INPUT, "bad-argument", "%s: '%.100s' is %.*s", what, text,
                    (int)strcspn(*ret_answer, "\n"), *ret_answer);
    return prop_err_hint(err, "values are written as WAVE: 42, \"text\", [1, 2], {name: \"x\"}");
}

int prop_wasm_value_parse(const valtype *type, const char *text, const char *what, val *ret,
                          struct prop_err *err)
{
    prop_auto_json json_t *tj = NULL;
    prop_auto_ffi_text char *answer = NULL;
    json_error_t je;
    int rc = prop_wasm_type_json(type, &tj, err);

    if (rc)
        return rc;
    /* a string may come without its quotes, as a shell user writes it */
    if (type->kind == WASMTIME_COMPONENT_VALTYPE_STRING && *text != '"') {
        ret->kind = WASMTIME_COMPONENT_STRING;
        wasm_byte_vec_new(&ret->of.string, strlen(text), text);
        return 0;
    }
    prop_auto_free char *type_text = prop_json_compact(tj);
    if (!type_text)
        return prop_err_nomem(err);
    rc = parse_wave(type_text, text, what, &answer, err);
    if (rc)
        return rc;
    prop_auto_json json_t *value = json_loads(answer, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    if (!value)
        return prop_err_set(err, PROP_E_BUG, "%s: %s", what, je.text);
    val_read(type, value, ret);
    return 0;
}
