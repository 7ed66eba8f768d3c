/* Linked into copies of the tools for tests, never into the installed ones: a machine made of files.
 *
 * --tsm-root DIR   DIR plays /sys/kernel/config/tsm/report: a folder that is made in it becomes a
 *                  request slot, and what is written to the slot's inblob is put into the recorded
 *                  report. DIR/.recorded holds: provider, outblob, auxblob (may be missing), nonce-at
 *                  (where in outblob the report data stands; missing = it stays as recorded), ccel,
 *                  aael, measurements/ (each may be missing).
 * --sev-device DIR DIR/.recorded/outblob and auxblob are given out by a driver like sev-guest's.
 *
 * The real tools have no such options. The signature of a recorded report does not fit another nonce,
 * so no key broker takes what comes out.
 */
#include "cmd/cli/cli.h"
#include "tee/machine.h"
#include "tee/sev_guest.h"
#include "tee/snp.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int __real_prop_cli_main(const struct prop_tool *tool, int argc, char **argv);
int __wrap_prop_cli_main(const struct prop_tool *tool, int argc, char **argv);
struct prop_tee_machine __wrap_prop_tee_machine_here(void);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_rmdir(const char *path);
int __wrap_rmdir(const char *path);
int __real_close(int fd);
int __wrap_close(int fd);

enum { BLOB_MAX = 256 << 10, NONCE = 64 };

static char tsm_root[PATH_MAX], sev_device[PATH_MAX];
static char paths[6][PATH_MAX + 64];

static const char *recorded(int slot, const char *root, const char *name)
{
    (void)snprintf(paths[slot], sizeof(paths[slot]), "%s/.recorded/%s", root, name);
    return paths[slot];
}

static bool read_file(const char *dir, const char *name, struct prop_buf *out)
{
    prop_auto_free char *path = prop_path_join(dir, name);
    prop_buf_clear(out);
    return path && prop_file_read(path, out, NULL) == 0;
}

static void put(const char *dir, const char *name, const void *data, size_t len)
{
    prop_auto_free char *path = prop_path_join(dir, name);
    if (!path || prop_file_write(path, data, len, 0600, true, NULL) < 0)
        abort();
}

static bool in_root(const char *path)
{
    size_t n = strlen(tsm_root);
    return n && strncmp(path, tsm_root, n) == 0 && path[n] == '/' && path[n + 1] != '.';
}

/* --- request slots ------------------------------------------------------------------------------- */

static const char *const attributes[] = { "provider", "inblob", "generation", "outblob", "auxblob" };

int __wrap_mkdir(const char *path, mode_t mode)
{
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(BLOB_MAX);
    char from[PATH_MAX + 16];
    int rc = __real_mkdir(path, mode);
    if (rc < 0 || !in_root(path))
        return rc;
    (void)snprintf(from, sizeof(from), "%s/.recorded", tsm_root);
    put(path, "inblob", "", 0);
    put(path, "generation", "0\n", 2);
    if (read_file(from, "provider", &b))
        put(path, "provider", b.data, b.len);
    (void)read_file(from, "auxblob", &b);
    put(path, "auxblob", b.data, b.len);
    return 0;
}

int __wrap_rmdir(const char *path)
{
    for (size_t i = 0; in_root(path) && i < PROP_ARRAY_LEN(attributes); i++) {
        prop_auto_free char *name = prop_path_join(path, attributes[i]);
        (void)unlink(name);
    }
    return __real_rmdir(path);
}

/* The value is committed: count it, and make the report. */
static void commit(const char *slot)
{
    prop_auto_buf struct prop_buf in = PROP_BUF_INIT(BLOB_MAX), out = PROP_BUF_INIT(BLOB_MAX);
    prop_auto_buf struct prop_buf number = PROP_BUF_INIT(64);
    char from[PATH_MAX + 16], text[24];
    (void)snprintf(from, sizeof(from), "%s/.recorded", tsm_root);
    if (!read_file(slot, "inblob", &in) || in.len != NONCE || !read_file(from, "outblob", &out))
        return;
    if (read_file(from, "nonce-at", &number)) {
        size_t at = strtoul(prop_buf_str(&number), NULL, 10);
        if (at + NONCE <= out.len)
            memcpy(out.data + at, in.data, NONCE);
    }
    (void)read_file(slot, "generation", &number);
    int n = snprintf(text, sizeof(text), "%lu\n", strtoul(prop_buf_str(&number), NULL, 10) + 1);
    put(slot, "generation", text, (size_t)n);
    put(slot, "outblob", out.data, out.len);
}

