/* Options of `vm measure` checked, and the files behind them opened. Nothing is computed before all of
 * it is known to be good. */
#include "cmd/propcvm/vm_measure.h"

#include "util/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *vm_measure_mode_name(enum vm_measure_mode mode)
{
    static const char *const names[] = { "snp", "sev", "sev-es", "tdx" };
    return names[mode];
}

static int take_mode(const char *word, enum vm_measure_mode *ret, struct prop_err *err)
{
    for (int i = VM_MEASURE_SNP; word && i <= VM_MEASURE_TDX; i++)
        if (strcmp(word, vm_measure_mode_name((enum vm_measure_mode)i)) == 0) {
            *ret = (enum vm_measure_mode)i;
            return 0;
        }
    (void)prop_err_set_id(err, PROP_E_USAGE, word ? "bad-mode" : "missing-option",
                          word ? "--mode '%s' is none" : "--mode is missing", word ? word : "");
    return prop_err_hint(err, "--mode takes snp, tdx, sev or sev-es");
}

static int usage(struct prop_err *err, const char *id, const char *text)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, id, "%s", text);
    return prop_err_hint(err, "try 'propcvm vm measure --help'");
}

/* Options that mean nothing in this mode are refused: a value that is silently not used is believed to
 * be in the digest. */
static int check_mode_options(struct prop_cli *cli, enum vm_measure_mode mode, struct prop_err *err)
{
    static const struct {
        const char *option;
        unsigned modes; /* in which it means something */
    } rows[] = {
        { "vcpus", 1u << VM_MEASURE_SNP | 1u << VM_MEASURE_SEV_ES },
        { "vcpu-type", 1u << VM_MEASURE_SNP | 1u << VM_MEASURE_SEV_ES },
        { "guest-features", 1u << VM_MEASURE_SNP },
        { "vmm", 1u << VM_MEASURE_SNP },
        { "init-data", 1u << VM_MEASURE_SNP | 1u << VM_MEASURE_TDX },
        { "id-block", 1u << VM_MEASURE_SNP },
        { "id-auth", 1u << VM_MEASURE_SNP },
        { "id-key", 1u << VM_MEASURE_SNP },
        { "author-key", 1u << VM_MEASURE_SNP },
        { "memory", 1u << VM_MEASURE_TDX },
        { "profile", 1u << VM_MEASURE_TDX },
        { "mrtd-order", 1u << VM_MEASURE_TDX },
        { "acpi-table-loader", 1u << VM_MEASURE_TDX },
    };
    static const char *const harmless = "vcpus vcpu-type guest-features memory";
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        if (!prop_cli_given(cli, rows[i].option) || (rows[i].modes & 1u << mode))
            continue;
        if (strstr(harmless, rows[i].option)) { /* one command line for a sweep over modes */
            prop_cli_note(cli, "--%s changes nothing in the measurement of '%s'", rows[i].option,
                          vm_measure_mode_name(mode));
            continue;
        }
        return prop_err_set_id(err, PROP_E_USAGE, "option-not-for-mode",
                               "--%s is not for --mode %s", rows[i].option,
                               vm_measure_mode_name(mode));
    }
    return 0;
}

static int check_options(struct prop_cli *cli, const struct vm_measure_opts *o,
                         enum vm_measure_mode mode, struct prop_err *err)
{
    bool dir = prop_cli_argc(cli) > 0;
    int acpi = !!o->table_loader + !!o->rsdp + !!o->tables;
    if (!o->firmware)
        return usage(err, "missing-option", "--firmware is missing");
    if (dir && (o->kernel || o->initrd || o->append || o->init_data))
        return usage(err, "conflicting-options",
                     "a guest folder names kernel, initrd, command line and init-data itself");
    if (!dir && !o->kernel && (o->initrd || o->append))
        return usage(err, "missing-option", "--initrd and --append need --kernel");
    if (acpi != 0 && acpi != 3)
        return usage(err, "missing-option",
                     "RTMR0 needs all of --acpi-table-loader, --acpi-rsdp and --acpi-tables");
    if (!o->id_block != !o->id_auth || !o->id_block != !o->id_key || (o->author_key && !o->id_key))
        return usage(err, "missing-option",
                     "an ID block needs all of --id-block, --id-auth and --id-key");
    if (o->id_block && strcmp(o->id_block, o->id_auth) == 0)
        return usage(err, "conflicting-options", "--id-block and --id-auth name the same file");
    if (o->ccel && !o->check)
        return usage(err, "missing-option", "--ccel needs --check");
    return check_mode_options(cli, mode, err);
}

static int add_line(json_t *list, const char *text, struct prop_err *err)
{
    return json_array_append_new(list, json_string(text)) == 0 ? 0 : prop_err_nomem(err);
}

int vm_measure_warn(struct vm_measure *m, struct prop_err *err, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    prop_cli_warn(m->cli, "%s", text);
    return add_line(m->warnings, text, err);
}

int vm_measure_leave_out(struct vm_measure *m, struct prop_err *err, const char *what)
{
    return add_line(m->unmeasured, what, err);
}

