/* Inside vm/: where modules come from, and which of them are taken. */
#ifndef PROP_VM_MODULES_H
#define PROP_VM_MODULES_H

#include "util/buf.h"
#include "util/err.h"
#include "vm/kernel.h"

#include <stdbool.h>
#include <stddef.h>

/* The modules of one kernel: known by name and path, or (of a package) with their content. */
struct prop_module_at {
    char name[64];
    char *path;            /* owned; of a package: the name in it */
    struct prop_buf data;  /* as stored; filled for packages only */
};
struct prop_module_source {
    const char *what;      /* folder or package, for messages; borrowed */
    struct prop_module_at *at;
    size_t n, cap;
    struct prop_buf builtin; /* text of modules.builtin */
    bool has_builtin;
};
void prop_module_source_release(struct prop_module_source *s);

/* "kernel/net/x-y.ko.xz" -> "x_y"; false when it is no module's file name. */
bool prop_module_name(const char *path, char ret[64]);
/* One more module. `data` NULL: it is read from `path` when it is taken. */
int prop_module_source_add(struct prop_module_source *s, const char *path,
                           const struct prop_buf *data, struct prop_err *err);
/* All modules below a folder, and its modules.builtin. Fails: PROP_E_NOTFOUND (id "no-modules"). */
int prop_module_source_folder(struct prop_module_source *s, const char *folder,
                              struct prop_err *err);
/* Is this one that some guest needs, or that one of these is known to need? For reading a package in
 * one pass. */
bool prop_module_wanted(const char *name);
/* Leave out what only a guest needs that stays until somebody presses its power button. */
void prop_modules_drop_power(struct prop_kernel *k);
/* Choose the modules, in the order of loading, and fill in what the kernel can do. ret_missing (may be
 * NULL) receives the name of a module that is needed by another and has no content here, with
 * PROP_E_NOTFOUND (id "module-missing"). */
int prop_modules_choose(struct prop_module_source *s, struct prop_kernel *k, char ret_missing[64],
                        struct prop_err *err);

#endif
