/* The policy of a rotation: whoever the old name lets in, the new one must. Rules of the document
 * that fit the old name and not the new one are copied for it; a policy that speaks of no names (a
 * preset) needs nothing. */
#include "publish/rotate_state.h"

#include "policy/document.h"
#include "policy/known.h"
#include "publish/policy.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

static int unknown(const struct prop_rotate_state *r, const char *why, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "policy-unknown",
                          "whom the policy on %s lets have '%s' is not known here: %s",
                          prop_kbs_url(r->p->kbs), r->s.kid_path, why);
    return prop_err_hint(err, "name the document it was built from with --policy-doc; or, when the "
                              "policy covers the new name, say --policy-as-is");
}

static int from_file(const struct prop_rotate_state *r, struct prop_policy_doc **ret,
                     struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_free char *what = prop_asprintf("'%s'", r->p->policy_doc);
    if (what == NULL)
        return prop_err_nomem(err);
    int rc = prop_file_read(r->p->policy_doc, &text, err);
    return rc == 0 ? prop_policy_doc_parse(prop_buf_str(&text), text.len, what, ret, err) : rc;
}

/* What was uploaded last from here; *ret stays NULL for a preset, which speaks of no names. */
static int from_ledger(const struct prop_rotate_state *r, struct prop_policy_doc **ret,
                       struct prop_err *err)
{
    prop_auto_policy_known struct prop_policy_known last = PROP_POLICY_KNOWN_INIT;
    int rc = prop_policy_known_read(r->s.ledger, prop_kbs_url(r->p->kbs), &last, err);
    if (rc != 0)
        return rc;
    if (last.rego == NULL)
        return unknown(r, "this machine uploaded none", err);
    if (last.document != NULL)
        return prop_policy_doc_parse(last.document, strlen(last.document),
                                     "the document uploaded last", ret, err);
    return prop_policy_preset_of(last.rego) != NULL
               ? 0
               : unknown(r, "the one uploaded last was not built from a document", err);
}

/* The rules that are to be there for the new name. */
static int copy_rules(struct prop_rotate_state *r, const struct prop_policy_doc *d, size_t *ret_fit,
                      struct prop_err *err)
{
    size_t i;
    json_t *rule;
    *ret_fit = 0;
    json_array_foreach (prop_policy_doc_rules(d), i, rule) {
        if (!prop_policy_rule_fits(rule, r->old_path))
            continue;
        ++*ret_fit;
        if (prop_policy_rule_fits(rule, r->s.kid_path))
            continue;
        prop_auto_json json_t *copy = json_copy(rule);
        if (copy == NULL ||
            json_object_set_new(copy, "resource", json_string(r->s.kid_path)) != 0 ||
            json_array_append(r->s.rules, copy) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

int prop_rotate_policy_plan(struct prop_rotate_state *r, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    size_t fit = 0;
    r->policy = r->p->policy_as_is ? "as-is" : "covers";
    if (r->p->policy_as_is)
        return 0;
    json_decref(r->s.rules);
    r->s.rules = json_array();
    int rc = r->s.rules == NULL ? prop_err_nomem(err)
             : r->p->policy_doc != NULL ? from_file(r, &d, err)
                                        : from_ledger(r, &d, err);
    if (rc == 0 && d != NULL)
        rc = copy_rules(r, d, &fit, err);
    if (rc != 0 || d == NULL)
        return rc;
    if (fit == 0)
        prop_publish_warn(&r->s,
                          "no rule of the policy document lets anybody have '%s', nor will one "
                          "'%s'",
                          r->old_path, r->s.kid_path);
    /* A document in hand is what the server is to have; the ledger's is there already. */
    if (json_array_size(r->s.rules) == 0 && r->p->policy_doc == NULL)
        return 0;
    r->policy = json_array_size(r->s.rules) != 0 ? "copied" : "covers";
    r->publish.n_allow = 1; /* the policy step has something to do */
    r->s.rules_copied = true;
    return prop_publish_policy_prepare(&r->s, err);
}

int prop_rotate_policy_send(struct prop_rotate_state *r, struct prop_err *err)
{
    if (r->publish.n_allow != 0)
        return prop_publish_policy_send(&r->s, err);
    return prop_publish_step(&r->s, err, "policy",
                             r->p->policy_as_is
                                 ? "policy left alone, as told: what is on %s decides "
                                   "who may have the new key"
                                 : "the policy on %s lets in for the new name whom it "
                                   "lets in for the old one",
                             prop_kbs_url(r->p->kbs));
}