/* Names of files: from the options, or from a guest folder. */
static int name_files(struct vm_measure *m, const char **kernel, const char **initrd,
                      const char **init_data, struct prop_err *err)
{
    const char *dir = prop_cli_arg(m->cli, 0);
    *kernel = m->o->kernel;
    *initrd = m->o->initrd;
    *init_data = m->o->init_data;
    m->append = m->o->append;
    m->name = m->o->name;
    if (!dir)
        return 0;
    int rc = prop_guestdir_open(dir, &m->guest, err);
    if (rc < 0)
        return rc;
    *kernel = m->guest.kernel;
    *initrd = m->guest.initrd;
    *init_data = m->guest.init_data;
    m->append = m->guest.append;
    m->name = m->name ? m->name : m->guest.name;
    bool driver = m->mode == VM_MEASURE_TDX ? m->guest.tdx_guest : m->guest.sev_guest;
    if (!driver && (m->mode == VM_MEASURE_SNP || m->mode == VM_MEASURE_TDX))
        return vm_measure_warn(m, err, "the kernel of '%s' has no driver for reports of '%s': such a "
                               "guest boots, but cannot attest",
                               dir, vm_measure_mode_name(m->mode));
    return 0;
}

static int open_init_data(struct vm_measure *m, const char *path, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_TEE_INITDATA_MAX);
    char what[300];
    (void)snprintf(what, sizeof what, "init-data '%.270s'", path);
    int rc = prop_file_read(path, &text, err);
    if (rc == 0)
        rc = prop_initdata_read(prop_buf_str(&text), text.len, what, &m->init, err);
    m->has_init = rc == 0;
    return rc;
}

static int open_acpi(struct vm_measure *m, struct prop_err *err)
{
    const char *const paths[] = { m->o->table_loader, m->o->rsdp, m->o->tables };
    m->has_acpi = paths[0] != NULL;
    for (size_t i = 0; m->has_acpi && i < PROP_ARRAY_LEN(paths); i++) {
        int rc = prop_source_open(paths[i], &m->acpi[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int open_files(struct vm_measure *m, struct prop_err *err)
{
    const char *kernel = NULL, *initrd = NULL, *init_data = NULL;
    int rc = name_files(m, &kernel, &initrd, &init_data, err);
    if (rc == 0)
        rc = prop_file_read(m->o->firmware, &m->firmware, err);
    if (rc == 0)
        rc = prop_ovmf_parse((const uint8_t *)prop_buf_str(&m->firmware), m->firmware.len,
                             m->o->firmware, &m->fw, err);
    if (rc == 0 && kernel) {
        rc = prop_source_open(kernel, &m->kernel, err);
        m->has_kernel = rc == 0;
    }
    if (rc == 0 && kernel)
        rc = prop_linux_release(&m->kernel, m->release, err);
    if (rc == 0 && initrd) {
        rc = prop_source_open(initrd, &m->initrd, err);
        m->has_initrd = rc == 0;
    }
    if (rc == 0 && init_data)
        rc = open_init_data(m, init_data, err);
    return rc == 0 ? open_acpi(m, err) : rc;
}

/* One name for each input that two programs might share would hide which of them is read. */
static int check_stdin(const struct vm_measure_opts *o, struct prop_err *err)
{
    const char *const paths[] = { o->firmware, o->kernel, o->initrd, o->init_data, o->check };
    int n = 0;
    for (size_t i = 0; i < PROP_ARRAY_LEN(paths); i++)
        n += paths[i] && strcmp(paths[i], "-") == 0;
    return n > 1 ? usage(err, "conflicting-options", "standard input can be one file only") : 0;
}

static int begin_doc(struct vm_measure *m, struct prop_err *err)
{
    m->doc = json_pack("{s:s}", "mode", vm_measure_mode_name(m->mode));
    m->unmeasured = json_array();
    m->warnings = json_array();
    if (json_object_set_new(m->doc, "unmeasured", m->unmeasured) != 0 ||
        json_object_set_new(m->doc, "warnings", m->warnings) != 0)
        return prop_err_nomem(err);
    return 0;
}

int vm_measure_open(struct vm_measure *m, struct prop_err *err)
{
    int rc = take_mode(m->o->mode, &m->mode, err);
    if (rc == 0)
        rc = check_options(m->cli, m->o, m->mode, err);
    if (rc == 0)
        rc = check_stdin(m->o, err);
    if (rc == 0)
        rc = prop_vmm_parse(m->o->vmm, &m->vmm, err);
    if (rc == 0)
        rc = vm_measure_lists(m, err);
    if (rc == 0)
        rc = begin_doc(m, err);
    return rc == 0 ? open_files(m, err) : rc;
}

void vm_measure_release(struct vm_measure *m)
{
    prop_guestdir_release(&m->guest);
    prop_buf_release(&m->firmware);
    prop_source_release(&m->kernel);
    prop_source_release(&m->initrd);
    for (size_t i = 0; i < PROP_ARRAY_LEN(m->acpi); i++)
        prop_source_release(&m->acpi[i]);
    for (size_t i = 0; i < m->n_types; i++)
        prop_free((char *)(uintptr_t)m->types[i].name);
    prop_free(m->types);
    prop_free(m->vcpus);
    prop_free(m->features);
    prop_free(m->profiles);
    json_decref(m->doc);
}
