#include "vm/modules.h"

#include "archive/deb.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/elf.h"

#include <errno.h>
#include <fts.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 16
#define SOURCE_MAX 20000

/* What a guest of ours uses. `have` is the member of struct prop_kernel that says so. */
static const struct wanted {
    const char *name;
    size_t have; /* offset + 1; 0 = none */
    bool must;
} wanted[] = {
#define HAVE(member) offsetof(struct prop_kernel, member) + 1
    { "virtio_pci", 0, true },
    { "virtio_net", HAVE(virtio_net), true },
    { "af_packet", 0, true }, /* DHCP */
    { "virtio_rng", 0, false },
    { "virtio_console", HAVE(virtio_serial), false },
    { "qemu_fw_cfg", HAVE(fw_cfg), false },
    { "vsock", 0, false },
    { "vmw_vsock_virtio_transport", HAVE(vsock), false },
    { "configfs", 0, false },
    { "button", 0, false }, /* the power button, for guests that serve */
    { "evdev", 0, false },
    { "tsm", HAVE(tsm), false },
    { "tsm_report", HAVE(tsm), false }, /* its name since Linux 6.16 */
    { "sev_guest", HAVE(sev_guest), false },
    { "tdx_guest", HAVE(tdx_guest), false },
};
/* Others need these, in the kernels there are: so that one pass over a package is enough. */
static const char *const often_needed[] = {
    "virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "failover",
    "net_failover", "rng_core", "vmw_vsock_virtio_transport_common", "tsm_core", "virtio_anchor",
};

bool prop_module_wanted(const char *name)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(wanted); i++)
        if (strcmp(name, wanted[i].name) == 0)
            return true;
    for (size_t i = 0; i < PROP_ARRAY_LEN(often_needed); i++)
        if (strcmp(name, often_needed[i]) == 0)
            return true;
    return false;
}

void prop_modules_drop_power(struct prop_kernel *k)
{
    size_t n = 0;

    for (size_t i = 0; i < k->n_modules; i++) {
        struct prop_module *m = &k->modules[i];
        if (strcmp(m->name, "button") == 0 || strcmp(m->name, "evdev") == 0)
            prop_buf_release(&m->data);
        else
            k->modules[n++] = *m;
    }
    k->n_modules = n;
}

static void normalise(char *name)
{
    for (; *name; name++)
        if (*name == '-')
            *name = '_';
}

bool prop_module_name(const char *path, char ret[64])
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strstr(base, ".ko");
    size_t len = dot ? (size_t)(dot - base) : 0;

    if (len == 0 || len > 63 ||
        (dot[3] && strcmp(dot, ".ko.xz") != 0 && strcmp(dot, ".ko.zst") != 0 &&
         strcmp(dot, ".ko.gz") != 0))
        return false;
    memcpy(ret, base, len);
    ret[len] = '\0';
    normalise(ret);
    return true;
}

/* ---- sources ------------------------------------------------------------------------------- */

void prop_module_source_release(struct prop_module_source *s)
{
    for (size_t i = 0; i < s->n; i++) {
        prop_free(s->at[i].path);
        prop_buf_release(&s->at[i].data);
    }
    prop_free(s->at);
    prop_buf_release(&s->builtin);
    *s = (struct prop_module_source){.what = NULL};
}

static struct prop_module_at *find(struct prop_module_source *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->at[i].name, name) == 0)
            return &s->at[i];
    return NULL;
}

int prop_module_source_add(struct prop_module_source *s, const char *path,
                           const struct prop_buf *data, struct prop_err *err)
{
    struct prop_module_at m = {.data = PROP_BUF_INIT(PROP_MODULE_MAX)};

    if (!prop_module_name(path, m.name))
        return 0;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        void *more = cap <= SOURCE_MAX ? prop_realloc_array(s->at, cap, sizeof *s->at) : NULL;
        if (more == NULL)
            return cap <= SOURCE_MAX ? prop_err_nomem(err)
                                     : prop_err_set(err, PROP_E_LIMIT, "'%s' has too many modules",
                                                    s->what);
        s->at = more;
        s->cap = cap;
    }
    m.path = prop_strdup(path);
    if (m.path == NULL)
        return prop_err_nomem(err);
    int rc = data ? prop_buf_add(&m.data, data->data, data->len, err) : 0;
    if (rc) {
        prop_free(m.path);
        prop_buf_release(&m.data);
        return rc;
    }
    s->at[s->n++] = m;
    return 0;
}

