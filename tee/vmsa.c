/* VMSA pages and CPU models. */
#include "tee/vmsa.h"

#include "tee/le.h"
#include "util/encode.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>
#include <strings.h>

int prop_vmm_parse(const char *word, enum prop_vmm *ret, struct prop_err *err)
{
    for (int v = PROP_VMM_QEMU; v <= PROP_VMM_GCE; v++)
        if (strcmp(word, prop_vmm_name((enum prop_vmm)v)) == 0) {
            *ret = (enum prop_vmm)v;
            return 0;
        }
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-vmm", "'%s' is no VMM that is known here", word);
    return prop_err_hint(err, "--vmm takes qemu, ec2 or gce");
}

const char *prop_vmm_name(enum prop_vmm vmm)
{
    switch (vmm) {
    case PROP_VMM_EC2:
        return "ec2";
    case PROP_VMM_GCE:
        return "gce";
    case PROP_VMM_QEMU:
        break;
    }
    return "qemu";
}

/* selector, attributes, limit, base */
static void segment(uint8_t *p, uint16_t selector, uint16_t attributes, uint64_t base)
{
    prop_put_le16(p, selector);
    prop_put_le16(p + 2, attributes);
    prop_put_le32(p + 4, 0xffff);
    prop_put_le64(p + 8, base);
}

/* Offsets: AMD64 Architecture Programmer's Manual volume 2, appendix B, table B-4. */
static void segments(enum prop_vmm vmm, uint32_t eip, uint8_t *page)
{
    static const uint16_t data[] = { 0x000, 0x030, 0x040, 0x050 }; /* ES DS FS GS */
    bool ec2 = vmm == PROP_VMM_EC2;
    for (size_t i = 0; i < PROP_ARRAY_LEN(data); i++)
        segment(page + data[i], 0, 0x93, 0);
    segment(page + 0x010, 0xf000, ec2 && eip == PROP_VMSA_RESET ? 0x9a : 0x9b, eip & 0xffff0000u);
    segment(page + 0x020, 0, ec2 ? 0x92 : 0x93, 0);
    segment(page + 0x060, 0, 0, 0);                 /* GDTR */
    segment(page + 0x070, 0, 0x82, 0);              /* LDTR */
    segment(page + 0x080, 0, 0, 0);                 /* IDTR */
    segment(page + 0x090, 0, ec2 ? 0x83 : 0x8b, 0); /* TR */
}

void prop_vmsa_page(enum prop_vmm vmm, uint32_t eip, uint32_t cpu_signature, uint64_t features,
                    uint8_t ret[4096])
{
    bool qemu = vmm == PROP_VMM_QEMU;
    memset(ret, 0, 4096);
    segments(vmm, eip, ret);
    prop_put_le64(ret + 0x0d0, 0x1000);     /* EFER: SVME */
    prop_put_le64(ret + 0x148, 0x40);       /* CR4: MCE */
    prop_put_le64(ret + 0x158, 0x10);       /* CR0: ET */
    prop_put_le64(ret + 0x160, 0x400);      /* DR7 */
    prop_put_le64(ret + 0x168, 0xffff0ff0); /* DR6 */
    prop_put_le64(ret + 0x170, 2);          /* RFLAGS */
    prop_put_le64(ret + 0x178, eip & 0xffff);
    prop_put_le64(ret + 0x268,
                  vmm == PROP_VMM_GCE ? UINT64_C(0x00070106) : UINT64_C(0x0007040600070406)); /* PAT */
    prop_put_le64(ret + 0x310, qemu ? cpu_signature : 0x600); /* RDX */
    prop_put_le64(ret + 0x3b0, features);
    prop_put_le64(ret + 0x3e8, 1);          /* XCR0 */
    if (qemu) {
        prop_put_le32(ret + 0x408, 0x1f80); /* MXCSR */
        prop_put_le16(ret + 0x410, 0x037f); /* x87 control word */
    }
}

static const struct prop_cpu_model models[] = {
    { "EPYC", 0x800f12 },          { "EPYC-v1", 0x800f12 },       { "EPYC-v2", 0x800f12 },
    { "EPYC-v3", 0x800f12 },       { "EPYC-v4", 0x800f12 },       { "EPYC-IBPB", 0x800f12 },
    { "EPYC-Rome", 0x830f10 },     { "EPYC-Rome-v1", 0x830f10 },  { "EPYC-Rome-v2", 0x830f10 },
    { "EPYC-Rome-v3", 0x830f10 },  { "EPYC-Milan", 0xa00f11 },    { "EPYC-Milan-v1", 0xa00f11 },
    { "EPYC-Milan-v2", 0xa00f11 }, { "EPYC-Genoa", 0xa10f10 },    { "EPYC-Genoa-v1", 0xa10f10 },
    { "EPYC-Turin", 0xb00f00 },
};

const struct prop_cpu_model *prop_cpu_model(size_t i)
{
    return i < PROP_ARRAY_LEN(models) ? &models[i] : NULL;
}

static int unknown(const char *name, struct prop_err *err)
{
    if (strcasecmp(name, "host") == 0 || strcasecmp(name, "max") == 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "bad-vcpu-type",
                              "with -cpu %s the digest depends on the machine it runs on", name);
        return prop_err_hint(err, "name a model (EPYC-v4, EPYC-Milan, EPYC-Genoa ...) here and to the "
                                  "VMM, or the machine's own FAMILY.MODEL.STEPPING");
    }
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-vcpu-type", "'%s' is no CPU model known here", name);
    return prop_err_hint(err, "EPYC (-v1 to -v4, -IBPB), EPYC-Rome (-v1 to -v3), EPYC-Milan (-v1, "
                              "-v2), EPYC-Genoa (-v1), EPYC-Turin, 0xSIGNATURE or "
                              "FAMILY.MODEL.STEPPING");
}

/* CPUID 1 EAX of a family of 15 and more. */
static int from_parts(const char *text, uint32_t *ret)
{
    uint64_t part[3] = { 0 };
    size_t n = 0;
    for (const char *p = text; n < 3; n++, p++) {
        size_t len = strcspn(p, ".");
        char digits[4] = { 0 };
        if (len == 0 || len >= sizeof digits)
            return -1;
        memcpy(digits, p, len);
        if (prop_parse_u64(digits, "", &part[n], NULL) != 0)
            return -1;
        p += len;
        if (*p != (n < 2 ? '.' : 0))
            return -1;
    }
    if (part[0] < 15 || part[0] > 15 + 255 || part[1] > 255 || part[2] > 15)
        return -1;
    *ret = (uint32_t)(part[2] | (part[1] & 15) << 4 | 15 << 8 | part[1] >> 4 << 16 |
                      (part[0] - 15) << 20);
    return 0;
}

static int from_hex(const char *digits, uint32_t *ret)
{
    size_t n = strlen(digits);
    uint32_t v = 0;
    if (n == 0 || n > 8)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int d = prop_hex_digit(digits[i]);
        if (d < 0)
            return -1;
        v = v << 4 | (uint32_t)d;
    }
    *ret = v;
    return 0;
}

int prop_cpu_signature(const char *name, uint32_t *ret, struct prop_err *err)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(models); i++)
        if (strcasecmp(name, models[i].name) == 0) {
            *ret = models[i].signature;
            return 0;
        }
    if (prop_starts_with(name, "0x") ? from_hex(name + 2, ret) == 0 : from_parts(name, ret) == 0)
        return 0;
    return unknown(name, err);
}
