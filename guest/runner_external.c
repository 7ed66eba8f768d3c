/* PROPLET_EXTERNAL_WASM_RUNTIME: another program runs the module (propeller.md 2.4). It gets the
 * module as a sealed memfd, the task's variables and nothing of ours. */
#include "guest/runner_child.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/text.h"

/* What stays in front of the module: PROGRAM [run] [--invoke F] [--env K=V ...] */
#define MAX_FRONT 8

static int add(const char **argv, size_t *n, const char *text, struct prop_err *err)
{
    if (!text)
        return prop_err_nomem(err);
    argv[(*n)++] = text;
    return 0;
}

/* `name(in1, in2)` for components, `name` and the inputs behind the module for core modules */
static char *invoke_text(const struct runner_spec *spec)
{
    const struct prop_wasm_run *how = &spec->how;
    struct prop_buf text = PROP_BUF_INIT(16u << 20);
    int rc = prop_buf_puts(&text, how->invoke, NULL);

    for (size_t i = 0; rc == 0 && spec->component && i < how->n_args; i++) {
        rc = prop_buf_puts(&text, i ? ", " : "(", NULL);
        if (rc == 0)
            rc = prop_buf_puts(&text, how->args[i], NULL);
    }
    if (rc == 0 && spec->component)
        rc = prop_buf_puts(&text, how->n_args ? ")" : "()", NULL);
    if (rc) {
        prop_buf_release(&text);
        return NULL;
    }
    return prop_buf_take(&text, NULL);
}

static int make_argv(const struct runner_spec *spec, int module_fd, const char **argv,
                     struct prop_err *err)
{
    const struct prop_wasm_run *how = &spec->how;
    bool in_call = how->invoke && spec->component;
    size_t n = 0;
    int rc = add(argv, &n, spec->runtime, err);

    if (rc == 0 && spec->run_verb)
        rc = add(argv, &n, "run", err);
    if (rc == 0 && how->invoke) {
        argv[n++] = "--invoke";
        rc = add(argv, &n, invoke_text(spec), err);
    }
    for (size_t i = 0; rc == 0 && i < how->n_env; i++) {
        argv[n++] = "--env";
        rc = add(argv, &n, how->env[i], err);
    }
    if (rc == 0)
        rc = add(argv, &n, prop_asprintf("/proc/self/fd/%d", module_fd), err);
    for (size_t i = 0; rc == 0 && !in_call && i < how->n_args; i++)
        rc = add(argv, &n, how->args[i], err);
    argv[n] = NULL;
    return rc;
}

/* Which code a program loads and where it looks for it is not a task's to say: the guest gets these too
 * (--env), but they are not set for its runtime. What the C library itself ignores in programs with
 * more rights than their caller (ld.so(8)), and the like of shells and interpreters. */
static bool rules_the_program(const char *item)
{
    static const char *const begins[] = {
        "LD_", "MALLOC_", "GLIBC_TUNABLES=", "GCONV_PATH=", "GETCONF_DIR=", "HOSTALIASES=",
        "LOCALDOMAIN=", "LOCPATH=", "NLSPATH=", "RES_OPTIONS=", "RESOLV_HOST_CONF=", "TMPDIR=",
        "TZDIR=", "PATH=", "IFS=", "ENV=", "BASH", "SHELLOPTS=", "PYTHON", "PERL", "RUBY", "NODE_",
        "JAVA_TOOL_OPTIONS=", "JDK_JAVA_OPTIONS=", "_JAVA_OPTIONS=", "WASMTIME_", "WASMER_",
    };

    for (size_t i = 0; i < PROP_ARRAY_LEN(begins); i++)
        if (prop_starts_with(item, begins[i]))
            return true;
    return false;
}

/* execve wants arrays it could write to */
static char **unconst(const char **list)
{
    union {
        const char **in;
        char **out;
    } u = {.in = list};

    return u.out;
}

int runner_become(const struct runner_house *house, const struct runner_spec *spec, int module_fd,
                  struct prop_err *err)
{
    const struct prop_wasm_run *how = &spec->how;
    const char **argv = prop_zalloc((MAX_FRONT + 2 * how->n_env + how->n_args) * sizeof *argv);
    const char **env = prop_zalloc((how->n_env + 1) * sizeof *env);
    int answer = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, module_fd + 1);

    if (!argv || !env || answer < 0)
        return prop_err_nomem(err);
    for (size_t i = 0, n = 0; i < how->n_env; i++)
        if (!rules_the_program(how->env[i]))
            env[n++] = how->env[i];
    int rc = make_argv(spec, module_fd, argv, err);
    if (rc == 0) {
        (void)prop_sandbox_alone();
        rc = prop_sandbox_close(house->sandbox, PROP_SANDBOX_PROGRAM, err);
    }
    if (rc)
        return rc;
    /* stderr to its place; the answer's pipe closes as the program begins */
    (void)dup2(module_fd - 2, STDERR_FILENO);
    for (int fd = STDERR_FILENO + 1; fd < module_fd; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)execve(spec->runtime, unconst(argv), unconst(env));
    prop_err_sys(err, PROP_E_IO, "the runtime '%s'", spec->runtime);
    if (err)
        err->id = "external-runtime";
    (void)dup2(answer, STDERR_FILENO);
    return PROP_E_IO;
}
