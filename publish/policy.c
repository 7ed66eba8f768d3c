/* A KBS has one policy for everybody and does not tell its text. So: start from a document that is
 * known to be all of it (the one named, else the one the ledger uploaded last), add the rules, and
 * refuse when that may lose somebody's rule or lets in who was not named. */
#include "publish/policy.h"

#include "crypto/digest.h"
#include "policy/document.h"
#include "policy/token.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int prop_publish_policy_rules(struct prop_publish_state *s, struct prop_err *err)
{
    unsigned flags = (s->p->allow_any_guest ? PROP_ALLOW_ANY_GUEST : 0u) |
                     (s->p->this_is_a_test ? PROP_ALLOW_TEST : 0u) |
                     (prop_publish_is_loopback(prop_kbs_url(s->p->kbs)) ? PROP_ALLOW_LOOPBACK : 0u);
    prop_auto_json json_t *rules = json_array();
    if (rules == NULL)
        return prop_err_nomem(err);
    s->insecure = false;
    for (size_t i = 0; i < s->p->n_allow; i++) {
        json_t *rule = NULL;
        bool insecure = false;
        int rc = prop_policy_rule_parse(s->p->allow[i],
                                        s->kid_path != NULL ? s->kid_path : "default/key/unnamed",
                                        flags, &rule, &insecure, err);
        if (rc != 0)
            return rc;
        if (json_array_append_new(rules, rule) != 0)
            return prop_err_nomem(err);
        s->insecure = s->insecure || insecure;
    }
    json_decref(s->rules);
    s->rules = PROP_TAKE(rules);
    return 0;
}

/* --- which document ---------------------------------------------------------------------------- */

static int unknown(const struct prop_publish_state *s, const char *why, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "policy-unknown",
                          "what policy %s has is not known here: %s", prop_kbs_url(s->p->kbs), why);
    return prop_err_hint(err, "name the document it was built from with --policy-doc, or say "
                              "--replace-policy: everybody else's rules are lost then");
}

static bool is_preset(const char *rego, const char *name)
{
    return strcmp(rego, prop_policy_preset(name)) == 0;
}

/* The document that --policy-doc names; a new one when it is not there and may be made. */
static int from_file(struct prop_publish_state *s, struct prop_policy_doc **ret,
                     struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    struct prop_publish_policy *p = &s->policy;
    struct prop_err inner = PROP_ERR_INIT;
    const char *file = s->p->policy_doc;
    struct stat st;
    int rc = prop_file_read(file, &text, &inner);
    if (rc == PROP_E_NOTFOUND && s->p->replace_policy) {
        p->file = prop_strdup(file);
        p->mode = 0644;
        p->file_changes = true;
        return p->file != NULL ? prop_policy_doc_new(ret, err) : prop_err_nomem(err);
    }
    if (rc != 0) {
        if (err != NULL)
            *err = inner;
        if (rc == PROP_E_NOTFOUND)
            (void)prop_err_hint(err, "begin one with the line 'version = 1' if the KBS has no policy "
                                     "to keep");
        return rc;
    }
    /* The rename at the end must replace the file, not a link to it. */
    char real[PATH_MAX];
    if (stat(file, &st) != 0 || realpath(file, real) == NULL)
        return prop_err_sys(err, PROP_E_IO, "policy document '%s'", file);
    p->mode = st.st_mode & 0777;
    p->file = prop_strdup(real);
    prop_auto_free char *what = prop_asprintf("'%s'", file);
    if (p->file == NULL || what == NULL)
        return prop_err_nomem(err);
    return prop_policy_doc_parse(prop_buf_str(&text), text.len, what, ret, err);
}