int __wrap_close(int fd)
{
    char link[64], path[PATH_MAX] = { 0 };
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bool inblob = tsm_root[0] && readlink(link, path, sizeof(path) - 1) > 0 && in_root(path) &&
                  strlen(path) > 7 && strcmp(path + strlen(path) - 7, "/inblob") == 0 &&
                  (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
    int rc = __real_close(fd);
    if (rc == 0 && inblob) {
        path[strlen(path) - 7] = 0;
        commit(path);
    }
    return rc;
}

/* --- the device ---------------------------------------------------------------------------------- */

static int device_open(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* As the driver: the first call tells the length of the certificates, the second gives them. */
static int device_ioctl(int fd, unsigned long code, void *arg)
{
    prop_auto_buf struct prop_buf report = PROP_BUF_INIT(BLOB_MAX), certs = PROP_BUF_INIT(BLOB_MAX);
    struct prop_snp_call *c = arg;
    struct prop_snp_ext_request *x = (void *)(uintptr_t)c->request;
    struct prop_snp_response *r = (void *)(uintptr_t)c->response;
    char from[PATH_MAX + 16];
    (void)fd;
    (void)snprintf(from, sizeof(from), "%s/.recorded", sev_device);
    if (!read_file(from, "outblob", &report) || report.len != PROP_SNP_REPORT) {
        errno = EIO;
        return -1;
    }
    (void)read_file(from, "auxblob", &certs);
    uint32_t want = (uint32_t)((certs.len + 4095) / 4096 * 4096);
    if (code == PROP_SNP_GET_EXT_REPORT && x->certs_len < want) {
        x->certs_len = want;
        c->exitinfo2 = (uint64_t)PROP_SNP_VMM_LENGTH << 32;
        errno = EIO;
        return -1;
    }
    if (code == PROP_SNP_GET_EXT_REPORT && want)
        memcpy((void *)(uintptr_t)x->certs, certs.data, certs.len);
    c->exitinfo2 = 0;
    r->report_size = PROP_SNP_REPORT;
    memcpy(r->report, report.data, PROP_SNP_REPORT);
    memcpy(r->report + 0x50, x->plain.user_data, NONCE);
    return 0;
}

/* --- the machine --------------------------------------------------------------------------------- */

static int no_msr(const char *path, uint32_t msr, uint64_t *ret)
{
    (void)path, (void)msr, (void)ret;
    errno = ENOENT;
    return -1;
}

static bool no_cpuid(uint32_t leaf, uint32_t ret[4])
{
    (void)leaf, (void)ret;
    return false;
}

static bool configfs(const char *path)
{
    (void)path;
    return tsm_root[0] != 0;
}

struct prop_tee_machine __wrap_prop_tee_machine_here(void)
{
    static struct prop_tee_calls calls;
    calls = prop_tee_real_calls;
    calls.open = device_open;
    calls.close = __real_close;
    calls.ioctl = device_ioctl;
    calls.read_msr = no_msr;
    calls.cpuid = no_cpuid;
    calls.is_configfs = configfs;
    return (struct prop_tee_machine){
        .tsm_root = tsm_root[0] ? tsm_root : "/nonexistent/tsm",
        .sev_guest = sev_device[0] ? recorded(0, sev_device, "outblob") : "/nonexistent/sev-guest",
        .tdx_guest = "/nonexistent/tdx_guest",
        .ccel = recorded(1, tsm_root, "ccel"),
        .aael = recorded(2, tsm_root, "aael"),
        .measurements = recorded(3, tsm_root, "measurements"),
        .configfs = "/nonexistent",
        .calls = &calls,
    };
}

int __wrap_prop_cli_main(const struct prop_tool *tool, int argc, char **argv)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        char *to = strcmp(argv[i], "--tsm-root") == 0     ? tsm_root
                   : strcmp(argv[i], "--sev-device") == 0 ? sev_device : NULL;
        if (!to)
            argv[n++] = argv[i];
        else if (++i == argc || !realpath(argv[i], to))
            return 2;
    }
    argv[n] = NULL;
    return __real_prop_cli_main(tool, n, argv);
}
