/* Programs the host side starts: QEMU, and the questions it is asked. Never through a shell; each in a
 * process group of its own, with nothing of ours open but what is handed over, and killed by the kernel
 * when this process goes, however it goes. */
#ifndef PROP_VM_CHILD_H
#define PROP_VM_CHILD_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct prop_child {
    pid_t pid;    /* 0 = none */
    int out, err; /* our ends of its standard output and error; -1 = closed */
    int status;   /* as waitpid gave it, once it ended */
};
#define PROP_CHILD_INIT { 0, -1, -1, 0 }

/* Start argv[0] (searched in PATH) with standard input empty. argv ends with NULL. `fds` (n_fds, at
 * most PROP_CHILD_FDS; borrowed) become its descriptors 3, 4, ...; it gets no others.
 * Fails: PROP_E_NOTFOUND (id "no-program"), PROP_E_IO. */
#define PROP_CHILD_FDS 8
int prop_child_start(const char *const *argv, const int *fds, size_t n_fds, struct prop_child *ret,
                     struct prop_err *err);
/* Has it ended? Waits at most `wait_ms`. Its status is kept. */
bool prop_child_ended(struct prop_child *c, uint64_t wait_ms);
/* Kill its whole group, wait for it, close the pipes. Fine after init, after its end, and twice. */
void prop_child_kill(struct prop_child *c);
#define prop_auto_child __attribute__((cleanup(prop_child_kill)))

/* Read what it prints until it ends, at most `timeout_ms`; standard error follows standard output.
 * Fails: PROP_E_TIMEOUT (id "no-answer"), PROP_E_LIMIT (more than out's maximum), PROP_E_IO (id
 * "program-failed") another status than 0, with its last line. */
int prop_child_collect(struct prop_child *c, const char *what, uint64_t timeout_ms,
                       struct prop_buf *out, struct prop_err *err);

#endif
