/* Which firmware and VMM do what. */
#include "tee/rtmr.h"

#include "util/text.h"

#include <stdio.h>
#include <string.h>

/* edk2 releases by year and month, QEMU's as major * 100 + minor. */
enum {
    EDK2_FIRST = 202305,     /* measures the kernel */
    EDK2_SEPARATOR = 202411, /* the separator moved to RTMR1 */
    EDK2_FW_CFG = 202502,    /* takes the kernel as it is, where QEMU offers it so */
    EDK2_RTMR0 = 202505,     /* SMBIOS and fw_cfg items in RTMR0 */
    EDK2_PREFIX = 202508,    /* the word for the initrd moved to the front */
    QEMU_OFFERS = 1000,
    QEMU_LEAVES = 1002       /* changes no header of a confidential guest any more */
};

static const char *const names[] = { "edk2-202508",          "edk2-202502",
                                     "edk2-202305",          "edk2-202508+qemu-9.2",
                                     "edk2-202411+qemu-10.1", "edk2-202305+qemu-10.1" };

const char *prop_rtmr_profile_name(size_t i)
{
    return i < PROP_ARRAY_LEN(names) ? names[i] : NULL;
}

static int bad(const char *text, const char *why, struct prop_err *err)
{
    char safe[80];
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-profile", "profile '%s': %s",
                          prop_printable(text, strlen(text), safe, sizeof safe), why);
    return prop_err_hint(err, "edk2-YYYYMM with the release of the firmware, +qemu-X.Y behind it for "
                              "QEMU before 10.2; 'newest', or 'all' for one of each kind");
}

/* "9.2", "10.1.3" as 902, 1001. */
static int qemu_version(const char *text, unsigned *ret)
{
    unsigned major = 0, minor = 0;
    int n = 0;
    if (sscanf(text, "%3u.%2u%n", &major, &minor, &n) != 2 || n == 0 ||
        (text[n] != 0 && text[n] != '.') || strspn(text, "0123456789.") != strlen(text))
        return -1;
    *ret = major * 100 + minor;
    return 0;
}

int prop_rtmr_profile_parse(const char *text, struct prop_rtmr_profile *ret, struct prop_err *err)
{
    struct prop_rtmr_profile p = { .patched = false };
    const char *s = strcmp(text, "newest") == 0 ? names[0] : text;
    char release[7] = { 0 };
    uint64_t edk2 = 0;
    unsigned qemu = QEMU_LEAVES;
    if (!prop_starts_with(s, "edk2-"))
        return bad(text, "is none", err);
    const char *digits = s + strlen("edk2-");
    if (prop_starts_with(digits, "stable"))
        digits += strlen("stable");
    const char *plus = strchr(digits, '+');
    size_t len = plus ? (size_t)(plus - digits) : strlen(digits);
    if (len == 6)
        memcpy(release, digits, 6);
    if (len != 6 || prop_parse_u64(release, "", &edk2, NULL) != 0 || edk2 % 100 < 1 ||
        edk2 % 100 > 12 || edk2 > 209912)
        return bad(text, "has no release of edk2 in it", err);
    if (edk2 < EDK2_FIRST)
        return bad(text, "edk2 before stable202305 does not measure a kernel", err);
    if (plus && (!prop_starts_with(plus, "+qemu-") || qemu_version(plus + 6, &qemu) != 0))
        return bad(text, "has no version of QEMU in it", err);
    if (strlen(s) >= sizeof p.name)
        return bad(text, "is too long", err);
    (void)snprintf(p.name, sizeof p.name, "edk2-%s%s", release, plus ? plus : "");
    p.patched = qemu < QEMU_LEAVES && !(qemu >= QEMU_OFFERS && edk2 >= EDK2_FW_CFG);
    p.early_separator = edk2 < EDK2_SEPARATOR;
    p.prefix = edk2 >= EDK2_PREFIX;
    p.rtmr0_known = edk2 < EDK2_RTMR0;
    *ret = p;
    return 0;
}
