/* propkey restore: KEKs from a backup. */
#include "cmd/propkey/backup_data.h"
#include "cmd/propkey/passphrase.h"
#include "cmd/propkey/verbs.h"

#include "crypto/passbox.h"
#include "store/ledger.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct restore_opts {
    bool dry_run;
    struct propkey_pass_opts pass;
};

static const struct prop_opt options[] = {
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "open it and list what is in it, change nothing",
      offsetof(struct restore_opts, dry_run), NULL, NULL, false },
    PROPKEY_PASS_OPTIONS(struct restore_opts, pass),
    PROP_OPT_END
};

static void print_fingerprints(FILE *out, const json_t *doc, const char *member)
{
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(doc, member), i, item)
        (void)fprintf(out, "%-9s %s\n", member, json_string_value(item));
}

static void print_human(const json_t *doc, void *stream)
{
    FILE *out = stream;
    size_t i;
    json_t *key;
    print_fingerprints(out, doc, "restored");
    print_fingerprints(out, doc, "present");
    json_array_foreach (json_object_get(doc, "keys"), i, key)
        (void)fprintf(out, "%-9s %s  %s  %s\n", "key",
                      json_string_value(json_object_get(key, "fingerprint")),
                      json_string_value(json_object_get(key, "path")),
                      json_string_value(json_object_get(key, "kbs")));
}

static void tell_conflicts(struct prop_cli *cli, const json_t *doc)
{
    size_t i;
    json_t *key;
    json_array_foreach(json_object_get(doc, "conflicts"), i, key) prop_cli_warn(
        cli, "'%s' of %s has the key %s here, and %s in the backup: left as it is here",
        json_string_value(json_object_get(key, "path")),
        json_string_value(json_object_get(key, "kbs")),
        json_string_value(json_object_get(key, "here")),
        json_string_value(json_object_get(key, "fingerprint")));
}

static int open_backup(const char *file, const struct restore_opts *o, struct prop_secret **ret,
                       struct prop_err *err)
{
    char what[320];
    prop_auto_secret struct prop_secret *pass = NULL;
    prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(PROP_LIMIT_SECRET);
    (void)snprintf(what, sizeof what, "'%.300s'", file);
    int rc = prop_file_read(file, &sealed, err);
    if (rc == 0)
        rc = propkey_passphrase(&o->pass, false, &pass, err);
    return rc == 0 ? prop_passbox_open(pass, prop_buf_str(&sealed), sealed.len, what, ret, err)
                   : rc;
}

/* A KEK whose name is nowhere noted is found by nobody: no restore without a ledger. */
static int open_ledger(bool dry_run, struct prop_ledger **ret, struct prop_err *err)
{
    if (dry_run)
        return prop_ledger_open_existing(NULL, ret, err);
    prop_auto_ledger struct prop_ledger *l = NULL;
    int rc = prop_ledger_open(NULL, &l, err);
    if (rc == 0)
        rc = prop_ledger_lock(l, err);
    if (rc == 0)
        *ret = PROP_TAKE(l);
    return rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct restore_opts *o = opts;
    prop_auto_secret struct prop_secret *data = NULL;
    prop_auto_ledger struct prop_ledger *l = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc = open_backup(prop_cli_arg(cli, 0), o, &data, err);
    if (rc < 0)
        return rc;
    rc = open_ledger(o->dry_run, &l, err);
    if (rc == 0)
        rc = propkey_backup_restore(data, l, o->dry_run, &doc, err);
    if (rc < 0)
        return rc;
    tell_conflicts(cli, doc);
    if (json_object_set_new(doc, "dry_run", json_boolean(o->dry_run)) < 0)
        return prop_err_nomem(err);
    return prop_cli_result(cli, doc, print_human, err);
}

const struct prop_verb propkey_verb_restore = {
    "restore", "FILE", "bring the KEKs of a backup back to this machine",
    "KEKs go to the folder of keys, names and images to the ledger; what is there stays as it is.\n"
    "A wrong passphrase is told from a damaged file, and neither changes anything.",
    options, sizeof(struct restore_opts), 1, 1, run
};
