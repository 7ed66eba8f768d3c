/* propkey backup: the KEKs of this machine in one file, under a passphrase. */
#include "cmd/propkey/backup_data.h"
#include "cmd/propkey/keyout.h"
#include "cmd/propkey/ledger.h"
#include "cmd/propkey/passphrase.h"
#include "cmd/propkey/verbs.h"

#include "crypto/passbox.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

enum { FILE_MODE = 0600 };

struct backup_opts {
    const char *out;
    bool force;
    uint64_t memory;
    struct propkey_pass_opts pass;
};

static const struct prop_opt options[] = {
    { "output", 'o', PROP_OPT_STRING, "FILE", "the backup (0600)",
      offsetof(struct backup_opts, out), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace FILE if it is there",
      offsetof(struct backup_opts, force), NULL, NULL, false },
    { "memory", 0, PROP_OPT_SIZE, "SIZE", "how much it costs to try a passphrase, 8M to 1G",
      offsetof(struct backup_opts, memory), NULL, "256M", false },
    PROPKEY_PASS_OPTIONS(struct backup_opts, pass),
    PROP_OPT_END
};

static void print_names(FILE *out, const json_t *doc, const char *member, const char *label)
{
    size_t i;
    json_t *key;
    json_array_foreach (json_object_get(doc, member), i, key)
        (void)fprintf(out, "%-8s %s  %s  %s\n", label,
                      json_string_value(json_object_get(key, "fingerprint")),
                      json_string_value(json_object_get(key, "path")),
                      json_string_value(json_object_get(key, "kbs")));
}

static void print_human(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%-8s %s\n%-8s %lld\n", "file",
                  json_string_value(json_object_get(doc, "file")), "keks",
                  (long long)json_integer_value(json_object_get(doc, "keks")));
    print_names(stream, doc, "keys", "key");
    print_names(stream, doc, "missing", "missing");
}

static int seal(const struct backup_opts *o, const struct prop_secret *data, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *pass = NULL;
    prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(PROP_LIMIT_SECRET);
    prop_auto_file_out struct prop_file_out f = PROP_FILE_OUT_INIT;
    /* A file in the way is said before anybody types a passphrase. */
    int rc = prop_file_out_open(&f, o->out, FILE_MODE, o->force, err);
    if (rc == 0)
        rc = propkey_passphrase(&o->pass, true, &pass, err);
    if (rc == 0)
        rc = prop_passbox_seal(pass, o->memory, data, &sealed, err);
    if (rc == 0)
        rc = prop_file_out_write(&f, sealed.data, sealed.len, err);
    return rc == 0 ? prop_file_out_commit(&f, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct backup_opts *o = opts;
    prop_auto_ledger struct prop_ledger *l = NULL;
    prop_auto_secret struct prop_secret *data = NULL;
    prop_auto_json json_t *summary = NULL;
    if (!o->out)
        return prop_err_set_id(err, PROP_E_USAGE, "no-output", "where to is missing: give -o FILE");
    if (strcmp(o->out, "-") == 0 && prop_cli_json(cli))
        return prop_err_set_id(err, PROP_E_USAGE, "json-and-stdout",
                               "the backup goes to standard output, --json cannot go there too");
    int rc = prop_ledger_open_existing(NULL, &l, err);
    if (rc == 0)
        rc = propkey_backup_collect(l, &data, &summary, err);
    if (rc == 0)
        rc = seal(o, data, err);
    if (rc < 0)
        return rc;
    if (json_array_size(json_object_get(summary, "missing")))
        prop_cli_warn(
            cli, "some keys of the ledger were made elsewhere and are not kept on this machine: "
                 "they are not in the backup");
    if (strcmp(o->out, "-") == 0)
        return 0;
    if (json_object_set_new(summary, "file", propkey_name(o->out)) < 0)
        return prop_err_nomem(err);
    return prop_cli_result(cli, summary, print_human, err);
}

const struct prop_verb propkey_verb_backup = {
    "backup", "", "write the KEKs kept on this machine to a file, under a passphrase",
    "A KEK that was made here (gen, rotate, proppush publish) cannot be read back from the key\n"
    "broker by an administrator: this file and the passphrase are what brings it back. What the\n"
    "ledger knows of each key, its names and images, goes along.\n"
    "\n"
    "  propkey backup -o keys.backup\n"
    "  propkey restore keys.backup",
    options, sizeof(struct backup_opts), 0, 0, run
};
