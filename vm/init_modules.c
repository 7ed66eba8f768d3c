#include "vm/init.h"

#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ENODEV, ENXIO: no such hardware, as for both TEE drivers on an ordinary machine. */
static int load(const char *path, struct prop_err *err)
{
    prop_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) == 0)
        return 0;
    if (fd >= 0 && errno == EEXIST)
        return 0;
    (void)prop_err_sys(err, PROP_E_IO, "kernel module '%s'", path);
    if (err)
        err->id = "init-module";
    return PROP_E_IO;
}

int prop_init_modules(const json_t *modules, struct prop_err *err)
{
    size_t i = 0;
    const json_t *m = NULL;

    json_array_foreach(modules, i, m) {
        const char *name = json_string_value(json_object_get(m, "file"));
        prop_auto_free char *path = name ? prop_asprintf("/%s", name) : NULL;
        struct prop_err why = PROP_ERR_INIT;
        if (path == NULL)
            return prop_err_nomem(err);
        int rc = load(path, &why);
        if (rc && json_is_true(json_object_get(m, "must"))) {
            if (err)
                *err = why;
            return rc;
        }
    }
    return 0;
}
