/* Running a module: the engine, compiling, and what the guest is given. The thread and the deadline
 * are wasm_job.c's business, what is inside wasm_core.c's and wasm_component.c's. */
#include "engine/wasm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/ffi.h"
#include "engine/wasm_internal.h"
#include "util/limits.h"
#include "util/secret.h"
#include "util/stop.h"

#define MAX_INSTANCES 1000 /* of one run: components have several */
#define MAX_MEMORIES 16

/* ---- the engine: one for all runs, another that counts fuel ---------------------------------- */

static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER;
static wasm_engine_t *engines[2]; /* live as long as the process */
static bool no_threads;           /* this process forks: no engine of it may have any */

/* What decides about the machine code must be the same in all: it is compiled by one engine and run
 * by another. */
wasm_engine_t *prop_wasm_engine_new(bool fuel, bool parallel, uint64_t stack)
{
    wasm_config_t *config = wasm_config_new();

    wasmtime_config_epoch_interruption_set(config, true);
    wasmtime_config_consume_fuel_set(config, fuel);
    wasmtime_config_native_unwind_info_set(config, false);
    /* a module is instantiated once per process: an image to share would be one file more */
    wasmtime_config_memory_init_cow_set(config, false);
    wasmtime_config_parallel_compilation_set(config, parallel);
    if (stack) {
        wasmtime_config_async_stack_size_set(config, 2 * (uint64_t)PROP_WASM_MAX_STACK);
        wasmtime_config_max_wasm_stack_set(config, (size_t)stack);
    }
    return wasm_engine_new_with_config(config);
}

wasm_engine_t *prop_wasm_engine(bool fuel)
{
    (void)pthread_mutex_lock(&engine_lock);
    if (!engines[fuel])
        engines[fuel] = prop_wasm_engine_new(fuel, !no_threads, 0);
    wasm_engine_t *engine = engines[fuel];
    (void)pthread_mutex_unlock(&engine_lock);
    return engine;
}

/* The smallest function there is: compiling it touches the compiler's code and tables. */
static const uint8_t warm_module[] = {
    0, 'a', 's', 'm', 1, 0, 0, 0, /* header */
    1, 4, 1, 0x60, 0, 0,          /* type: () -> () */
    3, 2, 1, 0,                   /* one function of it */
    10, 4, 1, 2, 0, 0x0b,         /* its body: end */
};

static void compile_smallest(void)
{
    wasmtime_module_t *module = NULL;
    wasmtime_error_t *error =
        wasmtime_module_new(prop_wasm_engine(false), warm_module, sizeof warm_module, &module);

    if (error)
        wasmtime_error_delete(error);
    else
        wasmtime_module_delete(module);
}

static void *warm_thread(void *unused)
{
    compile_smallest();
    return unused;
}

int prop_wasm_warm(struct prop_err *err)
{
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, warm_thread, NULL);

    if (rc) {
        errno = rc;
        return prop_err_sys(err, PROP_E_NOMEM, "start the engine");
    }
    (void)pthread_detach(thread);
    return 0;
}

void prop_wasm_prepare(void)
{
    no_threads = true;
    compile_smallest();
}

/* ---- compile --------------------------------------------------------------------------------- */

