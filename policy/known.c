/* The last upload, and what may follow it. */
#include "policy/known.h"

#include "policy/compare.h"
#include "policy/example.h"
#include "util/limits.h"

#include <string.h>

void prop_policy_known_release(struct prop_policy_known *k)
{
    prop_free(k->rego);
    prop_free(k->document);
    *k = (struct prop_policy_known)PROP_POLICY_KNOWN_INIT;
}

int prop_policy_known_read(struct prop_ledger *l, const char *url, struct prop_policy_known *ret,
                           struct prop_err *err)
{
    struct prop_policy_known k = PROP_POLICY_KNOWN_INIT;
    struct prop_err inner = PROP_ERR_INIT;
    int rc = l != NULL ? prop_ledger_last_policy(l, url, &k.rego, &k.document, &inner) : 0;
    if (rc != 0 && rc != PROP_E_NOTFOUND) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    *ret = k;
    return 0;
}

static bool is_preset(const struct prop_policy_known *k, const char *name)
{
    return k->rego != NULL && strcmp(k->rego, prop_policy_preset(name)) == 0;
}

static int unknown(const char *url, const char *why, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "policy-unknown",
                          "what policy %s has is not known here: %s", url, why);
    return prop_err_hint(err, "name the document it was built from with --policy-doc, or say "
                              "--replace-policy: everybody else's rules are lost then");
}

static int parse_last(const struct prop_policy_known *k, struct prop_policy_doc **ret,
                      struct prop_err *err)
{
    return prop_policy_doc_parse(k->document, strlen(k->document), "the document uploaded last", ret,
                                 err);
}

int prop_policy_known_document(const struct prop_policy_known *k, const char *url, bool replace,
                               struct prop_policy_doc **ret, struct prop_err *err)
{
    if (k->document != NULL)
        return parse_last(k, ret, err);
    if (replace || is_preset(k, "deny-all"))
        return prop_policy_doc_new(ret, err);
    if (k->rego == NULL)
        return unknown(url, "this machine uploaded none", err);
    return unknown(url, "the one uploaded last was not built from a document", err);
}

/* --- losing ------------------------------------------------------------------------------------ */

static int loses(const char *resource, const char *name, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "policy-loses-rule",
                          "the policy uploaded last has a rule for '%s' that '%s' has not", resource,
                          name);
    return prop_err_hint(err, "get the newest version of the document; to drop the rule on purpose "
                              "add --replace-policy");
}

/* Rule by rule, for documents that are too large to be compared as a whole. */
static int kept_one_by_one(const json_t *before, const json_t *after, const char *name,
                           struct prop_err *err)
{
    size_t i, k;
    json_t *old, *now;
    json_array_foreach (before, i, old) {
        bool kept = false;
        json_array_foreach (after, k, now)
            kept = kept || prop_policy_rule_covers(now, old);
        if (!kept)
            return loses(json_string_value(json_object_get(old, "resource")), name, err);
    }
    return 0;
}

static int kept_rules(const json_t *before, const json_t *after, const char *name,
                      struct prop_err *err)
{
    prop_auto_json json_t *examples = NULL;
    struct prop_err inner = PROP_ERR_INIT;
    unsigned change = 0;
    size_t i;
    json_t *e;
    int rc = prop_policy_compare(before, after, &change, &examples, &inner);
    if (rc == PROP_E_LIMIT)
        return kept_one_by_one(before, after, name, err);
    if (rc != 0 && err != NULL)
        *err = inner;
    if (rc != 0 || (change & PROP_POLICY_NARROWER) == 0)
        return rc;
    json_array_foreach (examples, i, e) {
        if (strcmp(json_string_value(json_object_get(e, "change")), "narrower") != 0)
            continue;
        const json_t *rule =
            json_array_get(before, (size_t)json_integer_value(json_object_get(e, "rule")) - 1);
        return loses(json_string_value(json_object_get(rule, "resource")), name, err);
    }
    return prop_err_set(err, PROP_E_BUG, "a policy is narrower without an example");
}

int prop_policy_known_kept(const struct prop_policy_known *k, const char *url,
                           const struct prop_policy_doc *d, const char *name, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *last = NULL;
    prop_auto_buf struct prop_buf built = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    if (k->rego == NULL)
        return 0;
    if (k->document != NULL) {
        int rc = parse_last(k, &last, err);
        return rc != 0 ? rc
                       : kept_rules(prop_policy_doc_rules(last), prop_policy_doc_rules(d), name, err);
    }
    if (prop_policy_preset_of(k->rego) != NULL)
        return 0; /* nobody's rule; the document is what is wanted */
    /* 'propkey policy build' and an upload of its output: is it this document's? */
    int rc = prop_policy_build(d, &built, err);
    if (rc != 0 || strcmp(prop_buf_str(&built), k->rego) == 0)
        return rc;
    return unknown(url, "the one uploaded last was not built from a document", err);
}

