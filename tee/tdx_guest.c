/* /dev/tdx_guest and the measurements in sysfs. */
#include "tee/tdx_guest.h"

#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(struct prop_tdx_report_request) == 1088, "the driver's TD report request");

/* TDREPORT_STRUCT: report data in REPORTMACSTRUCT, TDINFO from 512 (Intel TDX module ABI). */
enum { REPORT_DATA = 128, TDINFO = 512, ATTRIBUTES = TDINFO, XFAM = TDINFO + 8, MRTD = TDINFO + 16,
       MRCONFIGID = 576, MROWNER = 624, MROWNERCONFIG = 672, RTMR0 = 720 };

int prop_tdx_get_report(const struct prop_tee_machine *m, const uint8_t data[64],
                        uint8_t ret[PROP_TDX_REPORT], struct prop_err *err)
{
    const struct prop_tee_calls *calls = prop_tee_calls_of(m);
    struct prop_tdx_report_request rq = { { 0 }, { 0 } };
    int fd = calls->open(m->tdx_guest);
    if (fd < 0) {
        bool root = errno == EACCES || errno == EPERM;
        prop_err_sys(err, PROP_E_UNSUPPORTED, "open '%s'", m->tdx_guest);
        if (err)
            err->id = "no-tdx-guest";
        return prop_err_hint(err, root ? "reading the registers needs root" : "load tdx-guest");
    }
    memcpy(rq.report_data, data, sizeof(rq.report_data));
    int number = calls->ioctl(fd, PROP_TDX_GET_REPORT0, &rq) < 0 ? errno : 0;
    (void)calls->close(fd);
    if (number) {
        errno = number;
        prop_err_sys(err, PROP_E_IO, "ask '%s' for a TD report", m->tdx_guest);
        if (err)
            err->id = "tdx-guest-refused";
        return prop_err_hint(err, "see the kernel log of this guest");
    }
    memcpy(ret, rq.report, sizeof(rq.report));
    return 0;
}

void prop_tdx_report_fields(const uint8_t report[PROP_TDX_REPORT], struct prop_tdx_fields *ret)
{
    struct prop_tdx_fields f = { .version = 0 };
    for (size_t i = 8; i-- > 0;)
        f.td_attributes = f.td_attributes << 8 | report[ATTRIBUTES + i];
    memcpy(f.xfam, report + XFAM, sizeof(f.xfam));
    memcpy(f.mr_td, report + MRTD, PROP_RTMR_LEN);
    memcpy(f.mr_config_id, report + MRCONFIGID, PROP_RTMR_LEN);
    memcpy(f.mr_owner, report + MROWNER, PROP_RTMR_LEN);
    memcpy(f.mr_owner_config, report + MROWNERCONFIG, PROP_RTMR_LEN);
    memcpy(f.rtmr, report + RTMR0, sizeof(f.rtmr));
    memcpy(f.report_data, report + REPORT_DATA, sizeof(f.report_data));
    *ret = f;
}

static int open_register(const struct prop_tee_machine *m, const char *name, int flags, int *ret,
                         struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(m->measurements, name);
    if (!path)
        return prop_err_nomem(err);
    *ret = open(path, flags | O_CLOEXEC);
    if (*ret >= 0)
        return 0;
    if (errno != ENOENT && errno != ENOTDIR)
        return prop_err_sys(err, PROP_E_IO, "open '%s'", path);
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-measurements",
                           "this kernel has no '%s' (Linux 6.16 has, in a TD)", path);
}

int prop_tdx_read_register(const struct prop_tee_machine *m, const char *name,
                           uint8_t ret[PROP_RTMR_LEN], struct prop_err *err)
{
    uint8_t bytes[PROP_RTMR_LEN + 1];
    prop_auto_fd int fd = -1;
    int rc = open_register(m, name, O_RDONLY, &fd, err);
    if (rc < 0)
        return rc;
    ssize_t n = read(fd, bytes, sizeof(bytes));
    if (n < 0)
        return prop_err_sys(err, PROP_E_IO, "read '%s'", name);
    if (n != PROP_RTMR_LEN)
        return prop_err_set(err, PROP_E_IO, "'%s' has %zd bytes, not %d", name, n, PROP_RTMR_LEN);
    memcpy(ret, bytes, PROP_RTMR_LEN);
    return 0;
}

int prop_tdx_extend_rtmr3(const struct prop_tee_machine *m, const uint8_t digest[PROP_RTMR_LEN],
                          struct prop_err *err)
{
    static const char name[] = "rtmr3:sha384";
    int fd = -1;
    int rc = open_register(m, name, O_WRONLY, &fd, err);
    if (rc < 0)
        return rc;
    /* The whole digest in one write at the start: that is one extension. */
    ssize_t n = write(fd, digest, PROP_RTMR_LEN);
    int number = n < 0 ? errno : n == PROP_RTMR_LEN ? 0 : EIO;
    if (close(fd) < 0 && !number)
        number = errno;
    errno = number;
    return number ? prop_err_sys(err, PROP_E_IO, "extend '%s'", name) : 0;
}
