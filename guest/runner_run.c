/* Compiling and running through the fork server: what is handed over, what comes back. */
#include "guest/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/runner_internal.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#define DEFAULT_MEMORY (4ull << 30)   /* as prop_wasm_limits.max_memory says */
#define ENGINE_MEMORY (512ull << 20)  /* a child's own: the engine's heap, its threads' stacks */
#define MAX_SPEC (64u << 20)
#define MAX_ANSWER (64u << 10)
#define CPU_SLACK_MS 10000

/* ---- programs -------------------------------------------------------------------------------- */

struct prop_program *prop_program_ref(struct prop_program *p)
{
    (void)atomic_fetch_add(&p->refs, 1);
    return p;
}

void prop_program_unref(struct prop_program *p)
{
    if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    runner_memfd_release(&p->code);
    prop_free(p);
}
PROP_DEFINE_AUTO(struct prop_program *, prop_program_unref)
#define auto_program __attribute__((cleanup(prop_program_unref_p)))

size_t prop_program_size(const struct prop_program *p)
{
    return p->code.len + sizeof *p;
}

bool prop_program_counts_fuel(const struct prop_program *p)
{
    return p->fuel;
}

static struct prop_program *new_program(void)
{
    struct prop_program *p = prop_zalloc(sizeof *p);

    if (p) {
        atomic_init(&p->refs, 1);
        p->code = (struct runner_memfd)RUNNER_MEMFD_INIT;
    }
    return p;
}

/* ---- one child ------------------------------------------------------------------------------- */

struct ends {
    int fds[RUNNER_N_FDS]; /* the child's; those below are borrowed */
    bool has_stdin;
};

static void job_release(struct runner_child_job *j)
{
    for (size_t i = 0; i < RUNNER_STREAMS; i++) {
        if (j->streams[i].from >= 0)
            (void)close(j->streams[i].from);
        prop_free(j->streams[i].held);
    }
    if (j->ctl >= 0)
        (void)close(j->ctl);
    if (j->pidfd >= 0)
        (void)close(j->pidfd);
    prop_buf_release(&j->answer);
}
#define auto_job __attribute__((cleanup(job_release)))

static void job_init(struct runner_child_job *j, const char *name, struct prop_run_handle *handle,
                     uint64_t timeout_ms)
{
    uint64_t now = prop_now_ms();

    memset(j, 0, sizeof *j);
    j->name = name ? name : "module.wasm";
    j->ctl = j->pidfd = -1;
    for (size_t i = 0; i < RUNNER_STREAMS; i++)
        j->streams[i] = (struct runner_stream){.from = -1, .to = -1};
    j->answer.max = MAX_ANSWER;
    j->handle = handle;
    j->timeout_ms = timeout_ms;
    j->deadline_ms = timeout_ms && timeout_ms < UINT64_MAX - now ? now + timeout_ms : UINT64_MAX;
}

/* A pipe out of the child: our end in the stream, its end returned, or -1. */
static int stream_open(struct runner_stream *s, uint64_t max, struct prop_buf *into, int to)
{
    int pipes[2];

    s->held = prop_alloc(64u << 10);
    if (!s->held || pipe2(pipes, O_CLOEXEC))
        return -1;
    (void)fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    s->from = pipes[0];
    s->max = max;
    s->into = into;
    s->to = to;
    return pipes[1];
}

static void ends_close(const struct ends *e, const bool mine[RUNNER_N_FDS])
{
    for (size_t i = 0; i < RUNNER_N_FDS; i++)
        if (mine[i] && e->fds[i] >= 0)
            (void)close(e->fds[i]);
}

static int put_spec(const struct runner_spec *spec, struct runner_memfd *ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(MAX_SPEC);
    int rc = runner_spec_encode(spec, &text, err);

    return rc ? rc : runner_memfd_put(ret, text.data, text.len, err);
}

static int send_request(struct prop_runner *r, struct runner_request *req, int spec,
                        struct ends *e, struct prop_err *err)
{
    e->fds[RUNNER_FD_SPEC] = spec;
    req->magic = RUNNER_MAGIC;
    req->has_stdin = e->has_stdin;
    return runner_request(r, req, e->fds, e->has_stdin ? RUNNER_N_FDS : RUNNER_N_FDS - 1, err);
}

/* From the request to the verdict. The streams are open; `mine` says which ends are to be closed
 * once they were sent. */
static int live(struct prop_runner *r, struct runner_child_job *j, struct runner_request *req,
                const struct runner_spec *spec, struct ends *e, bool mine[RUNNER_N_FDS],
                struct runner_answer *ret, struct prop_err *err)
{
    auto_memfd struct runner_memfd text = RUNNER_MEMFD_INIT; /* wiped when the child is dead */
    int pair[2] = {-1, -1};
    int rc = put_spec(spec, &text, err);

