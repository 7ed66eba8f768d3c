/* Setup header: reading, and QEMU's changes to it. */
#include "tee/linux_boot.h"

#include "tee/le.h"
#include "tee/td_hob.h"
#include "util/mem.h"
#include "util/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    VID_MODE = 0x1fa, MAGIC = 0x202, PROTOCOL = 0x206, KERNEL_VERSION = 0x20e, LOADER = 0x210,
    LOADFLAGS = 0x211, RAMDISK = 0x218, RAMDISK_LEN = 0x21c, HEAP_END = 0x224, CMDLINE = 0x228,
    INITRD_MAX = 0x22c, XLOADFLAGS = 0x236, HEADER_END = 0x268
};
enum { LOADED_HIGH = 0x01, CAN_USE_HEAP = 0x80, ABOVE_4G = 0x02, ACPI_DATA = 0x28000 };

static bool is_linux(const uint8_t *head)
{
    return memcmp(head + MAGIC, "HdrS", 4) == 0;
}

int prop_linux_release(const struct prop_source *kernel, char ret[64], struct prop_err *err)
{
    uint8_t head[HEADER_END], text[64] = { 0 };
    ret[0] = 0;
    if (kernel->size < sizeof head)
        return 0;
    int rc = prop_source_read(kernel, 0, head, sizeof head, err);
    uint64_t at = rc == 0 ? prop_le16(head + KERNEL_VERSION) : 0;
    if (rc < 0 || !is_linux(head) || at == 0 || at + 0x200 >= kernel->size)
        return rc;
    at += 0x200;
    size_t n = kernel->size - at < sizeof text - 1 ? (size_t)(kernel->size - at) : sizeof text - 1;
    rc = prop_source_read(kernel, at, text, n, err);
    size_t len = strcspn((const char *)text, " ");
    if (rc < 0 || text[0] < '0' || text[0] > '9' || len > 48)
        return rc;
    (void)prop_printable((const char *)text, len, ret, 64);
    return 0;
}

bool prop_linux_before(const char *release, unsigned major, unsigned minor)
{
    char *end = NULL;
    errno = 0;
    unsigned long a = strtoul(release, &end, 10);
    if (end == release || *end != '.' || errno)
        return false;
    const char *second = end + 1;
    unsigned long b = strtoul(second, &end, 10);
    return end != second && !errno && (a < major || (a == major && b < minor));
}

/* Is a number of 8 bytes in the file? Compilers put such a GUID into instructions, half by half. */
static int contains(const struct prop_source *kernel, const uint8_t half[8], bool *ret,
                    struct prop_err *err)
{
    enum { PIECE = 256 << 10, OVERLAP = 7 };
    prop_auto_free uint8_t *buf = prop_alloc_pages(PIECE);
    if (!buf)
        return prop_err_nomem(err);
    *ret = false;
    for (uint64_t at = 0; at < kernel->size && !*ret; at += PIECE - OVERLAP) {
        size_t n = kernel->size - at < PIECE ? (size_t)(kernel->size - at) : PIECE;
        int rc = prop_source_read(kernel, at, buf, n, err);
        if (rc < 0)
            return rc;
        *ret = memmem(buf, n, half, 8) != NULL;
    }
    return 0;
}

int prop_linux_measures(const struct prop_source *kernel, const char *release, bool *ret,
                        struct prop_err *err)
{
    /* EFI_CC_MEASUREMENT_PROTOCOL_GUID, 96751a3d-72f4-41a6-a794-ed5d0e67ae6b (UEFI 2.10, 38.4) */
    static const uint8_t guid[2][8] = { { 0x3d, 0x1a, 0x75, 0x96, 0xf4, 0x72, 0xa6, 0x41 },
                                        { 0xa7, 0x94, 0xed, 0x5d, 0x0e, 0x67, 0xae, 0x6b } };
    bool found = true;
    int rc = 0;
    if (prop_linux_before(release, 6, 9))
        rc = contains(kernel, guid[0], &found, err);
    if (rc == 0 && found && prop_linux_before(release, 6, 9))
        rc = contains(kernel, guid[1], &found, err);
    if (rc == 0)
        *ret = found;
    return rc;
}

