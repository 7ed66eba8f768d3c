/* Programs and libraries for the image: found where the dynamic loader of this host would look, put
 * where the one in the guest will (it has no cache there, so: its built-in folders). */
#include "vm/initramfs.h"

#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/elf.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_MAX 512
#define CONF_MAX (64u << 10)

static const char *const default_dirs[] = {
    "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
};

struct walk {
    struct prop_initrd *image;
    const struct prop_initrd_search *search;
    char *queue[QUEUE_MAX]; /* sonames seen, in the order they are put in */
    size_t n, done;
    struct prop_buf conf;   /* folders of ld.so.conf, one per line */
};

static void walk_release(struct walk *w)
{
    for (size_t i = 0; i < w->n; i++)
        prop_free(w->queue[i]);
    prop_buf_release(&w->conf);
}

static const char *root_of(const struct walk *w)
{
    return w->search && w->search->sysroot ? w->search->sysroot : "";
}

static int enqueue(void *ctx, const char *soname, struct prop_err *err)
{
    struct walk *w = ctx;

    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->queue[i], soname) == 0)
            return 0;
    if (w->n == QUEUE_MAX || strchr(soname, '/') || !*soname)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-elf", "'%s' is no library's name", soname);
    w->queue[w->n] = prop_strdup(soname);
    if (w->queue[w->n] == NULL)
        return prop_err_nomem(err);
    w->n++;
    return 0;
}

/* ---- where libraries are ------------------------------------------------------------------- */

/* ld.so.conf(5): folders, one per line, and includes, which Debian has one level deep. */
static void read_conf(struct walk *w)
{
    prop_auto_free char *pattern = prop_asprintf("%s/etc/ld.so.conf.d/*.conf", root_of(w));
    glob_t files = {.gl_pathc = 0};

    w->conf.max = CONF_MAX;
    if (pattern == NULL || glob(pattern, 0, NULL, &files) != 0)
        return;
    for (size_t i = 0; i < files.gl_pathc; i++) {
        if (prop_file_read(files.gl_pathv[i], &w->conf, NULL) != 0 ||
            prop_buf_puts(&w->conf, "\n", NULL) != 0)
            break;
    }
    globfree(&files);
}

static char *readable(const char *root, const char *dir, size_t dir_len, const char *soname)
{
    char *path = prop_asprintf("%s%.*s/%s", root, (int)dir_len, dir, soname);

    if (path && access(path, R_OK) == 0)
        return path;
    prop_free(path);
    return NULL;
}

/* RUNPATH: folders with colons between; $ORIGIN is the folder of the file that names it. */
static char *in_runpath(const char *rpath, const char *origin, const char *soname)
{
    const char *slash = strrchr(origin, '/');
    int origin_len = slash ? (int)(slash - origin) : 1;

    while (rpath && *rpath) {
        size_t len = strcspn(rpath, ":");
        const char *rest = rpath;
        char *path = NULL;
        if (prop_starts_with(rpath, "$ORIGIN") || prop_starts_with(rpath, "${ORIGIN}")) {
            rest = rpath + (rpath[1] == '{' ? 9 : 7);
            path = prop_asprintf("%.*s%.*s/%s", origin_len, slash ? origin : ".",
                                 (int)(len - (size_t)(rest - rpath)), rest, soname);
        } else {
            path = prop_asprintf("%.*s/%s", (int)len, rpath, soname);
        }
        if (path && access(path, R_OK) == 0)
            return path;
        prop_free(path);
        rpath += len + (rpath[len] == ':');
    }
    return NULL;
}

/* Where a library is; ret_dir: the folder's name in the guest if it is one of the default ones. */
static char *locate(struct walk *w, const char *soname, const char *rpath, const char *origin,
                    const char **ret_dir)
{
    char *path = NULL;

    *ret_dir = NULL;
    for (const char *const *d = w->search ? w->search->dirs : NULL; d && *d; d++)
        if ((path = readable("", *d, strlen(*d), soname)) != NULL)
            return path;
    if ((path = in_runpath(rpath, origin, soname)) != NULL)
        return path;
    for (size_t i = 0; i < PROP_ARRAY_LEN(default_dirs); i++) {
        path = readable(root_of(w), default_dirs[i], strlen(default_dirs[i]), soname);
        if (path) {
            *ret_dir = default_dirs[i];
            return path;
        }
    }
    for (const char *p = prop_buf_str(&w->conf); *p;) {
        size_t len = strcspn(p, "\n");
        if (p[0] == '/' && (path = readable(root_of(w), p, len, soname)) != NULL)
            return path;
        p += len + (p[len] == '\n');
    }
    return NULL;
}

