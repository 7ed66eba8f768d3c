/* Three SHA-256, each behind its GUID and a length. */
#include "tee/kernel_hashes.h"

#include "tee/le.h"

#include <string.h>

enum { GUID = 16, HEAD = GUID + 2, ENTRY = HEAD + 32, USED = HEAD + 3 * ENTRY };

static const uint8_t head_guid[GUID] = { 0x06, 0xd6, 0x38, 0x94, 0x22, 0x4f, 0xc9, 0x4c,
                                         0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21 };
static const uint8_t cmdline_guid[GUID] = { 0xd8, 0x2d, 0xd0, 0x97, 0x20, 0xbd, 0x94, 0x4c,
                                            0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a };
static const uint8_t initrd_guid[GUID] = { 0x31, 0xf7, 0xba, 0x44, 0x2f, 0x3a, 0xd7, 0x4b,
                                           0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d };
static const uint8_t kernel_guid[GUID] = { 0x37, 0x94, 0xe7, 0x4d, 0xd2, 0xab, 0x7f, 0x42,
                                           0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b };

int prop_kernel_hashes_of(const struct prop_source *kernel, const struct prop_source *initrd,
                          const char *cmdline, struct prop_kernel_hashes *ret, struct prop_err *err)
{
    struct prop_source nothing = prop_source_of("", 0, "no initrd");
    const char *text = cmdline ? cmdline : "";
    struct prop_digest k, i, c;
    int rc = prop_source_digest(kernel, PROP_SHA256, &k, err);
    if (rc == 0)
        rc = prop_source_digest(initrd ? initrd : &nothing, PROP_SHA256, &i, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, text, strlen(text) + 1, &c, err);
    if (rc < 0)
        return rc;
    memcpy(ret->kernel, k.bytes, sizeof ret->kernel);
    memcpy(ret->initrd, i.bytes, sizeof ret->initrd);
    memcpy(ret->cmdline, c.bytes, sizeof ret->cmdline);
    return 0;
}

static uint8_t *put(uint8_t *p, const uint8_t guid[GUID], uint16_t len)
{
    memcpy(p, guid, GUID);
    prop_put_le16(p + GUID, len);
    return p + HEAD;
}

void prop_kernel_hashes_table(const struct prop_kernel_hashes *h, uint8_t ret[PROP_KERNEL_HASHES])
{
    const uint8_t *const guids[] = { cmdline_guid, initrd_guid, kernel_guid };
    const uint8_t *const hashes[] = { h->cmdline, h->initrd, h->kernel };
    memset(ret, 0, PROP_KERNEL_HASHES);
    uint8_t *p = put(ret, head_guid, USED);
    for (int i = 0; i < 3; i++, p += 32) {
        p = put(p, guids[i], ENTRY);
        memcpy(p, hashes[i], 32);
    }
}

void prop_kernel_hashes_page(const struct prop_kernel_hashes *h, size_t offset, uint8_t ret[4096])
{
    memset(ret, 0, 4096);
    prop_kernel_hashes_table(h, ret + offset);
}
