/* propcvm detect: is this a confidential VM, and by which sign? Host-side signs (CPU flags, the
 * host's kernel log) do not count: they are there outside of a guest too. */
#include "cmd/propcvm/verbs.h"

#include "tee/detect.h"
#include "tee/machine.h"
#include "tee/tdx_guest.h"

#include <stdio.h>

struct detect_opts {
    bool registers;
};

static const struct prop_opt options[] = {
    { "registers", 0, PROP_OPT_FLAG, NULL, "also what a TD's registers hold (root)",
      offsetof(struct detect_opts, registers), NULL, NULL, false },
    PROP_OPT_END
};

static const char *text_of(const json_t *doc, const char *name)
{
    return json_string_value(json_object_get(doc, name));
}

static void print_human(const json_t *doc, void *stream)
{
    size_t i = 0;
    const char *name = NULL;
    const json_t *sign = NULL;
    json_t *value = NULL;

    (void)fprintf(stream, "%s\n", text_of(doc, "tee"));
    if (text_of(doc, "by"))
        (void)fprintf(stream, "  by %s\n", text_of(doc, "by"));
    if (text_of(doc, "advice"))
        (void)fprintf(stream, "  a guest of %s: %s\n", text_of(doc, "active"), text_of(doc, "advice"));
    json_array_foreach(json_object_get(doc, "signs"), i, sign) {
        const char *found = text_of(sign, "found");
        (void)fprintf(stream, "  %-58s %s\n", text_of(sign, "test"), found ? found : "-");
    }
    json_object_foreach(json_object_get(doc, "registers"), name, value) {
        if (json_is_string(value))
            (void)fprintf(stream, "  %-18s %s\n", name, json_string_value(value));
    }
}

/* The registers by a TD report, which needs no quote service on the host. */
static int add_registers(const struct prop_tee_machine *m, json_t *doc, struct prop_err *err)
{
    static const uint8_t nothing[64];
    uint8_t report[PROP_TDX_REPORT];
    struct prop_tee_fields f = PROP_TEE_FIELDS_INIT;
    int rc = prop_tdx_get_report(m, nothing, report, err);

    if (rc)
        return rc;
    f.tee = PROP_TEE_TDX;
    prop_tdx_report_fields(report, &f.tdx);
    return json_object_set_new(doc, "registers", prop_tee_fields_json(&f)) ? prop_err_nomem(err) : 0;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct detect_opts *o = opts;
    struct prop_tee_machine here = prop_tee_machine_here();
    struct prop_tee_found f = { PROP_TEE_NONE, NULL, NULL, NULL };
    prop_auto_json json_t *signs = NULL;
    int rc = prop_tee_detect(&here, &f, &signs, err);

    if (rc)
        return rc;
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s?,s:s?,s:s?,s:O}", "tee", prop_tee_name(f.tee), "by", f.test, "active",
                  f.active, "advice", f.advice, "signs", signs);
    if (!doc)
        return prop_err_nomem(err);
    if (o->registers)
        rc = add_registers(&here, doc, err);
    if (rc == 0)
        rc = prop_cli_result(cli, doc, print_human, err);
    if (rc == 0 && f.tee == PROP_TEE_NONE)
        prop_cli_set_status(cli, 1); /* the answer is no */
    return rc;
}

const struct prop_verb propcvm_verb_detect = {
    "detect", "", "tell whether this machine is a confidential VM",
    "Prints snp, tdx or none, the sign that decided, and each sign that was looked for: the kernel's\n"
    "report interface, devices, processor. Exit status 1 for none; where the machine is one that\n"
    "cannot attest itself, or not yet, it says what to do. The environment has no say in this.",
    options, sizeof(struct detect_opts), 0, 0, run
};
