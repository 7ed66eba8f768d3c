/* Core modules: `_start` of a WASI command, or an exported function with numbers. */
#include "engine/wasm_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ffi.h"

#define MAX_VALUES 1000 /* parameters or results of one function; the format's own limit */
#define LISTED 12       /* exports a hint names */

bool prop_wasm_core_uses_wasi(const wasmtime_module_t *module)
{
    static const char prefix[] = "wasi";
    wasm_importtype_vec_t imports;
    bool uses = false;

    wasmtime_module_imports(module, &imports);
    for (size_t i = 0; i < imports.size && !uses; i++) {
        const wasm_name_t *from = wasm_importtype_module(imports.data[i]);
        uses = from->size >= sizeof prefix - 1 &&
               memcmp(from->data, prefix, sizeof prefix - 1) == 0;
    }
    wasm_importtype_vec_delete(&imports);
    return uses;
}

/* ---- exports --------------------------------------------------------------------------------- */

static int no_export(struct prop_wasm_job *job, const char *name, struct prop_err *err)
{
    char list[256] = "";
    size_t used = 0;
    unsigned n = 0;
    wasm_exporttype_vec_t exports;

    wasmtime_module_exports(job->module, &exports);
    for (size_t i = 0; i < exports.size && n < LISTED && used < sizeof list; i++) {
        const wasm_name_t *e = wasm_exporttype_name(exports.data[i]);
        if (wasm_externtype_kind(wasm_exporttype_type(exports.data[i])) != WASM_EXTERN_FUNC)
            continue;
        int w = snprintf(list + used, sizeof list - used, "%s%.*s", n++ ? ", " : "",
                         (int)(e->size < 60 ? e->size : 60), e->data);
        used += w > 0 ? (size_t)w : 0;
    }
    wasm_exporttype_vec_delete(&exports);
    prop_err_set_id(err, PROP_E_NOTFOUND, "no-export", "'%s' exports no function '%s'", job->name,
                    name);
    return n ? prop_err_hint(err, "it exports: %s", list)
             : prop_err_hint(err, "it exports no function at all");
}

static bool find_func(struct prop_wasm_job *job, const wasmtime_instance_t *instance,
                      const char *name, wasmtime_func_t *ret)
{
    wasmtime_extern_t item;

    if (!wasmtime_instance_export_get(job->context, instance, name, strlen(name), &item))
        return false;
    bool is_func = item.kind == WASMTIME_EXTERN_FUNC;
    if (is_func)
        *ret = item.of.func;
    wasmtime_extern_delete(&item);
    return is_func;
}

/* ---- numbers as text ------------------------------------------------------------------------- */

static const char *kind_name(wasm_valkind_t kind)
{
    switch ((int)kind) {
    case WASM_I32:
        return "i32";
    case WASM_I64:
        return "i64";
    case WASM_F32:
        return "f32";
    case WASM_F64:
        return "f64";
    default:
        return "a value without a text form";
    }
}

/* Decimal or 0x; from the smallest signed to the largest unsigned number of that many bits. */
static bool parse_int(const char *text, unsigned bits, uint64_t *ret)
{
    bool negative = *text == '-';
    const char *digits = text + (negative || *text == '+');
    int base = strncasecmp(digits, "0x", 2) == 0 ? 16 : 10;
    char *end = NULL;

    digits += base == 16 ? 2 : 0;
    if (!(base == 16 ? strchr("0123456789abcdefABCDEF", *digits) : strchr("0123456789", *digits)) ||
        !*digits)
        return false;
    errno = 0;
    unsigned long long v = strtoull(digits, &end, base);
    uint64_t top = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
    if (errno || *end || v > (negative ? top / 2 + 1 : top))
        return false;
    *ret = negative ? 0 - (uint64_t)v : (uint64_t)v;
    return true;
}

static bool parse_float(const char *text, bool wide, uint64_t *ret)
{
    return prop_ffi_float_parse(wide, text, strlen(text), ret, NULL) == PROP_FFI_OK;
}

static bool parse_value(const char *text, wasm_valkind_t kind, wasmtime_val_t *ret)
{
    uint64_t bits = 0;
    bool ok = false;

    switch ((int)kind) {
    case WASM_I32:
        ok = parse_int(text, 32, &bits);
        ret->kind = WASMTIME_I32;
        ret->of.i32 = (int32_t)(uint32_t)bits;
        break;
    case WASM_I64:
        ok = parse_int(text, 64, &bits);
        ret->kind = WASMTIME_I64;
        ret->of.i64 = (int64_t)bits;
        break;
    case WASM_F32:
        ok = parse_float(text, false, &bits);
        ret->kind = WASMTIME_F32;
        uint32_t narrow = (uint32_t)bits;
        memcpy(&ret->of.f32, &narrow, sizeof narrow);
        break;
    case WASM_F64:
        ok = parse_float(text, true, &bits);
        ret->kind = WASMTIME_F64;
        memcpy(&ret->of.f64, &bits, sizeof bits);
        break;
    default:
        break;
    }
    return ok;
}

static int parse_args(struct prop_wasm_job *job, const wasm_functype_t *type, wasmtime_val_t *args,
                      struct prop_err *err)
{
    const wasm_valtype_vec_t *params = wasm_functype_params(type);