/* --- widening ---------------------------------------------------------------------------------- */

/* Rules that stand for the last upload, as far as `rules` can go beyond it; NULL = not known. */
static int last_rules(const struct prop_policy_known *k, const json_t *rules, json_t **ret,
                      struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *last = NULL;
    size_t i;
    json_t *rule;
    if (k->document != NULL) {
        int rc = parse_last(k, &last, err);
        if (rc == 0)
            *ret = json_incref((json_t *)(uintptr_t)prop_policy_doc_rules(last));
        return rc;
    }
    bool all = is_preset(k, "allow-all"), hardware = is_preset(k, "default");
    if (!all && !hardware && !is_preset(k, "deny-all"))
        return 0;
    /* Those two presets let in at least what a rule for hardware can: stand in with the rules
     * themselves that they cover. */
    prop_auto_json json_t *list = json_array();
    json_array_foreach (rules, i, rule) {
        const char *tee = json_string_value(json_object_get(rule, "tee"));
        bool sample = tee != NULL && strcmp(tee, "sample") == 0;
        if ((all || (hardware && !sample)) && json_array_append(list, rule) != 0)
            return prop_err_nomem(err);
    }
    if (list == NULL)
        return prop_err_nomem(err);
    *ret = PROP_TAKE(list);
    return 0;
}

int prop_policy_known_change(const struct prop_policy_known *k, const json_t *rules, bool *ret_known,
                             unsigned *ret_change, json_t **ret_examples, struct prop_err *err)
{
    prop_auto_json json_t *before = NULL;
    /* What a preset lets in beyond all rules is no list of rules: whether somebody loses it cannot
     * be told this way. */
    *ret_known = k->document != NULL || is_preset(k, "deny-all");
    int rc = *ret_known ? last_rules(k, rules, &before, err) : 0;
    return rc == 0 && *ret_known ? prop_policy_compare(before, rules, ret_change, ret_examples, err) : rc;
}

static int wider(const json_t *examples, struct prop_err *err)
{
    prop_auto_buf struct prop_buf said = PROP_BUF_INIT(4096);
    size_t i, more = 0;
    json_t *e;
    json_array_foreach (examples, i, e) {
        if (strcmp(json_string_value(json_object_get(e, "change")), "wider") != 0)
            continue;
        if (said.len == 0) {
            int rc = prop_policy_example_say(e, &said, err);
            if (rc != 0)
                return rc;
        } else {
            more++;
        }
    }
    if (more > 0)
        (void)prop_err_set_id(err, PROP_E_USAGE, "policy-wider",
                              "this policy gives out more than the one it replaces: %s, and %zu more "
                              "such", prop_buf_str(&said), more);
    else
        (void)prop_err_set_id(err, PROP_E_USAGE, "policy-wider",
                              "this policy gives out more than the one it replaces: %s",
                              prop_buf_str(&said));
    return prop_err_hint(err, "if that is meant, --allow-wider");
}

int prop_policy_known_not_wider(const struct prop_policy_known *k, const json_t *rules,
                                json_t **ret_examples, struct prop_err *err)
{
    prop_auto_json json_t *examples = NULL;
    prop_auto_json json_t *before = NULL;
    struct prop_err inner = PROP_ERR_INIT;
    unsigned change = 0;
    int rc = last_rules(k, rules, &before, &inner);
    bool known = before != NULL;
    if (rc == 0 && known)
        rc = prop_policy_compare(before, rules, &change, &examples, &inner);
    if (rc == 0 && known && (change & PROP_POLICY_WIDER) == 0) {
        if (ret_examples != NULL)
            *ret_examples = PROP_TAKE(examples);
        return 0;
    }
    if (rc == 0 && known)
        return wider(examples, err);
    if (rc != 0 && rc != PROP_E_LIMIT) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    (void)prop_err_set_id(err, PROP_E_USAGE, "policy-wider",
                          "this policy may let in more than the one it replaces: %s",
                          rc != 0 ? inner.message
                          : k->rego != NULL ? "that one was not built from a document"
                                            : "what is there was not uploaded from this machine");
    return prop_err_hint(err, "a key broker has one policy for all keys; if that is meant, "
                              "--allow-wider");
}
