/* The document of SNP, SEV and SEV-ES launches. */
#include "cmd/propcvm/vm_measure.h"

#include "tee/sev_launch.h"
#include "tee/snp_launch.h"
#include "util/encode.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

json_t *vm_measure_value(const char *key, const char *name, const void *bytes, size_t len)
{
    char hex[2 * PROP_HASH_MAX + 1];
    prop_hex_encode(bytes, len, hex);
    return json_pack("{s:s,s:s}", key, name, "value", hex);
}

static int set_hex(json_t *o, const char *name, const void *bytes, size_t len, struct prop_err *err)
{
    char hex[2 * PROP_HASH_MAX + 1];
    prop_hex_encode(bytes, len, hex);
    return json_object_set_new(o, name, json_string(hex)) == 0 ? 0 : prop_err_nomem(err);
}

/* --- what the digests say, and what they do not ------------------------------------------------- */

static int leave_out(struct vm_measure *m, struct prop_err *err)
{
    static const char *const always[] = {
        "memory size, disks, devices, ACPI tables: they come from the host",
        "the guest policy and the firmware level of the processor: they stand in the report beside "
        "the digest",
    };
    int rc = 0;
    if (!m->has_kernel)
        rc = vm_measure_leave_out(m, err, "all that the firmware starts: no kernel was given");
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(always); i++)
        rc = vm_measure_leave_out(m, err, always[i]);
    if (rc == 0 && m->mode == VM_MEASURE_SEV)
        rc = vm_measure_leave_out(m, err, "number and state of vCPUs: plain SEV does not protect them");
    return rc;
}

static int warnings(struct vm_measure *m, struct prop_err *err)
{
    int rc = 0;
    if (!m->fw.has_table)
        rc = vm_measure_warn(m, err, "firmware '%s' has no table of GUIDs: is it OVMF?", m->fw.what);
    if (rc == 0 && m->mode != VM_MEASURE_SNP)
        rc = vm_measure_warn(m, err, "no key broker releases a key to a '%s' guest: only its owner can "
                             "check the digest, at launch",
                             vm_measure_mode_name(m->mode));
    if (rc == 0 && m->mode == VM_MEASURE_SNP && !m->has_kernel)
        rc = vm_measure_warn(m, err, "without --kernel only the firmware is measured: whatever it starts "
                             "has the same digest");
    return rc;
}

/* --- SNP ---------------------------------------------------------------------------------------- */

struct sweep {
    const struct prop_cpu_model *type;
    uint64_t features;
    unsigned most; /* vCPUs */
};

static json_t *named_value(const struct vm_measure *m, const struct sweep *s, unsigned vcpus,
                           const void *digest, size_t len)
{
    char name[128], features[24];
    bool qemu = m->vmm == PROP_VMM_QEMU;
    (void)snprintf(features, sizeof features, "0x%llx", (unsigned long long)s->features);
    (void)snprintf(name, sizeof name, "%u x %s%s%s", vcpus, qemu ? s->type->name : "vCPU",
                   m->n_features > 1 ? ", features " : "", m->n_features > 1 ? features : "");
    json_t *v = vm_measure_value("name", name, digest, len);
    if (v && json_object_update_new(
                 v, json_pack("{s:I,s:s*,s:s*}", "vcpus", (json_int_t)vcpus, "vcpu_type",
                              qemu ? s->type->name : NULL, "guest_features",
                              m->mode == VM_MEASURE_SNP ? features : NULL)) == 0)
        return v;
    json_decref(v);
    return NULL;
}

static bool wanted(const struct vm_measure *m, unsigned n)
{
    for (size_t i = 0; i < m->n_vcpus; i++)
        if (m->vcpus[i] == n)
            return true;
    return false;
}

static int sweep_vcpus(struct vm_measure *m, const struct sweep *s, const uint8_t ld[48], json_t *out,
                       struct prop_err *err)
{
    struct prop_snp_vcpus v;
    int rc = prop_snp_vcpus_begin(ld, m->vmm, m->fw.reset_eip, s->type->signature, s->features, &v, err);
    while (rc == 0 && v.n < s->most) {
        rc = prop_snp_vcpus_add(&v, err);
        if (rc == 0 && wanted(m, v.n) &&
            json_array_append_new(out, named_value(m, s, v.n, v.ld, sizeof v.ld)) != 0)
            rc = prop_err_nomem(err);
    }
    return rc;
}

static int sweep(struct vm_measure *m, json_t *out,
                 int (*each)(struct vm_measure *m, const struct sweep *s, const void *ctx, json_t *out,
                             struct prop_err *err),
                 const void *ctx, struct prop_err *err)
{
    struct sweep s = { .most = 0 };
    size_t types = m->vmm == PROP_VMM_QEMU ? m->n_types : 1; /* others do not show the model */
    for (size_t i = 0; i < m->n_vcpus; i++)
        s.most = m->vcpus[i] > s.most ? m->vcpus[i] : s.most;
    for (size_t t = 0; t < types; t++)
        for (size_t f = 0; f < m->n_features; f++) {
            s.type = &m->types[t];
            s.features = m->features[f];
            int rc = each(m, &s, ctx, out, err);
            if (rc < 0)
                return rc;
        }
    return 0;
}

