#include "vm/initramfs.h"

#include "util/file.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void prop_initrd_release(struct prop_initrd *image)
{
    for (size_t i = 0; i < image->n; i++) {
        prop_free(image->entries[i].name);
        prop_buf_release(&image->entries[i].data);
    }
    prop_free(image->entries);
    *image = (struct prop_initrd)PROP_INITRD_INIT;
}

static struct prop_initrd_entry *find(const struct prop_initrd *image, const char *name)
{
    for (size_t i = 0; i < image->n; i++)
        if (strcmp(image->entries[i].name, name) == 0)
            return &image->entries[i];
    return NULL;
}

static int grow(struct prop_initrd *image, struct prop_err *err)
{
    size_t cap = image->cap ? 2 * image->cap : 64;

    if (image->n < image->cap)
        return 0;
    if (cap > PROP_INITRD_ENTRIES_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "the image would hold more than %d files",
                            PROP_INITRD_ENTRIES_MAX);
    void *more = prop_realloc_array(image->entries, cap, sizeof *image->entries);
    if (more == NULL)
        return prop_err_nomem(err);
    image->entries = more;
    image->cap = cap;
    return 0;
}

static int add(struct prop_initrd *image, const char *name, unsigned mode, const void *data,
               size_t len, struct prop_err *err)
{
    const struct prop_initrd_entry *old = find(image, name);

    if (old) {
        if (old->mode == mode && old->data.len == len &&
            (len == 0 || memcmp(old->data.data, data, len) == 0))
            return 0;
        return prop_err_set_id(err, PROP_E_EXISTS, "image-clash",
                               "the image would hold two different '%s'", name);
    }
    struct prop_initrd_entry e = {.mode = mode, .data = PROP_BUF_INIT(PROP_INITRD_FILE_MAX)};
    int rc = grow(image, err);
    if (rc == 0 && len)
        rc = prop_buf_add(&e.data, data, len, err);
    e.name = rc == 0 ? prop_strdup(name) : NULL;
    if (e.name == NULL) {
        prop_buf_release(&e.data);
        return rc ? rc : prop_err_nomem(err);
    }
    image->entries[image->n++] = e;
    return 0;
}

/* The folders above `name`, outermost first. */
static int add_parents(struct prop_initrd *image, const char *name, struct prop_err *err)
{
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        prop_auto_free char *parent = prop_strndup(name, (size_t)(slash - name));
        if (parent == NULL)
            return prop_err_nomem(err);
        if (find(image, parent))
            continue;
        int rc = add(image, parent, S_IFDIR | 0755, NULL, 0, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int add_below(struct prop_initrd *image, const char *name, unsigned mode, const void *data,
                     size_t len, struct prop_err *err)
{
    int rc = add_parents(image, name, err);

    return rc ? rc : add(image, name, mode, data, len, err);
}

int prop_initrd_file(struct prop_initrd *image, const char *name, unsigned perm, const void *data,
                    size_t len, struct prop_err *err)
{
    return add_below(image, name, S_IFREG | perm, data, len, err);
}

int prop_initrd_folder(struct prop_initrd *image, const char *name, unsigned perm,
                      struct prop_err *err)
{
    return add_below(image, name, S_IFDIR | perm, NULL, 0, err);
}

int prop_initrd_link(struct prop_initrd *image, const char *name, const char *target,
                    struct prop_err *err)
{
    return add_below(image, name, S_IFLNK | 0777, target, strlen(target), err);
}

/* ---- writing ------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct prop_initrd_entry *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

struct target {
    struct prop_file_out file;
    uint64_t size;
};

static int sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct target *t = ctx;

    t->size += len;
    return prop_file_out_write(&t->file, data, len, err);
}

int prop_initrd_write(const struct prop_initrd *image, const char *path, enum prop_cpio_filter filter,
                     uint64_t *ret_size, struct prop_err *err)
{
    prop_auto_free const struct prop_initrd_entry **sorted =
        prop_zalloc((image->n + 1) * sizeof *sorted);
    prop_auto_cpio struct prop_cpio *cpio = NULL;
    struct target t = { PROP_FILE_OUT_INIT, 0 };

    if (sorted == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < image->n; i++)
        sorted[i] = &image->entries[i];
    /* A folder's name is the start of what is in it, so this order has it first. */
    qsort(sorted, image->n, sizeof *sorted, by_name);
    int rc = prop_file_out_open(&t.file, path, 0644, false, err);
    if (rc == 0)
        rc = prop_cpio_new(filter, sink, &t, &cpio, err);
    for (size_t i = 0; rc == 0 && i < image->n; i++) {
        const struct prop_initrd_entry *e = sorted[i];
        const void *data = S_ISLNK(e->mode) ? (const void *)prop_buf_str(&e->data) : e->data.data;
        rc = prop_cpio_add(cpio, e->name, e->mode, data, e->data.len, err);
    }
    if (rc == 0)
        rc = prop_cpio_end(cpio, err);
    if (rc == 0)
        rc = prop_file_out_commit(&t.file, err);
    if (rc == 0 && ret_size)
        *ret_size = t.size;
    prop_file_out_release(&t.file);
    return rc;
}
