/* The children of the fork server, and what they have from it. */
#ifndef PROP_GUEST_RUNNER_CHILD_H
#define PROP_GUEST_RUNNER_CHILD_H

#include "guest/runner_wire.h"
#include "sandbox/sandbox.h"

#include <sys/types.h>

/* What the fork server keeps for its children. */
struct runner_house {
    struct prop_sandbox *sandbox;
    struct prop_wasm_dir dirs[RUNNER_MAX_DIRS]; /* host: /proc/self/fd/N */
    int dir_fds[RUNNER_MAX_DIRS];
    size_t n_dirs;
    char paths[RUNNER_MAX_DIRS][32];
    pid_t pid; /* of the server */
    bool swap; /* there is a swap device */
};

/* Do what was asked, in a child that was just forked. */
_Noreturn void runner_child(const struct runner_house *house, const struct runner_request *req,
                            const int fds[RUNNER_N_FDS]);
/* The part of it for another program: arranges its descriptors and becomes it. Returns only the
 * failure. `module_fd` is what it will read the module from. */
int runner_become(const struct runner_house *house, const struct runner_spec *spec, int module_fd,
                  struct prop_err *err);

#endif
