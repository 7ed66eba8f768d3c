/* propcvm vm measure: what a guest's evidence will say of its launch, computed from files before it
 * ever runs. Needs no root, no network and no special hardware. */
#include "cmd/propcvm/verbs.h"
#include "cmd/propcvm/vm_measure.h"

#include "crypto/digest.h"
#include "util/text.h"

#include <string.h>

#define OPT(member) offsetof(struct vm_measure_opts, member)

static const struct prop_opt options[] = {
    { "mode", 0, PROP_OPT_STRING, "snp|tdx|sev|sev-es", "what the guest is started as", OPT(mode), NULL,
      NULL, false },
    { "firmware", 0, PROP_OPT_STRING, "FILE", "OVMF, as -bios takes it", OPT(firmware), NULL, NULL,
      false },
    { "kernel", 0, PROP_OPT_STRING, "FILE", "kernel that the VMM loads", OPT(kernel), NULL, NULL, false },
    { "initrd", 0, PROP_OPT_STRING, "FILE", "initrd that the VMM loads", OPT(initrd), NULL, NULL, false },
    { "append", 0, PROP_OPT_STRING, "TEXT", "kernel command line, to the byte", OPT(append), NULL, NULL,
      false },
    { "vcpus", 0, PROP_OPT_LIST, "N", "number of vCPUs; 1,2,4 or 1-8 for several; repeatable (default: 1)",
      OPT(vcpus), NULL, NULL, false },
    { "vcpu-type", 0, PROP_OPT_LIST, "MODEL",
      "CPU model as -cpu names it; repeatable (default: EPYC-v4)", OPT(types), NULL, NULL, false },
    { "guest-features", 0, PROP_OPT_LIST, "0xN", "SEV features of the VMM; repeatable (default: 0x1)",
      OPT(features), NULL, NULL, false },
    { "vmm", 0, PROP_OPT_STRING, "qemu|ec2|gce", "who starts the guest", OPT(vmm), NULL, "qemu", false },
    { "memory", 0, PROP_OPT_SIZE, "BYTES", "memory of the guest, where the digest depends on it",
      OPT(memory), NULL, NULL, false },
    { "profile", 0, PROP_OPT_LIST, "NAME",
      "firmware and VMM of a TD, as edk2-202411+qemu-10.1; newest, all; repeatable (default: newest)",
      OPT(profiles), NULL, NULL, false },
    { "mrtd-order", 0, PROP_OPT_STRING, "ORDER", "pages, two-pass (older vendor stacks), or both",
      OPT(mrtd_order), NULL, "pages", false },
    { "acpi-table-loader", 0, PROP_OPT_STRING, "FILE", "etc/table-loader of the VMM, for RTMR0",
      OPT(table_loader), NULL, NULL, false },
    { "acpi-rsdp", 0, PROP_OPT_STRING, "FILE", "etc/acpi/rsdp of the VMM", OPT(rsdp), NULL, NULL, false },
    { "acpi-tables", 0, PROP_OPT_STRING, "FILE", "etc/acpi/tables of the VMM", OPT(tables), NULL, NULL,
      false },
    { "init-data", 0, PROP_OPT_STRING, "FILE", "init-data document that the launch binds", OPT(init_data),
      NULL, NULL, false },
    { "name", 0, PROP_OPT_STRING, "NAME", "what the measurement is called", OPT(name), NULL, NULL, false },
    { "format", 0, PROP_OPT_STRING, "FORMAT", "table, json (as --json), reference-values, rule",
      OPT(format), NULL, NULL, false },
    { "check", 0, PROP_OPT_STRING, "EVIDENCE",
      "compare with evidence: JSON, raw report or raw quote; status 1 when it differs", OPT(check), NULL,
      NULL, false },
    { "ccel", 0, PROP_OPT_STRING, "FILE", "event log of that evidence, when it holds none", OPT(ccel),
      NULL, NULL, false },
    { "id-block", 0, PROP_OPT_STRING, "OUT", "write the SNP ID block (base64)", OPT(id_block), NULL, NULL,
      false },
    { "id-auth", 0, PROP_OPT_STRING, "OUT", "write its authentication (base64)", OPT(id_auth), NULL, NULL,
      false },
    { "id-key", 0, PROP_OPT_STRING, "KEY", "private P-384 key that signs the ID block", OPT(id_key), NULL,
      NULL, false },
    { "author-key", 0, PROP_OPT_STRING, "KEY", "private P-384 key that signs the id key",
      OPT(author_key), NULL, NULL, false },
    { "family-id", 0, PROP_OPT_STRING, "HEX", "16 bytes in the ID block", OPT(family_id), NULL, NULL,
      false },
    { "image-id", 0, PROP_OPT_STRING, "HEX", "16 bytes in the ID block", OPT(image_id), NULL, NULL, false },
    { "guest-svn", 0, PROP_OPT_U64, "N", "security version in the ID block", OPT(guest_svn), NULL, NULL,
      false },
    { "policy", 0, PROP_OPT_STRING, "0xN", "guest policy in the ID block", OPT(policy), NULL, "0x30000",
      false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace existing files", OPT(force), NULL, NULL, false },
    PROP_OPT_END
};

static int set_text(json_t *o, const char *name, const char *text, struct prop_err *err)
{
    prop_auto_buf struct prop_buf clean = PROP_BUF_INIT(4u << 20);
    if (!text)
        return 0;
    int rc = prop_utf8_clean(text, strlen(text), &clean, err);
    if (rc == 0 && json_object_set_new(o, name, json_string(prop_buf_str(&clean))) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

/* What was measured: names of files, and the firmware's digest, which people look up. */
static int describe_inputs(struct vm_measure *m, struct prop_err *err)
{
    struct prop_digest d;
    char text[PROP_DIGEST_TEXT];
    json_t *inputs = json_object();
    if (!inputs || json_object_set_new(m->doc, "inputs", inputs) != 0)
        return prop_err_nomem(err);
    int rc = prop_digest_of(PROP_SHA256, m->firmware.data, m->firmware.len, &d, err);
    if (rc == 0)
        rc = set_text(inputs, "firmware", m->o->firmware, err);
    if (rc == 0)
        rc = set_text(inputs, "firmware_sha256", prop_digest_hex(&d, text), err);
    if (rc == 0 && m->has_kernel)
        rc = set_text(inputs, "kernel", m->kernel.what, err);
    if (rc == 0 && m->has_initrd)
        rc = set_text(inputs, "initrd", m->initrd.what, err);
    return rc == 0 && m->has_kernel ? set_text(inputs, "append", m->append ? m->append : "", err) : rc;
}

/* "sha384:HEX", as policies say it. A longer digest is cut where the register cuts it. */
static int describe_init(struct vm_measure *m, struct prop_err *err)
{
    struct prop_digest d = m->init.digest;
    char text[PROP_DIGEST_TEXT];
    if (m->mode == VM_MEASURE_SEV || m->mode == VM_MEASURE_SEV_ES)
        return 0;
    if (!m->has_init)
        return vm_measure_leave_out(m, err, m->mode == VM_MEASURE_TDX
                                        ? "init-data: none was given, mr_config_id is not pinned"
                                        : "init-data: none was given, host_data is not pinned");
    if (d.alg == PROP_SHA512) {
        d.alg = PROP_SHA384;
        d.len = PROP_TDX_MR_CONFIG_ID;
    }
    const char *hash = prop_hash_name(d.alg);
    char hex[PROP_DIGEST_TEXT];
    (void)snprintf(text, sizeof text, "%s:%.128s", hash, prop_digest_hex(&d, hex));
    return set_text(m->doc, "init_data", text, err);
}

static int measure(struct vm_measure *m, struct prop_err *err)
{
    int rc = set_text(m->doc, "name", m->name, err);
    if (rc == 0 && m->mode == VM_MEASURE_SNP)
        rc = set_text(m->doc, "vmm", prop_vmm_name(m->vmm), err);
    if (rc == 0)
        rc = m->mode == VM_MEASURE_TDX ? vm_measure_tdx(m, err) : vm_measure_sev(m, err);
    if (rc == 0)
        rc = describe_init(m, err);
    return rc == 0 ? describe_inputs(m, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct vm_measure_opts *o = opts;
    vm_auto_measure struct vm_measure m = VM_MEASURE_INIT;
    m.cli = cli;
    m.o = o;
    int rc = vm_measure_check_format(o, err);
    if (rc == 0)
        rc = vm_measure_open(&m, err);
    if (rc == 0)
        rc = measure(&m, err);
    if (rc == 0)
        rc = vm_measure_id(&m, err);
    if (rc < 0)
        return rc;
    return o->check ? vm_measure_check(&m, err) : vm_measure_print(&m, err);
}

const struct prop_verb propcvm_verb_vm_measure = {
    "vm measure", "[DIR]", "compute a guest's launch measurement from its files",
    "DIR is a guest folder of 'vm build', which names kernel, initrd, command line and init-data; or each\n"
    "is named by an option. Several --vcpus, --vcpu-type, --guest-features or --profile give several\n"
    "values, each with its name: all that operators may choose. What the values do not cover is listed.\n"
    "Firmware that cannot measure a kernel is refused where one is given.\n"
    "  propcvm vm measure guest --mode snp --firmware OVMF.amdsev.fd --vcpus 1,2,4 --json > m.json\n"
    "  propkey reference-value import m.json\n"
    "  propkey policy build policy.toml --measured m.json        (a rule with measured = true)\n"
    "  propkey policy add --resource default/key/app --allow \"$(propcvm vm measure ... --format rule)\"\n"
    "  propcvm vm measure guest --mode tdx --firmware OVMF.fd --check evidence.json",
    options, sizeof(struct vm_measure_opts), 0, 1, run
};
