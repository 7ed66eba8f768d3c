/* A child of the fork server: one compilation, or one run, and its answer. */
#include "guest/runner_child.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#define SLOT 3           /* its descriptors: 0 stdin, 1 stdout, 2 the answer, then: */
#define ERR_FD (SLOT + 0)    /* stderr */
#define SPEC_FD (SLOT + 1)
#define MODULE_FD (SLOT + 2)
#define FIRST_DIR (SLOT + 3)
#define OPEN_FILES 64    /* more than the engine ever opens */
#define DIR_FILES 1024   /* with folders */
#define DIR_FILE_SIZE (4ull << 30)

/* ---- descriptors ----------------------------------------------------------------------------- */

/* Everything first out of the way, then to its place: no place is taken from another that way. */
static int arrange(const struct runner_house *house, const int fds[RUNNER_N_FDS], bool has_stdin,
                   struct prop_err *err)
{
    const int from[] = {has_stdin ? fds[RUNNER_FD_IN] : STDIN_FILENO, fds[RUNNER_FD_OUT],
                        fds[RUNNER_FD_ANSWER], fds[RUNNER_FD_ERR], fds[RUNNER_FD_SPEC],
                        fds[RUNNER_FD_MODULE]};
    int high[PROP_ARRAY_LEN(from) + RUNNER_MAX_DIRS];
    size_t n = PROP_ARRAY_LEN(from) + house->n_dirs;
    int keep[PROP_ARRAY_LEN(high)];

    for (size_t i = 0; i < n; i++) {
        int fd = i < PROP_ARRAY_LEN(from) ? from[i] : house->dir_fds[i - PROP_ARRAY_LEN(from)];
        high[i] = fcntl(fd, F_DUPFD_CLOEXEC, (int)PROP_ARRAY_LEN(high));
        if (high[i] < 0)
            return prop_err_sys(err, PROP_E_IO, "a child's descriptors");
    }
    for (size_t i = 0; i < n; i++) {
        if (dup2(high[i], (int)i) < 0)
            return prop_err_sys(err, PROP_E_IO, "a child's descriptors");
        keep[i] = (int)i;
    }
    return prop_sandbox_close_fds(keep, n, err);
}

/* ---- the two jobs ---------------------------------------------------------------------------- */

static int map(int fd, const uint8_t **ret, size_t *ret_len, struct prop_err *err)
{
    struct stat st;

    if (fstat(fd, &st))
        return prop_err_sys(err, PROP_E_IO, "a runner's request");
    void *p = mmap(NULL, (size_t)st.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return prop_err_nomem(err);
    *ret = p;
    *ret_len = (size_t)st.st_size;
    return 0;
}

static int compile(const struct runner_house *house, struct runner_spec *spec,
                   struct runner_answer *a, struct prop_err *err)
{
    struct prop_wasm_artifact made = {false, false};
    int rc = map(MODULE_FD, &spec->how.module, &spec->how.module_len, err);

    if (rc == 0)
        rc = prop_sandbox_close(house->sandbox, PROP_SANDBOX_COMPILE, err);
    if (rc == 0)
        rc = prop_wasm_compile(&spec->how, STDOUT_FILENO, &made, err);
    a->component = made.component;
    a->fuel = made.fuel;
    return rc;
}

static int run(const struct runner_house *house, struct runner_spec *spec,
               const struct runner_request *req, struct runner_answer *a, struct prop_err *err)
{
    const struct prop_wasm_artifact artifact = {req->component != 0, req->fuel != 0};
    struct prop_wasm_dir dirs[RUNNER_MAX_DIRS];
    char paths[RUNNER_MAX_DIRS][32];
    struct prop_wasm_job *job = NULL;
    int status = 0;

    for (size_t i = 0; i < house->n_dirs; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "/proc/self/fd/%d", FIRST_DIR + (int)i);
        dirs[i] = (struct prop_wasm_dir){paths[i], house->dirs[i].guest};
    }
    spec->how.dirs = dirs;
    spec->how.n_dirs = house->n_dirs;
    /* What a compiler made of a stranger's module, and the engine takes as it is: not to be read
     * outside a filter. */
    int rc = prop_sandbox_close(house->sandbox,
                                house->n_dirs ? PROP_SANDBOX_LOAD_DIRS : PROP_SANDBOX_LOAD, err);
    if (rc == 0)
        rc = prop_wasm_job_load(&spec->how, &artifact, MODULE_FD, &job, err);
    if (rc == 0) {
        (void)close(MODULE_FD);
        (void)close(SPEC_FD);
        rc = prop_sandbox_close(house->sandbox,
                                house->n_dirs ? PROP_SANDBOX_RUN_DIRS : PROP_SANDBOX_RUN, err);
    }
    if (rc == 0)
        rc = prop_wasm_job_go(job, ERR_FD, &status, err);
    a->exit_status = status;
    return rc;
}

static int limit(const struct runner_house *house, const struct runner_request *req,
                 struct prop_err *err)
{
    const bool dirs = house->n_dirs > 0;
    const struct prop_sandbox_limits limits = {
        .memory = req->memory,
        .cpu_ms = req->cpu_ms,
        /* of a compilation it is the artifact; a run without folders has no file to write */
        .file_size = req->what == RUNNER_COMPILE ? req->memory
                     : dirs || req->what == RUNNER_EXTERNAL ? DIR_FILE_SIZE : 0,
        .files = dirs || req->what == RUNNER_EXTERNAL ? DIR_FILES : OPEN_FILES,
    };

    return prop_sandbox_limit(&limits, house->pid, err);
}

static int work(const struct runner_house *house, const struct runner_request *req,
                struct runner_answer *a, struct prop_err *err)
{
    struct runner_spec spec = {.texts = NULL};
    const uint8_t *data = NULL;
    size_t len = 0;
    int rc = limit(house, req, err);

    if (rc == 0)
        rc = map(SPEC_FD, &data, &len, err);
    if (rc == 0)
        rc = runner_spec_decode(data, len, &spec, err);
    if (rc)
        return rc;
    switch (req->what) {
    case RUNNER_COMPILE:
        return compile(house, &spec, a, err);
    case RUNNER_EXTERNAL:
        return runner_become(house, &spec, MODULE_FD, err);
    default:
        return run(house, &spec, req, a, err);
    }
}

_Noreturn void runner_child(const struct runner_house *house, const struct runner_request *req,
                            const int fds[RUNNER_N_FDS])
{
    struct prop_err err = PROP_ERR_INIT;
    struct runner_answer a;

    memset(&a, 0, sizeof a);
    int rc = arrange(house, fds, req->has_stdin != 0, &err);
    if (rc == 0) {
        if (house->swap)
            (void)prop_sandbox_lock_memory();
        rc = work(house, req, &a, &err);
    }
    if (rc == 0)
        err.code = PROP_OK;
    runner_answer_fill(&a, &err);
    (void)prop_write_all(STDERR_FILENO, &a, sizeof a);
    _exit(0); /* no destructors: what was here ends with its address space */
}
