/* A KBS has one policy for everybody and does not tell its text. So: start from a document that is
 * known to be all of it (the one named, else the one the ledger uploaded last), add the rules, and
 * refuse when that may lose somebody's rule or lets in who was not named. */
#include "publish/policy.h"

#include "crypto/digest.h"
#include "policy/docfile.h"
#include "policy/document.h"
#include "policy/known.h"
#include "policy/token.h"
#include "publish/record.h"
#include "publish/server_policy.h"
#include "util/checksum.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

/* --- which document ---------------------------------------------------------------------------- */

static bool is_preset(const char *rego, const char *name)
{
    return strcmp(rego, prop_policy_preset(name)) == 0;
}

/* The document that --policy-doc names; a new one when it is not there and may be made. */
static int from_file(struct prop_publish_state *s, struct prop_policy_doc **ret,
                     struct prop_err *err)
{
    struct prop_policy_file f = PROP_POLICY_FILE_INIT;
    int rc = prop_policy_file_read(s->p->policy_doc, s->p->replace_policy, &f, ret, err);
    if (rc != 0)
        return rc;
    s->policy.file = f.path;
    s->policy.mode = f.mode;
    s->policy.file_changes = f.fresh;
    return 0;
}

/* Servers before v0.19 give the text back: it must be what the document makes, before or after the
 * rules were added, or a preset that is nobody's. */
static int check_server(const struct prop_publish_state *s, const char *before, struct prop_err *err)
{
    const char *now = s->server_policy;
    if (now == NULL || s->p->replace_policy || strcmp(now, before) == 0 ||
        strcmp(now, prop_buf_str(&s->policy.rego)) == 0 || is_preset(now, "deny-all"))
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "policy-differs",
                          "the policy on %s is not the one the document makes",
                          prop_kbs_url(s->p->kbs));
    return prop_err_hint(err, "somebody else changed it: get their document, or say "
                              "--replace-policy");
}

/* --- whom does it let in ----------------------------------------------------------------------- */

static int ask(const struct prop_buf *rego, const json_t *token, const char *path, bool want,
               const char *id, const char *who, struct prop_err *err)
{
    bool allow = false;
    int rc = prop_policy_decide(prop_buf_str(rego), rego->len, token, path, &allow, err);
    if (rc != 0 || allow == want)
        return rc;
    (void)prop_err_set_id(err, PROP_E_NO, id, "the policy %s %s have '%s'",
                          allow ? "would let" : "would not let", who, path);
    return allow ? prop_err_hint(err, "a rule of the document is wider than --allow: narrow it, or "
                                      "name that evidence with --allow too")
                 : 0;
}

