/* The walls around a process that handles what a stranger wrote.
 *
 * One process (the fork server) builds the filters once and isolates itself once; each of its
 * children then limits itself, loads what it needs, and closes the last door. All of it is
 * inherited, and nothing of it can be taken back. Linux 5.13 and newer; libseccomp is used here only.
 */
#ifndef PROP_SANDBOX_SANDBOX_H
#define PROP_SANDBOX_SANDBOX_H

#include "util/err.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Which system calls are left. Whatever is not listed ends the whole process (SIGSYS), but for what
 * libraries try and can do without (opening files, asking for their state): that fails. */
enum prop_sandbox_role {
    PROP_SANDBOX_COMPILE,  /* memory, also executable; threads; descriptors that are open */
    PROP_SANDBOX_LOAD,     /* COMPILE's, and opening files: for who is about to take RUN's */
    PROP_SANDBOX_LOAD_DIRS, /* likewise before RUN_DIRS */
    PROP_SANDBOX_RUN,      /* COMPILE's without new executable memory */
    PROP_SANDBOX_RUN_DIRS, /* and with files, below the folders of prop_sandbox_isolate */
    PROP_SANDBOX_PROGRAM,  /* for another program: no network, no way out of its process group, no
                            * look into other processes, no administration */
    PROP_SANDBOX_ROLES
};

/* The filters of all roles, ready to be loaded. */
struct prop_sandbox;
/* Fails: PROP_E_UNSUPPORTED (id "no-sandbox") where the kernel has no seccomp filters; PROP_E_NOMEM. */
int prop_sandbox_new(struct prop_sandbox **ret, struct prop_err *err);
void prop_sandbox_free(struct prop_sandbox *s);
PROP_DEFINE_AUTO(struct prop_sandbox *, prop_sandbox_free)
#define prop_auto_sandbox __attribute__((cleanup(prop_sandbox_free_p)))

/* For the fork server, while it has one thread: a network with nobody in it, where namespaces may
 * be made (own IPC and host name too); no file but below `dirs` (descriptors of folders), where
 * Landlock is known; no capabilities. With `programs` files may be read and executed as ever, for
 * those that become another program. What this machine cannot do is left out; `ret` says what it did. */
struct prop_sandbox_walls {
    bool network;  /* a network namespace of its own */
    bool files;    /* Landlock */
};
void prop_sandbox_isolate(const int *dirs, size_t n_dirs, bool programs,
                          struct prop_sandbox_walls *ret);

/* For a child whose filter leaves it kill(2): its signals reach itself and what it starts, nobody else,
 * its siblings and the fork server included. False where Landlock does not know that (Linux 6.12). */
bool prop_sandbox_alone(void);

struct prop_sandbox_limits {
    uint64_t memory;    /* RLIMIT_DATA: bytes of private writable memory; 0 = no limit. (RLIMIT_AS
                         * counts the gibibytes of address space that Wasmtime only reserves.) */
    uint64_t cpu_ms;    /* RLIMIT_CPU, of all threads together, rounded up; 0 = no limit */
    uint64_t file_size; /* RLIMIT_FSIZE: files and memfds written may become so long */
    unsigned files;     /* RLIMIT_NOFILE */
};
/* For a child, first: a session and process group of its own, death with its parent (`parent`: who
 * that is), no new privileges, no core dumps, the limits, no environment. */
int prop_sandbox_limit(const struct prop_sandbox_limits *limits, pid_t parent,
                       struct prop_err *err);
/* Close every descriptor but `keep` (sorted, ascending). */
int prop_sandbox_close_fds(const int *keep, size_t n_keep, struct prop_err *err);
/* For a child, last: the filter of its role. A second one may follow LOAD's only, and only
 * takes away. */
int prop_sandbox_close(const struct prop_sandbox *s, enum prop_sandbox_role role,
                       struct prop_err *err);

/* Memory and swap: a descriptor for the second call, to be opened before prop_sandbox_isolate (-1
 * where there is no swap or no /proc); is there a swap device now; may all of a process be locked;
 * lock what this process has and will have. */
int prop_sandbox_watch_swap(void);
bool prop_sandbox_has_swap(int watch);
bool prop_sandbox_may_lock(void);
bool prop_sandbox_lock_memory(void);

#endif