/* What this machine uploaded last, if it did: texts owned by the caller. */
static int last_upload(const struct prop_publish_state *s, char **ret_rego, char **ret_document,
                       struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    if (s->ledger == NULL)
        return 0;
    int rc = prop_ledger_last_policy(s->ledger, prop_kbs_url(s->p->kbs), ret_rego, ret_document,
                                     &inner);
    if (rc == PROP_E_NOTFOUND)
        return 0;
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

static int parse_last(const char *document, struct prop_policy_doc **ret, struct prop_err *err)
{
    return prop_policy_doc_parse(document, strlen(document), "the document uploaded last", ret, err);
}

/* Without --policy-doc: from what was uploaded last. */
static int from_ledger(const struct prop_publish_state *s, const char *rego, const char *document,
                       struct prop_policy_doc **ret, struct prop_err *err)
{
    if (document != NULL)
        return parse_last(document, ret, err);
    if (s->p->replace_policy || (rego != NULL && is_preset(rego, "deny-all")))
        return prop_policy_doc_new(ret, err);
    if (rego == NULL)
        return unknown(s, "this machine uploaded none", err);
    return unknown(s, "the one uploaded last was not built from a document", err);
}

/* Would the document lose a rule of what was uploaded last? */
static int check_nothing_lost(const struct prop_publish_state *s, const struct prop_policy_doc *d,
                              const char *rego, const char *document, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *last = NULL;
    if (s->p->replace_policy || rego == NULL)
        return 0;
    if (document == NULL) {
        for (size_t i = 0; i < 4; i++) {
            static const char *const presets[] = { "deny-all", "default", "affirming", "allow-all" };
            if (is_preset(rego, presets[i]))
                return 0; /* nobody's rule; the document is what is wanted */
        }
        /* 'propkey policy build' and 'policy set' upload the Rego alone: is it this document's? */
        prop_auto_buf struct prop_buf built = PROP_BUF_INIT(PROP_LIMIT_POLICY);
        int built_rc = prop_policy_build(d, &built, err);
        if (built_rc != 0 || strcmp(prop_buf_str(&built), rego) == 0)
            return built_rc;
        return unknown(s, "the one uploaded last was not built from a document", err);
    }
    int rc = parse_last(document, &last, err);
    if (rc != 0)
        return rc;
    size_t i, k;
    json_t *old, *now;
    json_array_foreach (prop_policy_doc_rules(last), i, old) {
        bool kept = false;
        json_array_foreach (prop_policy_doc_rules(d), k, now)
            kept = kept || prop_policy_rule_covers(now, old);
        if (!kept) {
            (void)prop_err_set_id(err, PROP_E_USAGE, "policy-loses-rule",
                                  "the policy uploaded last has a rule for '%s' that '%s' has not",
                                  json_string_value(json_object_get(old, "resource")),
                                  s->p->policy_doc);
            return prop_err_hint(err, "get the newest version of the document; to drop the rule on "
                                      "purpose add --replace-policy");
        }
    }
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
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    const char *tier = json_string_value(json_object_get(rule, "tier"));
    bool pinned = json_object_get(rule, "measurement") != NULL;
    bool added = false;
    if (!pinned && tier == NULL)
        return 0; /* every guest, as was asked for in so many words */
    int rc = prop_policy_doc_new(&alone, err);
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
            rc = ask(rego, token, s->kid_path, true, "policy-too-narrow", "a guest named by --allow",
                     err);
        if (rc == 0)
            rc = ask_stranger(rule, s->kid_path, err);
        if (rc != 0)
            return rc;
    }
    return s->insecure ? 0 : ask_sample(rego, s->kid_path, false, err);
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

/* The file is replaced by a new one beside it: both must be possible before anything leaves. */
static int check_writable(const struct prop_publish_policy *p, struct prop_err *err)
{
    if (p->file == NULL || !p->file_changes)
        return 0;
    prop_auto_free char *dir = prop_strdup(p->file);
    if (dir == NULL)
        return prop_err_nomem(err);
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir] = 0;
    if (access(slash != NULL ? dir : ".", W_OK | X_OK) != 0 ||
        (access(p->file, F_OK) == 0 && access(p->file, W_OK) != 0))
        return prop_err_sys(err, PROP_E_IO, "policy document '%s' cannot be written", p->file);
    return 0;
}