static bool looks_like_text(const uint8_t *data, size_t len)
{
    size_t i = 0;

    while (i < len && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r'))
        i++;
    return i < len && (data[i] == '(' || data[i] == ';');
}

static int compile_binary(struct prop_wasm_job *job, const uint8_t *data, size_t len,
                          struct prop_err *err)
{
    static const uint8_t component_version[4] = {0x0d, 0, 1, 0};
    char text[512];
    wasmtime_error_t *error =
        memcmp(data + 4, component_version, sizeof component_version) == 0
            ? wasmtime_component_new(job->engine, data, len, &job->component)
            : wasmtime_module_new(job->engine, data, len, &job->module);

    if (!error)
        return 0;
    return prop_err_set_id(err, PROP_E_INPUT, "wasm-invalid", "'%s' is not valid Wasm: %s",
                           job->name, prop_wasm_error_text(error, text, sizeof text));
}

int prop_wasm_assemble(const char *text, size_t len, const char *name, struct prop_buf *out,
                       struct prop_err *err)
{
    char cause[512];
    wasm_byte_vec_t binary;
    wasmtime_error_t *error = wasmtime_wat2wasm(text, len, &binary);

    if (error)
        return prop_err_set_id(err, PROP_E_INPUT, "wasm-invalid", "'%s' is not valid WAT: %s", name,
                               prop_wasm_error_first(error, cause, sizeof cause));
    int rc = prop_buf_add(out, binary.data, binary.size, err);
    prop_wipe(binary.data, binary.size);
    wasm_byte_vec_delete(&binary);
    return rc;
}

int prop_wasm_job_compile(struct prop_wasm_job *job, const uint8_t *data, size_t len,
                          struct prop_err *err)
{
    static const uint8_t magic[4] = {0, 'a', 's', 'm'};
    prop_auto_buf struct prop_buf binary = PROP_BUF_INIT(PROP_LIMIT_WASM_MODULE);

    if (len >= 8 && memcmp(data, magic, sizeof magic) == 0)
        return compile_binary(job, data, len, err);
    if (!looks_like_text(data, len))
        return prop_err_set_id(err, PROP_E_INPUT, "not-wasm",
                               "'%s' is not a WebAssembly module (no \\0asm at the start)",
                               job->name);
    int rc = prop_wasm_assemble((const char *)data, len, job->name, &binary, err);
    if (rc == 0)
        rc = compile_binary(job, binary.data, binary.len, err);
    prop_wipe(binary.data, binary.len);
    return rc;
}

/* ---- what the guest is given ----------------------------------------------------------------- */

static int grant_env(wasi_config_t *wasi, const struct prop_wasm_run *run, struct prop_err *err)
{
    for (size_t i = 0; i < run->n_env; i++) {
        const char *eq = strchr(run->env[i], '=');
        if (!eq || eq == run->env[i])
            return prop_err_set_id(err, PROP_E_USAGE, "bad-env", "'%s' is not KEY=VALUE",
                                   run->env[i]);
        prop_auto_free char *name = prop_strndup(run->env[i], (size_t)(eq - run->env[i]));
        if (!name)
            return prop_err_nomem(err);
        const char *names[] = {name};
        const char *values[] = {eq + 1};
        if (!wasi_config_set_env(wasi, 1, names, values))
            return prop_err_set_id(err, PROP_E_USAGE, "bad-env", "'%s' is not UTF-8", name);
    }
    return 0;
}

static int grant_argv(wasi_config_t *wasi, const struct prop_wasm_job *job, struct prop_err *err)
{
    const char *one[1] = {job->name};
    bool ok = wasi_config_set_argv(wasi, 1, one);

    for (size_t i = 0; ok && !job->invoke && i < job->n_args; i++) {
        one[0] = job->args[i];
        ok = wasi_config_set_argv(wasi, 1, one);
    }
    return ok ? 0 : prop_err_set_id(err, PROP_E_INPUT, "bad-argument", "an argument is not UTF-8");
}

static int grant_stdin(wasi_config_t *wasi, const struct prop_wasm_run *run, struct prop_err *err)
{
    if (!run->stdin_path)
        return 0; /* WASI's own default: closed */
    if (strcmp(run->stdin_path, "-") == 0)
        wasi_config_inherit_stdin(wasi);
    else if (access(run->stdin_path, R_OK) || !wasi_config_set_stdin_file(wasi, run->stdin_path))
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "stdin '%s'",
                            run->stdin_path);
    return 0;
}

