/* propcvm vm run: a guest folder as a VM, from its check to its last word. */
#include "cmd/propcvm/verbs.h"
#include "cmd/propcvm/vm_run_opts.h"
#include "cmd/propcvm/vm_run_talk.h"

#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/launch.h"
#include "vm/plan.h"
#include "vm/rundir.h"

#include <string.h>

#define POWERDOWN_MS 45000 /* a distribution's guest writes its disk back, a proplet ends its tasks */

static void say_notes(struct prop_cli *cli, const struct prop_vm_plan *p)
{
    for (size_t i = 0; i < p->n_notes; i++)
        if (p->notes[i].kind == PROP_VM_NOTE)
            prop_cli_note(cli, "%s", p->notes[i].text);
        else
            prop_cli_warn(cli, "%s", p->notes[i].text);
}

/* ---- --dry-run ------------------------------------------------------------------------------ */

static void print_command(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s\n", json_string_value(json_object_get(doc, "command")));
}

static int print_argv(struct prop_cli *cli, const struct prop_vm_plan *p,
                      const struct prop_argv *argv, struct prop_err *err)
{
    prop_auto_buf struct prop_buf line = PROP_BUF_INIT(1u << 20);
    prop_auto_json json_t *list = json_array();
    prop_auto_json json_t *problems = json_array();
    int rc = list && problems ? 0 : prop_err_nomem(err);

    for (size_t i = 0; rc == 0 && i < argv->n; i++) {
        if (i > 0)
            rc = prop_buf_puts(&line, " ", err);
        if (rc == 0)
            rc = prop_argv_quote(argv->items[i], &line, err);
        if (rc == 0 && json_array_append_new(list, json_string(argv->items[i])))
            rc = prop_err_set_id(err, PROP_E_USAGE, "bad-text", "an argument is not UTF-8");
    }
    for (size_t i = 0; rc == 0 && i < p->n_notes; i++)
        if (p->notes[i].kind == PROP_VM_PROBLEM &&
            json_array_append_new(problems, json_string(p->notes[i].text)))
            rc = prop_err_nomem(err);
    if (rc)
        return rc;
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s,s:s,s:s,s:O,s:s,s:O}", "name", p->vm.name, "mode",
                  prop_vm_mode_name(p->vm.mode), "accel", p->vm.accel, "qemu", p->qemu.version,
                  "argv", list, "command", prop_buf_str(&line), "problems", problems);
    return doc ? prop_cli_result(cli, doc, print_command, err) : prop_err_nomem(err);
}

/* ---- the run -------------------------------------------------------------------------------- */

/* What becomes of the guest's last word: our exit status, and the reason where there is one. */
static int judge(struct prop_cli *cli, const struct prop_vm_plan *p, const struct vm_talk *talk,
                 const struct prop_vm_end *end, struct prop_err *err)
{
    if (end->said) {
        if (end->message[0])
            prop_cli_warn(cli, "the guest failed (%s): %s", end->code[0] ? end->code : "no code",
                          end->message);
        prop_cli_set_status(cli, end->status);
        return 0;
    }
    if (p->is_distro)
        return 0; /* it shut down, and has no other way to say so */
    (void)prop_err_set_id(err, PROP_E_REMOTE, "guest-lost",
                          "the guest went down without saying how it went%s%s",
                          talk->last[0] ? "; its console ends with: " : "", talk->last);
    return prop_err_hint(err, "--console FILE keeps the whole console");
}

static int report(struct prop_cli *cli, const struct prop_vm_plan *p, struct vm_talk *talk,
                  const struct prop_vm_end *end, struct prop_err *err)
{
    json_t *how = NULL;

    if (!prop_cli_json(cli))
        return 0;
    if (end->said)
        how = json_pack("{s:i,s:I,s:s,s:s}", "status", end->status, "uptime_ms",
                        (json_int_t)end->uptime_ms, "code", end->code, "message", end->message);
    prop_auto_json json_t *doc = json_pack(
        "{s:{s:s,s:s,s:s,s:s},s:O,s:o,s:I}", "guest", "name", p->vm.name, "mode",
        prop_vm_mode_name(p->vm.mode), "accel", p->vm.accel, "qemu", p->qemu.version, "results",
        talk->results, "end", how ? how : json_null(), "wall_ms", (json_int_t)end->wall_ms);
    return doc ? prop_cli_result(cli, doc, NULL, err) : prop_err_nomem(err);
}

static void say_forwards(struct prop_cli *cli, const struct prop_vm_plan *p)
{
    for (size_t i = 0; i < p->vm.n_forwards; i++)
        prop_cli_note(cli, "127.0.0.1:%u reaches port %u of the guest", p->forwards[i].host_port,
                      p->forwards[i].guest_port);
}

