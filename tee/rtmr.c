/* Events in the order in which firmware and kernel make them. */
#include "tee/rtmr.h"

#include "tee/le.h"
#include "tee/pe.h"
#include "tee/td_hob.h"

#include <string.h>

enum { CMDLINE_MAX = 1 << 20, GUID = 16, VARIABLE_MAX = 128 };

int prop_rtmr_add(struct prop_rtmr *r, const char *what, const uint8_t digest[PROP_RTMR],
                  struct prop_err *err)
{
    uint8_t both[2 * PROP_RTMR];
    struct prop_digest d;
    if (r->n == PROP_RTMR_EVENTS_MAX)
        return prop_err_set(err, PROP_E_BUG, "more events than there is room for");
    memcpy(both, r->value, PROP_RTMR);
    memcpy(both + PROP_RTMR, digest, PROP_RTMR);
    int rc = prop_digest_of(PROP_SHA384, both, sizeof both, &d, err);
    if (rc < 0)
        return rc;
    memcpy(r->value, d.bytes, PROP_RTMR);
    r->event[r->n].what = what;
    memcpy(r->event[r->n++].digest, digest, PROP_RTMR);
    return 0;
}

static int add_bytes(struct prop_rtmr *r, const char *what, const void *data, size_t len,
                     struct prop_err *err)
{
    struct prop_digest d;
    int rc = prop_digest_of(PROP_SHA384, data, len, &d, err);
    return rc == 0 ? prop_rtmr_add(r, what, d.bytes, err) : rc;
}

static int add_text(struct prop_rtmr *r, const char *text, struct prop_err *err)
{
    return add_bytes(r, text, text, strlen(text), err);
}

static int add_separator(struct prop_rtmr *r, struct prop_err *err)
{
    return add_bytes(r, "separator", "\0\0\0\0", 4, err);
}

int prop_rtmr_kernel(const struct prop_source *kernel, const struct prop_linux_boot *boot,
                     const struct prop_rtmr_profile *p, struct prop_digest *ret,
                     struct prop_err *err)
{
    uint8_t head[PROP_LINUX_HEADER];
    struct prop_source seen = *kernel;
    int rc = p->patched ? prop_linux_patch(kernel, boot, head, err) : 0;
    if (rc < 0)
        return rc;
    if (p->patched) {
        seen.patched = head;
        seen.n_patched = sizeof head;
    }
    return prop_pe_authenticode(&seen, PROP_SHA384, ret, err);
}

int prop_rtmr1(const struct prop_digest *kernel, const struct prop_rtmr_profile *p,
               struct prop_rtmr *ret, struct prop_err *err)
{
    struct prop_rtmr r = { .n = 0 };
    int rc = prop_rtmr_add(&r, "kernel", kernel->bytes, err);
    if (rc == 0)
        rc = add_text(&r, "Calling EFI Application from Boot Option", err);
    if (rc == 0 && !p->early_separator)
        rc = add_separator(&r, err);
    if (rc == 0)
        rc = add_text(&r, "Exit Boot Services Invocation", err);
    if (rc == 0)
        rc = add_text(&r, "Exit Boot Services Returned with Success", err);
    if (rc == 0)
        *ret = r;
    return rc;
}

static int widen(struct prop_buf *out, const char *text, size_t len, struct prop_err *err)
{
    int rc = prop_buf_reserve(out, 2 * len, err);
    for (size_t i = 0; rc == 0 && i < len; i++) {
        const char unit[2] = { text[i], 0 };
        rc = prop_buf_add(out, unit, sizeof unit, err);
    }
    return rc;
}

int prop_rtmr_load_options(const char *cmdline, bool has_initrd, const struct prop_rtmr_profile *p,
                           struct prop_digest *ret, struct prop_err *err)
{
    static const char before[] = "initrd=initrd ", after[] = " initrd=initrd";
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(2 * CMDLINE_MAX);
    const char *text = cmdline ? cmdline : "";
    int rc = has_initrd && p->prefix ? widen(&b, before, strlen(before), err) : 0;
    if (rc == 0)
        rc = widen(&b, text, strlen(text), err);
    if (rc == 0 && has_initrd && !p->prefix)
        rc = widen(&b, after, strlen(after), err);
    if (rc == 0)
        rc = widen(&b, "", 1, err);
    return rc == 0 ? prop_digest_of(PROP_SHA384, b.data, b.len, ret, err) : rc;
}

int prop_rtmr2(const char *cmdline, const struct prop_digest *initrd,
               const struct prop_rtmr_profile *p, struct prop_rtmr *ret, struct prop_err *err)
{
    struct prop_rtmr r = { .n = 0 };
    struct prop_digest options;
    if (!initrd && (!cmdline || !*cmdline))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-load-options",
                               "without initrd and command line RTMR2 is not determined");
    int rc = prop_rtmr_load_options(cmdline, initrd != NULL, p, &options, err);
    if (rc == 0)
        rc = prop_rtmr_add(&r, "command line", options.bytes, err);
    if (rc == 0 && initrd)
        rc = prop_rtmr_add(&r, "initrd", initrd->bytes, err);
    if (rc == 0)
        *ret = r;
    return rc;
}

