/* propcvm detect: is this a confidential VM, and by which sign? Host-side signs (CPU flags, the
 * host's kernel log) do not count: they are there outside of a guest too. */
#include "cmd/propcvm/verbs.h"

#include "tee/evidence.h"
#include "tee/machine.h"
#include "tee/tsm.h"

#include <stdio.h>
#include <unistd.h>

static int add_sign(json_t *signs, const char *what, const char *found)
{
    return json_array_append_new(signs, json_pack("{s:s,s:s?}", "test", what, "found", found));
}

static int list_signs(json_t *signs)
{
    const struct prop_tee_machine *m = &prop_tee_this_machine;
    char provider[32] = "";
    bool tsm = prop_tsm_provider(m->tsm_root, provider, NULL) == 0;

    return add_sign(signs, m->tsm_root, tsm ? provider : NULL) ||
           add_sign(signs, m->sev_guest, access(m->sev_guest, F_OK) == 0 ? "device" : NULL) ||
           add_sign(signs, m->tdx_guest, access(m->tdx_guest, F_OK) == 0 ? "device" : NULL);
}

static void print_human(const json_t *doc, void *stream)
{
    size_t i = 0;
    const json_t *sign = NULL;

    (void)fprintf(stream, "%s\n", json_string_value(json_object_get(doc, "tee")));
    json_array_foreach(json_object_get(doc, "signs"), i, sign) {
        const char *found = json_string_value(json_object_get(sign, "found"));
        (void)fprintf(stream, "  %-34s %s\n", json_string_value(json_object_get(sign, "test")),
                      found ? found : "-");
    }
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    enum prop_tee tee = PROP_TEE_NONE;
    struct prop_err why = PROP_ERR_INIT;
    int rc = prop_tee_choose("auto", &tee, &why);

    (void)opts;
    if (rc && rc != PROP_E_UNSUPPORTED) {
        *err = why;
        return rc;
    }
    prop_auto_json json_t *signs = json_array();
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:O*}", "tee", prop_tee_name(tee), "signs", signs);
    if (!signs || !doc || list_signs(signs))
        return prop_err_nomem(err);
    rc = prop_cli_result(cli, doc, print_human, err);
    if (rc == 0 && tee == PROP_TEE_NONE)
        prop_cli_set_status(cli, 1); /* the answer is no */
    return rc;
}

static const struct prop_opt options[] = { PROP_OPT_END };

const struct prop_verb propcvm_verb_detect = {
    "detect", "", "tell whether this machine is a confidential VM",
    "Prints snp, tdx or none, and each sign that was looked for. Exit status 1 for none.",
    options, 0, 0, 0, run
};