static int start(struct prop_cli *cli, struct prop_vm_plan *p, const struct vm_run_opts *o,
                 struct prop_err *err)
{
    prop_auto_rundir struct prop_rundir run = PROP_RUNDIR_INIT;
    prop_auto_argv struct prop_argv argv = { NULL, 0 };
    vm_auto_talk struct vm_talk talk;
    struct prop_vm_end end = { .said = false };
    int rc = vm_talk_open(&talk, cli, o->console, p->guest.serves, err);

    if (rc == 0)
        rc = prop_rundir_open(p->vm.name, &run, err);
    if (rc == 0)
        rc = prop_vm_forwards_bind(p->forwards, p->vm.n_forwards, err);
    if (rc == 0)
        rc = prop_vm_argv(&p->vm, &p->qemu, &argv, err);
    if (rc)
        return rc;
    say_forwards(cli, p);
    const struct prop_vm_launch launch = { .argv = &argv, .ears = &talk.ears,
                                           .timeout_ms = o->timeout_ms,
                                           .powerdown_ms = p->is_distro || p->guest.serves
                                                               ? POWERDOWN_MS : 0 };
    rc = prop_vm_launch(&launch, &end, err);
    if (rc == 0)
        rc = vm_talk_end(&talk, err);
    if (rc == 0)
        rc = judge(cli, p, &talk, &end, err);
    return rc ? rc : report(cli, p, &talk, &end, err);
}

int vm_run_guest(struct prop_cli *cli, const char *dir, const struct vm_run_opts *o,
                 struct prop_err *err)
{
    const struct prop_vm_wish wish = {
        .dir = dir, .mode = o->mode, .accel = o->accel, .cpu = o->cpu, .firmware = o->firmware,
        .name = o->name, .dns = o->dns, .qemu = o->qemu, .memory = o->memory, .cpus = o->cpus,
        .vsock_cid = o->vsock_cid, .quote_port = o->quote_port, .no_quotes = o->no_quotes,
        .forwards = o->forwards.items, .n_forwards = o->forwards.n,
        .hand_over = o->hand_over.items, .n_hand_over = o->hand_over.n,
        .qemu_args = o->qemu_args.items, .n_qemu_args = o->qemu_args.n,
        .allow_qemu_args = o->allow_qemu_args, .allow_unmeasured = o->allow_unmeasured,
        .id_block = o->id_block, .id_auth = o->id_auth, .assume_qemu = o->assume_qemu,
        .host_root = o->host_root, .look_only = o->dry_run,
    };
    prop_auto_vm_plan struct prop_vm_plan p = PROP_VM_PLAN_INIT;
    prop_auto_argv struct prop_argv argv = { NULL, 0 };

    if (o->assume_qemu && !o->dry_run)
        return prop_err_set_id(err, PROP_E_USAGE, "assume-qemu", "--assume-qemu goes with --dry-run");
    int rc = prop_vm_plan(&wish, &p, err);
    say_notes(cli, &p); /* also before a failure: it may follow from one of them */
    if (rc || !o->dry_run)
        return rc ? rc : start(cli, &p, o, err);
    rc = prop_vm_argv(&p.vm, &p.qemu, &argv, err);
    return rc ? rc : print_argv(cli, &p, &argv, err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const char *dir = prop_cli_arg(cli, 0);

    return vm_run_guest(cli, dir ? dir : PROP_VM_DIR_DEFAULT, opts, err);
}

static const struct prop_opt options[] = { VM_RUN_OPTIONS, PROP_OPT_END };

static const char details[] =
    "Boots the guest that `vm build` made in DIR (default: propeller-cvm), after checking every file\n"
    "against its digest. Its result goes to stdout, its log and console to stderr; the exit status\n"
    "is the guest's own.\n"
    "\n"
    "Mode auto takes tdx, snp or sev where the host offers it, and says so; where it offers none, an\n"
    "ordinary VM. A confidential mode that cannot be had is an error, never an ordinary VM. No port is\n"
    "open without --forward, and then on loopback only. Variables of the HAL script count: ENABLE_CVM,\n"
    "RAM, CPU; options win.\n"
    "\n"
    "  propcvm vm run guest\n"
    "  propcvm vm run guest --mode snp --firmware OVMF.amdsev.fd --memory 2G --cpus 2\n"
    "  propcvm vm run guest --mode tdx --assume-qemu 10.2 --firmware OVMF.fd --dry-run";

const struct prop_verb propcvm_verb_vm_run = {
    "vm run", "[DIR]", "boot a guest image", details, options, sizeof(struct vm_run_opts), 0, 1, run
};
