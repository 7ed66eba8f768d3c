/* The document of a TD's launch: MRTD, and the registers of a direct kernel boot for each profile. */
#include "cmd/propcvm/vm_measure.h"

#include "tee/td_hob.h"
#include "tee/tdvf.h"
#include "util/encode.h"

#include <stdio.h>
#include <string.h>

static int set_new(json_t *o, const char *name, json_t *v, struct prop_err *err)
{
    return json_object_set_new(o, name, v) == 0 ? 0 : prop_err_nomem(err);
}

static int append_new(json_t *list, json_t *v, struct prop_err *err)
{
    return json_array_append_new(list, v) == 0 ? 0 : prop_err_nomem(err);
}

static json_t *hex_text(const void *bytes, size_t len)
{
    char hex[2 * PROP_HASH_MAX + 1];
    prop_hex_encode(bytes, len, hex);
    return json_string(hex);
}

static int put_mrtd(struct vm_measure *m, const struct prop_tdvf *t, struct prop_err *err)
{
    static const char *const names[] = { "pages", "two-pass" };
    const char *order = m->o->mrtd_order;
    bool both = strcmp(order, "both") == 0;
    prop_auto_json json_t *values = json_array();
    if (!both && strcmp(order, names[0]) != 0 && strcmp(order, names[1]) != 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "bad-mrtd-order", "--mrtd-order '%s' is none", order);
        return prop_err_hint(err, "pages (Linux 6.16 and later), two-pass (older vendor stacks), both");
    }
    for (int i = PROP_MRTD_PAGES; i <= PROP_MRTD_TWO_PASS; i++) {
        uint8_t mrtd[PROP_MRTD];
        if (!both && strcmp(order, names[i]) != 0)
            continue;
        int rc = prop_mrtd(&m->fw, t, (enum prop_mrtd_order)i, mrtd, err);
        if (rc == 0)
            rc = append_new(values, vm_measure_value("profile", names[i], mrtd, sizeof mrtd), err);
        if (rc < 0)
            return rc;
    }
    json_t *only = json_object_get(json_array_get(values, 0), "value");
    return json_object_set(m->doc, "mr_td", both ? values : only) == 0 ? 0 : prop_err_nomem(err);
}

/* --- profiles ----------------------------------------------------------------------------------- */

struct boot {
    struct prop_linux_boot linux_boot;
    struct prop_digest initrd; /* SHA-384; len 0 = the firmware sees none */
    struct prop_digest kernel[2]; /* as it is, patched; len 0 = not computed yet */
    json_t *rtmr1, *rtmr2, *profiles;
};

static int need_memory(const struct vm_measure *m, struct prop_err *err)
{
    for (size_t i = 0; i < m->n_profiles; i++)
        if (m->has_kernel && m->profiles[i].patched && !m->o->memory) {
            (void)prop_err_set_id(err, PROP_E_USAGE, "memory-needed",
                                  "with profile '%s' the digest of the kernel depends on the guest's "
                                  "memory",
                                  m->profiles[i].name);
            return prop_err_hint(err, "add --memory, for example --memory 2G");
        }
    if (m->has_acpi && !m->o->memory)
        return prop_err_set_id(err, PROP_E_USAGE, "memory-needed",
                               "RTMR0 depends on the guest's memory: --memory is missing");
    return 0;
}

static int add_value(json_t *list, const struct prop_rtmr_profile *p, const struct prop_rtmr *r,
                     struct prop_err *err)
{
    return append_new(list, vm_measure_value("profile", p->name, r->value, PROP_RTMR), err);
}

static int add_rtmr2(struct vm_measure *m, struct boot *b, const struct prop_rtmr_profile *p,
                     json_t *about, struct prop_err *err)
{
    struct prop_rtmr r = { .n = 0 };
    struct prop_digest options;
    bool initrd = b->initrd.len != 0;
    if (m->silent_stub)
        return add_value(b->rtmr2, p, &r, err);
    if (!initrd && (!m->append || !*m->append))
        return 0;
    int rc = prop_rtmr2(m->append, initrd ? &b->initrd : NULL, p, &r, err);
    if (rc == 0)
        rc = add_value(b->rtmr2, p, &r, err);
    if (rc == 0)
        rc = prop_rtmr_load_options(m->append, initrd, p, &options, err);
    return rc == 0 ? set_new(about, "tdvfkernelparams", hex_text(options.bytes, options.len), err) : rc;
}

