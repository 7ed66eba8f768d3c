/* propkey revoke: a key leaves the key broker, and what it opened dies. */
#include "cmd/cli/kbs_opts.h"
#include "cmd/propkey/ledger.h"
#include "cmd/propkey/verbs.h"

#include "keys/kek_store.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct revoke_opts {
    struct prop_kbs_opts kbs;
    bool yes, forget_kek, dry_run;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct revoke_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct revoke_opts, kbs),
    { "yes", 'y', PROP_OPT_FLAG, NULL, "the images listed may die",
      offsetof(struct revoke_opts, yes), NULL, NULL, false },
    { "forget-kek", 0, PROP_OPT_FLAG, NULL, "remove this machine's copy of the KEK too",
      offsetof(struct revoke_opts, forget_kek), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "list the images, change nothing",
      offsetof(struct revoke_opts, dry_run), NULL, NULL, false },
    PROP_OPT_END
};

/* Does another key of this KBS open the image too (a rotation that is not retired)? */
static bool has_other_key(const json_t *keys, const char *path, const char *image)
{
    size_t i, k;
    json_t *key, *name;
    json_array_foreach (keys, i, key) {
        if (strcmp(json_string_value(json_object_get(key, "path")), path) == 0)
            continue;
        json_array_foreach (json_object_get(key, "images"), k, name)
            if (strcmp(json_string_value(name), image) == 0)
                return true;
    }
    return false;
}

/* {"dies":[...],"survives":[...]} */
static int look(struct prop_ledger *l, const char *url, const char *path, json_t **ret,
                struct prop_err *err)
{
    prop_auto_json json_t *doc = json_pack("{s:[],s:[]}", "dies", "survives");
    prop_auto_json json_t *images = NULL;
    prop_auto_json json_t *keys = NULL;
    size_t i;
    json_t *image;
    int rc = doc ? 0 : prop_err_nomem(err);
    if (rc == 0 && l)
        rc = prop_ledger_images(l, url, path, &images, err);
    if (rc == 0 && l)
        rc = prop_ledger_keys(l, url, &keys, err);
    json_array_foreach (images, i, image) {
        json_t *name = json_object_get(image, "image");
        bool other = has_other_key(keys, path, json_string_value(name));
        if (rc == 0 &&
            json_array_append(json_object_get(doc, other ? "survives" : "dies"), name) < 0)
            rc = prop_err_nomem(err);
    }
    if (rc == 0)
        *ret = PROP_TAKE(doc);
    return rc;
}

/* Nothing is known to die, or it was said that it may; without a ledger nothing is known at all. */
static int check_yes(struct prop_cli *cli, const struct revoke_opts *o, const struct prop_ledger *l,
                     const json_t *doc, struct prop_err *err)
{
    const json_t *dies = json_object_get(doc, "dies");
    size_t i;
    json_t *image;
    if (o->yes || o->dry_run || (l && json_array_size(dies) == 0))
        return 0;
    if (!l) {
        prop_err_set_id(err, PROP_E_USAGE, "images-unknown",
                        "which images would die is not known without the ledger");
        return prop_err_hint(err, "--yes deletes the key all the same");
    }
    json_array_foreach (dies, i, image)
        prop_cli_warn(cli, "'%s' cannot be run any more then", json_string_value(image));
    prop_err_set_id(err, PROP_E_USAGE, "images-die", "%zu image%s of this key would die with it",
                    json_array_size(dies), json_array_size(dies) == 1 ? "" : "s");
    return prop_err_hint(err,
                         "--yes if that is meant; 'propkey rotate' gives them another key first");
}

/* A key that is gone already is what was wanted. */
static int delete_it(struct prop_kbs *k, const struct prop_resource_id *id, bool *ret_was_there,
                     struct prop_err *err)
{
    struct prop_err e = PROP_ERR_INIT;
    int rc = prop_kbs_delete_resource(k, id, &e);
    *ret_was_there = rc == 0;
    if (rc == 0 || rc == PROP_E_NOTFOUND)
        return 0;
    *err = e;
    if (rc == PROP_E_UNSUPPORTED) {
        err->hint[0] = 0;
        (void)prop_err_hint(err,
                            "this server cannot delete: a policy without a rule for the key keeps "
                            "everybody out (propkey policy remove), or overwrite it: propkey set "
                            "--replace-key");
    }
    return rc;
}

/* Another name, here or at another key broker, under which this KEK was uploaded; NULL: none. */
static char *other_name(struct prop_ledger *l, const char *url, const char *path,
                        const char *fingerprint)
{
    prop_auto_json json_t *keys = NULL;
    size_t i;
    json_t *key;
    if (prop_ledger_keys(l, NULL, &keys, NULL) < 0)
        return NULL;
    json_array_foreach (keys, i, key) {
        const char *its = json_string_value(json_object_get(key, "fingerprint"));
        const char *name = json_string_value(json_object_get(key, "path"));
        const char *kbs = json_string_value(json_object_get(key, "kbs"));
        if (its && strcmp(its, fingerprint) == 0 &&
            (strcmp(name, path) != 0 || strcmp(kbs, url) != 0))
            return prop_asprintf("'%s' of %s", name, kbs);
    }
    return NULL;
}

