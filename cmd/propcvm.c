/* propcvm: the runner, inside a confidential VM. */
#include "cmd/cli/cli.h"
#include "cmd/propcvm/init.h"
#include "cmd/propcvm/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/random.h"
#include "engine/wasm.h"
#include "guest/runner.h"
#include "http/http.h"
#include "mqtt/mqtt.h"

static const struct prop_verb *const verbs[] = {
    &propcvm_verb_run,
    &propcvm_verb_serve,
    &propcvm_verb_detect,
    &propcvm_verb_evidence,
    &propcvm_verb_vm_build,
    &propcvm_verb_vm_run,
    &propcvm_verb_vm_all,
    &propcvm_verb_vm_measure,
    &propcvm_verb_init,
    NULL,
};

/* `run` passes the guest's own status on, so its own failures are moved out of the way: 100 and
 * the class; 124 and 134 as timeout(1) and a shell say it. Usage errors come before any guest. */
static int exit_code(const char *verb, const struct prop_err *err)
{
    int class = prop_exit_code(err);

    if (strcmp(verb, "run") != 0 || err->code == PROP_E_USAGE ||
        err->code == PROP_E_INTERRUPTED)
        return class;
    if (err->code == PROP_E_TIMEOUT)
        return 124;
    return err->code == PROP_E_TRAP ? 134 : 100 + class;
}

static const char *(*const libraries[])(void) = { prop_crypto_version, prop_http_version, prop_engine_version,
                                               prop_mqtt_version, NULL };

static const struct prop_tool tool = {
    .name = "propcvm",
    .summary = "run encrypted WebAssembly where only the machine that attests can read it",
    .verbs = verbs,
    .libraries = libraries,
    .exit_code = exit_code,
};

int main(int argc, char **argv)
{
    static char init_name[] = "propcvm";
    static char init_verb[] = "init";
    static char *init_argv[] = { init_name, init_verb, NULL };

    /* The first process of a guest: what the kernel's command line made of its arguments and its
     * environment is the host's word, not ours. */
    if (propcvm_is_init(argc, argv)) {
        (void)clearenv();
        argc = 2;
        argv = init_argv;
    }
    prop_runner_main(argc, argv);
    return prop_cli_main(&tool, argc, argv);
}
