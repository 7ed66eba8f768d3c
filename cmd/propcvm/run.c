/* propcvm run: one module, from its image to its result. */
#include "cmd/propcvm/result.h"
#include "cmd/propcvm/verbs.h"

#include "cmd/cli/kbs_opts.h"
#include "cmd/cli/oci_opts.h"
#include "guest/run.h"
#include "guest/task.h"
#include "tee/initdata.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/secret.h"
#include "util/text.h"

#include <string.h>

#define STREAMED_OUTPUT (1ull << 30) /* written through as it comes, so it costs no memory */

struct run_opts {
    struct prop_kbs_opts kbs;
    struct prop_oci_opts oci;
    const char *kid, *digest, *invoke, *stdin_path;
    const char *external;
    struct prop_strs keys, decryption_keys, env, dirs;
    uint64_t timeout_ms, max_memory, fuel, max_output, max_table, max_stack, compile_timeout_ms;
    uint64_t compile_memory;
    bool allow_plain;
};

#define OPT(name, kind, arg, help, member, def)                                                    \
    { name, 0, kind, arg, help, offsetof(struct run_opts, member), NULL, def, false }

static const struct prop_opt options[] = {
    OPT("invoke", PROP_OPT_STRING, "FUNCTION",
        "call this export with ARGS as its values; without it the command is run", invoke, NULL),
    OPT("kid", PROP_OPT_STRING, "PATH",
        "the only key that may be fetched (repo/type/tag or kbs:///...)", kid, NULL),
    OPT("digest", PROP_OPT_STRING, "DIGEST", "what the image's manifest must be", digest, NULL),
    OPT("stdin", PROP_OPT_STRING, "FILE", "the guest's standard input ('-': ours; default: empty)",
        stdin_path, NULL),
    OPT("env", PROP_OPT_LIST, "K=V", "a variable for the guest (repeatable); it sees no other", env,
        NULL),
    OPT("timeout", PROP_OPT_DURATION, "TIME", "how long the guest may run", timeout_ms, "10m"),
    OPT("max-memory", PROP_OPT_SIZE, "BYTES", "largest linear memory", max_memory, "2G"),
    OPT("fuel", PROP_OPT_U64, "N", "how many instructions it may run, roughly", fuel, NULL),
    OPT("max-output", PROP_OPT_SIZE, "BYTES",
        "most it may write to stdout and to stderr (default: 16M with --json, else 1G)",
        max_output, NULL),
    OPT("max-table", PROP_OPT_U64, "N", "most elements of a table", max_table, "10000000"),
    OPT("max-stack", PROP_OPT_SIZE, "BYTES", "its stack (at most 4M)", max_stack, "512K"),
    OPT("compile-timeout", PROP_OPT_DURATION, "TIME", "how long compiling it may take",
        compile_timeout_ms, "10m"),
    OPT("compile-memory", PROP_OPT_SIZE, "BYTES", "how much memory that may take", compile_memory,
        "4G"),
    OPT("dir", PROP_OPT_LIST, "HOST[::GUEST]",
        "a folder it may read and write (repeatable); it sees no other", dirs, NULL),
    { "external-runtime", 0, PROP_OPT_STRING, "PROGRAM",
      "runs the module instead of the engine here", offsetof(struct run_opts, external),
      "PROPLET_EXTERNAL_WASM_RUNTIME", NULL, false },
    PROP_KBS_OPTIONS(struct run_opts, kbs),
    PROP_KBS_TEE_OPTION(struct run_opts, kbs),
    PROP_KBS_GUEST_OPTIONS(struct run_opts, kbs),
    OPT("key", PROP_OPT_LIST, "FILE",
        "open the image with this private key or KEK instead of the key broker's (repeatable)",
        keys, NULL),
    { "decryption-key", 0, PROP_OPT_LIST, "FILE", "skopeo's name for --key",
      offsetof(struct run_opts, decryption_keys), NULL, NULL, true },
    OPT("allow-plain", PROP_OPT_FLAG, NULL, "run an image or file that is not encrypted",
        allow_plain, NULL),
    PROP_OCI_OPTIONS_UNTIMED(struct run_opts, oci),
    PROP_OPT_END
};

