/* Compiled modules between two processes: written as Wasmtime serialises them, mapped again from the
 * descriptor they were written to. */
#include "engine/wasm_internal.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/file.h"

#define LARGE (64u << 10) /* bytes of a module that are worth threads */

static int fail(const struct prop_wasm_job *job, const char *what, wasmtime_error_t *error,
                struct prop_err *err)
{
    char text[512];

    return prop_err_set(err, PROP_E_BUG, "%s '%s': %s", what, job->name,
                        prop_wasm_error_text(error, text, sizeof text));
}

static int write_artifact(const struct prop_wasm_job *job, int fd, struct prop_err *err)
{
    wasm_byte_vec_t bytes;
    wasmtime_error_t *error = job->component
                                  ? wasmtime_component_serialize(job->component, &bytes)
                                  : wasmtime_module_serialize(job->module, &bytes);

    if (error)
        return fail(job, "serialise", error, err);
    int rc = prop_write_all(fd, bytes.data, bytes.size);
    if (rc)
        rc = prop_err_sys(err, PROP_E_IO, "write the compiled '%s'", job->name);
    wasm_byte_vec_delete(&bytes);
    return rc;
}

int prop_wasm_compile(const struct prop_wasm_run *run, int fd, struct prop_wasm_artifact *ret,
                      struct prop_err *err)
{
    prop_auto_wasm_job struct prop_wasm_job *job = NULL;
    int rc = prop_wasm_job_new(run, &job, err);

    if (rc == 0 && run->module_len >= LARGE && !job->own)
        job->engine = job->own = prop_wasm_engine_new(run->limits.fuel > 0, true, 0);
    if (rc == 0)
        rc = prop_wasm_job_compile(job, run->module, run->module_len, err);
    if (rc == 0)
        rc = write_artifact(job, fd, err);
    if (rc == 0)
        *ret = (struct prop_wasm_artifact){job->component != NULL, run->limits.fuel > 0};
    return rc;
}

/* Without /proc the bytes are copied out of the descriptor instead of being mapped as they are. */
static wasmtime_error_t *from_bytes(struct prop_wasm_job *job, bool component, const void *data,
                                    size_t len)
{
    return component ? wasmtime_component_deserialize(job->engine, data, len, &job->component)
                     : wasmtime_module_deserialize(job->engine, data, len, &job->module);
}

static int map_artifact(struct prop_wasm_job *job, bool component, int fd, struct prop_err *err)
{
    struct stat st;

    if (fstat(fd, &st))
        return prop_err_sys(err, PROP_E_IO, "the compiled '%s'", job->name);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return prop_err_sys(err, PROP_E_NOMEM, "the compiled '%s'", job->name);
    wasmtime_error_t *error = from_bytes(job, component, map, (size_t)st.st_size);
    (void)munmap(map, (size_t)st.st_size);
    return error ? fail(job, "load", error, err) : 0;
}

static int load_artifact(struct prop_wasm_job *job, bool component, int fd, struct prop_err *err)
{
    char path[32];

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (access(path, R_OK))
        return map_artifact(job, component, fd, err);
    wasmtime_error_t *error =
        component ? wasmtime_component_deserialize_file(job->engine, path, &job->component)
                  : wasmtime_module_deserialize_file(job->engine, path, &job->module);
    return error ? fail(job, "load", error, err) : 0;
}

int prop_wasm_job_load(const struct prop_wasm_run *run, const struct prop_wasm_artifact *a, int fd,
                       struct prop_wasm_job **ret, struct prop_err *err)
{
    prop_auto_wasm_job struct prop_wasm_job *job = NULL;
    int rc = prop_wasm_job_new(run, &job, err);

    if (rc == 0)
        rc = load_artifact(job, a->component, fd, err);
    if (rc == 0)
        rc = prop_wasm_job_grant(job, run, err);
    if (rc == 0)
        *ret = PROP_TAKE(job);
    return rc;
}

int prop_wasm_job_go(struct prop_wasm_job *job, int err_fd, int *ret_exit_status,
                     struct prop_err *err)
{
    job->out.fd = STDOUT_FILENO;
    job->err_out.fd = err_fd;
    int rc = job->component ? prop_wasm_run_component(job, err) : prop_wasm_run_core(job, err);
    int reason = atomic_load(&job->reason);

    /* a guest that swallowed the error of its too long or unread write is told on all the same:
     * many programs never look at what printf returns */
    if (rc == 0 && (reason == PROP_WASM_OUTPUT || reason == PROP_WASM_UNREAD))
        rc = prop_wasm_fail_reason(job, reason, err);
    if (rc == 0)
        *ret_exit_status = job->exit_status;
    return rc;
}
