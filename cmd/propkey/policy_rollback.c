/* propkey policy history and rollback: what this machine uploaded, and one of them put back. */
#include "cmd/propkey/keyout.h"
#include "cmd/propkey/ledger.h"
#include "cmd/propkey/policy_upload.h"
#include "cmd/propkey/verbs.h"

#include "policy/compare.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

enum { hash_digits_min = 6 };

struct rollback_opts {
    struct propkey_policy_opts policy;
    const char *to;
};

static const struct prop_opt rollback_options[] = {
    PROP_KBS_OPTIONS(struct rollback_opts, policy.kbs),
    PROP_KBS_ADMIN_OPTIONS(struct rollback_opts, policy.kbs),
    { "to", 0, PROP_OPT_STRING, "HASH", "the upload with this SHA-256, or the first digits of it",
      offsetof(struct rollback_opts, to), NULL, NULL, false },
    { "allow-wider", 0, PROP_OPT_FLAG, NULL, "the policy may let in more than the one before",
      offsetof(struct rollback_opts, policy.allow_wider), NULL, NULL, false },
    { "dry-run", 0, PROP_OPT_FLAG, NULL, "check everything here, upload nothing",
      offsetof(struct rollback_opts, policy.dry_run), NULL, NULL, false },
    PROP_OPT_END
};

static int not_known(struct prop_err *err, const char *what)
{
    prop_err_set_id(err, PROP_E_NOTFOUND, "policy-unknown", "%s", what);
    return prop_err_hint(err, "'propkey policy history' lists what this machine uploaded");
}

static int find_hash(const json_t *list, const char *hash, int64_t *ret, struct prop_err *err)
{
    size_t i, found = 0;
    json_t *entry;
    char same[65] = "";
    if (prop_starts_with(hash, "sha256:"))
        hash += strlen("sha256:");
    if (strlen(hash) < hash_digits_min)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--to takes at least %d digits of the hash", (int)hash_digits_min);
    json_array_foreach(list, i, entry) {
        const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
        if (!sha256 || !prop_starts_with(sha256, hash))
            continue;
        if (found == 0) /* the newest of equal ones */
            *ret = json_integer_value(json_object_get(entry, "id"));
        if (strcmp(same, sha256) != 0)
            found++;
        (void)snprintf(same, sizeof same, "%s", sha256);
    }
    if (found == 0)
        return not_known(err, "no upload to this key broker has that hash");
    return found == 1 ? 0
                      : prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                                        "several uploads begin with '%s'", hash);
}

static int read_id(const char *word, int64_t *ret, struct prop_err *err)
{
    uint64_t id = 0;
    if (prop_parse_u64(word, "ID", &id, NULL) < 0 || id > INT64_MAX)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "'%s' is not the number of an upload", word);
    *ret = (int64_t)id;
    return 0;
}

/* Which one: by its number, by its hash, or the newest that differs from the last one. */
static int choose(const json_t *list, const char *id, const char *hash, int64_t *ret,
                  struct prop_err *err)
{
    const json_t *last = json_object_get(json_array_get(list, 0), "sha256");
    size_t i;
    json_t *entry;
    if (id && hash)
        return prop_err_set_id(err, PROP_E_USAGE, "which-policy", "an ID and --to exclude each other");
    if (hash)
        return find_hash(list, hash, ret, err);
    if (id)
        return read_id(id, ret, err);
    json_array_foreach(list, i, entry)
        if (!json_equal(json_object_get(entry, "sha256"), last)) {
            *ret = json_integer_value(json_object_get(entry, "id"));
            return 0;
        }
    return not_known(err, "no upload to this key broker came before the last one");
}

/* May the old policy come back? Exact when both are known as documents. */
static int check_wider(struct propkey_policy_target *t, const char *rego, const char *document,
                       bool allow_wider, json_t *more, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *doc = NULL;
    bool none = strcmp(rego, prop_policy_preset("deny-all")) == 0;
    if (document || none) {
        int rc = document ? prop_policy_doc_parse(document, strlen(document), "the document of that upload",
                                                  &doc, err)
                          : prop_policy_doc_new(&doc, err);
        return rc < 0 ? rc
                      : propkey_policy_check_wider(t, prop_policy_doc_rules(doc), allow_wider, more, err);
    }
    if (allow_wider || (t->last.rego && strcmp(t->last.rego, rego) == 0))
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "policy-wider",
                    "this policy may let in more than the one it replaces: it was not built from a "
                    "document");
    return prop_err_hint(err, "if that is meant, --allow-wider");
}

static int open_ledger_list(struct propkey_policy_target *t, json_t **ret, struct prop_err *err)
{
    if (!t->ledger)
        return prop_err_set_id(err, PROP_E_IO, "ledger", "without a ledger nothing is known to go back to");
    return prop_ledger_policies(t->ledger, prop_kbs_url(t->kbs), ret, err);
}

