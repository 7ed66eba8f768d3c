/* propkey reference-value import: what a measurement file says, brought to the key broker. */
#include "cmd/propkey/reference.h"
#include "cmd/propkey/verbs.h"

#include "kbs/reference.h"
#include "util/limits.h"

#include <stdio.h>

struct import_opts {
    struct propkey_reference_opts r;
};

static const struct prop_opt options[] = {
    PROPKEY_REFERENCE_OPTIONS(struct import_opts, r),
    PROP_OPT_END
};

/* These hold one release only, and the policy can do without them (attestation.md 4.4). */
static const char *const may_stay[] = { "tdvfkernel", "tdvfkernelparams", NULL };

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct import_opts *o = opts;
    const char *file = prop_cli_arg(cli, 0);
    prop_auto_json json_t *doc = NULL;
    prop_auto_json json_t *values = NULL;
    char what[300];
    (void)snprintf(what, sizeof what, "'%.280s'", file);
    int rc = prop_json_parse_file(file, PROP_LIMIT_KBS_BODY, &doc, err);
    if (rc == 0)
        rc = prop_reference_from_measurement(doc, what, &values, err);
    return rc < 0 ? rc : propkey_reference_apply(cli, &o->r, values, may_stay, err);
}

const struct prop_verb propkey_verb_reference_value_import = {
    "reference-value import", "FILE", "add the reference values of a measurement file",
    "FILE is what propcvm vm measure --json writes (launch_digest; or mr_td, rtmr_1 and rtmr_2,\n"
    "with a value per profile), a JSON object of reference value names, or what\n"
    "reference-value get --json printed. As with reference-value set, values of other images\n"
    "stay. tdvfkernel and tdvfkernelparams hold one release only; where another one's are there\n"
    "they are left, with a warning: the shipped policy does not need them.\n"
    "\n"
    "  propcvm vm measure --mode snp ... --json | propkey reference-value import -",
    options, sizeof(struct import_opts), 1, 1, run
};