static int ask_sample(const struct prop_buf *rego, const char *path, bool want, struct prop_err *err)
{
    static const char *const statuses[] = { "affirming", "warning", "contraindicated" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(statuses); i++) {
        prop_auto_json json_t *token = NULL;
        int rc = prop_policy_token_sample(statuses[i], &token, err);
        if (rc == 0)
            rc = ask(rego, token, path, want, "policy-too-wide", "sample evidence", err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A guest of the same kind that the rule does not mean: nothing of its claims is known. */
static int ask_stranger(const json_t *rule, const char *path, struct prop_err *err)
{
    static const char other[] = "00000000000000000000000000000000000000000000000000000000000000000000"
                                "0000000000000000000000000000";
    prop_auto_policy_doc struct prop_policy_doc *alone = NULL;
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_json json_t *token = NULL;
    prop_auto_json json_t *conditions = NULL;
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    const char *tier = json_string_value(json_object_get(rule, "tier"));
    bool added = false;
    int rc = prop_policy_conditions(rule, &conditions, err);
    if (rc != 0)
        return rc;
    bool pinned = json_array_size(conditions) > 0;
    if (!pinned && tier == NULL)
        return 0; /* every guest, as was asked for in so many words */
    rc = prop_policy_doc_new(&alone, err);
    if (rc == 0)
        rc = prop_policy_doc_add(alone, rule, &added, err);
    if (rc == 0)
        rc = prop_policy_build(alone, &rego, err);
    if (rc == 0)
        rc = prop_policy_token_new(tee != NULL ? tee : "snp",
                                   pinned && tier != NULL ? tier : "contraindicated", other, false,
                                   &token, err);
    return rc == 0 ? ask(&rego, token, path, false, "policy-too-wide", "another guest", err) : rc;
}

static int ask_all(const struct prop_publish_state *s, struct prop_err *err)
{
    const struct prop_buf *rego = &s->policy.rego;
    size_t i;
    json_t *rule;
    json_array_foreach (s->rules, i, rule) {
        prop_auto_json json_t *token = NULL;
        int rc = prop_policy_token_for_rule(rule, &token, err);
        if (rc == 0)
            rc = ask(rego, token, s->kid_path, true, "policy-too-narrow", s->rules_copied ? "a guest of the old key" : "a guest named by --allow",
                     err);
        if (rc == 0 && !s->rules_copied)
            rc = ask_stranger(rule, s->kid_path, err);
        if (rc != 0)
            return rc;
    }
    return s->insecure || s->rules_copied ? 0 : ask_sample(rego, s->kid_path, false, err);
}

/* --- the step ---------------------------------------------------------------------------------- */

static int add_rules(struct prop_publish_state *s, struct prop_policy_doc *d, struct prop_err *err)
{
    size_t i;
    json_t *rule;
    json_array_foreach (s->rules, i, rule) {
        bool added = false;
        int rc = prop_policy_doc_add(d, rule, &added, err);
        if (rc != 0)
            return rc;
        s->policy.added += added;
    }
    return 0;
}

static struct prop_policy_file document_file(const struct prop_publish_policy *p)
{
    return (struct prop_policy_file){ p->file_changes ? p->file : NULL, p->mode, false };
}

/* The document with its rules that say `measured` filled in, whose own text is left alone. Owned. */
static int filled(const struct prop_publish_state *s, const struct prop_policy_doc *d,
                  struct prop_policy_doc **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_policy_doc struct prop_policy_doc *copy = NULL;
    int rc = prop_policy_doc_write(d, &text, err);
    if (rc == 0)
        rc = prop_policy_doc_parse(prop_buf_str(&text), text.len, "the document", &copy, err);
    if (rc == 0 && json_array_size(s->measured) > 0)
        rc = prop_policy_doc_measure(copy, s->measured, err);
    if (rc == 0)
        *ret = PROP_TAKE(copy);
    return rc;
}

static int build(const struct prop_publish_state *s, const struct prop_policy_doc *d,
                 struct prop_buf *rego, struct prop_buf *plain, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *f = NULL;
    int rc = filled(s, d, &f, err);
    if (rc == 0)
        rc = prop_policy_build(f, rego, err);
    return rc == 0 && plain != NULL ? prop_policy_doc_plain(f, plain, err) : rc;
}

static int build_from(struct prop_publish_state *s, struct prop_policy_doc *d, const char *last_rego,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf before = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    struct prop_publish_policy *p = &s->policy;
    int rc = build(s, d, &before, NULL, err);
    if (rc == 0)
        rc = add_rules(s, d, err);
    if (rc == 0)
        rc = prop_policy_doc_write(d, &p->document, err);
    if (rc == 0)
        rc = build(s, d, &p->rego, json_array_size(s->measured) > 0 ? &p->plain : NULL, err);
    if (rc == 0)
        rc = check_server(s, prop_buf_str(&before), err);
    p->file_changes = p->file_changes || p->added > 0;
    p->same_as_last = rc == 0 && last_rego != NULL &&
                      strcmp(last_rego, prop_buf_str(&p->rego)) == 0;
    return rc;
}

int prop_publish_policy_prepare(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    prop_auto_policy_known struct prop_policy_known last = PROP_POLICY_KNOWN_INIT;
    const char *url = prop_kbs_url(s->p->kbs);
    prop_publish_policy_release(&s->policy);
    if (!prop_publish_has_rules(s->p))
        return 0;
    int rc = prop_policy_known_read(s->ledger, url, &last, err);
    if (rc == 0 && s->p->policy_doc != NULL) {
        prop_auto_policy_doc struct prop_policy_doc *f = NULL;
        rc = from_file(s, &d, err);
        if (rc == 0)
            rc = filled(s, d, &f, err);
        if (rc == 0 && !s->p->replace_policy)
            rc = prop_policy_known_kept(&last, url, f, s->p->policy_doc, err);
    } else if (rc == 0) {
        rc = prop_policy_known_document(&last, url, s->p->replace_policy, &d, err);
    }
    if (rc == 0)
        rc = build_from(s, d, last.rego, err);
    const struct prop_policy_file file = document_file(&s->policy);
    if (rc == 0)
        rc = prop_policy_file_check(&file, err);
    return rc == 0 ? ask_all(s, err) : rc;
}

static int upload(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_publish_policy *p = &s->policy;
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kbs_set_policy(s->p->kbs, prop_buf_str(&p->rego), p->rego.len, &inner);
    p->sent = rc == 0;
    p->unsure = rc != 0 && (inner.http_status == 0 || inner.http_status >= 500);
    if (rc != 0 && !p->unsure)
        prop_publish_record_refused(s, "policy");
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

static int remember(struct prop_publish_state *s, struct prop_err *err)
{
    if (s->policy.same_as_last)
        return 0;
    return prop_ledger_add_policy(s->ledger, prop_kbs_url(s->p->kbs), prop_buf_str(&s->policy.rego),
                                  s->policy.plain.len > 0 ? prop_buf_str(&s->policy.plain)
                                                          : prop_buf_str(&s->policy.document),
                                  err);
}

/* The ledger's last upload: {"previous":id,"previous_sha256"}, both absent for none. Owned. */
static int last_upload(const struct prop_publish_state *s, json_t **ret, struct prop_err *err)
{
    char sha256[65];
    int64_t id = 0;
    int rc = prop_ledger_last_policy_id(s->ledger, prop_kbs_url(s->p->kbs), &id, sha256, err);
    if (rc != 0)
        return rc;
    *ret = id == 0 ? json_object()
                   : json_pack("{s:I,s:s}", "previous", (json_int_t)id, "previous_sha256", sha256);
    return *ret != NULL ? 0 : prop_err_nomem(err);
}

/* An earlier process of this run noted what was there before it: that is still what to go back to,
 * unless somebody else uploaded since. */
static bool still_before(const json_t *noted, const json_t *last)
{
    const json_t *now = json_object_get(last, "previous_sha256");
    return noted != NULL && (now == NULL || json_equal(now, json_object_get(noted, "sha256")) ||
                             json_equal(json_object_get(last, "previous"),
                                        json_object_get(noted, "previous")));
}

static int begin_policy(struct prop_publish_state *s, struct prop_err *err)
{
    char sha256[65];
    prop_auto_json json_t *last = NULL;
    const json_t *noted = prop_publish_record_of(s, "policy", false);
    if (s->journal == NULL)
        return 0;
    int rc = last_upload(s, &last, err);
    if (rc != 0)
        return rc;
    prop_checksum_hex(s->policy.rego.data, s->policy.rego.len, sha256);
    const json_t *from = still_before(noted, last) ? noted : last;
    return prop_publish_record_begin(
        s, "policy",
        json_pack("{s:O*,s:O*,s:s}", "previous", json_object_get(from, "previous"),
                  "previous_sha256", json_object_get(from, "previous_sha256"), "sha256", sha256),
        err);
}

/* The document as it was goes into the journal: it need not be in git yet. */
static int begin_document(struct prop_publish_state *s, struct prop_err *err)
{
    char sha256[65];
    struct prop_publish_policy *p = &s->policy;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    if (s->journal == NULL || p->file == NULL || !p->file_changes)
        return 0;
    int there = prop_file_read(p->file, &text, NULL);
    prop_checksum_hex(p->document.data, p->document.len, sha256);
    int rc = prop_publish_record_done(s, "policy", json_object(), err);
    return rc == 0 ? prop_publish_record_begin(
                         s, "document",
                         json_pack("{s:s,s:s*,s:i,s:s}", "file", p->file, "before",
                                   there == 0 ? prop_buf_str(&text) : NULL, "mode", (int)p->mode,
                                   "sha256", sha256),
                         err)
                   : rc;
}

/* The document before the ledger: killed in between, the next run finds a document that has all the
 * ledger knows of. The ledger also when the document cannot be written. */
static int keep_both(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_publish_policy *p = &s->policy;
    const struct prop_policy_file file = document_file(p);
    bool writes = p->file != NULL && p->file_changes;
    int rc = begin_document(s, err);
    if (rc != 0)
        return rc;
    int written = prop_policy_file_write(&file, &p->document, err);
    rc = remember(s, written != 0 ? NULL : err);
    if (written != 0 || rc != 0)
        return written != 0 ? written : rc;
    return prop_publish_record_done(s, writes ? "document" : "policy", json_object(), err);
}

int prop_publish_policy_send(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_publish_policy *p = &s->policy;
    if (!prop_publish_has_rules(s->p))
        return prop_publish_step(s, err, "policy",
                                 "policy left alone: what is on %s decides who may have the key",
                                 prop_kbs_url(s->p->kbs));
    int rc = prop_publish_server_policy_renew(s, err);
    if (rc == 0)
        rc = prop_publish_policy_prepare(s, err);
    if (rc != 0)
        return rc;
    /* Bytes that this machine uploaded last are sent again unless the key proves to be guarded by
     * them: the KBS may have been set up anew, and a key must not go there before its rule. */
    if (p->same_as_last && s->key_there)
        return prop_publish_step(s, err, "policy", "the policy has the rule already");
    rc = begin_policy(s, err);
    if (rc == 0)
        rc = upload(s, err);
    if (rc == 0) /* before it is noted: what is there then is not what this run sent */
        rc = prop_publish_server_policy_kept(s, err);
    if (rc == 0)
        rc = keep_both(s, err);
    if (rc != 0)
        return rc;
    return prop_publish_step(s, err, "policy",
                             p->same_as_last ? "policy sent again, unchanged, to %s%s"
                                             : "policy with the rule sent to %s%s",
                             prop_kbs_url(s->p->kbs),
                             p->file != NULL && p->file_changes ? ", and written to the document"
                                                                : "");
}

int prop_publish_policy_prove(struct prop_publish_state *s, struct prop_err *err)
{
    if (!prop_publish_has_rules(s->p))
        return 0;
    int rc = ask_all(s, err);
    if (rc == 0)
        rc = prop_publish_server_policy_kept(s, err);
    if (rc == 0)
        rc = prop_publish_proved(s, "policy", s->insecure ? "admits who was named, sample evidence too"
                                                          : "admits who was named, denies others and "
                                                            "sample evidence",
                                 err);
    return rc;
}

bool prop_publish_policy_guards(const char *rego, const char *path)
{
    static const char *const tees[] = { "snp", "tdx", "sample" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(tees); i++) {
        prop_auto_json json_t *token = NULL;
        bool allow = true;
        int rc = strcmp(tees[i], "sample") == 0
                     ? prop_policy_token_sample("affirming", &token, NULL)
                     : prop_policy_token_new(tees[i], "affirming", NULL, false, &token, NULL);
        if (rc != 0 || prop_policy_decide(rego, strlen(rego), token, path, &allow, NULL) != 0 || allow)
            return false;
    }
    return true;
}
