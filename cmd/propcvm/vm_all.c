/* propcvm vm all: build, then run, as HAL's qemu.sh does it. The build is this program once more. */
#include "cmd/propcvm/verbs.h"
#include "cmd/propcvm/vm_run_opts.h"

#include "util/mem.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* "vm build -o DIR [--force] [--json] ARGS...": what was given behind our own options, as it is. */
static const char **build_argv(struct prop_cli *cli, const char *dir, const struct vm_run_opts *o)
{
    const size_t n = (size_t)prop_cli_argc(cli);
    const char **argv = prop_zalloc((n + 10) * sizeof *argv);
    size_t k = 0;

    if (!argv)
        return NULL;
    argv[k++] = "propcvm";
    argv[k++] = "vm";
    argv[k++] = "build";
    argv[k++] = "-o";
    argv[k++] = dir;
    if (o->force)
        argv[k++] = "--force";
    if (prop_cli_json(cli))
        argv[k++] = "--json";
    for (size_t i = 0; i < n; i++)
        argv[k++] = prop_cli_arg(cli, (int)i);
    return argv;
}

/* Run it with its output on our stderr: stdout belongs to the guest. */
static int build(struct prop_cli *cli, const char *dir, const struct vm_run_opts *o, int *ret_status,
                 struct prop_err *err)
{
    prop_auto_free const char **argv = build_argv(cli, dir, o);
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int status = 0;

    if (!argv || posix_spawn_file_actions_init(&actions))
        return prop_err_nomem(err);
    int failed = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (!failed)
        failed = posix_spawn(&pid, "/proc/self/exe", &actions, NULL,
                             (char *const *)(uintptr_t)argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (failed) {
        errno = failed;
        return prop_err_sys(err, PROP_E_IO, "start this program again");
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) /* a signal of the terminal's reaches it too */
            return prop_err_sys(err, PROP_E_IO, "wait for the build");
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return 0;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct vm_run_opts *o = opts;
    const char *dir = o->out ? o->out : PROP_VM_DIR_DEFAULT;
    const char *kbs = getenv("KBS_URL");
    int status = 0;

    /* The script's name for it; ours wins. */
    if (kbs && *kbs && setenv("PROP_KBS_URL", kbs, 0))
        return prop_err_nomem(err);
    int rc = build(cli, dir, o, &status, err);
    if (rc)
        return rc;
    if (status) {
        prop_cli_set_status(cli, status); /* it said why */
        return 0;
    }
    return vm_run_guest(cli, dir, o, err);
}

static const struct prop_opt options[] = {
    { "output", 'o', PROP_OPT_STRING, "DIR", "the guest's folder (default propeller-cvm)",
      offsetof(struct vm_run_opts, out), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace the guest that stands there",
      offsetof(struct vm_run_opts, force), NULL, NULL, false },
    VM_RUN_OPTIONS, PROP_OPT_END
};

static const char details[] =
    "As `vm build` and `vm run` one after the other. What follows `--` goes to `vm build`; nothing there\n"
    "makes a guest that serves. The HAL script's variables count: ENABLE_CVM, RAM, CPU, DISK_SIZE,\n"
    "KBS_URL, PROPLET_...\n"
    "\n"
    "  KBS_URL=https://10.0.2.2:8080 ENABLE_CVM=none propcvm vm all -- --kernel linux-image.deb -- serve";

const struct prop_verb propcvm_verb_vm_all = {
    "vm all", "[-- BUILD OPTIONS]", "build a guest image and boot it", details, options,
    sizeof(struct vm_run_opts), 0, -1, run
};
