/* The cloud-init seed of a distribution's guest. */
#ifndef PROP_VM_DISTRO_SEED_H
#define PROP_VM_DISTRO_SEED_H

#include "util/buf.h"
#include "vm/distro.h"

#define PROP_SEED_TEXT_MAX (4u << 20)
#define PROP_SEED_INSTANCE 80 /* bytes of an instance id, with its 0 */

/* Read and check a file with one OpenSSH public key; the key without its line end is appended.
 * Fails: PROP_E_INPUT (id "bad-ssh-key"), PROP_E_NOTFOUND, PROP_E_IO. */
int prop_seed_ssh_key(const char *path, struct prop_buf *out, struct prop_err *err);

/* "user-data" and "meta-data" for this guest. `ssh_key` "" = none; `instance` is its id. Texts of the
 * user's go in as base64, so none of them can mean anything to YAML or a shell.
 * Fails: PROP_E_USAGE (id "bad-setting") a setting that is no "PROPLET_X=Y" or has a line feed. */
int prop_seed_user_data(const struct prop_distro_build *b, const char *ssh_key, struct prop_buf *out,
                        struct prop_err *err);
int prop_seed_meta_data(const char *name, const char *instance, struct prop_buf *out,
                        struct prop_err *err);

#endif