/* Everything one run owns. */
struct run {
    struct prop_task task;      /* json NULL = no task file */
    struct prop_location image;
    struct prop_digest pin;
    struct prop_oci_options oci;
    struct prop_kbs *kbs;
    const char **args, **env, **keys;
    char *name;
    struct prop_runner *runner;
    struct prop_guest_run guest;
    struct prop_guest_report report;
    struct prop_guest_timing timing;
    struct prop_buf init_data;  /* attest borrows it */
};

static void run_release(struct run *r)
{
    prop_runner_free(r->runner);
    prop_task_release(&r->task);
    prop_location_release(&r->image);
    prop_kbs_free(r->kbs);
    prop_free(r->args);
    prop_free(r->env);
    prop_free(r->keys);
    prop_free(r->name);
    prop_buf_release(&r->init_data);
}

static const char **join(const char *const *a, size_t n_a, const char *const *b, size_t n_b)
{
    const char **all = prop_zalloc((n_a + n_b + 1) * sizeof *all);

    for (size_t i = 0; all && i < n_a; i++)
        all[i] = a[i];
    for (size_t i = 0; all && i < n_b; i++)
        all[n_a + i] = b[i];
    return all;
}

/* ---- what is to be run --------------------------------------------------------------------- */

static int read_task(struct prop_cli *cli, struct run *r, const char *path, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_TASK_FILE);
    int rc = prop_file_read(path, &text, err);

    if (rc == 0)
        rc = prop_task_parse(prop_buf_str(&text), text.len, path, &r->task, err);
    if (rc == 0 && prop_cli_argc(cli) > 1)
        rc = prop_err_set_id(err, PROP_E_USAGE, "args-and-task",
                             "the arguments of '%s' come from the task itself", path);
    return rc;
}

/* "addition" for registry.example.com/team/addition:encrypted, oci:/x/addition and addition.wasm */
static char *base_name(const struct prop_location *image)
{
    const char *path = image->transport == PROP_T_DOCKER ? image->ref.path : image->path;
    const char *slash = path ? strrchr(path, '/') : NULL;

    return prop_strdup(slash && slash[1] ? slash + 1 : path ? path : "module.wasm");
}

static int read_what(struct prop_cli *cli, struct run *r, struct prop_err *err)
{
    const char *what = prop_cli_arg(cli, 0);
    bool is_task = prop_ends_with(what, ".json");
    int rc = is_task ? read_task(cli, r, what, err) : 0;

    if (rc == 0 && !r->task.file)
        rc = prop_location_parse(is_task ? r->task.image_url : what, &r->image, err);
    if (rc)
        return rc;
    r->name = is_task ? prop_strdup(r->task.name) : base_name(&r->image);
    return r->name ? 0 : prop_err_nomem(err);
}

/* ---- the key broker and keys --------------------------------------------------------------- */

static int open_kbs(const struct run_opts *o, struct run *r, struct prop_err *err)
{
    struct prop_kbs_config c;

    if (!o->kbs.kbs || !*o->kbs.kbs)
        return 0; /* an error only when a key has to be fetched */
    int rc = prop_kbs_opts_config(&o->kbs, &c, err);
    if (rc)
        return rc;
    c.no_proxy = true; /* the guest's way to its keys is not the environment's to choose */
    rc = prop_kbs_new(&c, &r->kbs, err);
    if (rc)
        return rc;
    r->init_data.max = PROP_TEE_INITDATA_MAX;
    rc = prop_kbs_opts_attest(&o->kbs, &r->guest.attest, &r->init_data, err);
    if (rc == PROP_E_UNSUPPORTED && (r->guest.n_key_files || o->allow_plain)) {
        r->guest.attest.tee = PROP_TEE_NONE; /* no key may be needed; else the fetch says so */
        prop_err_clear(err);
        rc = 0;
    }
    return rc;
}

/* The key that may be fetched: what the user says, what the task says; both must agree. */
static int choose_kid(const struct run_opts *o, struct run *r, struct prop_err *err)
{
    const char *path = r->task.kbs_resource_path;
    struct prop_resource_id user;
    struct prop_resource_id task;

    r->guest.kid = o->kid ? o->kid : path;
    if (!o->kid || !path)
        return 0;
    int rc = prop_resource_id_parse(o->kid, false, &user, err);
    if (rc == 0)
        rc = prop_resource_id_parse(path, false, &task, err);
    if (rc || prop_resource_id_same(&user, &task))
        return rc;
    return prop_err_set_id(err, PROP_E_DENIED, "kid-mismatch",
                           "the task names the key '%s', --kid is '%s'", path, o->kid);
}

