/* Files in memory that are handed to other processes: nobody can change them, and their bytes can be
 * wiped all the same, through the one mapping that was there before they were sealed. */
#ifndef PROP_GUEST_RUNNER_MEMFD_H
#define PROP_GUEST_RUNNER_MEMFD_H

#include "util/err.h"

#include <stddef.h>

struct runner_memfd {
    int fd;       /* -1 = none */
    void *map;    /* shared and writable, ours alone; NULL = empty */
    size_t len;
};
#define RUNNER_MEMFD_INIT { -1, NULL, 0 }

/* A sealed copy of `data`. */
int runner_memfd_put(struct runner_memfd *m, const void *data, size_t len, struct prop_err *err);
/* An empty one for somebody else to write, and its sealing when they are done. */
int runner_memfd_open(struct runner_memfd *m, struct prop_err *err);
int runner_memfd_seal(struct runner_memfd *m, struct prop_err *err);
/* Wipe and close. Fine after init and twice. */
void runner_memfd_release(struct runner_memfd *m);
#define auto_memfd __attribute__((cleanup(runner_memfd_release)))

#endif