static int add_tree(struct prop_module_source *s, const char *folder, struct prop_err *err)
{
    char root[4096];
    char *roots[] = { root, NULL };
    int rc = 0;

    if (snprintf(root, sizeof root, "%s", folder) >= (int)sizeof root)
        return prop_err_set(err, PROP_E_USAGE, "the path '%s' is too long", folder);
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    if (tree == NULL)
        return prop_err_sys(err, PROP_E_IO, "read '%s'", folder);
    for (FTSENT *e; rc == 0 && (e = fts_read(tree)) != NULL;) {
        if (e->fts_level > DEPTH_MAX)
            (void)fts_set(tree, e, FTS_SKIP);
        else if (e->fts_info != FTS_D && e->fts_info != FTS_DP && e->fts_info != FTS_SL)
            rc = prop_module_source_add(s, e->fts_path, NULL, err);
    }
    (void)fts_close(tree);
    return rc;
}

int prop_module_source_folder(struct prop_module_source *s, const char *folder,
                              struct prop_err *err)
{
    prop_auto_free char *builtin = prop_path_join(folder, "modules.builtin");
    struct stat st;

    s->what = folder;
    if (builtin == NULL)
        return prop_err_nomem(err);
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode) || access(builtin, R_OK) != 0) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-modules",
                              "'%s' is no folder of kernel modules (it has no modules.builtin)",
                              folder);
        return prop_err_hint(err, "name the folder that belongs to the kernel with --modules, or pass "
                                  "the kernel's Debian package with --kernel");
    }
    s->builtin.max = PROP_MODULE_MAX;
    int rc = prop_file_read(builtin, &s->builtin, err);
    s->has_builtin = rc == 0;
    return rc ? rc : add_tree(s, folder, err);
}

/* A line of modules.builtin whose file has that name. */
static bool is_builtin(const struct prop_module_source *s, const char *name)
{
    const char *p = prop_buf_str(&s->builtin);

    while (*p) {
        size_t len = strcspn(p, "\n");
        char line[512];
        char got[64];
        if (len < sizeof line) {
            memcpy(line, p, len);
            line[len] = '\0';
            if (prop_module_name(line, got) && strcmp(got, name) == 0)
                return true;
        }
        p += len + (p[len] == '\n');
    }
    return false;
}

/* ---- choosing ------------------------------------------------------------------------------ */

struct choice {
    struct prop_module_source *source;
    struct prop_kernel *kernel;
    char *missing;
    struct prop_err *err;
};

static bool chosen(const struct prop_kernel *k, const char *name)
{
    for (size_t i = 0; i < k->n_modules; i++)
        if (strcmp(k->modules[i].name, name) == 0)
            return true;
    return false;
}

static int unpack(const struct choice *c, const struct prop_module_at *at, struct prop_buf *out)
{
    prop_auto_buf struct prop_buf raw = PROP_BUF_INIT(PROP_MODULE_MAX);
    int rc = at->data.len ? 0 : prop_file_read(at->path, &raw, c->err);
    const struct prop_buf *from = at->data.len ? &at->data : &raw;

    return rc ? rc : prop_unpack(from->data, from->len, at->path, out, c->err);
}

