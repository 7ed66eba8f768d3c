/* `vm build`: a guest folder (vm/guestdir.h) from a kernel, this program and a configuration. Made in a
 * folder beside the wanted one and renamed: whole or not there. The same inputs give the same bytes. */
#ifndef PROP_VM_BUILD_H
#define PROP_VM_BUILD_H

#include "archive/cpio.h"
#include "util/err.h"
#include "util/json.h"
#include "vm/initramfs.h"
#include "vm/kernel.h"

#include <stdbool.h>
#include <stddef.h>

#define PROP_INITRD_MAX (512u << 20)

/* NULL-ended lists; NULL = none. */
struct prop_vm_build {
    const char *out;
    bool force;                        /* replace a guest that stands there (never another folder) */
    const char *name;                  /* NULL = "propcvm" */
    struct prop_kernel_from kernel;
    const char *tee;                   /* "auto" (hardware), "snp", "tdx", "sample" */
    const char *kbs;                   /* URL as the guest sees it; NULL = none */
    const char *ca_cert;               /* PEM file: the only roots for the key broker; NULL = system */
    bool open_init_data;               /* the image takes any init-data (vm/guestconf.h) */
    bool console_result;
    const char *const *argv;           /* "run" or "serve", and what follows */
    const char *const *env;            /* "PROPLET_X=Y" */
    const char *const *secrets;        /* "api-key=kbs:///r/t/n" */
    const char *const *host_secrets;   /* "api-key" */
    const char *const *files;          /* "NAME=PATH": /etc/propcvm/files/NAME in the guest */
    const char *address, *gateway, *dns; /* static network; address NULL = DHCP */
    const char *append;                /* more kernel command line; NULL = none */
    enum prop_cpio_filter filter;
    const char *program;               /* propcvm itself; NULL = this process's own file */
    const char *const *libraries;      /* loaded by name at run time, "libarchive.so.13" */
    struct prop_initrd_search search;
    const char *ca_certificates;       /* PEM roots for registries; NULL = the system's, "" = none */
};

/* ret_report: {"guest","name","tee","kernel","kernel_release","modules":[..],"drivers":{..},"files",
 * "kernel_bytes","initrd_bytes","init_data_sha384","init_data","init_data_open"}; owned.
 * Fails: PROP_E_EXISTS (id "output-exists"), PROP_E_USAGE, PROP_E_UNSUPPORTED (id "kernel-tee",
 * "kernel-drivers"), PROP_E_LIMIT (id "image-too-big"), and as vm/kernel.h and vm/initramfs.h say. */
int prop_vm_build(const struct prop_vm_build *b, json_t **ret_report, struct prop_err *err);

#endif
