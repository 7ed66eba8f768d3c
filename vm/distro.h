/* The other guest: a distribution's cloud image (Ubuntu, Debian) that the user gives, with our program
 * and its service put in by cloud-init in place of a compilation in the guest. The image is never
 * changed: a qcow2 disk lies over it, and a seed (NoCloud) beside that. Nothing is downloaded, there is
 * no password, and SSH is there only for a key that was given. What such a guest runs is not measured:
 * its disk belongs to the host. */
#ifndef PROP_VM_DISTRO_H
#define PROP_VM_DISTRO_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_DISTRO_FILE "distro.json"
#define PROP_DISTRO_DISK "disk.qcow2"
#define PROP_DISTRO_SEED "seed.iso"
#define PROP_DISTRO_DISK_DEFAULT (UINT64_C(40) << 30) /* as the reference's */

struct prop_distro_build {
    const char *out;            /* folder, made by this */
    bool force;                 /* replace a distro folder that stands there (its disk is lost) */
    const char *image;          /* the cloud image: qcow2 or raw */
    const char *name;           /* NULL = "propeller-cvm" */
    uint64_t disk_bytes;        /* 0 = the default; never smaller than the image */
    const char *ssh_key;        /* file with one public key; NULL = no SSH at all */
    const char *program;        /* propcvm for the guest; NULL = this process's own file */
    const char *unit;           /* its systemd unit; NULL = the one that is built in */
    const char *const *env;     /* "PROPLET_X=Y", secrets too: NULL-ended; the seed is 0600 */
    const char *kbs;            /* URL as the guest sees it */
    const char *ca_cert;        /* PEM file for it, or NULL */
    const char *tee;            /* "auto", "snp", "tdx", "sample" */
};
/* ret_report: {"guest","kind":"distro","name","disk","disk_bytes","seed","instance_id","ssh"}; owned.
 * Fails: PROP_E_EXISTS (id "output-exists"), PROP_E_NOTFOUND (id "no-image"), PROP_E_INPUT (ids
 * "bad-image", "bad-ssh-key"), PROP_E_USAGE (id "bad-setting", "disk-too-small"), PROP_E_IO. */
int prop_distro_build(const struct prop_distro_build *b, json_t **ret_report, struct prop_err *err);

/* Such a folder, read back. */
struct prop_distro {
    json_t *json;     /* owned */
    char *disk, *seed; /* DIR/file, owned */
    const char *name, *tee;
    bool ssh;
};
#define PROP_DISTRO_INIT { .json = NULL }
/* Is there a distro.json in this folder? */
bool prop_distro_is(const char *dir);
/* Fails: PROP_E_INPUT (id "bad-guest"), PROP_E_VERIFY (id "guest-changed") another seed than the one
 * that was built, PROP_E_NOTFOUND (id "no-image") the image under the disk is gone. */
int prop_distro_open(const char *dir, struct prop_distro *ret, struct prop_err *err);
void prop_distro_release(struct prop_distro *d);

#endif
