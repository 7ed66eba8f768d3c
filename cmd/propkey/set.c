/* propkey set: upload a resource. */
#include "cmd/cli/kbs_opts.h"
#include "cmd/propkey/ledger.h"
#include "cmd/propkey/proof.h"
#include "cmd/propkey/verbs.h"

#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

struct set_opts {
    struct prop_kbs_opts kbs;
    bool replace, allow_empty, dry_run;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct set_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct set_opts, kbs),
    PROP_KBS_TEE_OPTION(struct set_opts, kbs),
    { "replace-key", 0, PROP_OPT_FLAG, NULL, "put it there even if this name holds another key",
      offsetof(struct set_opts, replace), NULL, NULL, false },
    { "allow-empty", 0, PROP_OPT_FLAG, NULL, "upload an empty resource",
      offsetof(struct set_opts, allow_empty), NULL, NULL, false },
    { "dry-run", 0, PROP_OPT_FLAG, NULL, "check everything here, upload nothing",
      offsetof(struct set_opts, dry_run), NULL, NULL, false },
    PROP_OPT_END
};

static int read_value(const char *file, bool allow_empty, struct prop_secret **ret,
                      struct prop_err *err)
{
    prop_auto_secret struct prop_secret *value = NULL;
    int rc = prop_file_read_secret(file, PROP_LIMIT_KBS_BODY, PROP_SECRET_FILE_ANY_MODE, &value,
                                   err);
    if (rc == PROP_E_LIMIT) {
        prop_err_set_id(err, PROP_E_LIMIT, "resource-too-big",
                        "'%s' has more than %u bytes, a key broker takes no more", file,
                        PROP_LIMIT_KBS_BODY);
        return prop_err_hint(err, "encrypt large data with a key, and upload the key");
    }
    if (rc < 0)
        return rc;
    if (prop_secret_len(value) == 0 && !allow_empty) {
        prop_err_set_id(err, PROP_E_INPUT, "empty-resource", "'%s' is empty", file);
        return prop_err_hint(err, "--allow-empty uploads it all the same");
    }
    *ret = PROP_TAKE(value);
    return 0;
}

static int give(struct prop_cli *cli, const struct set_opts *o, const struct prop_kbs *k,
                const char *path, const char *fingerprint, const struct prop_secret *value,
                const struct propkey_proof *proof, struct prop_err *err)
{
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s,s:I,s:s*,s:b}", "path", path, "kbs", prop_kbs_url(k), "bytes",
                  (json_int_t)prop_secret_len(value), "fingerprint",
                  fingerprint[0] ? fingerprint : NULL, "uploaded", !o->dry_run);
    if (!doc)
        return prop_err_nomem(err);
    int rc = 0;
    if (!o->dry_run) {
        prop_kbs_opts_say_form(cli, k, doc);
        rc = propkey_proof_add(proof, doc, err);
    }
    return rc < 0 ? rc : prop_cli_result(cli, doc, NULL, err);
}

static int upload(struct prop_cli *cli, const struct set_opts *o, struct prop_kbs *k,
                  const struct prop_resource_id *id, const struct prop_secret *value,
                  struct prop_err *err)
{
    char fingerprint[17];
    struct propkey_proof proof;
    prop_auto_ledger struct prop_ledger *l = NULL;
    prop_auto_free char *path = prop_resource_id_path(id);
    if (!path)
        return prop_err_nomem(err);
    propkey_fingerprint(value, fingerprint);
    int rc = propkey_proof_prepare(cli, &o->kbs, &proof, err);
    if (rc == 0)
        rc = propkey_ledger_open(cli, &l, err);
    if (rc == 0 && !o->replace)
        rc = propkey_ledger_check(l, prop_kbs_url(k), path, fingerprint, err);
    if (rc == 0 && !o->dry_run)
        rc = prop_kbs_set_resource(k, id, value, err);
    if (rc < 0)
        return rc;
    struct prop_err noted = PROP_ERR_INIT;
    if (l && !o->dry_run &&
        prop_ledger_add_key(l, prop_kbs_url(k), path, fingerprint, NULL, &noted) < 0)
        prop_cli_warn(cli, "the upload is not in this machine's ledger: %s", noted.message);
    prop_ledger_unlock(l); /* what follows changes nothing; others need not wait for it */
    if (!o->dry_run)
        rc = propkey_prove(k, id, value, &proof, err);
    return rc < 0 ? rc : give(cli, o, k, path, fingerprint, value, &proof, err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct set_opts *o = opts;
    struct prop_resource_id id;
    prop_auto_secret struct prop_secret *value = NULL;
    prop_auto_kbs struct prop_kbs *k = NULL;
    int rc = prop_resource_id_parse(prop_cli_arg(cli, 0), false, &id, err);
    if (rc == 0)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &k, err);
    if (rc == 0)
        rc = read_value(prop_cli_arg(cli, 1), o->allow_empty, &value, err);
    return rc < 0 ? rc : upload(cli, o, k, &id, value, err);
}

const struct prop_verb propkey_verb_set = {
    "set", "PATH FILE", "upload FILE to the key broker as resource PATH",
    "PATH is repo/type/tag or kbs:///repo/type/tag; FILE may be - for standard input. Uploading\n"
    "the same value again changes nothing. A name that this machine's ledger knows with another\n"
    "key is not overwritten without --replace-key.\n"
    "\n"
    "A machine that can attest fetches the value back and compares (--tee sample on a test\n"
    "server); any other has the key broker's word only, and \"proof\" in the result says so.\n"
    "\n"
    "  propkey set default/key/app app.kek --kbs https://kbs.example.com --admin-key admin.key",
    options, sizeof(struct set_opts), 2, 2, run
};
