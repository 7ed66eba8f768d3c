/* Running a WebAssembly module or component in this process (Wasmtime 48), with nothing granted
 * but what the caller lists: no environment, no folders, no network. */
#ifndef PROP_ENGINE_WASM_H
#define PROP_ENGINE_WASM_H

#include "util/err.h"
#include "util/buf.h"
#include "util/json.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_WASM_MAX_STACK (4u << 20)

struct prop_wasm_limits {
    uint64_t timeout_ms;    /* wall-clock deadline (epoch interruption); 0 = none */
    uint64_t fuel;          /* instructions, roughly; 0 = unlimited */
    uint64_t max_memory;    /* bytes of linear memory; 0 = 4 GiB */
    uint64_t max_output;    /* bytes of stdout and of stderr each; 0 = PROP_LIMIT_GUEST_OUTPUT */
    uint64_t max_table;     /* elements of one table; 0 = 10 million */
    uint64_t max_stack;     /* bytes of the guest's calls; 0 = 512 KiB; at most PROP_WASM_MAX_STACK */
};

/* A folder the guest sees, by the local configuration's word alone. */
struct prop_wasm_dir {
    const char *host;       /* what is opened; /proc/self/fd/N is fine */
    const char *guest;      /* what the guest calls it */
};

struct prop_wasm_run {
    const uint8_t *module;  /* plain Wasm bytes (or WAT text), borrowed */
    size_t module_len;
    const char *name;       /* argv[0] and messages */
    const char *invoke;     /* exported function; NULL = `_start` / wasi:cli/run */
    const char *const *args;/* invoke: values as text (numbers; WAVE for components); else argv */
    size_t n_args;
    const char *const *env; /* "K=V" granted by the user; may be NULL */
    size_t n_env;
    const char *stdin_path; /* file for stdin; NULL = empty; "-" = inherit ours */
    const struct prop_wasm_dir *dirs; /* folders granted, to read and to write; may be NULL */
    size_t n_dirs;
    bool inherit_stdout;    /* write through to our stdout and stderr instead of collecting */
    struct prop_wasm_limits limits;
};

struct prop_wasm_result {
    struct prop_buf out;    /* collected stdout of a command, or the printed results of `invoke` */
    struct prop_buf err_out;/* collected stderr */
    int exit_status;        /* of a WASI command; 0 for invoke */
};
void prop_wasm_result_release(struct prop_wasm_result *r);

/* Start the engine ahead (in a thread of its own), while the network is waited for. Optional. */
int prop_wasm_warm(struct prop_err *err);

/* Start the engine ahead without a thread: for a process that will fork. Its own engines never have
 * any from then on. */
void prop_wasm_prepare(void);

/* Compile in memory, instantiate, run. The deadline counts from the first instruction; a guest that
 * sleeps in a call to us past it is left behind on its thread. Growing memory past its cap ends the
 * guest. Results of `invoke` are printed as wasmtime prints them, one per line (i32 signed decimal,
 * f32/f64 shortest form; WAVE for components, whose string arguments need no quotes).
 * Fails: PROP_E_INPUT (id "not-wasm", "wasm-invalid", "bad-argument"), PROP_E_NOTFOUND (id
 * "no-export"; the hint lists exports), PROP_E_UNSUPPORTED (id "missing-import"),
 * PROP_E_TRAP (id "trap"), PROP_E_TIMEOUT (id "deadline"), PROP_E_LIMIT (id "fuel", "memory",
 * "output"). */
int prop_wasm_run(const struct prop_wasm_run *run, struct prop_wasm_result *ret,
                  struct prop_err *err);

/* The same in two steps, for a process each: the one that compiles runs nothing of the guest's, so
 * that what it wrote can be trusted by the one that runs. */
struct prop_wasm_artifact {
    bool component;
    bool fuel;              /* its code counts fuel, and wants some to run */
};
/* Compile (`module`, `name` and `limits.fuel` of `run` are looked at) and write the machine code to
 * a descriptor. Fails: as prop_wasm_run for a bad module; PROP_E_IO. */
int prop_wasm_compile(const struct prop_wasm_run *run, int fd, struct prop_wasm_artifact *ret,
                      struct prop_err *err);
/* Make a run of it ready: what opens files or maps code happens here. `fd` holds what
 * prop_wasm_compile wrote: anything else may do as it likes. `run` as for prop_wasm_run, but for
 * stdin_path, which is "-" or NULL. Nothing of the guest's has run when this returns. */
struct prop_wasm_job;
int prop_wasm_job_load(const struct prop_wasm_run *run, const struct prop_wasm_artifact *a, int fd,
                       struct prop_wasm_job **ret, struct prop_err *err);
/* Run it on the calling thread; its output goes to our stdout and to `err_fd` as it comes. Nobody
 * looks at the clock here: the caller's caller does. `job` is not freed: its process ends. */
int prop_wasm_job_go(struct prop_wasm_job *job, int err_fd, int *ret_exit_status,
                     struct prop_err *err);

/* WAT text (a module's or a component's) as a binary. Fails: PROP_E_INPUT (id "wasm-invalid"). */
int prop_wasm_assemble(const char *text, size_t len, const char *name, struct prop_buf *out,
                       struct prop_err *err);

/* Version text of the engine ("wasmtime 48.0.8, regorus 0.11.0"). */
const char *prop_engine_version(void);

#endif
