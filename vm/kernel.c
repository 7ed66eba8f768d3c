#include "vm/kernel.h"

#include "archive/deb.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/modules.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PASSES_MAX 4 /* over a package */

void prop_kernel_release(struct prop_kernel *k)
{
    for (size_t i = 0; i < k->n_modules; i++)
        prop_buf_release(&k->modules[i].data);
    prop_free(k->modules);
    prop_buf_release(&k->image);
    *k = (struct prop_kernel)PROP_KERNEL_INIT;
}

/* Linux, Documentation/arch/x86/boot.rst: 0x1fe boot flag, 0x202 "HdrS", 0x20e kernel_version. */
int prop_kernel_release_of(const struct prop_buf *image, const char *what, char ret[128],
                           struct prop_err *err)
{
    const uint8_t *p = image->data;
    const char *why = NULL;
    size_t len = 0;

    if (image->len < 0x1000 || p[0x1fe] != 0x55 || p[0x1ff] != 0xaa ||
        memcmp(p + 0x202, "HdrS", 4) != 0)
        why = "it is no Linux bzImage for x86";
    size_t at = why ? 0 : (size_t)p[0x20e] + ((size_t)p[0x20f] << 8) + 0x200;
    if (why == NULL) {
        while (at + len < image->len && len < 127 && p[at + len] > ' ' && p[at + len] < 0x7f)
            len++;
        if (at == 0x200 || len == 0 || at + len >= image->len || p[at + len] != ' ')
            why = "it does not say which release it is";
    }
    if (why)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-kernel", "'%s': %s", what, why);
    memcpy(ret, p + at, len);
    ret[len] = '\0';
    if (strchr(ret, '/') || ret[0] == '.')
        return prop_err_set_id(err, PROP_E_INPUT, "bad-kernel", "'%s': its release is no name", what);
    return 0;
}

/* ---- a Debian package ---------------------------------------------------------------------- */

struct package {
    struct prop_kernel *kernel;
    struct prop_module_source source;
    char also[PROP_MODULES_MAX][64]; /* names a former pass found missing */
    size_t n_also;
};

static bool want(void *ctx, const char *name, uint64_t size)
{
    const struct package *p = ctx;
    const char *lib = strstr(name, "lib/modules/");
    const char *base = strrchr(name, '/');
    char module[64];

    (void)size;
    if (prop_starts_with(name, "boot/vmlinuz-"))
        return true;
    if (lib == NULL || (lib != name && !prop_starts_with(name, "usr/lib/modules/")))
        return false;
    if (strcmp(base, "/modules.builtin") == 0)
        return true;
    if (!prop_module_name(name, module))
        return false;
    for (size_t i = 0; i < p->n_also; i++)
        if (strcmp(module, p->also[i]) == 0)
            return true;
    return prop_module_wanted(module);
}

static int take(void *ctx, const char *name, const struct prop_buf *content, struct prop_err *err)
{
    struct package *p = ctx;

    if (prop_starts_with(name, "boot/vmlinuz-")) {
        prop_buf_clear(&p->kernel->image);
        return prop_buf_add(&p->kernel->image, content->data, content->len, err);
    }
    if (prop_ends_with(name, "/modules.builtin")) {
        p->source.builtin.max = PROP_MODULE_MAX;
        prop_buf_clear(&p->source.builtin);
        p->source.has_builtin = true;
        return prop_buf_add(&p->source.builtin, content->data, content->len, err);
    }
    return prop_module_source_add(&p->source, name, content, err);
}

static int one_pass(struct package *p, const char *file, char missing[64], struct prop_err *err)
{
    struct prop_deb_reader reader = { want, take, p, PROP_KERNEL_MAX };
    int rc = prop_deb_read(file, &reader, err);

    if (rc == 0 && (p->kernel->image.len == 0 || !p->source.has_builtin)) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-kernel",
                              "the package '%s' holds no kernel with its modules", file);
        return prop_err_hint(err, "linux-image-cloud-amd64 only names the package: download the "
                                  "linux-image-VERSION-cloud-amd64 it depends on");
    }
    if (rc == 0)
        rc = prop_kernel_release_of(&p->kernel->image, file, p->kernel->release, err);
    return rc ? rc : prop_modules_choose(&p->source, p->kernel, missing, err);
}

/* What the second pass reads is what nobody could have known before the first. */
static int from_package(const char *file, struct prop_kernel *k, struct prop_err *err)
{
    prop_auto_free struct package *p = prop_zalloc(sizeof *p);
    char missing[64] = "";
    int rc = 0;

    if (p == NULL)
        return prop_err_nomem(err);
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        p->kernel = k;
        p->source.what = file;
        missing[0] = '\0';
        rc = one_pass(p, file, missing, err);
        prop_module_source_release(&p->source);
        if (rc == 0 || !missing[0] || pass == PASSES_MAX - 1)
            break;
        (void)snprintf(p->also[p->n_also++], sizeof p->also[0], "%s", missing);
        prop_kernel_release(k);
        prop_err_clear(err);
    }
    (void)snprintf(k->source, sizeof k->source, "%s", file);
    return rc;
}

