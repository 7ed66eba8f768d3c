/* The folder of a running VM, one per name: it keeps two VMs of one name from running at once, and
 * holds what is made for one run. $XDG_RUNTIME_DIR/propcvm/NAME, or under our state folder without it. */
#ifndef PROP_VM_RUNDIR_H
#define PROP_VM_RUNDIR_H

#include "util/err.h"

#include <stddef.h>

struct prop_rundir {
    char *path; /* owned; mode 0700 */
    int lock;   /* held for as long as this object lives */
};
#define PROP_RUNDIR_INIT { NULL, -1 }

/* Make and lock it. What a killed run left in there is removed.
 * Fails: PROP_E_EXISTS (id "vm-running") the name is in use; PROP_E_IO. */
int prop_rundir_open(const char *name, struct prop_rundir *ret, struct prop_err *err);
/* Write a file in it, 0600. ret_path: owned. */
int prop_rundir_write(const struct prop_rundir *r, const char *file, const void *data, size_t len,
                      char **ret_path, struct prop_err *err);
/* Remove it and let the name go. Fine after init. */
void prop_rundir_release(struct prop_rundir *r);
#define prop_auto_rundir __attribute__((cleanup(prop_rundir_release)))

#endif