static int build_from(struct prop_publish_state *s, struct prop_policy_doc *d, const char *last_rego,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf before = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    struct prop_publish_policy *p = &s->policy;
    int rc = prop_policy_build(d, &before, err);
    if (rc == 0)
        rc = add_rules(s, d, err);
    if (rc == 0)
        rc = prop_policy_doc_write(d, &p->document, err);
    if (rc == 0)
        rc = prop_policy_build(d, &p->rego, err);
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
    prop_auto_free char *rego = NULL;
    prop_auto_free char *document = NULL;
    prop_publish_policy_release(&s->policy);
    if (s->p->n_allow == 0)
        return 0;
    int rc = last_upload(s, &rego, &document, err);
    if (rc == 0 && s->p->policy_doc != NULL) {
        rc = from_file(s, &d, err);
        if (rc == 0)
            rc = check_nothing_lost(s, d, rego, document, err);
    } else if (rc == 0) {
        rc = from_ledger(s, rego, document, &d, err);
    }
    if (rc == 0)
        rc = build_from(s, d, rego, err);
    if (rc == 0)
        rc = check_writable(&s->policy, err);
    return rc == 0 ? ask_all(s, err) : rc;
}

static int write_document(struct prop_publish_state *s, struct prop_err *err)
{
    const struct prop_publish_policy *p = &s->policy;
    if (p->file == NULL || !p->file_changes)
        return 0;
    int rc = prop_file_write(p->file, p->document.data, p->document.len, p->mode, true, err);
    if (rc == 0)
        return 0;
    (void)prop_err_wrap(err, "policy document");
    return prop_err_hint(err, "the KBS has the new policy, but the document lacks its rule: add it by "
                              "hand before the next upload");
}

static int upload(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_publish_policy *p = &s->policy;
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kbs_set_policy(s->p->kbs, prop_buf_str(&p->rego), p->rego.len, &inner);
    p->sent = rc == 0;
    p->unsure = rc != 0 && (inner.http_status == 0 || inner.http_status >= 500);
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

static int remember(struct prop_publish_state *s, struct prop_err *err)
{
    if (s->policy.same_as_last)
        return 0;
    return prop_ledger_add_policy(s->ledger, prop_kbs_url(s->p->kbs), prop_buf_str(&s->policy.rego),
                                  prop_buf_str(&s->policy.document), err);
}

int prop_publish_policy_send(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_publish_policy *p = &s->policy;
    if (s->p->n_allow == 0)
        return prop_publish_step(s, err, "policy",
                                 "policy left alone: what is on %s decides who may have the key",
                                 prop_kbs_url(s->p->kbs));
    int rc = prop_publish_policy_prepare(s, err);
    if (rc != 0)
        return rc;
    /* Bytes that this machine uploaded last are sent again unless the key proves to be guarded by
     * them: the KBS may have been set up anew, and a key must not go there before its rule. */
    if (p->same_as_last && s->key_there)
        return prop_publish_step(s, err, "policy", "the policy has the rule already");
    rc = upload(s, err);
    if (rc != 0)
        return rc;
    /* The document before the ledger: killed in between, the next run finds a document that has all
     * the ledger knows of. The ledger also when the document cannot be written. */
    int written = write_document(s, err);
    rc = remember(s, written != 0 ? NULL : err);
    if (written != 0 || rc != 0)
        return written != 0 ? written : rc;
    return prop_publish_step(s, err, "policy",
                             p->same_as_last ? "policy sent again, unchanged, to %s%s"
                                             : "policy with the rule sent to %s%s",
                             prop_kbs_url(s->p->kbs),
                             p->file != NULL && p->file_changes ? ", and written to the document"
                                                                : "");
}

int prop_publish_policy_prove(struct prop_publish_state *s, struct prop_err *err)
{
    if (s->p->n_allow == 0)
        return 0;
    int rc = ask_all(s, err);
    if (rc == 0)
        rc = prop_publish_proved(s, "policy", s->insecure ? "admits who was named, sample evidence too"
                                                          : "admits who was named, denies others and "
                                                            "sample evidence",
                                 err);
    return rc;
}