/* ---- putting them in ----------------------------------------------------------------------- */

/* Read a program or library, and cut off what is never loaded. */
static int read_elf(const char *path, struct prop_buf *out, struct prop_err *err)
{
    size_t loaded = 0;
    int rc = prop_file_read(path, out, err);

    if (rc == 0)
        rc = prop_elf_loaded(out->data, out->len, path, &loaded, err);
    if (rc)
        return rc;
    out->len = loaded;
    prop_elf_forget_sections(out->data);
    return 0;
}

static int put_library(struct walk *w, const char *soname, const char *rpath, const char *origin,
                       struct prop_err *err)
{
    prop_auto_buf struct prop_buf data = PROP_BUF_INIT(PROP_INITRD_FILE_MAX);
    const char *dir = NULL;
    const char *own_rpath = NULL;
    prop_auto_free char *path = locate(w, soname, rpath, origin, &dir);
    prop_auto_free char *name = NULL;

    if (path == NULL) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-library", "the library '%s' is not here",
                              soname);
        return prop_err_hint(err, "'%s' needs it; name its folder with --library-path", origin);
    }
    if (dir && !w->image->lib_dir[0])
        (void)snprintf(w->image->lib_dir, sizeof w->image->lib_dir, "%s", dir + 1);
    name = prop_asprintf("%s/%s", dir ? dir + 1 : w->image->lib_dir[0] ? w->image->lib_dir
                                                                       : "usr/lib", soname);
    if (name == NULL)
        return prop_err_nomem(err);
    int rc = read_elf(path, &data, err);
    if (rc == 0)
        rc = prop_elf_needed(data.data, data.len, path, enqueue, w, NULL, &own_rpath, err);
    return rc ? rc : prop_initrd_file(w->image, name, 0755, data.data, data.len, err);
}

/* Everything in the queue, and what that brings along. The loader itself may stand in it too. */
static int put_all(struct walk *w, const char *interp, const char *rpath, const char *origin,
                   struct prop_err *err)
{
    const char *loader = interp ? strrchr(interp, '/') : NULL;
    int rc = 0;

    for (; rc == 0 && w->done < w->n; w->done++)
        if (loader == NULL || strcmp(w->queue[w->done], loader + 1) != 0)
            rc = put_library(w, w->queue[w->done], rpath, origin, err);
    return rc;
}

static int put_program(struct walk *w, const char *name, const char *path, struct prop_err *err)
{
    prop_auto_buf struct prop_buf data = PROP_BUF_INIT(PROP_INITRD_FILE_MAX);
    prop_auto_buf struct prop_buf loader = PROP_BUF_INIT(PROP_INITRD_FILE_MAX);
    const char *interp = NULL;
    const char *rpath = NULL;
    int rc = read_elf(path, &data, err);

    if (rc == 0)
        rc = prop_elf_needed(data.data, data.len, path, enqueue, w, &interp, &rpath, err);
    if (rc == 0)
        rc = prop_initrd_file(w->image, name, 0755, data.data, data.len, err);
    if (rc == 0 && interp && interp[0] == '/') {
        prop_auto_free char *at = prop_asprintf("%s%s", root_of(w), interp);
        rc = at ? read_elf(at, &loader, err) : prop_err_nomem(err);
        if (rc == 0)
            rc = prop_initrd_file(w->image, interp + 1, 0755, loader.data, loader.len, err);
    }
    /* The first library of a default folder says where those go that were found elsewhere. */
    return rc ? rc : put_all(w, interp, rpath, path, err);
}

int prop_initrd_program(struct prop_initrd *image, const char *name, const char *path,
                       const struct prop_initrd_search *search, struct prop_err *err)
{
    struct walk w = {.image = image, .search = search};

    read_conf(&w);
    int rc = put_program(&w, name, path, err);
    walk_release(&w);
    return rc;
}

int prop_initrd_library(struct prop_initrd *image, const char *soname,
                       const struct prop_initrd_search *search, struct prop_err *err)
{
    struct walk w = {.image = image, .search = search};

    read_conf(&w);
    int rc = enqueue(&w, soname, err);
    if (rc == 0)
        rc = put_all(&w, "/ld-linux-x86-64.so.2", NULL, soname, err);
    walk_release(&w);
    return rc;
}
