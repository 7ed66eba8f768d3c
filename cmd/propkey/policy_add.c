/* propkey policy add: a rule into the policy document, and the policy built from it to the server. */
#include "cmd/propkey/policy_change.h"
#include "cmd/propkey/verbs.h"

#include "policy/pattern.h"
#include "publish/state.h"
#include "util/text.h"

#include <string.h>

struct add_opts {
    struct propkey_change_opts change;
    struct prop_strs allow;
    bool any_guest, this_is_a_test;
};

static const struct prop_opt options[] = {
    PROPKEY_CHANGE_OPTIONS(struct add_opts, change),
    { "allow", 0, PROP_OPT_LIST, "RULE",
      "who may have it, e.g. tee=snp,measurement=sha384:HEX,min_tcb.snp=23; repeatable",
      offsetof(struct add_opts, allow), NULL, NULL, false },
    { "allow-any-guest", 0, PROP_OPT_FLAG, NULL,
      "with --allow tee=NAME: any guest on such hardware, whatever runs in it",
      offsetof(struct add_opts, any_guest), NULL, NULL, false },
    { "i-know-this-is-a-test", 0, PROP_OPT_FLAG, NULL,
      "take --allow tee=sample for a key broker that is not on this machine",
      offsetof(struct add_opts, this_is_a_test), NULL, NULL, false },
    PROP_OPT_END
};

static int check_options(const struct add_opts *o, struct prop_err *err)
{
    const char *resource = o->change.resource;
    if (!resource || o->allow.n == 0) {
        prop_err_set_id(err, PROP_E_USAGE, "missing-option", "%s is missing",
                        resource ? "--allow" : "--resource");
        return prop_err_hint(err, "--resource says what, each --allow RULE says who may have it");
    }
    if (prop_starts_with(resource, "kbs:///"))
        resource += strlen("kbs:///");
    if (prop_policy_pattern_ok(resource))
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "bad-resource", "--resource '%s' is not repository/type/tag",
                    o->change.resource);
    return prop_err_hint(err, "letters, digits, '_', '-', '.'; a part may hold one '*'");
}

static unsigned allow_flags(const struct add_opts *o, const struct propkey_change *c)
{
    const char *url = c->target.kbs ? prop_kbs_url(c->target.kbs) : NULL;
    return (o->any_guest ? PROP_ALLOW_ANY_GUEST : 0u) | (o->this_is_a_test ? PROP_ALLOW_TEST : 0u) |
           (url && prop_publish_is_loopback(url) ? PROP_ALLOW_LOOPBACK : 0u);
}

static int add_rules(const struct add_opts *o, struct propkey_change *c, size_t *ret_added,
                     struct prop_err *err)
{
    for (size_t i = 0; i < o->allow.n; i++) {
        prop_auto_json json_t *rule = NULL;
        bool insecure = false, added = false;
        int rc = prop_policy_rule_parse(o->allow.items[i], o->change.resource, allow_flags(o, c), &rule,
                                        &insecure, err);
        if (rc == 0)
            rc = prop_policy_doc_add(c->doc, rule, &added, err);
        if (rc < 0)
            return rc;
        if (insecure)
            prop_cli_warn(c->target.cli, "anybody can make sample evidence: whoever reaches the key "
                                         "broker can have '%s'", o->change.resource);
        *ret_added += added;
    }
    return 0;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct add_opts *o = opts;
    propkey_auto_change struct propkey_change c = PROPKEY_CHANGE_INIT(cli, &o->change);
    size_t added = 0;
    int rc = check_options(o, err);
    if (rc == 0)
        rc = propkey_change_begin(&c, err);
    if (rc == 0)
        rc = add_rules(o, &c, &added, err);
    if (rc < 0)
        return rc;
    if (added == 0)
        prop_cli_note(cli, "the document lets that in already");
    prop_auto_json json_t *more =
        json_pack("{s:I,s:I}", "added", (json_int_t)added, "rules",
                  (json_int_t)json_array_size(prop_policy_doc_rules(c.doc)));
    return more ? propkey_change_finish(&c, more, err) : prop_err_nomem(err);
}

const struct prop_verb propkey_verb_policy_add = {
    "policy add", "", "add a rule to the policy document and upload what is built from it",
    "Other rules and comments of the document stay as they are, byte for byte; the file is written\n"
    "after the key broker took the policy. Where neither --policy-doc nor this machine's ledger tells\n"
    "what the key broker has, nothing is done, unless --replace-policy says that it may be lost.\n"
    "Changes from one machine wait for each other; across machines nothing can compare and set, so\n"
    "keep the document in git.\n"
    "  propkey policy add --policy-doc policy.toml --resource default/key/app \\\n"
    "      --allow tee=snp,measurement=sha384:HEX --kbs https://kbs.example.com --admin-key admin.key",
    options, sizeof(struct add_opts), 0, 0, run
};
