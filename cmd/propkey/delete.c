/* propkey delete: remove a resource. */
#include "cmd/cli/kbs_opts.h"
#include "cmd/propkey/ledger.h"
#include "cmd/propkey/verbs.h"

#include "util/mem.h"

struct delete_opts {
    struct prop_kbs_opts kbs;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct delete_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct delete_opts, kbs),
    PROP_OPT_END
};

/* Said while it is still known: the ledger forgets a key's images with it. */
static void tell_images(struct prop_cli *cli, struct prop_ledger *l, const char *url,
                        const char *path)
{
    prop_auto_json json_t *images = NULL;
    size_t i;
    json_t *image;
    if (!l || prop_ledger_images(l, url, path, &images, NULL) < 0)
        return;
    json_array_foreach (images, i, image)
        prop_cli_warn(cli, "'%s' was encrypted with it: nobody can run it now, unless another key "
                           "opens it", json_string_value(json_object_get(image, "image")));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct delete_opts *o = opts;
    struct prop_resource_id id;
    prop_auto_kbs struct prop_kbs *k = NULL;
    int rc = prop_resource_id_parse(prop_cli_arg(cli, 0), false, &id, err);
    if (rc == 0)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &k, err);
    prop_auto_ledger struct prop_ledger *l = NULL;
    if (rc == 0)
        rc = propkey_ledger_open(cli, &l, err);
    if (rc < 0)
        return rc;
    prop_auto_free char *path = prop_resource_id_path(&id);
    if (!path)
        return prop_err_nomem(err);
    rc = prop_kbs_delete_resource(k, &id, err);
    if (rc < 0)
        return rc;
    tell_images(cli, l, prop_kbs_url(k), path);
    struct prop_err noted = PROP_ERR_INIT;
    if (l && prop_ledger_forget_key(l, prop_kbs_url(k), path, &noted) < 0 &&
        noted.code != PROP_E_NOTFOUND)
        prop_cli_warn(cli, "the name is still in this machine's ledger: %s", noted.message);
    prop_auto_json json_t *doc = json_pack("{s:s,s:s,s:b}", "path", path, "kbs", prop_kbs_url(k),
                                           "deleted", 1);
    if (!doc)
        return prop_err_nomem(err);
    prop_kbs_opts_say_form(cli, k, doc);
    return prop_cli_result(cli, doc, NULL, err);
}

const struct prop_verb propkey_verb_delete = {
    "delete", "PATH", "delete resource PATH at the key broker",
    "Images encrypted with a deleted key cannot be run any more: 'revoke' names them and asks\n"
    "first. Servers can delete since v0.20.",
    options, sizeof(struct delete_opts), 1, 1, run
};