static int add_profile(struct vm_measure *m, struct boot *b, const struct prop_rtmr_profile *p,
                       struct prop_err *err)
{
    struct prop_digest *kernel = &b->kernel[p->patched];
    struct prop_rtmr r;
    int rc = kernel->len ? 0 : prop_rtmr_kernel(&m->kernel, &b->linux_boot, p, kernel, err);
    if (rc == 0)
        rc = prop_rtmr1(kernel, p, &r, err);
    if (rc == 0)
        rc = add_value(b->rtmr1, p, &r, err);
    if (rc < 0)
        return rc;
    json_t *about = json_pack("{s:s,s:s,s:s,s:s,s:o}", "name", p->name, "kernel",
                              p->patched ? "patched by QEMU" : "as it is", "separator",
                              p->early_separator ? "rtmr_0" : "rtmr_1", "initrd_word",
                              p->prefix ? "before" : "after", "tdvfkernel",
                              hex_text(kernel->bytes, kernel->len));
    rc = append_new(b->profiles, about, err);
    return rc == 0 ? add_rtmr2(m, b, p, about, err) : rc;
}

/* A value that all profiles share may stand as the single value of that name. */
static int put_single(struct vm_measure *m, const json_t *profiles, const char *name,
                      struct prop_err *err)
{
    json_t *first = json_object_get(json_array_get(profiles, 0), name), *p;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)profiles, i, p)
        if (!json_equal(first, json_object_get(p, name)))
            return 0;
    return !first || json_object_set(m->doc, name, first) == 0 ? 0 : prop_err_nomem(err);
}

static int put_registers(struct vm_measure *m, const struct boot *b, struct prop_err *err)
{
    if (json_object_set(m->doc, "rtmr_1", b->rtmr1) != 0 ||
        json_object_set(m->doc, "profiles", b->profiles) != 0 ||
        (json_array_size(b->rtmr2) && json_object_set(m->doc, "rtmr_2", b->rtmr2) != 0))
        return prop_err_nomem(err);
    int rc = put_single(m, b->profiles, "tdvfkernel", err);
    return rc == 0 ? put_single(m, b->profiles, "tdvfkernelparams", err) : rc;
}

static int boot_registers(struct vm_measure *m, struct boot *b, struct prop_err *err)
{
    b->linux_boot = (struct prop_linux_boot){ m->o->memory, m->has_initrd, m->initrd.size, m->append };
    int rc = b->rtmr1 && b->rtmr2 && b->profiles ? 0 : prop_err_nomem(err);
    if (rc == 0 && m->has_initrd && m->initrd.size)
        rc = prop_source_digest(&m->initrd, PROP_SHA384, &b->initrd, err);
    for (size_t i = 0; rc == 0 && i < m->n_profiles; i++)
        rc = add_profile(m, b, &m->profiles[i], err);
    return rc == 0 ? put_registers(m, b, err) : rc;
}

/* --- RTMR0 -------------------------------------------------------------------------------------- */

static int put_rtmr0(struct vm_measure *m, const struct prop_tdvf *t, struct prop_err *err)
{
    prop_auto_json json_t *values = json_array();
    const struct prop_rtmr0_files acpi = { &m->acpi[0], &m->acpi[1], &m->acpi[2] };
    for (size_t i = 0; i < m->n_profiles; i++) {
        struct prop_rtmr r;
        int rc = prop_rtmr0(&m->fw, t, m->o->memory, &acpi, &m->profiles[i], &r, err);
        if (rc == 0)
            rc = add_value(values, &m->profiles[i], &r, err);
        if (rc < 0)
            return rc;
    }
    return json_object_set(m->doc, "rtmr_0", values) == 0 ? 0 : prop_err_nomem(err);
}

static int rtmr0(struct vm_measure *m, const struct prop_tdvf *t, struct prop_err *err)
{
    char why[160];
    if (!m->has_acpi)
        return vm_measure_leave_out(m, err, "rtmr_0: not computed (memory map, variables, ACPI tables: "
                                    "they depend on the VMM and its devices)");
    for (size_t i = 0; i < m->n_profiles; i++)
        if (!m->profiles[i].rtmr0_known) {
            (void)snprintf(why, sizeof why, "rtmr_0: not computed (the firmware of profile '%s' measures "
                           "SMBIOS tables and more into it)", m->profiles[i].name);
            return vm_measure_leave_out(m, err, why);
        }
    return put_rtmr0(m, t, err);
}