static int not_linux(const struct prop_source *kernel, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "kernel-not-linux",
                          "'%s' is no Linux kernel that QEMU loads high", kernel->what);
    return prop_err_hint(err, "QEMU before 10.2 changes the header of a Linux kernel; for another "
                              "image name a profile of a later one");
}

/* The video mode that "vga=" asks for; the header keeps 16 bits of it. */
static int video_mode(const char *cmdline, uint8_t *head, struct prop_err *err)
{
    const char *vga = cmdline ? strstr(cmdline, "vga=") : NULL;
    if (!vga)
        return 0;
    vga += 4;
    char *end = NULL;
    unsigned long mode = 0;
    errno = 0;
    if (prop_starts_with(vga, "normal"))
        mode = 0xffff;
    else if (prop_starts_with(vga, "ext"))
        mode = 0xfffe;
    else if (prop_starts_with(vga, "ask"))
        mode = 0xfffd;
    else
        mode = strtoul(vga, &end, 0);
    if (end == vga || errno || mode > UINT32_MAX)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-vga",
                               "the command line has a 'vga=' that QEMU refuses");
    prop_put_le16(head + VID_MODE, (uint16_t)mode);
    return 0;
}

/* Where QEMU puts the initrd: as high as kernel and memory allow. */
static int initrd(const struct prop_linux_boot *boot, uint8_t *head, struct prop_err *err)
{
    uint16_t protocol = prop_le16(head + PROTOCOL);
    uint64_t low = prop_q35_low_memory(boot->memory), max = 0x37ffffff;
    if (protocol >= 0x20c && (prop_le16(head + XLOADFLAGS) & ABOVE_4G))
        max = UINT32_MAX;
    else if (protocol >= 0x203)
        max = prop_le32(head + INITRD_MAX);
    if (low < ACPI_DATA + 1)
        max = 0;
    else if (max >= low - ACPI_DATA)
        max = low - ACPI_DATA - 1;
    if (boot->initrd_len >= max)
        return prop_err_set_id(err, PROP_E_USAGE, "initrd-too-large",
                               "an initrd of %llu bytes does not fit into %llu bytes of memory",
                               (unsigned long long)boot->initrd_len,
                               (unsigned long long)boot->memory);
    prop_put_le32(head + RAMDISK, (uint32_t)((max - boot->initrd_len) & ~UINT64_C(0xfff)));
    prop_put_le32(head + RAMDISK_LEN, (uint32_t)boot->initrd_len);
    return 0;
}

int prop_linux_patch(const struct prop_source *kernel, const struct prop_linux_boot *boot,
                     uint8_t ret[PROP_LINUX_HEADER], struct prop_err *err)
{
    uint8_t head[PROP_LINUX_HEADER];
    if (kernel->size < sizeof head)
        return not_linux(kernel, err);
    int rc = prop_source_read(kernel, 0, head, sizeof head, err);
    if (rc < 0)
        return rc;
    if (!is_linux(head) || prop_le16(head + PROTOCOL) < 0x202 || !(head[LOADFLAGS] & LOADED_HIGH))
        return not_linux(kernel, err);
    rc = video_mode(boot->cmdline, head, err);
    head[LOADER] = 0xb0;
    head[LOADFLAGS] |= CAN_USE_HEAP;
    prop_put_le16(head + HEAP_END, 0xfe00);
    prop_put_le32(head + CMDLINE, 0x20000);
    if (rc == 0 && boot->has_initrd)
        rc = initrd(boot, head, err);
    if (rc == 0)
        memcpy(ret, head, sizeof head);
    return rc;
}