/* The copy on this machine: named in the result, or removed. */
static int settle_kek(struct prop_cli *cli, const struct revoke_opts *o, const char *fingerprint,
                      const char *other, json_t *doc, struct prop_err *err)
{
    prop_auto_free char *file = NULL;
    prop_auto_secret struct prop_secret *kek = NULL;
    if (!fingerprint[0] || prop_kek_store_find(fingerprint, &kek, NULL) < 0)
        return 0;
    if (o->forget_kek && other)
        prop_cli_warn(cli, "the KEK stays on this machine: %s has it too", other);
    int rc = o->forget_kek && !other && !o->dry_run
                 ? prop_kek_store_forget(fingerprint, err)
                 : prop_kek_store_path(fingerprint, &file, err);
    if (rc == 0 && file && json_object_set_new(doc, "kek_file", json_string(file)) < 0)
        rc = prop_err_nomem(err);
    return rc;
}

static void print_human(const json_t *doc, void *stream)
{
    static const char *const lists[] = { "dies", "survives" };
    size_t i;
    json_t *image;
    (void)fprintf(stream, "%-9s %s\n",
                  json_is_true(json_object_get(doc, "dry_run"))   ? "would"
                  : json_is_true(json_object_get(doc, "deleted")) ? "revoked"
                                                                  : "not there",
                  json_string_value(json_object_get(doc, "path")));
    for (size_t n = 0; n < PROP_ARRAY_LEN(lists); n++)
        json_array_foreach (json_object_get(doc, lists[n]), i, image)
            (void)fprintf(stream, "%-9s %s\n", lists[n], json_string_value(image));
    const char *file = json_string_value(json_object_get(doc, "kek_file"));
    if (file)
        (void)fprintf(stream, "%-9s %s\n", "kek file", file);
}

static int revoke(struct prop_cli *cli, const struct revoke_opts *o, struct prop_kbs *k,
                  const struct prop_resource_id *id, struct prop_err *err)
{
    char fingerprint[17] = "";
    bool was_there = false;
    prop_auto_json json_t *doc = NULL;
    prop_auto_free char *path = prop_resource_id_path(id);
    if (!path)
        return prop_err_nomem(err);
    prop_auto_ledger struct prop_ledger *l = NULL;
    int rc = propkey_ledger_open(cli, &l, err);
    if (rc == 0)
        rc = look(l, prop_kbs_url(k), path, &doc, err);
    if (rc == 0)
        rc = check_yes(cli, o, l, doc, err);
    if (rc == 0 && l)
        (void)prop_ledger_find_key(l, prop_kbs_url(k), path, fingerprint, NULL);
    if (rc == 0 && !o->dry_run)
        rc = delete_it(k, id, &was_there, err);
    if (rc < 0)
        return rc;
    struct prop_err noted = PROP_ERR_INIT;
    if (l && !o->dry_run && prop_ledger_forget_key(l, prop_kbs_url(k), path, &noted) < 0)
        prop_cli_warn(cli, "the name is still in this machine's ledger: %s", noted.message);
    prop_auto_free char *other =
        l ? other_name(l, prop_kbs_url(k), path, fingerprint) : NULL;
    rc = settle_kek(cli, o, fingerprint, other, doc, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *all = json_pack(
        "{s:s,s:s,s:b,s:b,s:s*}", "path", path, "kbs", prop_kbs_url(k), "deleted", was_there,
        "dry_run", o->dry_run, "fingerprint", fingerprint[0] ? fingerprint : NULL);
    if (!all || json_object_update(all, doc) < 0)
        return prop_err_nomem(err);
    if (!o->dry_run)
        prop_kbs_opts_say_form(cli, k, all);
    return prop_cli_result(cli, all, print_human, err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct revoke_opts *o = opts;
    struct prop_resource_id id;
    prop_auto_kbs struct prop_kbs *k = NULL;
    int rc = prop_resource_id_parse(prop_cli_arg(cli, 0), false, &id, err);
    if (rc == 0)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &k, err);
    return rc < 0 ? rc : revoke(cli, o, k, &id, err);
}

const struct prop_verb propkey_verb_revoke = {
    "revoke", "PATH", "delete a key at the key broker, and say which images die with it",
    "Nobody can run an image whose only key is gone. The images are those this machine's ledger\n"
    "knows; with any, --yes is needed. The KEK stays on this machine (an image can be given\n"
    "another key with it) unless --forget-kek. Who has the key already keeps it: to shut out a\n"
    "guest that ran, publish the module again under another key.",
    options, sizeof(struct revoke_opts), 1, 1, run
};
