/* propkey list: the resources this machine uploaded. No key broker lists what it holds (kbs.md 1:
 * there is no such call in any release), so the ledger answers, and says so. */
#include "cmd/cli/kbs_opts.h"
#include "cmd/propkey/verbs.h"

#include "store/ledger.h"
#include "util/text.h"

#include <stdio.h>

struct list_opts {
    struct prop_kbs_opts kbs;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct list_opts, kbs),
    PROP_OPT_END
};

static void print_image(const json_t *image, FILE *out)
{
    const char *ref = json_is_string(image) ? json_string_value(image)
                                            : json_string_value(json_object_get(image, "image"));
    (void)fprintf(out, "    %s\n", ref ? ref : "");
}

static void print_list(const json_t *doc, void *stream)
{
    size_t i, j;
    json_t *r, *image;
    json_array_foreach(json_object_get(doc, "resources"), i, r) {
        const char *fingerprint = json_string_value(json_object_get(r, "fingerprint"));
        const char *time = json_string_value(json_object_get(r, "uploaded"));
        (void)fprintf(stream, "%-20s  %-16s  %s  %s\n", time ? time : "",
                      fingerprint ? fingerprint : "-",
                      json_string_value(json_object_get(r, "kbs")),
                      json_string_value(json_object_get(r, "path")));
        json_array_foreach(json_object_get(r, "images"), j, image)
            print_image(image, stream);
    }
}

/* The ledger's seconds, also as people read them. */
static int add_times(json_t *resources, struct prop_err *err)
{
    size_t i;
    json_t *r;
    json_array_foreach(resources, i, r) {
        char text[21];
        prop_rfc3339((time_t)json_integer_value(json_object_get(r, "time")), text);
        if (json_object_set_new(r, "uploaded", json_string(text)) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct list_opts *o = opts;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_ledger struct prop_ledger *l = NULL;
    prop_auto_json json_t *resources = NULL;
    int rc = 0;
    if (o->kbs.kbs && *o->kbs.kbs) /* for the spelling the ledger has; nothing is asked */
        rc = prop_kbs_opts_open(&o->kbs, &k, err);
    if (rc == 0)
        rc = prop_ledger_open_existing(NULL, &l, err);
    if (rc == 0 && l)
        rc = prop_ledger_keys(l, k ? prop_kbs_url(k) : NULL, &resources, err);
    if (rc == 0 && !resources && !(resources = json_array()))
        rc = prop_err_nomem(err);
    if (rc == 0)
        rc = add_times(resources, err);
    if (rc < 0)
        return rc;
    prop_cli_note(cli, "key brokers do not list what they hold: this is what this machine uploaded "
                       "and did not delete");
    prop_auto_json json_t *doc = json_pack("{s:s,s:s*,s:O}", "source", "ledger", "kbs",
                                           k ? prop_kbs_url(k) : NULL, "resources", resources);
    return doc ? prop_cli_result(cli, doc, print_list, err) : prop_err_nomem(err);
}

const struct prop_verb propkey_verb_list = {
    "list", "", "list the resources this machine uploaded",
    "No release of the key broker lists its resources, so the answer comes from this machine's\n"
    "ledger: what it uploaded and did not delete, with the fingerprint of keys and the images\n"
    "that need them. Without --kbs, of all servers.",
    options, sizeof(struct list_opts), 0, 0, run
};
