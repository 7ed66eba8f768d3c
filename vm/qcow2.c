#include "vm/qcow2.h"

#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x514649fbu /* "QFI\xfb" */
#define CLUSTER_BITS 16
#define CLUSTER (UINT64_C(1) << CLUSTER_BITS)
#define L2_SPAN (CLUSTER / 8 * CLUSTER)     /* bytes of disk that one entry of the L1 table stands for */
#define HEADER 112                          /* bytes, with the compression type */
#define EXT_BACKING_FORMAT 0xe2792acau
#define INCOMPATIBLE_EXTERNAL_DATA 4u
#define SECTOR 512
#define SIZE_MAX_BYTES (UINT64_C(1) << 44)  /* 16 TiB: an L1 table of 256 KiB */

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

static uint64_t get(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* ---- looking -------------------------------------------------------------------------------- */

static int bad_image(const char *path, const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-image", "'%s' %s", path, why);
}

static int look_qcow2(const char *path, const uint8_t *h, struct prop_disk_image *ret,
                      struct prop_err *err)
{
    const uint64_t version = get(h + 4, 4), size = get(h + 24, 8);

    if (version != 2 && version != 3)
        return bad_image(path, "is a qcow2 image of an unknown version", err);
    if (get(h + 8, 8) != 0 || (version == 3 && (get(h + 72, 8) & INCOMPATIBLE_EXTERNAL_DATA)))
        return bad_image(path, "refers to other files of this host", err);
    if (get(h + 32, 4) != 0)
        return bad_image(path, "is encrypted", err);
    if (size == 0 || size % SECTOR)
        return bad_image(path, "has no size of whole sectors", err);
    *ret = (struct prop_disk_image){ true, size };
    return 0;
}

int prop_disk_image_look(const char *path, struct prop_disk_image *ret, struct prop_err *err)
{
    uint8_t head[SECTOR] = { 0 };
    struct stat st;
    prop_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st)) {
        (void)prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "open '%s'", path);
        err->id = "no-image";
        return err->code;
    }
    if (!S_ISREG(st.st_mode) || pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head)
        return bad_image(path, "is no disk image", err);
    if (get(head, 4) == MAGIC)
        return look_qcow2(path, head, ret, err);
    if (head[510] != 0x55 || head[511] != 0xaa || st.st_size % SECTOR)
        return bad_image(path, "is neither a qcow2 nor a raw disk image", err);
    *ret = (struct prop_disk_image){ false, (uint64_t)st.st_size };
    return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Cluster 0: header, 1: refcount table, 2: refcount block, 3...: L1 table, all of it zero. */
static int fill(uint8_t *file, const char *backing, const struct prop_disk_image *image,
                uint64_t size, uint64_t l1_entries, uint64_t clusters, struct prop_err *err)
{
    static const char *const formats[] = { "raw", "qcow2" };
    const char *format = formats[image->qcow2];
    const size_t name_len = strlen(backing);
    uint8_t *ext = file + HEADER, *name = ext + 8 + 8 + 8;

    if (name_len > 1023)
        return prop_err_set(err, PROP_E_USAGE, "the path of the image is longer than qcow2 can hold");
    put32(file, MAGIC);
    put32(file + 4, 3);
    put64(file + 8, (uint64_t)(name - file));
    put32(file + 16, (uint32_t)name_len);
    put32(file + 20, CLUSTER_BITS);
    put64(file + 24, size);
    put32(file + 36, (uint32_t)l1_entries);
    put64(file + 40, 3 * CLUSTER);
    put64(file + 48, CLUSTER);
    put32(file + 56, 1);      /* clusters of the refcount table */
    put32(file + 96, 4);      /* refcounts of 1 << 4 bits */
    put32(file + 100, HEADER);
    put32(ext, EXT_BACKING_FORMAT);
    put32(ext + 4, (uint32_t)strlen(format));
    memcpy(ext + 8, format, strlen(format));
    memcpy(name, backing, name_len); /* behind the extension that ends them: 8 zero bytes */
    put64(file + CLUSTER, 2 * CLUSTER);
    for (uint64_t i = 0; i < clusters; i++)
        file[2 * CLUSTER + 2 * i + 1] = 1;
    return 0;
}

int prop_qcow2_overlay(const char *path, const char *backing, const struct prop_disk_image *image,
                       uint64_t size, struct prop_err *err)
{
    const uint64_t l1 = (size + L2_SPAN - 1) / L2_SPAN;
    const uint64_t clusters = 3 + (l1 * 8 + CLUSTER - 1) / CLUSTER;

    if (size < image->size || size > SIZE_MAX_BYTES || size % SECTOR)
        return prop_err_set_id(err, PROP_E_LIMIT, "disk-size",
                               "a disk over '%s' is %llu bytes to 16 TiB, whole sectors", backing,
                               (unsigned long long)image->size);
    prop_auto_free uint8_t *file = prop_zalloc((size_t)(clusters * CLUSTER));
    if (!file)
        return prop_err_nomem(err);
    int rc = fill(file, backing, image, size, l1, clusters, err);
    return rc ? rc : prop_file_write(path, file, (size_t)(clusters * CLUSTER), 0600, false, err);
}
