/* propkey reference-value get: what the key broker compares with. */
#include "cmd/cli/kbs_opts.h"
#include "cmd/propkey/verbs.h"

#include "kbs/reference.h"
#include "util/mem.h"

#include <stdio.h>

struct get_opts {
    struct prop_kbs_opts kbs;
    bool all_known;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct get_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct get_opts, kbs),
    { "all-known", 0, PROP_OPT_FLAG, NULL, "also every name the shipped attestation policy uses",
      offsetof(struct get_opts, all_known), NULL, NULL, false },
    PROP_OPT_END
};

static void print_values(const json_t *doc, void *stream)
{
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(doc, "values"), name, v) {
        prop_auto_free char *text = prop_json_compact(v);
        (void)fprintf(stream, "%s=%s\n", name, text ? text : "");
    }
}

/* One name into `values`; what nobody set goes into `missing` when that is wanted. */
static int ask(struct prop_kbs *k, const char *name, json_t *values, json_t *missing,
               struct prop_err *last, struct prop_err *err)
{
    prop_auto_json json_t *v = NULL;
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_kbs_get_reference_value(k, name, &v, &local);
    if (rc == 0)
        return json_object_set(values, name, v) == 0 ? 0 : prop_err_nomem(err);
    if (rc == PROP_E_NOTFOUND) {
        *last = local;
        return !missing || json_array_append_new(missing, json_string(name)) == 0
                   ? 0
                   : prop_err_nomem(err);
    }
    if (err)
        *err = local;
    return rc;
}

static int ask_all(struct prop_cli *cli, const struct get_opts *o, struct prop_kbs *k,
                   json_t *values, json_t *missing, struct prop_err *last, struct prop_err *err)
{
    const char *name;
    int rc = 0;
    for (int i = 0; rc == 0 && i < prop_cli_argc(cli); i++)
        rc = ask(k, prop_cli_arg(cli, i), values, missing, last, err);
    for (size_t i = 0; rc == 0 && o->all_known && (name = prop_reference_known(i)); i++)
        if (!json_object_get(values, name))
            rc = ask(k, name, values, NULL, last, err);
    return rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct get_opts *o = opts;
    struct prop_err last = PROP_ERR_INIT;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_json json_t *values = json_object();
    prop_auto_json json_t *missing = json_array();
    if (!o->all_known && prop_cli_argc(cli) == 0) {
        prop_err_set_id(err, PROP_E_USAGE, "no-reference-names", "which reference values?");
        return prop_err_hint(err, "name them, or --all-known; a key broker does not list them");
    }
    int rc = values && missing ? 0 : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &k, err);
    if (rc == 0)
        rc = ask_all(cli, o, k, values, missing, &last, err);
    if (rc < 0)
        return rc;
    if (!o->all_known && json_object_size(values) == 0) {
        if (err)
            *err = last;
        return last.code;
    }
    prop_auto_json json_t *doc = json_pack("{s:s,s:O,s:O}", "kbs", prop_kbs_url(k), "values",
                                           values, "missing", missing);
    if (!doc)
        return prop_err_nomem(err);
    prop_kbs_opts_say_form(cli, k, doc);
    for (size_t i = 0; i < json_array_size(missing); i++)
        prop_cli_warn(cli, "nobody set '%s'", json_string_value(json_array_get(missing, i)));
    if (json_array_size(missing) > 0)
        prop_cli_set_status(cli, prop_exit_code(&last));
    return prop_cli_result(cli, doc, print_values, err);
}

const struct prop_verb propkey_verb_reference_value_get = {
    "reference-value get", "[NAME...]", "print reference values of the key broker",
    "A key broker does not list its reference values: they are asked for by name. Exit status 8\n"
    "when one that was named is not there.\n"
    "\n"
    "  propkey reference-value get --all-known",
    options, sizeof(struct get_opts), 0, -1, run
};
