/* The measurement as a table, as a measurement file, as reference values for a key broker, or as a rule
 * for its policy: all from one document. */
#include "cmd/propcvm/vm_measure.h"

#include "kbs/reference.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

static bool is_format(const struct vm_measure_opts *o, const char *name)
{
    return o->format && strcmp(o->format, name) == 0;
}

int vm_measure_check_format(const struct vm_measure_opts *o, struct prop_err *err)
{
    static const char *const known[] = { "table", "json", "reference-values", "rule" };
    if (!o->format)
        return 0;
    for (size_t i = 0; i < PROP_ARRAY_LEN(known); i++)
        if (is_format(o, known[i]))
            return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-format", "--format '%s' is none", o->format);
    return prop_err_hint(err, "table, json, reference-values or rule");
}

/* --- table -------------------------------------------------------------------------------------- */

static void print_values(FILE *out, const char *title, const json_t *v)
{
    const json_t *item;
    size_t i;
    if (!v)
        return;
    (void)fprintf(out, "\n%s\n", title);
    if (json_is_string(v))
        (void)fprintf(out, "  %s\n", json_string_value(v));
    json_array_foreach((json_t *)(uintptr_t)v, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (!name)
            name = json_string_value(json_object_get(item, "profile"));
        (void)fprintf(out, "  %-24s %s\n", name, json_string_value(json_object_get(item, "value")));
    }
}

static void print_line(FILE *out, const json_t *doc, const char *label, const char *member)
{
    const char *s = json_string_value(json_object_get(doc, member));
    char safe[4096];
    if (s)
        (void)fprintf(out, "%-14s %s\n", label, prop_printable(s, strlen(s), safe, sizeof safe));
}

static void print_inputs(FILE *out, const json_t *doc)
{
    static const char *const rows[] = { "firmware", "kernel", "initrd", "append" };
    const json_t *inputs = json_object_get(doc, "inputs");
    print_line(out, doc, "mode", "mode");
    print_line(out, doc, "name", "name");
    print_line(out, doc, "vmm", "vmm");
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++)
        print_line(out, inputs, strcmp(rows[i], "append") == 0 ? "command line" : rows[i], rows[i]);
    const json_t *vcpus = json_object_get(doc, "vcpus");
    const char *type = json_string_value(json_object_get(doc, "vcpu_type"));
    if (vcpus)
        (void)fprintf(out, "%-14s %lld%s%s\n", "vcpus", (long long)json_integer_value(vcpus),
                      type ? " x " : "", type ? type : "");
    print_line(out, doc, "features", "guest_features");
}

static void print_profiles(FILE *out, const json_t *doc)
{
    const json_t *p;
    size_t i;
    json_array_foreach(json_object_get(doc, "profiles"), i, p)
        (void)fprintf(out, "%s  %-24s kernel %s, separator in %s, initrd word %s the command line\n",
                      i ? "" : "\nprofiles\n", json_string_value(json_object_get(p, "name")),
                      json_string_value(json_object_get(p, "kernel")),
                      json_string_value(json_object_get(p, "separator")),
                      json_string_value(json_object_get(p, "initrd_word")));
}

static void print_human(const json_t *doc, void *stream)
{
    static const char *const values[][2] = {
        { "launch_digest", "launch digest" }, { "mr_td", "mr_td" }, { "rtmr_0", "rtmr_0" },
        { "rtmr_1", "rtmr_1" }, { "rtmr_2", "rtmr_2" }, { "host_data", "host_data (init-data)" },
        { "mr_config_id", "mr_config_id (init-data)" },
    };
    FILE *out = stream;
    const json_t *line;
    size_t i;
    print_inputs(out, doc);
    for (i = 0; i < PROP_ARRAY_LEN(values); i++)
        print_values(out, values[i][1], json_object_get(doc, values[i][0]));
    print_profiles(out, doc);
    (void)fputs("\nnot measured\n", out);
    json_array_foreach(json_object_get(doc, "unmeasured"), i, line)
        (void)fprintf(out, "  - %s\n", json_string_value(line));
}

/* --- reference values and rule ------------------------------------------------------------------ */

static int print_text(struct vm_measure *m, const char *text, struct prop_err *err)
{
    prop_auto_free char *line = prop_asprintf("%s\n", text);
    return line ? prop_cli_write(m->cli, line, strlen(line), err) : prop_err_nomem(err);
}

static int print_reference(struct vm_measure *m, struct prop_err *err)
{
    prop_auto_json json_t *values = NULL;
    int rc = prop_reference_from_measurement(m->doc, "the measurement", &values, err);
    if (rc < 0)
        return rc;
    prop_auto_free char *text = prop_json_compact(values);
    return text ? print_text(m, text, err) : prop_err_nomem(err);
}

/* Each value of a member, as "key=sha384:HEX" behind what is there; equal ones once. */
static int add_pins(struct prop_buf *out, const json_t *doc, const char *member, const char *key,
                    struct prop_err *err)
{
    const json_t *v = json_object_get(doc, member);
    size_t n = json_is_string(v) ? 1 : json_array_size(v);
    for (size_t i = 0; i < n; i++) {
        const char *hex = json_string_value(
            json_is_string(v) ? v : json_object_get(json_array_get(v, i), "value"));
        if (strstr(prop_buf_str(out), hex))
            continue;
        int rc = prop_buf_printf(out, err, ",%s=sha384:%s", key, hex);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int print_rule(struct vm_measure *m, struct prop_err *err)
{
    static const char *const registers[] = { "rtmr_0", "rtmr_1", "rtmr_2" };
    prop_auto_buf struct prop_buf rule = PROP_BUF_INIT(1u << 20);
    const char *init = json_string_value(json_object_get(m->doc, "init_data"));
    bool tdx = m->mode == VM_MEASURE_TDX;
    if (!tdx && m->mode != VM_MEASURE_SNP)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "measurement-tee",
                               "no key broker attests '%s' guests, so there is no rule for them",
                               vm_measure_mode_name(m->mode));
    int rc = prop_buf_printf(&rule, err, "tee=%s", tdx ? "tdx" : "snp");
    if (rc == 0)
        rc = add_pins(&rule, m->doc, tdx ? "mr_td" : "launch_digest", "measurement", err);
    for (size_t i = 0; rc == 0 && tdx && i < PROP_ARRAY_LEN(registers); i++)
        rc = add_pins(&rule, m->doc, registers[i], registers[i], err);
    if (rc == 0 && init)
        rc = prop_buf_printf(&rule, err, ",init_data=%s", init);
    if (rc < 0)
        return rc;
    if (!prop_cli_json(m->cli))
        return print_text(m, prop_buf_str(&rule), err);
    prop_auto_json json_t *doc = json_pack("{s:s}", "allow", prop_buf_str(&rule));
    return doc ? prop_cli_result(m->cli, doc, NULL, err) : prop_err_nomem(err);
}

static int print_json(struct vm_measure *m, struct prop_err *err)
{
    prop_auto_json json_t *all = json_pack("{s:i}", "version", 1);
    if (!all || json_object_update(all, m->doc) != 0)
        return prop_err_nomem(err);
    prop_auto_free char *text = prop_json_compact(all);
    return text ? print_text(m, text, err) : prop_err_nomem(err);
}

int vm_measure_print(struct vm_measure *m, struct prop_err *err)
{
    if (is_format(m->o, "reference-values"))
        return print_reference(m, err);
    if (is_format(m->o, "rule"))
        return print_rule(m, err);
    if (is_format(m->o, "json"))
        return print_json(m, err);
    return prop_cli_result(m->cli, m->doc, print_human, err);
}
