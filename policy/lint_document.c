/* Policy documents: what their parser takes for right, but a reader may not have meant. */
#include "policy/lint_internal.h"

#include "policy/conditions.h"
#include "policy/document.h"
#include "policy/position.h"

#include <string.h>

#define COMPARED_MAX 1000 /* rules compared with each other */

static size_t line_of(const struct prop_lint *l, size_t i)
{
    struct prop_policy_step steps[] = { PROP_POLICY_MEMBER("rule"), PROP_POLICY_ELEMENT(i) };
    struct prop_policy_place place = { 0 };
    bool json = l->text[strspn(l->text, " \t\r\n")] == '{';
    prop_policy_find(l->text, l->len, json, steps, 2, &place);
    return place.depth == 2 ? place.line : 0;
}

static bool is_published(const struct prop_lint *l, const json_t *rule)
{
    size_t i;
    json_t *one;
    json_array_foreach(l->options->published, i, one)
        if (prop_policy_rule_fits(rule, json_string_value(one)))
            return true;
    return false;
}

static void check_rule(struct prop_lint *l, const json_t *rule, size_t i)
{
    const char *tee = prop_outline_text(rule, "tee");
    const char *resource = prop_outline_text(rule, "resource");
    if (strcmp(tee, "sample") == 0)
        prop_lint_add(l, line_of(l, i), PROP_LINT_WARNING, "sample-allowed",
                      "rule %zu lets sample evidence have '%s': anybody can make it", i + 1,
                      resource);
    if (json_is_true(json_object_get(rule, "allow_any_guest")))
        prop_lint_add(l, line_of(l, i), PROP_LINT_WARNING, "any-guest",
                      "rule %zu lets any guest%s%s have '%s', whatever runs in it", i + 1,
                      *tee ? " of " : "", tee, resource);
    if (l->options->published != NULL && !is_published(l, rule))
        prop_lint_add(l, line_of(l, i), PROP_LINT_WARNING, "unpublished-resource",
                      "rule %zu: nothing was published from here that '%s' fits", i + 1, resource);
}

static void compare(struct prop_lint *l, const json_t *a, size_t i, const json_t *b, size_t k)
{
    bool ab = prop_policy_rule_covers(a, b);
    bool ba = prop_policy_rule_covers(b, a);
    if (ab && ba)
        prop_lint_add(l, line_of(l, k), PROP_LINT_WARNING, "duplicate-rule",
                      "rule %zu says the same as rule %zu", k + 1, i + 1);
    else if (ab || ba)
        prop_lint_add(l, line_of(l, ab ? k : i), PROP_LINT_WARNING, "shadowed-rule",
                      "rule %zu changes nothing: rule %zu lets in all that it does",
                      ab ? k + 1 : i + 1, ab ? i + 1 : k + 1);
}

void prop_lint_document(struct prop_lint *l)
{
    prop_auto_policy_doc struct prop_policy_doc *doc = NULL;
    struct prop_err why = PROP_ERR_INIT;
    size_t i;
    json_t *rule;
    int rc = prop_policy_doc_parse(l->text, l->len, l->name, &doc, &why);

    if (rc != 0 && rc != PROP_E_INPUT && rc != PROP_E_LIMIT) {
        l->rc = rc;
        if (l->err != NULL)
            *l->err = why;
        return;
    }
    if (rc != 0) {
        prop_lint_failure(l, prop_err_id(&why), &why);
        return;
    }
    const json_t *rules = prop_policy_doc_rules(doc);
    size_t n = json_array_size(rules);
    if (n == 0)
        prop_lint_add(l, 0, PROP_LINT_WARNING, "no-rules",
                      "there are no rules: nobody gets anything");
    json_array_foreach(rules, i, rule)
        check_rule(l, rule, i);
    for (i = 0; i < n && i < COMPARED_MAX; i++)
        for (size_t k = i + 1; k < n && k < COMPARED_MAX; k++)
            compare(l, json_array_get(rules, i), i, json_array_get(rules, k), k);
}
