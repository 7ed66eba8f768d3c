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

struct prop_wasm_limits {
    uint64_t timeout_ms;    /* wall-clock deadline (epoch interruption); 0 = none */
    uint64_t fuel;          /* instructions, roughly; 0 = unlimited */
    uint64_t max_memory;    /* bytes of linear memory; 0 = 4 GiB */
    uint64_t max_output;    /* bytes of stdout and of stderr each; 0 = PROP_LIMIT_GUEST_OUTPUT */
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

/* WAT text (a module's or a component's) as a binary. Fails: PROP_E_INPUT (id "wasm-invalid"). */
int prop_wasm_assemble(const char *text, size_t len, const char *name, struct prop_buf *out,
                       struct prop_err *err);

/* Version text of the engine ("wasmtime 48.0.8, regorus 0.11.0"). */
const char *prop_engine_version(void);

#endif
