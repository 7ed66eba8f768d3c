/* propcvm init: PID 1 of a guest. It mounts, starts the child that does everything else, reaps what is
 * left behind, and powers off: at the end, and also when that child dies. There is no shell to fall
 * back to. The kernel's command line reaches a PID 1 as arguments and environment: neither is looked at. */
#include "cmd/propcvm/init.h"
#include "cmd/propcvm/verbs.h"

#include "util/mem.h"
#include "util/text.h"
#include "vm/guestdir.h"
#include "vm/init.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

bool propcvm_is_init(int argc, char *const *argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;

    return argc > 0 && getpid() == 1 && strcmp(slash ? slash + 1 : argv[0], "init") == 0;
}

json_t *propcvm_end_doc(const struct propcvm_end *end)
{
    prop_auto_json json_t *error = NULL;

    if (end->why.code != PROP_OK)
        error = json_pack("{s:s,s:s}", "code",
                          end->code[0] ? end->code : prop_err_id(&end->why), "message", end->why.message);
    return json_pack("{s:i,s:O?,s:I,s:O?}", "status", end->status, "error", error, "uptime_ms",
                     (json_int_t)prop_init_uptime_ms(), "phases", end->phases);
}

/* The last line on the console. */
static void say_end(const struct propcvm_end *end)
{
    prop_auto_json json_t *doc = propcvm_end_doc(end);
    prop_auto_free char *text = doc ? prop_json_compact(doc) : NULL;
    prop_auto_free char *line =
        prop_asprintf("\n" PROP_GUEST_END_PREFIX "%s\n", text ? text : "{\"status\":70}");
    size_t len = line ? strlen(line) : 0;

    for (size_t at = 0; at < len;) { /* the console, or nothing: there is nobody else to tell */
        ssize_t n = write(STDERR_FILENO, line + at, len - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    (void)tcdrain(STDERR_FILENO); /* the power goes off next, and with it what the port still holds */
}

static void power_off(void) __attribute__((noreturn));
static void power_off(void)
{
    (void)kill(-1, SIGKILL);
    (void)reboot(RB_POWER_OFF);
    _exit(70); /* the kernel panics when PID 1 ends, and its command line makes that the end too */
}

static void end_with(const struct prop_err *why) __attribute__((noreturn));
static void end_with(const struct prop_err *why)
{
    struct propcvm_end end = {.status = prop_exit_code(why), .why = *why};

    say_end(&end);
    power_off();
}

/* In the child. */
static void work(void) __attribute__((noreturn));
static void work(void)
{
    struct propcvm_end end = {.status = 70};

    propcvm_init_work(&end);
    say_end(&end);
    _exit(0);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct prop_err why = PROP_ERR_INIT;
    int status = 0;

    (void)cli;
    (void)opts;
    if (getpid() != 1) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "not-init", "this is for PID 1 of a guest");
        return prop_err_hint(err, "propcvm vm build makes a guest, propcvm vm run boots it");
    }
    if (prop_init_mounts(&why) != 0)
        end_with(&why);
    pid_t worker = fork();
    if (worker == 0)
        work();
    if (worker < 0) {
        (void)prop_err_sys(&why, PROP_E_IO, "start the first process");
        end_with(&why);
    }
    for (pid_t gone = 0; gone != worker;) {
        gone = waitpid(-1, &status, 0);
        if (gone < 0 && errno != EINTR)
            break;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)prop_err_set_id(&why, PROP_E_BUG, "init-crashed", "the guest's set-up ended by %s %d",
                              WIFSIGNALED(status) ? "signal" : "status",
                              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        end_with(&why);
    }
    power_off();
}

static const struct prop_opt options[] = { PROP_OPT_END };

const struct prop_verb propcvm_verb_init = {
    "init", "", "be PID 1 of a guest (started by the kernel, not by hand)",
    "Mounts, loads modules, checks its configuration against the launch, sets up the network, then\n"
    "runs `run` or `serve` as the image says, and powers off.",
    options, 0, 0, 0, run
};