static int choose_keys(const struct run_opts *o, struct run *r, struct prop_err *err)
{
    r->keys = join(o->keys.items, o->keys.n, o->decryption_keys.items, o->decryption_keys.n);
    if (!r->keys)
        return prop_err_nomem(err);
    r->guest.key_files = r->keys;
    r->guest.n_key_files = o->keys.n + o->decryption_keys.n;
    int rc = choose_kid(o, r, err);
    return rc ? rc : open_kbs(o, r, err);
}

/* ---- what the guest gets ------------------------------------------------------------------- */

/* A task's own limit counts where it is the tighter one. */
static uint64_t tighter(uint64_t local, uint64_t task)
{
    return task && (!local || task < local) ? task : local;
}

static void choose_limits(struct prop_cli *cli, const struct run_opts *o, struct run *r)
{
    const struct prop_wasm_limits *task = &r->task.limits;
    struct prop_wasm_limits *l = &r->guest.wasm.limits;

    l->timeout_ms = tighter(o->timeout_ms, task->timeout_ms);
    l->max_memory = tighter(o->max_memory, task->max_memory);
    l->fuel = tighter(o->fuel, task->fuel);
    l->max_table = o->max_table;
    l->max_stack = o->max_stack;
    l->max_output = o->max_output ? o->max_output
                    : prop_cli_json(cli) ? PROP_LIMIT_GUEST_OUTPUT : STREAMED_OUTPUT;
}

static int choose_grants(struct prop_cli *cli, const struct run_opts *o, struct run *r,
                         struct prop_err *err)
{
    struct prop_wasm_run *w = &r->guest.wasm;

    w->n_args = r->task.json ? r->task.n_args : (size_t)prop_cli_argc(cli) - 1;
    r->args = prop_zalloc((w->n_args + 1) * sizeof *r->args);
    r->env = join((const char *const *)r->task.env, r->task.n_env, o->env.items, o->env.n);
    if (!r->args || !r->env)
        return prop_err_nomem(err);
    for (size_t i = 0; i < w->n_args; i++)
        r->args[i] = r->task.json ? r->task.args[i] : prop_cli_arg(cli, (int)i + 1);
    w->name = r->name;
    w->invoke = o->invoke ? o->invoke : r->task.invoke;
    w->args = r->args;
    w->env = r->env;
    w->n_env = r->task.n_env + o->env.n;
    w->stdin_path = o->stdin_path;
    w->inherit_stdout = !prop_cli_json(cli);
    choose_limits(cli, o, r);
    return 0;
}

static int prepare(struct prop_cli *cli, struct run_opts *o, struct run *r, struct prop_err *err)
{
    int rc = read_what(cli, r, err);

    if (rc == 0 && o->digest) {
        rc = prop_digest_parse(o->digest, &r->pin, err);
        r->guest.pin = &r->pin;
    }
    if (rc == 0)
        rc = choose_keys(o, r, err);
    if (rc == 0)
        rc = choose_grants(cli, o, r, err);
    prop_oci_opts_fill(cli, &o->oci, &r->oci);
    r->guest.image = &r->image;
    r->guest.oci = &r->oci;
    r->guest.kbs = r->kbs;
    r->guest.runner = r->runner;
    r->guest.report = &r->report;
    r->guest.timing = &r->timing;
    r->guest.require_encrypted = r->task.encrypted || !o->allow_plain;
    return rc;
}

static int give_result(struct prop_cli *cli, const struct run *r,
                       const struct prop_wasm_result *result, struct prop_err *err)
{
    const struct prop_guest_timing *t = &r->timing;
    prop_auto_json json_t *doc = NULL;
    int rc = 0;

    if (prop_cli_verbose(cli))
        prop_cli_note(cli, "pull %.1f ms, attest %.1f ms, decrypt %.1f ms, compile %.1f ms, "
                      "run %.1f ms", t->pull, t->attest, t->decrypt, t->compile, t->run);
    if (prop_cli_json(cli)) {
        rc = propcvm_result_doc(&r->guest, result, &doc, err);
        if (rc == 0)
            rc = prop_cli_result(cli, doc, NULL, err);
    }
    if (rc == 0)
        prop_cli_set_status(cli, result->exit_status);
    return rc;
}

