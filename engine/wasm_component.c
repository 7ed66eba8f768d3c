/* Components: the WASI command world (wasi:cli/run), or an exported function with WAVE values. */
#include "engine/wasm_internal.h"

#include <stdio.h>
#include <string.h>

#include "util/text.h"

#define MAX_VALUES 1000
#define RUN_INTERFACE "wasi:cli/run@0.2."

typedef wasmtime_component_valtype_t valtype;
typedef wasmtime_component_val_t val;

/* What is looked for among the exports, and what was found on the way. */
struct search {
    struct prop_wasm_job *job;
    const char *interface; /* NULL: any */
    size_t interface_len;
    const char *func;
    size_t func_len;
    wasmtime_component_export_index_t *found;
    unsigned matches;
    char seen[256];        /* functions there are, for the hint */
    size_t seen_len;
};

/* ---- exports --------------------------------------------------------------------------------- */

static bool same(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* An interface is named in full ("pkg:x/name@1.0.0"), or by what stands between "/" and "@". */
static bool interface_fits(const struct search *s, const char *name, size_t len)
{
    if (!s->interface || same(name, len, s->interface, s->interface_len))
        return true;
    const char *slash = memchr(name, '/', len);
    if (!slash)
        return false;
    size_t rest = len - (size_t)(slash + 1 - name);
    const char *at = memchr(slash + 1, '@', rest);
    return same(slash + 1, at ? (size_t)(at - slash - 1) : rest, s->interface, s->interface_len);
}

static void note_seen(struct search *s, const char *in, size_t in_len, const char *name, size_t len)
{
    size_t room = sizeof s->seen - s->seen_len;
    int n = snprintf(s->seen + s->seen_len, room, "%s%.*s%s%.*s", s->seen_len ? ", " : "",
                     (int)(in_len < 80 ? in_len : 80), in ? in : "", in ? "#" : "",
                     (int)(len < 60 ? len : 60), name);

    if (n > 0 && (size_t)n < room)
        s->seen_len += (size_t)n;
    else
        s->seen[s->seen_len] = 0;
}

static void consider(struct search *s, const wasmtime_component_export_index_t *parent,
                     const char *in, size_t in_len, const char *name, size_t len)
{
    note_seen(s, in, in_len, name, len);
    if (!same(name, len, s->func, s->func_len) || (!in && s->interface))
        return;
    if (s->matches++ == 0)
        s->found = wasmtime_component_get_export_index(s->job->component, parent, name, len);
}

static void search_instance(struct search *s, const char *in, size_t in_len,
                            const wasmtime_component_instance_type_t *type)
{
    const char *name = NULL;
    size_t len = 0;
    wasm_engine_t *engine = s->job->engine;

    if (!interface_fits(s, in, in_len))
        return;
    wasmtime_component_export_index_t *parent =
        wasmtime_component_get_export_index(s->job->component, NULL, in, in_len);
    size_t n = parent ? wasmtime_component_instance_type_export_count(type, engine) : 0;
    for (size_t i = 0; i < n; i++) {
        wasmtime_component_item_t item;
        if (!wasmtime_component_instance_type_export_nth(type, engine, i, &name, &len, &item))
            continue;
        if (item.kind == WASMTIME_COMPONENT_ITEM_COMPONENT_FUNC)
            consider(s, parent, in, in_len, name, len);
        wasmtime_component_item_delete(&item);
    }
    if (parent)
        wasmtime_component_export_index_delete(parent);
}

static void search_exports(struct search *s)
{
    wasmtime_component_type_t *type = wasmtime_component_type(s->job->component);
    const char *name = NULL;
    size_t len = 0;

    for (size_t i = 0; i < wasmtime_component_type_export_count(type, s->job->engine); i++) {
        wasmtime_component_item_t item;
        if (!wasmtime_component_type_export_nth(type, s->job->engine, i, &name, &len, &item))
            continue;
        if (item.kind == WASMTIME_COMPONENT_ITEM_COMPONENT_FUNC)
            consider(s, NULL, NULL, 0, name, len);
        else if (item.kind == WASMTIME_COMPONENT_ITEM_COMPONENT_INSTANCE)
            search_instance(s, name, len, item.of.component_instance);
        wasmtime_component_item_delete(&item);
    }
    wasmtime_component_type_delete(type);
}

static int fail_search(struct search *s, const char *wanted, struct prop_err *err)
{
    if (s->matches > 1) {
        prop_err_set_id(err, PROP_E_INPUT, "bad-argument", "'%s' has more than one function '%s'",
                        s->job->name, wanted);
        return prop_err_hint(err, "name its interface too, one of: %s", s->seen);
    }
    prop_err_set_id(err, PROP_E_NOTFOUND, "no-export", "'%s' exports no function '%s'",
                    s->job->name, wanted);
    return s->seen_len ? prop_err_hint(err, "it exports: %s", s->seen)
                       : prop_err_hint(err, "it exports no function at all");
}

/* The one export that `wanted` ("func" or "interface#func") names; owned by the caller. */
static int find_export(struct prop_wasm_job *job, const char *wanted,
                       wasmtime_component_export_index_t **ret, struct prop_err *err)
{
    struct search s = {.job = job};
    const char *hash = strchr(wanted, '#');

    s.func = hash ? hash + 1 : wanted;
    s.func_len = strlen(s.func);
    s.interface = hash ? wanted : NULL;
    s.interface_len = hash ? (size_t)(hash - wanted) : 0;
    search_exports(&s);
    if (s.matches == 1 && s.found) {
        *ret = s.found;
        return 0;
    }
    if (s.found)
        wasmtime_component_export_index_delete(s.found);
    return fail_search(&s, wanted, err);
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct call {
    wasmtime_component_func_t func;
    wasmtime_component_func_type_t *type;
    val *args;
    size_t n_args;
    valtype result_type;
    val result[1];
    size_t n_results;
};

static void call_release(struct call *c)
{
    for (size_t i = 0; c->args && i < c->n_args; i++)
        wasmtime_component_val_delete(&c->args[i]);
    prop_free(c->args);
    wasmtime_component_val_delete(&c->result[0]);
    wasmtime_component_valtype_delete(&c->result_type);
    if (c->type)
        wasmtime_component_func_type_delete(c->type);
}
#define auto_call __attribute__((cleanup(call_release)))

static int call_init(struct prop_wasm_job *job, const wasmtime_component_instance_t *instance,
                     const char *wanted, struct call *c, struct prop_err *err)
{
    wasmtime_component_export_index_t *index = NULL;
    int rc = find_export(job, wanted, &index, err);

    if (rc)
        return rc;
    bool ok = wasmtime_component_instance_get_func(instance, job->context, index, &c->func);
    wasmtime_component_export_index_delete(index);
    if (!ok)
        return prop_err_set(err, PROP_E_BUG, "'%s' lost its export '%s'", job->name, wanted);
    c->type = wasmtime_component_func_type(&c->func, job->context);
    c->n_results = wasmtime_component_func_type_result(c->type, &c->result_type) ? 1 : 0;
    return 0;
}

static int parse_args(struct prop_wasm_job *job, struct call *c, struct prop_err *err)
{
    size_t n = wasmtime_component_func_type_param_count(c->type);

    if (n != job->n_args || n > MAX_VALUES)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-argument",
                               "function '%s' takes %zu argument%s, not %zu", job->invoke, n,
                               n == 1 ? "" : "s", job->n_args);
    c->args = prop_zalloc((n + 1) * sizeof *c->args); /* zero is a valid bool */
    if (!c->args)
        return prop_err_nomem(err);
    c->n_args = n;
    for (size_t i = 0; i < n; i++) {
        const char *name = NULL;
        size_t len = 0;
        char what[160];
        valtype type = {WASMTIME_COMPONENT_VALTYPE_BOOL, {NULL}};
        (void)wasmtime_component_func_type_param_nth(c->type, i, &name, &len, &type);
        (void)snprintf(what, sizeof what, "argument '%.*s' of '%.60s'", (int)(len < 60 ? len : 60),
                       name, job->invoke);
        int rc = prop_wasm_value_parse(&type, job->args[i], what, &c->args[i], err);
        wasmtime_component_valtype_delete(&type);
        if (rc)
            return rc;
    }
    return 0;
}

static int call_go(struct prop_wasm_job *job, struct call *c, bool *ret_exited,
                   struct prop_err *err)
{
    wasmtime_error_t *error = wasmtime_component_func_call(&c->func, job->context, c->args,
                                                           c->n_args, c->result, c->n_results);

    *ret_exited = error != NULL;
    return error ? prop_wasm_outcome(job, error, NULL, err) : 0;
}

static int print_result(struct prop_wasm_job *job, const struct call *c, struct prop_err *err)
{
    prop_auto_free char *text = NULL;
    int rc = prop_wasm_value_format(&c->result_type, &c->result[0], &text, err);

    if (rc == 0)
        rc = prop_wasm_print(job, text, err);
    return rc ? rc : prop_wasm_print(job, "\n", err);
}

static int invoke(struct prop_wasm_job *job, const wasmtime_component_instance_t *instance,
                  struct prop_err *err)
{
    auto_call struct call c = {0};
    prop_auto_json json_t *printable = NULL;
    bool exited = false;
    int rc = call_init(job, instance, job->invoke, &c, err);

    if (rc == 0)
        rc = parse_args(job, &c, err);
    if (rc == 0 && c.n_results) /* before the call: nothing runs whose result cannot be given */
        rc = prop_wasm_type_json(&c.result_type, &printable, err);
    if (rc == 0)
        rc = call_go(job, &c, &exited, err);
    return rc == 0 && !exited && c.n_results ? print_result(job, &c, err) : rc;
}

/* The version of wasi:cli/run that the component exports, as "wasi:cli/run@0.2.x#run". */
static int run_name(struct prop_wasm_job *job, char *out, size_t size, struct prop_err *err)
{
    wasmtime_component_type_t *type = wasmtime_component_type(job->component);
    const char *name = NULL;
    size_t len = 0;
    bool found = false;

    for (size_t i = 0; !found && i < wasmtime_component_type_export_count(type, job->engine); i++) {
        wasmtime_component_item_t item;
        if (!wasmtime_component_type_export_nth(type, job->engine, i, &name, &len, &item))
            continue;
        if (len > sizeof RUN_INTERFACE - 1 && len < size - 5 &&
            memcmp(name, RUN_INTERFACE, sizeof RUN_INTERFACE - 1) == 0) {
            found = true;
            (void)snprintf(out, size, "%.*s#run", (int)len, name);
        }
        wasmtime_component_item_delete(&item);
    }
    wasmtime_component_type_delete(type);
    if (found)
        return 0;
    struct search s = {.job = job, .func = "run", .func_len = 3};
    search_exports(&s);
    if (s.found)
        wasmtime_component_export_index_delete(s.found);
    s.matches = 0;
    (void)fail_search(&s, "wasi:cli/run#run", err);
    return prop_err_wrap(err, "nothing to run (name a function with --invoke)");
}

static int start(struct prop_wasm_job *job, const wasmtime_component_instance_t *instance,
                 struct prop_err *err)
{
    auto_call struct call c = {0};
    char name[80];
    bool exited = false;
    int rc = run_name(job, name, sizeof name, err);

    if (rc == 0)
        rc = call_init(job, instance, name, &c, err);
    if (rc == 0)
        rc = call_go(job, &c, &exited, err);
    if (rc == 0 && !exited && c.result[0].kind == WASMTIME_COMPONENT_RESULT)
        job->exit_status = c.result[0].of.result.is_ok ? 0 : 1;
    return rc;
}

int prop_wasm_run_component(struct prop_wasm_job *job, struct prop_err *err)
{
    wasmtime_component_linker_t *linker = wasmtime_component_linker_new(job->engine);
    wasmtime_component_instance_t instance;
    wasmtime_error_t *error = wasmtime_component_linker_add_wasip2(linker);

    if (!error)
        error = wasmtime_component_linker_instantiate(linker, job->context, job->component,
                                                      &instance);
    int rc = error ? prop_wasm_outcome(job, error, NULL, err)
                   : job->invoke ? invoke(job, &instance, err) : start(job, &instance, err);
    wasmtime_component_linker_delete(linker);
    return rc;
}
