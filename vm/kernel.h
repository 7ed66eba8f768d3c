/* The guest's kernel and those of its modules that this kind of machine needs, from one of: a bzImage
 * with a folder of modules, a Debian package file, or what the host has installed. Nothing is run, and
 * nothing is installed: modules are found by name and their needs read from their own .modinfo. */
#ifndef PROP_VM_KERNEL_H
#define PROP_VM_KERNEL_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

#define PROP_KERNEL_MAX (64u << 20)
#define PROP_MODULE_MAX (16u << 20)
#define PROP_MODULES_MAX 64

struct prop_kernel_from {
    const char *kernel;  /* bzImage or .deb; NULL = the running kernel's, else the newest in `boot` */
    const char *modules; /* folder that holds kernel/ and modules.builtin; NULL = the package's, else
                          * `lib`/RELEASE */
    const char *boot;    /* NULL = "/boot"; tests name others */
    const char *lib;     /* NULL = "/lib/modules" */
};

struct prop_module {
    char name[64];         /* with '_' for '-' */
    struct prop_buf data;  /* the .ko, unpacked */
    bool must;             /* the guest cannot do without it */
};

struct prop_kernel {
    struct prop_buf image;
    char release[128];
    char source[256];      /* what it was read from, for people */
    struct prop_module *modules; /* in the order they are to be loaded */
    size_t n_modules;
    /* What the guest can do, as a module or built in. */
    bool virtio_net, vsock, virtio_serial, fw_cfg, sev_guest, tdx_guest, tsm;
};
#define PROP_KERNEL_INIT { .image = PROP_BUF_INIT(PROP_KERNEL_MAX) }

/* Fails: PROP_E_NOTFOUND (id "no-kernel", "no-modules") nothing there; PROP_E_INPUT (id "bad-kernel")
 * no bzImage, (id "bad-package") no package, (id "bad-module"); PROP_E_UNSUPPORTED (id
 * "kernel-drivers") it lacks virtio-pci, virtio-net or packet sockets. */
int prop_kernel_load(const struct prop_kernel_from *from, struct prop_kernel *ret,
                     struct prop_err *err);
void prop_kernel_release(struct prop_kernel *k);
#define prop_auto_kernel __attribute__((cleanup(prop_kernel_release)))

/* The release a bzImage says it is ("6.1.0-50-cloud-amd64"), from its setup header. */
int prop_kernel_release_of(const struct prop_buf *image, const char *what, char ret[128],
                           struct prop_err *err);

/* Can this kernel give evidence of that TEE ("snp", "tdx", "auto": either)? PROP_E_UNSUPPORTED (id
 * "kernel-tee") when not; the hint names a package that can. "sample" is always fine. */
int prop_kernel_check_tee(const struct prop_kernel *k, const char *tee, struct prop_err *err);

#endif