/* ---- running it ---------------------------------------------------------------------------- */

static int start_runner(const struct run_opts *o, struct run *r, struct prop_err *err)
{
    const struct prop_runner_config config = {
        .compile_memory = o->compile_memory,
        .compile_ms = o->compile_timeout_ms,
        .dirs = o->dirs.items,
        .n_dirs = o->dirs.n,
        .external = o->external && *o->external ? o->external : NULL,
        .hasty = true, /* it starts while the network is waited for */
    };

    return prop_runner_start(&config, &r->runner, err);
}

/* A task that is not encrypted names its function by its own name (propeller.md 2.4). */
static bool name_is_function(const struct run *r)
{
    const struct prop_task *t = &r->task;

    return t->json && !t->encrypted && !r->guest.wasm.invoke && strcmp(t->name, "_start") != 0 &&
           !prop_starts_with(t->name, "fl-round-");
}

static int execute(struct run *r, const struct prop_program *p, struct prop_wasm_result *ret,
                   struct prop_err *err)
{
    struct prop_wasm_run *w = &r->guest.wasm;
    struct prop_err first = PROP_ERR_INIT;
    struct prop_err second = PROP_ERR_INIT;

    if (!name_is_function(r))
        return prop_guest_execute(&r->guest, p, ret, err);
    w->invoke = r->task.name;
    int rc = prop_guest_execute(&r->guest, p, ret, &first);
    if (rc && strcmp(prop_err_id(&first), "no-export") == 0) { /* else it is a command */
        w->invoke = NULL;
        rc = prop_guest_execute(&r->guest, p, ret, &second);
        if (rc && rc != PROP_E_NOTFOUND)
            first = second;
    }
    if (rc)
        *err = first;
    return rc;
}

static int load_and_execute(struct run *r, struct prop_wasm_result *ret, struct prop_err *err)
{
    struct prop_program *p = NULL;
    int rc = r->task.file ? prop_guest_load_bytes(&r->guest, r->task.file, r->task.file_len, &p, err)
                          : prop_guest_load(&r->guest, &p, err);

    if (rc == 0)
        rc = execute(r, p, ret, err);
    prop_program_unref(p);
    return rc;
}

static void warn(struct prop_cli *cli, struct run *r)
{
    const char *warning = prop_runner_warning(r->runner);

    if (*warning)
        prop_cli_warn(cli, "%s", warning);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct run r = {.name = NULL};
    struct prop_wasm_result result = {.exit_status = 0};
    int rc = start_runner(opts, &r, err);

    prop_secret_hide();
    if (rc == 0)
        rc = prepare(cli, opts, &r, err);
    if (rc == 0)
        rc = load_and_execute(&r, &result, err);
    if (rc == 0) {
        warn(cli, &r);
        rc = give_result(cli, &r, &result, err);
    }
    prop_wasm_result_release(&result);
    run_release(&r);
    return rc;
}

static const char details[] =
    "WHAT is an image (docker://REF or a bare REF, oci:DIR[:TAG], oci-archive:FILE[:TAG],\n"
    "dir:DIR), a task file TASK.json as Propeller's manager takes it, or, with --allow-plain, a\n"
    "Wasm file. The module is decrypted in memory only, and only with the key that the key broker\n"
    "gives to this attested machine (or with --key).\n"
    "A command's ARGS are its arguments; with --invoke they are values: numbers for a core\n"
    "module, WAVE (42, \"text\", {x: 1}) for a component. The guest gets no network, no variable of\n"
    "ours, and no folder but those of --dir.\n"
    "It is compiled in one process and runs in another, both under seccomp and, where the kernel\n"
    "has them, Landlock and namespaces; all of them are gone when this ends.\n"
    "\n"
    "The guest's exit status is passed on. Our own failures are 100 and the usual class, the\n"
    "deadline is 124, a trap 134.\n"
    "\n"
    "  propcvm run registry.example.com/team/addition:encrypted --kbs https://kbs.example.com \\\n"
    "      --invoke add -- 10 20\n"
    "  propcvm run oci:image:encrypted --key kek.bin --stdin input.txt -- --at-most 100\n"
    "  propcvm run task.json --kbs https://kbs.example.com --json";

const struct prop_verb propcvm_verb_run = {
    "run", "WHAT [-- ARGS...]", "run an encrypted module", details, options,
    sizeof(struct run_opts), 1, -1, run
};
