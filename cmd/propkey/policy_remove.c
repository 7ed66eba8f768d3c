/* propkey policy remove: a rule out of the policy document, and the policy built from the rest to
 * the server. */
#include "cmd/propkey/policy_change.h"
#include "cmd/propkey/verbs.h"

#include "util/text.h"

#include <string.h>

struct remove_opts {
    struct propkey_change_opts change;
    uint64_t rule;
};

static const struct prop_opt options[] = {
    PROPKEY_CHANGE_OPTIONS(struct remove_opts, change),
    { "rule", 0, PROP_OPT_U64, "N", "the rule with this number, from 1",
      offsetof(struct remove_opts, rule), NULL, NULL, false },
    PROP_OPT_END
};

/* Every rule for exactly this pattern, from behind, so that the numbers stay true. */
static int remove_resource(struct propkey_change *c, const char *resource, size_t *ret_removed,
                           struct prop_err *err)
{
    if (prop_starts_with(resource, "kbs:///"))
        resource += strlen("kbs:///");
    for (size_t i = json_array_size(prop_policy_doc_rules(c->doc)); i-- > 0;) {
        const json_t *rule = json_array_get(prop_policy_doc_rules(c->doc), i);
        if (strcmp(json_string_value(json_object_get(rule, "resource")), resource) != 0)
            continue;
        int rc = prop_policy_doc_remove(c->doc, i, err);
        if (rc < 0)
            return rc;
        (*ret_removed)++;
    }
    if (*ret_removed > 0)
        return 0;
    prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-rule", "the document has no rule for '%s'",
                    resource);
    return prop_err_hint(err, "the pattern has to be the same, character for character");
}

static int remove_number(struct propkey_change *c, uint64_t number, size_t *ret_removed,
                         struct prop_err *err)
{
    size_t n = json_array_size(prop_policy_doc_rules(c->doc));
    if (number == 0 || number > n)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-rule",
                               "the document has %zu rules, and none with number %llu", n,
                               (unsigned long long)number);
    int rc = prop_policy_doc_remove(c->doc, (size_t)number - 1, err);
    *ret_removed = rc == 0;
    return rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct remove_opts *o = opts;
    propkey_auto_change struct propkey_change c = PROPKEY_CHANGE_INIT(cli, &o->change);
    bool by_number = prop_cli_given(cli, "rule");
    size_t removed = 0;
    if (by_number == (o->change.resource != NULL)) {
        prop_err_set_id(err, PROP_E_USAGE, "which-rule", "%s",
                        by_number ? "--rule and --resource exclude each other"
                                  : "which rule is to go is not said");
        return prop_err_hint(err, "--rule N, counted from 1, or --resource PATTERN");
    }
    int rc = propkey_change_begin(&c, err);
    if (rc == 0)
        rc = by_number ? remove_number(&c, o->rule, &removed, err)
                       : remove_resource(&c, o->change.resource, &removed, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *more =
        json_pack("{s:I,s:I}", "removed", (json_int_t)removed, "rules",
                  (json_int_t)json_array_size(prop_policy_doc_rules(c.doc)));
    return more ? propkey_change_finish(&c, more, err) : prop_err_nomem(err);
}

const struct prop_verb propkey_verb_policy_remove = {
    "policy remove", "", "take a rule out of the policy document and upload what is left",
    "Other rules, and comments outside the rule, stay as they are, byte for byte; the file is written\n"
    "after the key broker took the policy. Otherwise as 'policy add'.\n"
    "  propkey policy remove --policy-doc policy.toml --resource default/key/app \\\n"
    "      --kbs https://kbs.example.com --admin-key admin.key",
    options, sizeof(struct remove_opts), 0, 0, run
};