/* One module that is neither chosen nor built in: read it, and see that it is of this kernel. */
static int load(const struct choice *c, const char *name, bool must, struct prop_module *ret,
                const char **ret_depends)
{
    struct prop_module_at *at = find(c->source, name);
    const char *magic = NULL;
    size_t release = strlen(c->kernel->release);

    if (at == NULL) {
        if (c->missing)
            (void)snprintf(c->missing, 64, "%s", name);
        return prop_err_set_id(c->err, PROP_E_NOTFOUND, "module-missing",
                               "'%s' has no module '%s', which another needs", c->source->what, name);
    }
    ret->data = (struct prop_buf)PROP_BUF_INIT(PROP_MODULE_MAX);
    ret->must = must;
    (void)snprintf(ret->name, sizeof ret->name, "%s", name);
    int rc = unpack(c, at, &ret->data);
    if (rc == 0)
        rc = prop_elf_modinfo(ret->data.data, ret->data.len, at->path, "depends", ret_depends,
                              c->err);
    if (rc == 0)
        rc = prop_elf_modinfo(ret->data.data, ret->data.len, at->path, "vermagic", &magic, c->err);
    if (rc == 0 && (magic == NULL || strncmp(magic, c->kernel->release, release) != 0 ||
                    magic[release] != ' '))
        rc = prop_err_set_id(c->err, PROP_E_INPUT, "bad-module",
                             "'%s' is a module for '%.*s', the kernel is '%s'", at->path,
                             magic ? (int)strcspn(magic, " ") : 4, magic ? magic : "none",
                             c->kernel->release);
    if (rc)
        prop_buf_release(&ret->data);
    return rc;
}

static int push(const struct choice *c, struct prop_module *m)
{
    struct prop_kernel *k = c->kernel;

    if (k->n_modules == PROP_MODULES_MAX) {
        prop_buf_release(&m->data);
        return prop_err_set(c->err, PROP_E_LIMIT, "more than %d modules are needed",
                            PROP_MODULES_MAX);
    }
    if (k->modules == NULL) {
        k->modules = prop_zalloc(PROP_MODULES_MAX * sizeof *k->modules);
        if (k->modules == NULL) {
            prop_buf_release(&m->data);
            return prop_err_nomem(c->err);
        }
    }
    k->modules[k->n_modules++] = *m;
    return 0;
}

/* A module and, before it, all it needs. The stack stands for recursion; what is on it and not yet
 * chosen cannot be needed by what it needs, or the chain would have no start. */
static int take(const struct choice *c, const char *name, bool must)
{
    struct { struct prop_module m; const char *rest; } stack[16];
    size_t depth = 0;
    int rc = load(c, name, must, &stack[0].m, &stack[0].rest);

    if (rc)
        return rc;
    depth = 1;
    while (rc == 0 && depth > 0) {
        const char *rest = stack[depth - 1].rest;
        size_t len = rest ? strcspn(rest, ",") : 0;
        char need[64] = "";

        if (len == 0) { /* everything it needs is there */
            rc = push(c, &stack[--depth].m);
            continue;
        }
        stack[depth - 1].rest = rest[len] ? rest + len + 1 : NULL;
        if (len < sizeof need)
            memcpy(need, rest, len);
        normalise(need);
        if (chosen(c->kernel, need) || is_builtin(c->source, need))
            continue;
        if (depth == PROP_ARRAY_LEN(stack)) {
            rc = prop_err_set_id(c->err, PROP_E_INPUT, "bad-module",
                                 "the modules that '%s' needs form no list", name);
            break;
        }
        rc = load(c, need, must, &stack[depth].m, &stack[depth].rest);
        if (rc == 0)
            depth++;
    }
    while (depth > 0)
        prop_buf_release(&stack[--depth].m.data);
    return rc;
}

static void set_have(struct prop_kernel *k, const struct wanted *w)
{
    if (w->have)
        *(bool *)((char *)k + (w->have - 1)) = true;
}

int prop_modules_choose(struct prop_module_source *s, struct prop_kernel *k, char ret_missing[64],
                        struct prop_err *err)
{
    struct choice c = { s, k, ret_missing, err };

    for (size_t i = 0; i < PROP_ARRAY_LEN(wanted); i++) {
        const struct wanted *w = &wanted[i];
        if (is_builtin(s, w->name) || chosen(k, w->name)) {
            set_have(k, w);
            continue;
        }
        if (find(s, w->name) == NULL && !w->must)
            continue;
        if (find(s, w->name) == NULL) {
            (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "kernel-drivers",
                                  "the kernel '%s' has no driver '%s', which every guest needs",
                                  k->release, w->name);
            return prop_err_hint(err, "take Debian's linux-image-cloud-amd64");
        }
        int rc = take(&c, w->name, w->must);
        if (rc)
            return rc;
        set_have(k, w);
    }
    return 0;
}