static int one_snp(struct vm_measure *m, const struct sweep *s, const void *ctx, json_t *out,
                   struct prop_err *err)
{
    return sweep_vcpus(m, s, ctx, out, err);
}

static int snp(struct vm_measure *m, const struct prop_kernel_hashes *kernel, json_t *out,
               struct prop_err *err)
{
    struct prop_sev_metadata sections;
    uint8_t ld[48];
    int rc = prop_ovmf_sev(&m->fw, &sections, err);
    if (rc == 0 && !m->fw.has_reset)
        rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "firmware-no-reset",
                             "firmware '%s' does not say where vCPUs but the first start", m->fw.what);
    if (rc == 0)
        rc = prop_snp_launch_firmware(&m->fw, ld, err);
    if (rc == 0)
        rc = prop_snp_launch_sections(&m->fw, &sections, m->vmm, kernel, ld, err);
    return rc == 0 ? sweep(m, out, one_snp, ld, err) : rc;
}

/* --- SEV and SEV-ES ----------------------------------------------------------------------------- */

static int one_sev_es(struct vm_measure *m, const struct sweep *s, const void *ctx, json_t *out,
                      struct prop_err *err)
{
    struct prop_digest d;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_vcpus; i++) {
        rc = prop_sev_es_launch(&m->fw, ctx, m->vcpus[i], s->type->signature, &d, err);
        if (rc == 0 &&
            json_array_append_new(out, named_value(m, s, m->vcpus[i], d.bytes, d.len)) != 0)
            rc = prop_err_nomem(err);
    }
    return rc;
}

static int sev(struct vm_measure *m, const struct prop_kernel_hashes *kernel, json_t *out,
               struct prop_err *err)
{
    struct prop_digest d;
    int rc = prop_sev_launch(&m->fw, kernel, &d, err);
    if (rc == 0 &&
        json_array_append_new(out, vm_measure_value("name", "any vCPUs", d.bytes, d.len)) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

/* One value stands alone, with what it is for beside it; several as a list. */
static int put_values(struct vm_measure *m, json_t *values, struct prop_err *err)
{
    static const char *const beside[] = { "vcpus", "vcpu_type", "guest_features" };
    json_t *only = json_array_size(values) == 1 ? json_array_get(values, 0) : NULL;
    json_t *digest = only ? json_object_get(only, "value") : values;
    if (json_object_set(m->doc, "launch_digest", digest) != 0)
        return prop_err_nomem(err);
    for (size_t i = 0; only && i < PROP_ARRAY_LEN(beside); i++) {
        json_t *v = json_object_get(only, beside[i]);
        if (v && json_object_set(m->doc, beside[i], v) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

static int put_hashes(struct vm_measure *m, const struct prop_kernel_hashes *h, struct prop_err *err)
{
    int rc = set_hex(m->doc, "kernel_sha256", h->kernel, 32, err);
    if (rc == 0)
        rc = set_hex(m->doc, "initrd_sha256", h->initrd, 32, err);
    return rc == 0 ? set_hex(m->doc, "cmdline_sha256", h->cmdline, 32, err) : rc;
}

int vm_measure_sev(struct vm_measure *m, struct prop_err *err)
{
    struct prop_kernel_hashes hashes, *kernel = m->has_kernel ? &hashes : NULL;
    prop_auto_json json_t *values = json_array();
    int rc = values ? 0 : prop_err_nomem(err);
    /* Before hundreds of megabytes are read: can this firmware measure them? */
    if (rc == 0 && m->mode == VM_MEASURE_SNP) {
        struct prop_sev_metadata sections;
        rc = prop_ovmf_sev(&m->fw, &sections, err);
        if (rc == 0 && kernel)
            rc = prop_ovmf_can_hash_kernel(&m->fw, &sections, err);
    } else if (rc == 0 && kernel) {
        rc = prop_ovmf_can_hash_kernel(&m->fw, NULL, err);
    }
    if (rc == 0 && kernel)
        rc = prop_kernel_hashes_of(&m->kernel, m->has_initrd ? &m->initrd : NULL, m->append, kernel, err);
    if (rc == 0)
        rc = m->mode == VM_MEASURE_SNP   ? snp(m, kernel, values, err)
             : m->mode == VM_MEASURE_SEV ? sev(m, kernel, values, err)
                                         : sweep(m, values, one_sev_es, kernel, err);
    if (rc == 0)
        rc = put_values(m, values, err);
    if (rc == 0 && kernel)
        rc = put_hashes(m, kernel, err);
    if (rc == 0 && m->has_init && m->mode == VM_MEASURE_SNP)
        rc = set_hex(m->doc, "host_data", m->init.host_data, sizeof m->init.host_data, err);
    if (rc == 0)
        rc = leave_out(m, err);
    return rc == 0 ? warnings(m, err) : rc;
}