    if (rc == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        rc = prop_err_sys(err, PROP_E_IO, "talk to the runner");
    j->ctl = pair[0];
    e->fds[RUNNER_FD_CTL] = pair[1];
    mine[RUNNER_FD_CTL] = true;
    if (rc == 0)
        rc = send_request(r, req, text.fd, e, err);
    ends_close(e, mine);
    if (rc)
        return rc;
    runner_watch(j);
    return runner_verdict(r, j, ret, err);
}

static int no_pipes(const struct ends *e, const bool mine[RUNNER_N_FDS], struct prop_err *err)
{
    int rc = prop_err_sys(err, PROP_E_IO, "talk to the runner");

    ends_close(e, mine);
    return rc;
}

/* ---- compile --------------------------------------------------------------------------------- */

static int compile_in_child(struct prop_runner *r, const struct runner_memfd *wasm,
                            const char *name, const struct prop_compile_how *how,
                            struct prop_program *p, struct prop_err *err)
{
    auto_job struct runner_child_job j;
    struct runner_request req = {.what = RUNNER_COMPILE, .memory = r->compile_memory};
    struct runner_spec spec = {.how = {.name = name, .limits.fuel = how->fuel}};
    struct runner_answer answer = {.magic = 0};
    struct ends e = {{-1, -1, -1, -1, -1, -1, -1}, false};
    bool mine[RUNNER_N_FDS] = {false};

    job_init(&j, name, how->handle, r->compile_ms);
    e.fds[RUNNER_FD_ANSWER] = stream_open(&j.streams[RUNNER_ANSWER], MAX_ANSWER, &j.answer, -1);
    mine[RUNNER_FD_ANSWER] = true;
    if (e.fds[RUNNER_FD_ANSWER] < 0)
        return no_pipes(&e, mine, err);
    e.fds[RUNNER_FD_ERR] = e.fds[RUNNER_FD_ANSWER];
    e.fds[RUNNER_FD_MODULE] = wasm->fd;
    e.fds[RUNNER_FD_OUT] = p->code.fd;
    if (!runner_handle_begin(how->handle))
        j.end = RUNNER_STOPPED;
    int rc = j.end ? runner_verdict(r, &j, &answer, err)
                   : live(r, &j, &req, &spec, &e, mine, &answer, err);
    if (j.ctl < 0)
        ends_close(&e, mine);
    runner_handle_end(how->handle);
    p->component = answer.component != 0;
    p->fuel = answer.fuel != 0;
    if (rc == PROP_E_TIMEOUT)
        (void)prop_err_set_id(err, PROP_E_TIMEOUT, "compile-limit",
                              "'%s' took longer to compile than %llu ms", j.name,
                              (unsigned long long)r->compile_ms);
    if (rc == PROP_E_LIMIT || (rc == PROP_E_IO && err && err->sys_errno == EFBIG))
        return prop_err_set_id(err, PROP_E_LIMIT, "compile-limit",
                               "compiling '%s' takes more memory than %llu bytes", j.name,
                               (unsigned long long)r->compile_memory);
    return rc;
}

static int compile(struct prop_runner *r, const struct runner_memfd *wasm, const char *name,
                   const struct prop_compile_how *how, struct prop_program *p,
                   struct prop_err *err)
{
    int rc = runner_memfd_open(&p->code, err);

    if (rc == 0)
        rc = compile_in_child(r, wasm, name, how, p, err);
    return rc ? rc : runner_memfd_seal(&p->code, err);
}

/* Bytes 4 to 7 of a component (propeller.md 2.4) */
static bool is_component(const uint8_t *wasm, size_t len)
{
    return len >= 8 && memcmp(wasm, "\0asm", 4) == 0 && (wasm[4] == 0x0d || wasm[4] == 0x0a) &&
           memcmp(wasm + 5, "\0\1\0", 3) == 0;
}

int prop_runner_compile_with(struct prop_runner *r, const void *wasm, size_t len, const char *name,
                             const struct prop_compile_how *how, struct prop_program **ret,
                             struct prop_err *err)
{
    auto_memfd struct runner_memfd plain = RUNNER_MEMFD_INIT;
    auto_program struct prop_program *p = NULL;
    int rc = runner_memfd_put(&plain, wasm, len, err);

    if (rc)
        return rc;
    p = new_program();
    if (!p)
        return prop_err_nomem(err);
    p->encrypted = how->encrypted;
    p->external = r->external != NULL;
    if (p->external) {
        p->component = is_component(wasm, len);
        p->code = plain;
        plain = (struct runner_memfd)RUNNER_MEMFD_INIT;
    } else {
        rc = compile(r, &plain, name, how, p, err);
    }
    if (rc == 0)
        *ret = PROP_TAKE(p);
    return rc;
}

int prop_runner_compile(struct prop_runner *r, const void *wasm, size_t len, const char *name,
                        struct prop_program **ret, struct prop_err *err)
{
    const struct prop_compile_how how = {.fuel = false};