/* A variable that is not set: {GUID, length of the name, length of the data, name} (TCG PC Client
 * Platform Firmware Profile, UEFI_VARIABLE_DATA). */
static int absent_variable(struct prop_rtmr *r, const char *name, const uint8_t guid[GUID],
                           struct prop_err *err)
{
    uint8_t v[VARIABLE_MAX] = { 0 };
    size_t n = strlen(name);
    memcpy(v, guid, GUID);
    prop_put_le64(v + GUID, n);
    for (size_t i = 0; i < n; i++)
        v[GUID + 16 + 2 * i] = (uint8_t)name[i];
    return add_bytes(r, name, v, GUID + 16 + 2 * n, err);
}

static int variables(struct prop_rtmr *r, struct prop_err *err)
{
    static const uint8_t global[GUID] = { 0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11,
                                          0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c };
    static const uint8_t security[GUID] = { 0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45,
                                            0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f };
    int rc = absent_variable(r, "SecureBoot", global, err);
    if (rc == 0)
        rc = absent_variable(r, "PK", global, err);
    if (rc == 0)
        rc = absent_variable(r, "KEK", global, err);
    if (rc == 0)
        rc = absent_variable(r, "db", security, err);
    return rc == 0 ? absent_variable(r, "dbx", security, err) : rc;
}

static int add_source(struct prop_rtmr *r, const char *what, const struct prop_source *s,
                      struct prop_err *err)
{
    struct prop_digest d;
    int rc = prop_source_digest(s, PROP_SHA384, &d, err);
    return rc == 0 ? prop_rtmr_add(r, what, d.bytes, err) : rc;
}

/* The one boot option of such a machine: "UiApp" in the firmware's own volume. */
static int boot_options(struct prop_rtmr *r, struct prop_err *err)
{
    static const uint8_t ui_app[] = {
        0x09, 0x01, 0x00, 0x00, 0x2c, 0x00, 'U', 0, 'i', 0, 'A', 0, 'p', 0, 'p', 0, 0, 0,
        0x04, 0x07, 0x14, 0x00, 0xc9, 0xbd, 0xb8, 0x7c, 0xeb, 0xf8, 0x34, 0x4f,
        0xaa, 0xea, 0x3e, 0xe4, 0xaf, 0x65, 0x16, 0xa1,
        0x04, 0x06, 0x14, 0x00, 0x21, 0xaa, 0x2c, 0x46, 0x14, 0x76, 0x03, 0x45,
        0x83, 0x6e, 0x8a, 0xb6, 0xf4, 0x66, 0x23, 0x31,
        0x7f, 0xff, 0x04, 0x00
    };
    int rc = add_bytes(r, "BootOrder", "\0\0", 2, err);
    return rc == 0 ? add_bytes(r, "Boot0000", ui_app, sizeof ui_app, err) : rc;
}

static int platform(const struct prop_ovmf *fw, const struct prop_tdvf *t, uint64_t memory,
                    struct prop_rtmr *r, struct prop_err *err)
{
    prop_auto_buf struct prop_buf hob = PROP_BUF_INIT(PROP_TD_HOB_MAX);
    const struct prop_tdvf_section *cfv = prop_tdvf_find(t, PROP_TDVF_CFV);
    if (!cfv)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "rtmr0-unknown",
                               "firmware '%s' holds no volume of variables", fw->what);
    int rc = prop_td_hob(t, memory, &hob, err);
    if (rc == 0)
        rc = add_bytes(r, "TD HOB", hob.data, hob.len, err);
    return rc == 0 ? add_bytes(r, "variable volume", fw->data + cfv->data_offset, cfv->raw_size, err)
                   : rc;
}

int prop_rtmr0(const struct prop_ovmf *fw, const struct prop_tdvf *t, uint64_t memory,
               const struct prop_rtmr0_files *acpi, const struct prop_rtmr_profile *p,
               struct prop_rtmr *ret, struct prop_err *err)
{
    struct prop_rtmr r = { .n = 0 };
    if (!p->rtmr0_known)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "rtmr0-unknown",
                               "with profile '%s' RTMR0 holds more than files tell", p->name);
    int rc = platform(fw, t, memory, &r, err);
    if (rc == 0)
        rc = variables(&r, err);
    if (rc == 0)
        rc = add_separator(&r, err);
    if (rc == 0)
        rc = add_source(&r, "etc/table-loader", acpi->table_loader, err);
    if (rc == 0)
        rc = add_source(&r, "etc/acpi/rsdp", acpi->rsdp, err);
    if (rc == 0)
        rc = add_source(&r, "etc/acpi/tables", acpi->tables, err);
    if (rc == 0)
        rc = boot_options(&r, err);
    if (rc == 0 && p->early_separator)
        rc = add_separator(&r, err);
    if (rc == 0)
        *ret = r;
    return rc;
}