static int run_rollback(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct rollback_opts *o = opts;
    propkey_auto_policy_target struct propkey_policy_target t = { cli, NULL, NULL,
                                                                  PROP_POLICY_KNOWN_INIT };
    prop_auto_json json_t *list = NULL;
    prop_auto_json json_t *more = json_object();
    prop_auto_free char *rego = NULL;
    prop_auto_free char *document = NULL;
    int64_t id = 0;
    char name[40];
    int rc = more ? propkey_policy_open(cli, &o->policy.kbs, &t, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = open_ledger_list(&t, &list, err);
    if (rc == 0)
        rc = choose(list, prop_cli_arg(cli, 0), o->to, &id, err);
    if (rc == 0)
        rc = prop_ledger_policy(t.ledger, prop_kbs_url(t.kbs), id, &rego, &document, err);
    if (rc == 0)
        rc = check_wider(&t, rego, document, o->policy.allow_wider, more, err);
    if (rc < 0)
        return rc;
    if (json_object_set_new(more, "id", json_integer((json_int_t)id)) != 0)
        return prop_err_nomem(err);
    (void)snprintf(name, sizeof name, "upload %lld", (long long)id);
    const struct propkey_policy_text p = { name, rego, strlen(rego), document, NULL, NULL,
                                           more, o->policy.dry_run };
    rc = propkey_policy_send(&t, &p, err);
    if (rc == 0 && document)
        prop_cli_note(cli, "the policy document is still the newer one: take it back too, from git or "
                           "with 'propkey policy history %lld'", (long long)id);
    return rc;
}

const struct prop_verb propkey_verb_policy_rollback = {
    "policy rollback", "[ID]", "upload a policy again that this machine uploaded before",
    "Without ID or --to: the one before the last. 'propkey policy history' lists them. Going back must\n"
    "not let in more than now, unless --allow-wider is given. What other machines uploaded is not\n"
    "known here, and nothing on the key broker can compare and set.",
    rollback_options, sizeof(struct rollback_opts), 0, 1, run_rollback
};

/* --- history ----------------------------------------------------------------------------------- */

struct history_opts {
    struct prop_kbs_opts kbs;
};

static const struct prop_opt history_options[] = {
    PROP_KBS_OPTIONS(struct history_opts, kbs),
    PROP_OPT_END
};

static void print_history(const json_t *doc, void *stream)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(doc, "policies"), i, entry)
        (void)fprintf(stream, "%4lld  %s  %.12s  %7lld bytes  %s\n",
                      (long long)json_integer_value(json_object_get(entry, "id")),
                      json_string_value(json_object_get(entry, "date")),
                      json_string_value(json_object_get(entry, "sha256")),
                      (long long)json_integer_value(json_object_get(entry, "bytes")),
                      json_is_true(json_object_get(entry, "document")) ? "from a document" : "Rego");
}

static void print_one(const json_t *doc, void *stream)
{
    const char *document = json_string_value(json_object_get(doc, "document"));
    (void)fputs(document ? document : json_string_value(json_object_get(doc, "rego")), stream);
}

static int show_one(struct prop_cli *cli, struct prop_ledger *l, const char *url, const char *word,
                    struct prop_err *err)
{
    prop_auto_free char *rego = NULL;
    prop_auto_free char *document = NULL;
    int64_t id = 0;
    int rc = read_id(word, &id, err);
    if (rc == 0)
        rc = prop_ledger_policy(l, url, id, &rego, &document, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc = json_pack("{s:s,s:I,s:s,s:s*}", "kbs", url, "id", (json_int_t)id,
                                           "rego", rego, "document", document);
    return doc ? prop_cli_result(cli, doc, print_one, err) : prop_err_nomem(err);
}

/* Dates for people beside the seconds. */
static int add_dates(json_t *list, struct prop_err *err)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) {
        char date[21];
        prop_rfc3339((time_t)json_integer_value(json_object_get(entry, "time")), date);
        if (json_object_set_new(entry, "date", json_string(date)) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

static int run_history(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct history_opts *o = opts;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_ledger struct prop_ledger *l = NULL;
    prop_auto_json json_t *list = NULL;
    int rc = prop_kbs_opts_open(&o->kbs, &k, err);
    if (rc == 0)
        rc = prop_ledger_open_existing(NULL, &l, err);
    if (rc == 0 && !l)
        rc = prop_err_set_id(err, PROP_E_NOTFOUND, "policy-unknown", "no ledger on this machine");
    if (rc < 0)
        return rc;
    if (prop_cli_argc(cli) > 0)
        return show_one(cli, l, prop_kbs_url(k), prop_cli_arg(cli, 0), err);
    rc = prop_ledger_policies(l, prop_kbs_url(k), &list, err);
    if (rc == 0)
        rc = add_dates(list, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc = json_pack("{s:s,s:O}", "kbs", prop_kbs_url(k), "policies", list);
    return doc ? prop_cli_result(cli, doc, print_history, err) : prop_err_nomem(err);
}

const struct prop_verb propkey_verb_policy_history = {
    "policy history", "[ID]", "list the policies this machine uploaded to the key broker, newest first",
    "With an ID: the document of that upload, or its Rego where there was none.",
    history_options, sizeof(struct history_opts), 0, 1, run_history
};
