/* `vm build --distro-image`. */
#ifndef PROP_CMD_PROPCVM_VM_BUILD_DISTRO_H
#define PROP_CMD_PROPCVM_VM_BUILD_DISTRO_H

#include "cmd/cli/cli.h"

struct vm_distro_opts {
    const char *image, *ssh_key;
    uint64_t disk_bytes;
    /* from the options of every build; borrowed */
    const char *out, *name, *program, *kbs, *ca_cert, *tee;
    const struct prop_strs *env;
    bool force;
};

/* Build it and print the report. PROPLET_ variables of this environment go into the seed, the key for
 * the broker too (the seed is 0600); --env wins and takes no secret. */
int vm_build_distro(struct prop_cli *cli, const struct vm_distro_opts *o, struct prop_err *err);

#endif
