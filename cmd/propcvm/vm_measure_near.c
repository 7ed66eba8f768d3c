/* The neighbours of an SNP launch: other numbers of vCPUs, CPU models, features, VMMs, and inputs that
 * were left out. What operators change without thinking of the digest comes first. */
#include "cmd/propcvm/vm_measure.h"

#include "tee/fields.h"
#include "tee/snp_launch.h"

#include <string.h>

enum { VCPUS_TRIED = 512, LINE = 200 };

/* Which inputs a launch had. */
struct variant {
    bool kernel, initrd, append;
    const char *says;
};

struct search {
    struct vm_measure *m;
    const uint8_t *wanted;      /* 48 bytes */
    const struct variant *variant;
    struct prop_sev_metadata sections;
    uint8_t firmware[48];       /* digest after the firmware's pages */
    struct prop_cpu_model host; /* of the machine that made the report; no name = unknown */
    json_t *out;
    bool found;
};

/* The options that make the difference, in the order of the command line. */
static int say(struct search *s, enum prop_vmm vmm, const struct prop_cpu_model *type,
               uint64_t features, unsigned vcpus, struct prop_err *err)
{
    const struct vm_measure *m = s->m;
    prop_auto_buf struct prop_buf line = PROP_BUF_INIT(LINE);
    bool listed = false, typed = false, featured = false;
    int rc = 0;
    for (size_t i = 0; i < m->n_vcpus; i++)
        listed = listed || m->vcpus[i] == vcpus;
    for (size_t i = 0; i < m->n_types; i++)
        typed = typed || m->types[i].signature == type->signature;
    for (size_t i = 0; i < m->n_features; i++)
        featured = featured || m->features[i] == features;
    if (vmm != m->vmm)
        rc = prop_buf_printf(&line, err, " --vmm %s", prop_vmm_name(vmm));
    if (rc == 0 && !listed)
        rc = prop_buf_printf(&line, err, " --vcpus %u", vcpus);
    if (rc == 0 && !typed && vmm == PROP_VMM_QEMU)
        rc = prop_buf_printf(&line, err, " --vcpu-type %s", type->name);
    if (rc == 0 && !featured)
        rc = prop_buf_printf(&line, err, " --guest-features 0x%llx", (unsigned long long)features);
    if (rc == 0 && s->variant->says)
        rc = prop_buf_printf(&line, err, " %s", s->variant->says);
    if (rc < 0)
        return rc;
    s->found = true;
    const char *text = prop_buf_str(&line);
    return json_object_set_new(s->out, "this_is", json_string(*text ? text + 1 : text)) == 0
               ? 0
               : prop_err_nomem(err);
}

static int try_vcpus(struct search *s, enum prop_vmm vmm, const uint8_t ld[48],
                     const struct prop_cpu_model *type, uint64_t features, struct prop_err *err)
{
    struct prop_snp_vcpus v;
    int rc = prop_snp_vcpus_begin(ld, vmm, s->m->fw.reset_eip, type->signature, features, &v, err);
    while (rc == 0 && !s->found && v.n < VCPUS_TRIED) {
        rc = prop_snp_vcpus_add(&v, err);
        if (rc == 0 && memcmp(v.ld, s->wanted, sizeof v.ld) == 0)
            rc = say(s, vmm, type, features, v.n, err);
    }
    return rc;
}

/* All models, those that were asked for first, then those of QEMU, then the reporting machine's own. */
static int try_types(struct search *s, enum prop_vmm vmm, const uint8_t ld[48], uint64_t features,
                     struct prop_err *err)
{
    const struct prop_cpu_model *model;
    uint32_t last = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && !s->found && i < s->m->n_types; i++)
        rc = try_vcpus(s, vmm, ld, &s->m->types[i], features, err);
    if (vmm != PROP_VMM_QEMU)
        return rc;
    for (size_t i = 0; rc == 0 && !s->found && (model = prop_cpu_model(i)); i++) {
        if (model->signature != last) /* versions of one model stand together */
            rc = try_vcpus(s, vmm, ld, model, features, err);
        last = model->signature;
    }
    if (rc == 0 && !s->found && s->host.name)
        rc = try_vcpus(s, vmm, ld, &s->host, features, err);
    return rc;
}

static int try_launch(struct search *s, const struct prop_kernel_hashes *kernel, enum prop_vmm vmm,
                      struct prop_err *err)
{
    static const uint64_t known[] = { 0x1, 0x21 };
    uint8_t ld[48];
    memcpy(ld, s->firmware, sizeof ld);
    int rc = prop_snp_launch_sections(&s->m->fw, &s->sections, vmm, kernel, ld, err);
    for (size_t i = 0; rc == 0 && !s->found && i < s->m->n_features; i++)
        rc = try_types(s, vmm, ld, s->m->features[i], err);
    for (size_t i = 0; rc == 0 && !s->found && i < PROP_ARRAY_LEN(known); i++)
        rc = try_types(s, vmm, ld, known[i], err);
    return rc;
}

static int try_variant(struct search *s, const struct variant *v, struct prop_err *err)
{
    struct vm_measure *m = s->m;
    struct prop_kernel_hashes hashes;
    int rc = 0;
    s->variant = v;
    if (v->kernel)
        rc = prop_kernel_hashes_of(&m->kernel, v->initrd ? &m->initrd : NULL,
                                   v->append ? m->append : NULL, &hashes, err);
    if (rc == 0)
        rc = try_launch(s, v->kernel ? &hashes : NULL, m->vmm, err);
    for (int vmm = PROP_VMM_QEMU; rc == 0 && !s->found && vmm <= PROP_VMM_GCE; vmm++)
        if (vmm != (int)m->vmm)
            rc = try_launch(s, v->kernel ? &hashes : NULL, (enum prop_vmm)vmm, err);
    return rc;
}

int vm_measure_near_snp(struct vm_measure *m, const struct prop_tee_fields *f, json_t *out,
                        struct prop_err *err)
{
    const struct variant all[] = {
        { m->has_kernel, m->has_initrd, m->append != NULL, NULL },
        { m->has_kernel, m->has_initrd, false, "without --append" },
        { m->has_kernel, false, m->append != NULL, "without --initrd" },
        { m->has_kernel, false, false, "without --initrd and --append" },
        { false, false, false, "without --kernel (kernel-hashes=off: the kernel is not measured)" },
    };
    struct search s = { .m = m, .wanted = f->snp.measurement, .out = out };
    char host[40];
    if (f->snp.cpuid_family >= 0) {
        (void)snprintf(host, sizeof host, "%d.%d.%d", f->snp.cpuid_family, f->snp.cpuid_model,
                       f->snp.cpuid_stepping);
        if (prop_cpu_signature(host, &s.host.signature, NULL) == 0)
            s.host.name = host;
    }
    int rc = prop_ovmf_sev(&m->fw, &s.sections, err);
    if (rc == 0)
        rc = prop_snp_launch_firmware(&m->fw, s.firmware, err);
    for (size_t i = 0; rc == 0 && !s.found && i < PROP_ARRAY_LEN(all); i++) {
        const struct variant *v = &all[i];
        bool same = i > 0 && v->kernel == all[0].kernel && v->initrd == all[0].initrd &&
                    v->append == all[0].append;
        if (!same)
            rc = try_variant(&s, v, err);
    }
    return rc;
}