    return prop_runner_compile_with(r, wasm, len, name, &how, ret, err);
}

/* ---- run ------------------------------------------------------------------------------------- */

static int open_stdin(const struct prop_wasm_run *how, struct ends *e, bool mine[RUNNER_N_FDS],
                      struct prop_err *err)
{
    if (!how->stdin_path)
        return 0;
    e->has_stdin = true;
    if (strcmp(how->stdin_path, "-") == 0) {
        e->fds[RUNNER_FD_IN] = STDIN_FILENO;
        return 0;
    }
    e->fds[RUNNER_FD_IN] = open(how->stdin_path, O_RDONLY | O_CLOEXEC);
    mine[RUNNER_FD_IN] = true;
    if (e->fds[RUNNER_FD_IN] < 0)
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "stdin '%s'",
                            how->stdin_path);
    return 0;
}

static int open_streams(const struct prop_wasm_run *how, struct runner_child_job *j,
                        struct prop_wasm_result *out, struct ends *e, bool mine[RUNNER_N_FDS],
                        struct prop_err *err)
{
    uint64_t max = how->limits.max_output ? how->limits.max_output
                   : how->inherit_stdout ? UINT64_MAX : PROP_LIMIT_GUEST_OUTPUT;
    bool pass = how->inherit_stdout;

    out->out.max = out->err_out.max = max > SIZE_MAX ? SIZE_MAX : (size_t)max;
    e->fds[RUNNER_FD_ANSWER] = stream_open(&j->streams[RUNNER_ANSWER], MAX_ANSWER, &j->answer, -1);
    e->fds[RUNNER_FD_OUT] =
        stream_open(&j->streams[RUNNER_OUT], max, &out->out, pass ? STDOUT_FILENO : -1);
    e->fds[RUNNER_FD_ERR] =
        stream_open(&j->streams[RUNNER_ERR], max, &out->err_out, pass ? STDERR_FILENO : -1);
    mine[RUNNER_FD_ANSWER] = mine[RUNNER_FD_OUT] = mine[RUNNER_FD_ERR] = true;
    if (e->fds[RUNNER_FD_ANSWER] < 0 || e->fds[RUNNER_FD_OUT] < 0 || e->fds[RUNNER_FD_ERR] < 0)
        return prop_err_sys(err, PROP_E_IO, "talk to the runner");
    return open_stdin(how, e, mine, err);
}

static int check_fuel(const struct prop_program *p, const struct prop_wasm_run *how,
                      struct prop_err *err)
{
    if (p->external || p->fuel == (how->limits.fuel > 0))
        return 0;
    return prop_err_set(err, PROP_E_BUG, "'%s' was compiled %s fuel", how->name,
                        p->fuel ? "to count" : "without");
}

static void fill_request(const struct prop_program *p, const struct prop_wasm_run *how,
                         struct runner_request *req)
{
    uint64_t memory = how->limits.max_memory ? how->limits.max_memory : DEFAULT_MEMORY;
    uint64_t time = how->limits.timeout_ms;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    req->what = p->external ? RUNNER_EXTERNAL : RUNNER_RUN;
    req->memory = memory + 2 * (uint64_t)p->code.len + ENGINE_MEMORY;
    req->cpu_ms = time && time < UINT64_MAX / 4096
                      ? time * (uint64_t)(processors > 0 ? processors : 1) + CPU_SLACK_MS : 0;
    req->component = p->component;
    req->fuel = p->fuel;
}

static int run_in_child(struct prop_runner *r, const struct prop_program *p,
                        const struct prop_wasm_run *how, struct runner_child_job *j,
                        struct prop_wasm_result *out, struct prop_err *err)
{
    struct runner_request req = {.what = 0};
    const struct runner_spec spec = {.how = *how, .runtime = p->external ? r->external : NULL,
                                     .run_verb = !p->encrypted, .component = p->component};
    struct runner_answer answer = {.magic = 0};
    struct ends e = {{-1, -1, -1, -1, -1, -1, -1}, false};
    bool mine[RUNNER_N_FDS] = {false};

    fill_request(p, how, &req);
    e.fds[RUNNER_FD_MODULE] = p->code.fd;
    int rc = open_streams(how, j, out, &e, mine, err);
    if (rc) {
        ends_close(&e, mine);
        return rc;
    }
    rc = live(r, j, &req, &spec, &e, mine, &answer, err);
    out->exit_status = answer.exit_status;
    return rc;
}

int prop_runner_run(struct prop_runner *r, const struct prop_program *p,
                    const struct prop_wasm_run *how, struct prop_run_handle *handle,
                    struct prop_wasm_result *ret, struct prop_err *err)
{
    auto_job struct runner_child_job j;
    struct prop_wasm_result out = {.exit_status = 0};
    int rc = check_fuel(p, how, err);

    job_init(&j, how->name, handle, how->limits.timeout_ms);
    j.external = p->external;
    if (!runner_handle_begin(handle))
        j.end = RUNNER_STOPPED;
    if (rc == 0)
        rc = j.end ? runner_verdict(r, &j, NULL, err) : run_in_child(r, p, how, &j, &out, err);
    runner_handle_end(handle);
    if (rc)
        prop_buf_release(&out.out);
    prop_wasm_result_release(ret);
    *ret = out;
    return rc;
}