static int leave_out(struct vm_measure *m, const struct boot *b, struct prop_err *err)
{
    int rc = vm_measure_leave_out(m, err, "rtmr_3: runtime events, zero until the guest makes some");
    if (rc == 0)
        rc = vm_measure_leave_out(m, err, "the firmware's variable volume (CFV): not in mr_td, only its "
                                  "address is");
    if (rc == 0 && !m->has_kernel)
        rc = vm_measure_leave_out(m, err, "rtmr_1, rtmr_2: no kernel was given");
    if (rc == 0 && m->has_kernel)
        rc = vm_measure_leave_out(m, err, "the kernel file's PE checksum and its signature (certificate "
                                  "table): Authenticode leaves them out");
    if (rc == 0 && m->has_kernel && m->has_initrd && !m->initrd.size)
        rc = vm_measure_leave_out(m, err, "the initrd: an empty one is none to the firmware");
    if (rc == 0 && m->has_kernel && m->silent_stub)
        rc = vm_measure_leave_out(m, err, "command line and initrd: this kernel does not measure them");
    else if (rc == 0 && m->has_kernel && json_array_size(b->rtmr2) == 0)
        rc = vm_measure_leave_out(m, err, "rtmr_2: not determined without command line and initrd");
    for (size_t i = 0; rc == 0 && m->has_kernel && i < m->n_profiles; i++)
        if (m->profiles[i].patched)
            return vm_measure_leave_out(m, err, "fields of the kernel's setup header that QEMU writes "
                                        "(0x1fa with vga=, 0x210, bit 7 of 0x211, 0x218 to 0x22b)");
    return rc;
}

static int warnings(struct vm_measure *m, struct prop_err *err)
{
    int rc = 0;
    bool ascii = true;
    for (const char *p = m->append; p && *p; p++)
        ascii = ascii && (unsigned char)*p < 0x80;
    if (!ascii)
        rc = vm_measure_warn(m, err, "the command line is not ASCII: firmware widens each byte of it, "
                             "which not every release does alike; keep it ASCII");
    if (rc == 0 && !m->has_kernel)
        rc = vm_measure_warn(m, err, "without --kernel only the firmware is measured: whatever it starts "
                             "has the same mr_td");
    return rc;
}

/* As with firmware that cannot measure the kernel: what such a guest proves is not worth a rule. A
 * guest that runs already may still be looked at. */
static int check_kernel(struct vm_measure *m, struct prop_err *err)
{
    bool measures = true;
    int rc = prop_linux_measures(&m->kernel, m->release, &measures, err);
    m->silent_stub = rc == 0 && !measures;
    if (!m->silent_stub || m->o->check)
        return rc;
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "kernel-cannot-measure",
                          "kernel '%s' (Linux %s) does not measure its command line and initrd: rtmr_2 "
                          "stays zero, and the host can replace both",
                          m->kernel.what, m->release);
    return prop_err_hint(err, "Linux 6.9 or later measures them in a TD");
}

int vm_measure_tdx(struct vm_measure *m, struct prop_err *err)
{
    struct prop_tdvf t;
    prop_auto_json json_t *rtmr1 = json_array();
    prop_auto_json json_t *rtmr2 = json_array();
    prop_auto_json json_t *profiles = json_array();
    struct boot b = { .rtmr1 = rtmr1, .rtmr2 = rtmr2, .profiles = profiles };
    int rc = prop_tdvf_parse(&m->fw, &t, err);
    if (rc == 0 && m->has_kernel)
        rc = prop_tdvf_can_measure(&m->fw, err);
    if (rc == 0 && m->has_kernel)
        rc = check_kernel(m, err);
    if (rc == 0)
        rc = need_memory(m, err);
    if (rc == 0)
        rc = put_mrtd(m, &t, err);
    if (rc == 0 && m->has_kernel)
        rc = boot_registers(m, &b, err);
    if (rc == 0)
        rc = rtmr0(m, &t, err);
    if (rc == 0 && m->has_init)
        rc = set_new(m->doc, "mr_config_id", hex_text(m->init.mr_config_id, PROP_TDX_MR_CONFIG_ID), err);
    if (rc == 0)
        rc = leave_out(m, &b, err);
    return rc == 0 ? warnings(m, err) : rc;
}
