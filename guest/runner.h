/* Where modules run: never in the process that holds keys, broker connections or other tasks.
 *
 * A runner is one fork server: this program executed anew (so that nothing of the caller's memory is
 * in it), single-threaded, with the engine started and no descriptor but its control socket. Each
 * compilation and each run is a child of its own, in a process group of its own, under
 * sandbox/sandbox.h: no new privileges, seccomp, no network, no files, limits on memory and
 * processor; it ends with its one answer, and its whole group is killed when it is stopped, when its
 * deadline passes or when the caller goes away. Compilation and execution are separate children: what
 * compiles never runs a guest's code, so what it hands back can be kept and run again.
 *
 * One runner may be used from many threads at once. */
#ifndef PROP_GUEST_RUNNER_H
#define PROP_GUEST_RUNNER_H

#include "engine/wasm.h"
#include "util/err.h"
#include "util/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct prop_runner_config {
    uint64_t compile_memory;   /* bytes a compiling child may take; 0 = 4 GiB */
    uint64_t compile_ms;       /* and how long; 0 = 10 minutes */
    const char *const *dirs;   /* folders of this host that guests may see ("HOST" or "HOST::GUEST"),
                                * by local configuration only; opened before the sandbox closes */
    size_t n_dirs;
    const char *external;      /* PROPLET_EXTERNAL_WASM_RUNTIME: this program (its path) runs the
                                * modules instead, each given as a sealed memfd; NULL = the engine in
                                * here */
    bool hasty;                /* do not wait for its answer: the first use of it does, and fails as
                                * the start would have */
};

struct prop_runner;
/* Start the fork server. Returns once it answers. Call it early, before other threads and secrets.
 * Fails: PROP_E_UNSUPPORTED (id "no-sandbox") where the kernel has no seccomp; PROP_E_IO. */
int prop_runner_start(const struct prop_runner_config *config, struct prop_runner **ret,
                      struct prop_err *err);
/* Ends the fork server and every child that is left. */
void prop_runner_free(struct prop_runner *r);
PROP_DEFINE_AUTO(struct prop_runner *, prop_runner_free)
#define prop_auto_runner __attribute__((cleanup(prop_runner_free_p)))
/* Run in the fork server's own process: main() of a tool calls this first; it returns at once unless
 * this process was started as a fork server, and then never. */
void prop_runner_main(int argc, char **argv);

/* What is worth a warning about this machine, once ("" = nothing); borrowed, valid after the first
 * compilation or run: memory that may reach a swap device, a wall that could not be put up. */
const char *prop_runner_warning(struct prop_runner *r);

/* A module ready to run: its compiled form in a sealed memfd (with an external runtime: its own
 * bytes), never on a disk. Counted references; one module may run many times at once. */
struct prop_program;
struct prop_run_handle;
/* Compile in a child. Fails: as prop_wasm_run for a bad module; PROP_E_TIMEOUT and PROP_E_LIMIT (id
 * "compile-limit"). */
int prop_runner_compile(struct prop_runner *r, const void *wasm, size_t len, const char *name,
                        struct prop_program **ret, struct prop_err *err);
struct prop_compile_how {
    bool fuel;       /* its code counts fuel: a run of it may have limits.fuel, others may not */
    bool encrypted;  /* with an external runtime: the form for encrypted tasks (propeller.md 2.4) */
    struct prop_run_handle *handle; /* to stop it; may be NULL */
};
int prop_runner_compile_with(struct prop_runner *r, const void *wasm, size_t len, const char *name,
                             const struct prop_compile_how *how, struct prop_program **ret,
                             struct prop_err *err);
bool prop_program_counts_fuel(const struct prop_program *p);
struct prop_program *prop_program_ref(struct prop_program *p);
void prop_program_unref(struct prop_program *p);
/* Bytes of memory it takes, for a cache's bookkeeping. */
size_t prop_program_size(const struct prop_program *p);

/* To stop a run from another thread, and to watch it. Zeroed before use. */
struct prop_run_handle {
    _Atomic(pid_t) pid;        /* of the child, which leads its group, while it runs; 0 = not */
    _Atomic(bool) stop;        /* set by prop_run_stop */
    int wake;                  /* owned by the runner */
};
/* End the run: the whole group is killed, and prop_runner_run fails with PROP_E_INTERRUPTED (id
 * "stopped"). Fine before it began (it then never does), after it ended, and twice. */
void prop_run_stop(struct prop_run_handle *h);

/* Run once, in a child, and wait for its end. `how->module` is not looked at; everything else of it
 * is as prop_wasm_run says, stdin_path "-" and inherit_stdout reach the caller's own descriptors.
 * `handle` may be NULL. The deadline counts from here and holds whatever the child does. `ret` must be
 * initialised; what it held is released. Where the run fails, its err_out still holds what the guest
 * wrote to stderr, for the caller's own report: release it then too.
 * Fails: as prop_wasm_run; PROP_E_INTERRUPTED (id "stopped"); PROP_E_TRAP (id "crashed") a child that
 * died of a signal (a seccomp violation is named); PROP_E_LIMIT (id "memory") where it hit its cap. */
int prop_runner_run(struct prop_runner *r, const struct prop_program *p,
                    const struct prop_wasm_run *how, struct prop_run_handle *handle,
                    struct prop_wasm_result *ret, struct prop_err *err);

#endif
