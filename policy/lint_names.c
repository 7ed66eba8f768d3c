/* Names: of the package, of the rule that is asked for, of rules that nobody asks for, of functions
 * that nobody has. */
#include "policy/lint_internal.h"

#include <ctype.h>
#include <string.h>

unsigned prop_name_distance(const char *a, const char *b)
{
    enum { MOST = 48 };
    unsigned row[MOST + 1];
    size_t n = strlen(a);
    size_t m = strlen(b);
    if (n > MOST || m > MOST || n > m + 2 || m > n + 2)
        return 3;
    for (size_t k = 0; k <= m; k++)
        row[k] = (unsigned)k;
    for (size_t i = 1; i <= n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t k = 1; k <= m; k++) {
            unsigned same = corner + (tolower((unsigned char)a[i - 1]) !=
                                      tolower((unsigned char)b[k - 1]));
            corner = row[k];
            unsigned least = row[k] < row[k - 1] ? row[k] + 1 : row[k - 1] + 1;
            row[k] = same < least ? same : least;
        }
    }
    return row[m] > 3 ? 3 : row[m];
}

/* A rule that looks as if its author thought it were the one that is asked for. */
static bool near(const char *name, const char *wanted)
{
    static const char *const synonyms[] = { "allowed",  "permit",     "permitted",  "grant",
                                            "granted",  "authorized", "authorize",  "authz",
                                            "decision", "result",     "is_allowed", "allow_request",
                                            "main" };
    if (prop_name_distance(name, wanted) <= 2)
        return true;
    for (size_t i = 0; strcmp(wanted, "allow") == 0 && i < PROP_ARRAY_LEN(synonyms); i++)
        if (strcmp(name, synonyms[i]) == 0)
            return true;
    return false;
}

static void check_package(struct prop_lint *l, const char *wanted)
{
    const char *package = prop_outline_text(l->outline, "package");
    if (strcmp(package, "policy") != 0)
        prop_lint_add(l, prop_outline_line(l->outline), PROP_LINT_ERROR, "wrong-package",
                      "package '%s': key brokers ask data.policy.%s, which no rule here defines",
                      package, wanted);
}

/* Names that the wanted rules stand on, themselves too, as members of `used`. */
static void mark(struct prop_lint *l, const char *name, json_t *used)
{
    const json_t *rules = json_object_get(l->outline, "rules");
    prop_auto_json json_t *todo = json_array();
    if (todo == NULL || json_array_append_new(todo, json_string(name)) != 0) {
        prop_lint_nomem(l);
        return;
    }
    while (json_array_size(todo) > 0) {
        size_t last = json_array_size(todo) - 1;
        prop_auto_json json_t *next = json_incref(json_array_get(todo, last));
        size_t i;
        json_t *rule;
        (void)json_array_remove(todo, last);
        if (json_object_get(used, json_string_value(next)) != NULL)
            continue;
        if (json_object_set_new(used, json_string_value(next), json_true()) != 0)
            prop_lint_nomem(l);
        json_array_foreach(rules, i, rule)
            if (strcmp(prop_outline_text(rule, "name"), json_string_value(next)) == 0 &&
                json_array_extend(todo, json_object_get(rule, "uses")) != 0)
                prop_lint_nomem(l);
    }
}

static void check_unused(struct prop_lint *l, const char *wanted, const char *const *also)
{
    prop_auto_json json_t *used = json_object();
    size_t i;
    json_t *rule;
    if (used == NULL) {
        prop_lint_nomem(l);
        return;
    }
    mark(l, wanted, used);
    for (; *also != NULL; also++)
        mark(l, *also, used);
    json_array_foreach(json_object_get(l->outline, "rules"), i, rule) {
        const char *name = prop_outline_text(rule, "name");
        if (json_object_get(used, name) == NULL)
            prop_lint_add(l, prop_outline_line(rule), PROP_LINT_WARNING, "unused-rule",
                          "'%s' is used by nothing that '%s' stands on%s", name, wanted,
                          near(name, wanted) ? ": only the rule of that very name is asked" : "");
    }
}

static void see_call(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct prop_lint *l = ctx;
    const char *name = prop_outline_text(node, "name");
    (void)at;
    if (!prop_outline_is(node, "call") || !json_is_null(json_object_get(node, "is")))
        return;
    prop_lint_add(l, prop_outline_line(node), PROP_LINT_ERROR, "unknown-function",
                  "key brokers have no function '%s'%s: each decision that comes here is an error",
                  name, strcmp(name, "http.send") == 0 ? " (policies have no network)" : "");
}

void prop_lint_names(struct prop_lint *l, const char *wanted, const char *const *also)
{
    const json_t *rules = json_object_get(l->outline, "rules");
    const char *told = "";
    bool there = false;
    size_t i;
    json_t *rule;

    check_package(l, wanted);
    json_array_foreach(rules, i, rule) {
        there = there || strcmp(prop_outline_text(rule, "name"), wanted) == 0;
        prop_outline_rule(rule, see_call, l);
    }
    if (there) {
        check_unused(l, wanted, also);
        return;
    }
    json_array_foreach(rules, i, rule) {
        const char *name = prop_outline_text(rule, "name");
        if (near(name, wanted) && strcmp(name, told) != 0) {
            prop_lint_add(l, prop_outline_line(rule), PROP_LINT_ERROR, "wrong-rule",
                          "'%s': the rule that is asked for is '%s'", name, wanted);
            told = name;
        }
    }
    if (*told == '\0')
        prop_lint_add(l, 0, PROP_LINT_ERROR, "wrong-rule", "there is no rule '%s'", wanted);
}