    if (params->size != job->n_args)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-argument",
                               "function '%s' takes %zu argument%s, not %zu", job->invoke,
                               params->size, params->size == 1 ? "" : "s", job->n_args);
    for (size_t i = 0; i < params->size; i++) {
        wasm_valkind_t kind = wasm_valtype_kind(params->data[i]);
        if (!parse_value(job->args[i], kind, &args[i]))
            return prop_err_set_id(err, PROP_E_INPUT, "bad-argument",
                                   "argument %zu of '%s': '%s' is not %s", i + 1, job->invoke,
                                   job->args[i], kind_name(kind));
    }
    return 0;
}

static int print_float(struct prop_wasm_job *job, bool wide, uint64_t bits, struct prop_err *err)
{
    prop_auto_ffi_text char *text = NULL;

    if (prop_ffi_float_format(wide, bits, &text) != PROP_FFI_OK)
        return prop_err_set(err, PROP_E_BUG, "a float could not be printed: %s", text);
    int rc = prop_wasm_print(job, text, err);
    return rc ? rc : prop_wasm_print(job, "\n", err);
}

static int print_value(struct prop_wasm_job *job, const wasmtime_val_t *v, struct prop_err *err)
{
    char text[64];
    uint64_t wide = 0;
    uint32_t narrow = 0;

    switch (v->kind) {
    case WASMTIME_I32:
        (void)snprintf(text, sizeof text, "%" PRId32 "\n", v->of.i32);
        return prop_wasm_print(job, text, err);
    case WASMTIME_I64:
        (void)snprintf(text, sizeof text, "%" PRId64 "\n", v->of.i64);
        return prop_wasm_print(job, text, err);
    case WASMTIME_F32:
        memcpy(&narrow, &v->of.f32, sizeof narrow);
        return print_float(job, false, narrow, err);
    case WASMTIME_F64:
        memcpy(&wide, &v->of.f64, sizeof wide);
        return print_float(job, true, wide, err);
    default:
        return prop_wasm_print(job, "<reference>\n", err);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int call(struct prop_wasm_job *job, const wasmtime_func_t *func, const wasmtime_val_t *args,
                size_t n_args, wasmtime_val_t *results, size_t n_results, bool *ret_exited,
                struct prop_err *err)
{
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error =
        wasmtime_func_call(job->context, func, args, n_args, results, n_results, &trap);

    *ret_exited = error || trap;
    return *ret_exited ? prop_wasm_outcome(job, error, trap, err) : 0;
}

static int call_with_values(struct prop_wasm_job *job, const wasmtime_func_t *func,
                            const wasm_functype_t *type, struct prop_err *err)
{
    size_t n_results = wasm_functype_results(type)->size;
    size_t n_params = wasm_functype_params(type)->size;
    bool exited = false;

    if (n_results > MAX_VALUES || n_params > MAX_VALUES)
        return prop_err_set(err, PROP_E_LIMIT, "function '%s' has too many values", job->invoke);
    prop_auto_free wasmtime_val_t *args = prop_zalloc((n_params + 1) * sizeof *args);
    prop_auto_free wasmtime_val_t *results = prop_zalloc((n_results + 1) * sizeof *results);
    if (!args || !results)
        return prop_err_nomem(err);
    int rc = parse_args(job, type, args, err);
    if (rc == 0)
        rc = call(job, func, args, n_params, results, n_results, &exited, err);
    for (size_t i = 0; i < n_results && rc == 0 && !exited; i++)
        rc = print_value(job, &results[i], err);
    return rc;
}

static int invoke(struct prop_wasm_job *job, const wasmtime_instance_t *instance,
                  struct prop_err *err)
{
    wasmtime_func_t func;
    wasmtime_func_t init;
    bool exited = false;

    if (!find_func(job, instance, job->invoke, &func))
        return no_export(job, job->invoke, err);
    /* a reactor's set-up comes before anything else of it is called */
    if (strcmp(job->invoke, "_initialize") != 0 && find_func(job, instance, "_initialize", &init)) {
        int rc = call(job, &init, NULL, 0, NULL, 0, &exited, err);
        if (rc || exited)
            return rc;
    }
    wasm_functype_t *type = wasmtime_func_type(job->context, &func);
    int rc = call_with_values(job, &func, type, err);
    wasm_functype_delete(type);
    return rc;
}

static int start(struct prop_wasm_job *job, const wasmtime_instance_t *instance,
                 struct prop_err *err)
{
    wasmtime_func_t func;
    bool exited = false;

    if (find_func(job, instance, "_start", &func))
        return call(job, &func, NULL, 0, NULL, 0, &exited, err);
    (void)no_export(job, "_start", err);
    return prop_err_wrap(err, "nothing to run (name a function with --invoke)");
}

static int instantiate(struct prop_wasm_job *job, wasmtime_linker_t *linker,
                       wasmtime_instance_t *ret, bool *ret_exited, struct prop_err *err)
{
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = job->uses_wasi ? wasmtime_linker_define_wasi(linker) : NULL;

    if (!error)
        error = wasmtime_linker_instantiate(linker, job->context, job->module, ret, &trap);
    *ret_exited = error || trap;
    return *ret_exited ? prop_wasm_outcome(job, error, trap, err) : 0;
}

int prop_wasm_run_core(struct prop_wasm_job *job, struct prop_err *err)
{
    wasmtime_linker_t *linker = wasmtime_linker_new(job->engine);
    wasmtime_instance_t instance;
    bool exited = false;
    int rc = instantiate(job, linker, &instance, &exited, err);

    if (rc == 0 && !exited)
        rc = job->invoke ? invoke(job, &instance, err) : start(job, &instance, err);
    wasmtime_linker_delete(linker);
    return rc;
}