static int grant_dirs(wasi_config_t *wasi, const struct prop_wasm_run *run, struct prop_err *err)
{
    for (size_t i = 0; i < run->n_dirs; i++)
        if (!wasi_config_preopen_dir(wasi, run->dirs[i].host, run->dirs[i].guest, true))
            return prop_err_set_id(err, PROP_E_IO, "bad-dir", "the folder '%s' cannot be opened",
                                   run->dirs[i].guest);
    return 0;
}

static int grant(struct prop_wasm_job *job, const struct prop_wasm_run *run, struct prop_err *err)
{
    wasi_config_t *wasi = wasi_config_new();
    int rc = grant_argv(wasi, job, err);

    if (rc == 0)
        rc = grant_env(wasi, run, err);
    if (rc == 0)
        rc = grant_stdin(wasi, run, err);
    if (rc == 0)
        rc = grant_dirs(wasi, run, err);
    if (rc) {
        wasi_config_delete(wasi);
        return rc;
    }
    wasi_config_set_stdout_custom(wasi, prop_wasm_sink_write, &job->out, NULL);
    wasi_config_set_stderr_custom(wasi, prop_wasm_sink_write, &job->err_out, NULL);
    wasmtime_error_t *error = wasmtime_context_set_wasi(job->context, wasi);
    if (!error)
        return 0;
    char text[256];
    return prop_err_set(err, PROP_E_BUG, "WASI: %s",
                        prop_wasm_error_text(error, text, sizeof text));
}

/* Called on the guest's thread at each tick of the epoch, which is shared by all runs: only the
 * job's own reason ends it. */
static wasmtime_error_t *on_epoch(wasmtime_context_t *context, void *ctx, uint64_t *delta,
                                  wasmtime_update_deadline_kind_t *kind)
{
    struct prop_wasm_job *job = ctx;

    (void)context;
    if (atomic_load(&job->reason) != PROP_WASM_GOES_ON)
        return wasmtime_error_new("ended from outside");
    *delta = 1;
    *kind = WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return NULL;
}

int prop_wasm_job_grant(struct prop_wasm_job *job, const struct prop_wasm_run *run,
                        struct prop_err *err)
{
    job->store = wasmtime_store_new(job->engine, NULL, NULL);
    job->context = wasmtime_store_context(job->store);
    wasmtime_store_limiter(job->store, (int64_t)job->limits.max_memory,
                           (int64_t)job->limits.max_table, MAX_INSTANCES, MAX_INSTANCES,
                           MAX_MEMORIES);
#ifndef PROP_WASMTIME_PREFIX
    prop_ffi_store_cap(job->context, job->limits.max_memory, job->limits.max_table, MAX_INSTANCES,
                       MAX_MEMORIES);
#endif
    wasmtime_store_epoch_deadline_callback(job->store, on_epoch, job, NULL);
    wasmtime_context_set_epoch_deadline(job->context, 1);
    if (job->limits.fuel > 0) {
        char text[256];
        wasmtime_error_t *error = wasmtime_context_set_fuel(job->context, job->limits.fuel);
        if (error)
            return prop_err_set(err, PROP_E_BUG, "fuel: %s",
                                prop_wasm_error_text(error, text, sizeof text));
    }
    job->uses_wasi = job->component || prop_wasm_core_uses_wasi(job->module);
    return job->uses_wasi ? grant(job, run, err) : 0;
}

int prop_wasm_run(const struct prop_wasm_run *run, struct prop_wasm_result *ret,
                  struct prop_err *err)
{
    prop_auto_wasm_job struct prop_wasm_job *job = NULL;
    int rc = prop_wasm_job_new(run, &job, err);

    if (rc == 0)
        rc = prop_wasm_job_compile(job, run->module, run->module_len, err);
    if (rc == 0)
        rc = prop_wasm_job_grant(job, run, err);
    if (rc == 0)
        rc = prop_stop_check(err);
    return rc ? rc : prop_wasm_job_run(PROP_TAKE(job), ret, err);
}

void prop_wasm_result_release(struct prop_wasm_result *r)
{
    prop_buf_release(&r->out);
    prop_buf_release(&r->err_out);
}
