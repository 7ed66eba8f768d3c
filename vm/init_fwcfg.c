#include "vm/init.h"

#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BY_NAME "/sys/firmware/qemu_fw_cfg/by_name/"

static int rename_error(int rc, const char *name, struct prop_err *err)
{
    if (rc == PROP_E_NOTFOUND)
        return prop_err_set_id(err, rc, "no-fw-cfg", "the host handed over no '%s'", name);
    return rc;
}

int prop_init_fwcfg(const char *name, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_free char *path = prop_asprintf(BY_NAME "%s/raw", name);

    if (path == NULL)
        return prop_err_nomem(err);
    return rename_error(prop_file_read(path, out, err), name, err);
}

/* sysfs says 0 for the size of these files, so the memory is taken first and cut afterwards. */
int prop_init_fwcfg_secret(const char *name, size_t max, struct prop_secret **ret,
                           struct prop_err *err)
{
    prop_auto_free char *path = prop_asprintf(BY_NAME "%s/raw", name);
    prop_auto_secret struct prop_secret *s = NULL;
    size_t len = 0;
    int rc = path ? prop_secret_new(max, &s, err) : prop_err_nomem(err);

    if (rc)
        return rc;
    prop_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rename_error(prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "'%s'",
                                         name), name, err);
    for (ssize_t n = 1; n > 0; len += (size_t)n) {
        if (len == max)
            return prop_err_set_id(err, PROP_E_LIMIT, "file-too-big", "'%s' is over %zu bytes", name,
                                   max - 1);
        n = read(fd, prop_secret_bytes(s) + len, max - len);
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "read '%s'", name);
    }
    prop_secret_truncate(s, len);
    *ret = PROP_TAKE(s);
    return 0;
}