/* ---- files --------------------------------------------------------------------------------- */

static int no_kernel(const char *boot, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-kernel", "there is no kernel in '%s'", boot);
    return prop_err_hint(err, "apt-get download the linux-image-VERSION-cloud-amd64 that "
                              "linux-image-cloud-amd64 depends on, and pass the file with --kernel");
}

/* The running kernel's image, else an installed cloud kernel's, the last by name. */
static int find_kernel(const char *boot, char **ret, struct prop_err *err)
{
    prop_auto_free char *best = NULL;
    struct utsname u;
    DIR *d = NULL;

    if (uname(&u) == 0) {
        prop_auto_free char *running = prop_asprintf("%s/vmlinuz-%s", boot, u.release);
        if (running && access(running, R_OK) == 0) {
            *ret = PROP_TAKE(running);
            return 0;
        }
    }
    d = opendir(boot);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (!prop_starts_with(e->d_name, "vmlinuz-") || !strstr(e->d_name, "-cloud-") ||
            (best && strverscmp(e->d_name, best) <= 0))
            continue;
        prop_free(best);
        best = prop_strdup(e->d_name);
    }
    if (d)
        (void)closedir(d);
    if (best == NULL)
        return no_kernel(boot, err);
    *ret = prop_path_join(boot, best);
    return *ret ? 0 : prop_err_nomem(err);
}

static int from_files(const struct prop_kernel_from *from, const char *file, struct prop_kernel *k,
                      struct prop_err *err)
{
    prop_auto_free char *folder = NULL;
    struct prop_module_source source = {.what = NULL};
    int rc = prop_kernel_release_of(&k->image, file, k->release, err);

    if (rc)
        return rc;
    folder = from->modules ? prop_strdup(from->modules)
                           : prop_path_join(from->lib ? from->lib : "/lib/modules", k->release);
    if (folder == NULL)
        return prop_err_nomem(err);
    rc = prop_module_source_folder(&source, folder, err);
    if (rc == 0)
        rc = prop_modules_choose(&source, k, NULL, err);
    prop_module_source_release(&source);
    (void)snprintf(k->source, sizeof k->source, "%s", file);
    return rc;
}

static int load(const struct prop_kernel_from *from, struct prop_kernel *k, struct prop_err *err)
{
    prop_auto_free char *file = NULL;
    int rc = 0;

    if (from->kernel)
        file = prop_strdup(from->kernel);
    else
        rc = find_kernel(from->boot ? from->boot : "/boot", &file, err);
    if (rc == 0 && file == NULL)
        rc = prop_err_nomem(err);
    if (rc == 0)
        rc = prop_file_read(file, &k->image, err);
    if (rc == PROP_E_NOTFOUND && err && err->id == NULL)
        err->id = "no-kernel";
    if (rc)
        return rc;
    if (k->image.len > 8 && memcmp(k->image.data, "!<arch>\n", 8) == 0) {
        prop_buf_clear(&k->image);
        if (from->modules)
            return prop_err_set(err, PROP_E_USAGE,
                                "--modules goes with a kernel image: '%s' is a package", file);
        return from_package(file, k, err);
    }
    return from_files(from, file, k, err);
}

int prop_kernel_load(const struct prop_kernel_from *from, struct prop_kernel *ret,
                     struct prop_err *err)
{
    struct prop_kernel k = PROP_KERNEL_INIT;
    int rc = load(from, &k, err);

    if (rc)
        prop_kernel_release(&k);
    else
        *ret = k;
    return rc;
}

int prop_kernel_check_tee(const struct prop_kernel *k, const char *tee, struct prop_err *err)
{
    bool snp = k->sev_guest; /* without configfs-tsm (before 6.7) there is its ioctl */
    bool tdx = k->tdx_guest && k->tsm;

    if (strcmp(tee, "sample") == 0 || (strcmp(tee, "snp") == 0 && snp) ||
        (strcmp(tee, "tdx") == 0 && tdx) || (strcmp(tee, "auto") == 0 && (snp || tdx)))
        return 0;
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "kernel-tee",
                          "the kernel '%s' cannot attest as '%s': it has no %s", k->release, tee,
                          strcmp(tee, "snp") == 0 ? "sev-guest driver"
                          : strcmp(tee, "tdx") == 0 ? "tdx-guest driver with configfs-tsm"
                                                    : "sev-guest or tdx-guest driver");
    return prop_err_hint(err, "Debian 12's own kernels cannot; the linux-image-VERSION-cloud-amd64 of "
                              "bookworm-backports (6.12) can. For tests on a laptop: --tee sample");
}
