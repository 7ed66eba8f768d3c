/* One run of a module or component, shared by the files of this room that drive Wasmtime.
 *
 * The guest runs on its own thread, so that a deadline also ends one that sleeps in a call to us,
 * where no instruction of its own looks at the clock. Such a thread is left behind: all that it may
 * still touch belongs to the job, and whoever lets go last frees it.
 */
#ifndef PROP_ENGINE_WASM_INTERNAL_H
#define PROP_ENGINE_WASM_INTERNAL_H

#include "engine/wasm.h"
#include "util/json.h"

#include <pthread.h>
#include <stdatomic.h>

#include <wasmtime.h>

enum prop_wasm_reason {
    PROP_WASM_GOES_ON,
    PROP_WASM_DEADLINE,
    PROP_WASM_STOPPED, /* a signal */
    PROP_WASM_OUTPUT,  /* wrote more than its limit */
    PROP_WASM_UNREAD   /* our standard output takes nothing: full, closed, nobody reads */
};

struct prop_wasm_job;

struct prop_wasm_sink {
    struct prop_wasm_job *job;
    struct prop_buf buf; /* collects, when fd is -1 */
    int fd;
    uint64_t passed;     /* bytes so far */
    atomic_int failed;   /* errno of the write that fd did not take; 0 = none */
};

struct prop_wasm_job {
    wasm_engine_t *engine; /* shared by all runs; borrowed */
    wasm_engine_t *own;    /* or one for this job alone; NULL = the shared one */
    wasmtime_module_t *module;
    wasmtime_component_t *component;
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    char *name;
    char *invoke;          /* NULL = the command */
    char **args;           /* of `invoke` */
    size_t n_args;
    bool uses_wasi;
    struct prop_wasm_limits limits;
    struct prop_wasm_sink out;
    struct prop_wasm_sink err_out;

    struct prop_err err;   /* the answer: rc 0, or the error */
    int rc;
    int exit_status;

    atomic_int reason;     /* enum prop_wasm_reason: why it has to end */
    pthread_mutex_t lock;  /* guards the two below */
    pthread_cond_t ended;
    bool done;
    bool abandoned;
};

/* The engine, made at first use, for the life of the process; `fuel`: the one that counts it. */
wasm_engine_t *prop_wasm_engine(bool fuel);
/* Another, owned: with this many bytes of stack for the guest (0 = as ever), compiling on all
 * processors or on the calling thread. */
wasm_engine_t *prop_wasm_engine_new(bool fuel, bool parallel, uint64_t stack);

/* Compile into the job: a module or a component, binary or text. */
int prop_wasm_job_compile(struct prop_wasm_job *job, const uint8_t *data, size_t len,
                          struct prop_err *err);
/* The store, with the job's limits and what `run` grants. */
int prop_wasm_job_grant(struct prop_wasm_job *job, const struct prop_wasm_run *run,
                        struct prop_err *err);

/* A job with copies of what its thread will need of `run`; nothing compiled yet. */
int prop_wasm_job_new(const struct prop_wasm_run *run, struct prop_wasm_job **ret,
                      struct prop_err *err);
void prop_wasm_job_free(struct prop_wasm_job *job);
PROP_DEFINE_AUTO(struct prop_wasm_job *, prop_wasm_job_free)
#define prop_auto_wasm_job __attribute__((cleanup(prop_wasm_job_free_p)))
/* Run it on its own thread and wait. Takes the job over. */
int prop_wasm_job_run(struct prop_wasm_job *taken, struct prop_wasm_result *ret,
                      struct prop_err *err);
/* Make the guest end; the first reason counts. */
void prop_wasm_end(struct prop_wasm_job *job, enum prop_wasm_reason reason);
/* The error for a reason. */
int prop_wasm_fail_reason(struct prop_wasm_job *job, int reason, struct prop_err *err);

/* WASI's stdout and stderr: `ctx` is a struct prop_wasm_sink. */
ptrdiff_t prop_wasm_sink_write(void *ctx, const unsigned char *data, size_t len);
/* Append to what the run gives back as stdout, within its limit. */
int prop_wasm_print(struct prop_wasm_job *job, const char *text, struct prop_err *err);

/* Turn Wasmtime's error or trap (exactly one is given; both are consumed) into the job's outcome:
 * 0 when the guest ended through an exit call, whose status is kept; else the error to report. */
int prop_wasm_outcome(struct prop_wasm_job *job, wasmtime_error_t *error, wasm_trap_t *trap,
                      struct prop_err *err);

/* The cause in Wasmtime's words, one line, into `out`. Consumes the error. */
const char *prop_wasm_error_text(wasmtime_error_t *error, char *out, size_t size);
/* Its first line instead: what is wrong with a WAT text, before the place is drawn. */
const char *prop_wasm_error_first(wasmtime_error_t *error, char *out, size_t size);

/* Instantiate and run; on the guest's thread. */
int prop_wasm_run_core(struct prop_wasm_job *job, struct prop_err *err);
int prop_wasm_run_component(struct prop_wasm_job *job, struct prop_err *err);

/* Do the imports ask for WASI? (A run without it is spared its set-up.) */
bool prop_wasm_core_uses_wasi(const wasmtime_module_t *module);

/* Component values: the type as JSON (the form of src/wave.rs), a value from text, a value as
 * text. `what` names the argument. */
int prop_wasm_type_json(const wasmtime_component_valtype_t *type, json_t **ret,
                        struct prop_err *err);
int prop_wasm_value_parse(const wasmtime_component_valtype_t *type, const char *text,
                          const char *what, wasmtime_component_val_t *ret, struct prop_err *err);
int prop_wasm_value_format(const wasmtime_component_valtype_t *type,
                           const wasmtime_component_val_t *v, char **ret, struct prop_err *err);
/* Append to a list, taking `v` over; a NULL anywhere makes the whole list NULL. */
void prop_wasm_json_append(json_t **list, json_t *v);

#endif
