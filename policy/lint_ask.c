/* The policy is asked with made-up guests that should not get anything: whatever its rules look
 * like, this is what they do. Resources to ask for are those the policy names. */
#include "policy/diff.h"
#include "policy/lint_internal.h"

#include "policy/explain.h"
#include "policy/tee.h"
#include "policy/token.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define PATHS_MAX 48 /* resources asked for */
#define PINS_MAX 6   /* measurements tried */
#define FINDINGS_MAX 24
#define PARTS 3

static const char anything[] = "default/key/lint-asks";

/* --- resources that the policy names part by part --------------------------------------------- */

struct parts {
    struct prop_lint *l;
    char part[PARTS][64];
};

/* `parts[1] == "key"`, `startswith(data["resource-path"][2], "app-")`. */
static void see_part(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct parts *p = ctx;
    const char *op = prop_outline_text(node, "op");
    bool prefix = prop_outline_is(node, "call") &&
                  strcmp(prop_outline_text(node, "name"), "startswith") == 0;
    const json_t *args = json_object_get(node, "args");
    (void)at;
    if (!prefix &&
        !(prop_outline_is(node, "op") && (strcmp(op, "==") == 0 || strcmp(op, "=") == 0)))
        return;
    for (size_t turn = 0; turn < 2; turn++) {
        const json_t *path = json_object_get(json_array_get(args, turn), "path");
        const json_t *step = json_array_get(path, json_array_size(path) - 1);
        const char *s = json_string_value(json_object_get(json_array_get(args, 1 - turn), "value"));
        json_int_t i = json_integer_value(step);
        if (json_is_integer(step) && i >= 0 && i < PARTS && s != NULL && strchr(s, '/') == NULL)
            (void)snprintf(p->part[i], sizeof p->part[i], "%s%s", s, prefix ? "x" : "");
    }
}

static int add_path(json_t *list, const char *path)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
        if (strcmp(json_string_value(one), path) == 0)
            return 0;
    return json_array_size(list) < PATHS_MAX ? json_array_append_new(list, json_string(path)) : 0;
}

static int add_parts(struct prop_lint *l, const json_t *rule, json_t *list)
{
    size_t i;
    size_t k;
    json_t *body;
    json_t *stmt;
    json_array_foreach(json_object_get(rule, "bodies"), i, body) {
        struct parts p = { .l = l };
        char path[256];
        for (k = 0; k < PARTS; k++)
            (void)snprintf(p.part[k], sizeof p.part[k], "lint");
        json_array_foreach(json_object_get(body, "stmts"), k, stmt)
            prop_outline_statement(rule, stmt, see_part, &p);
        (void)snprintf(path, sizeof path, "%s/%s/%s", p.part[0], p.part[1], p.part[2]);
        if (add_path(list, path) != 0)
            return -1;
    }
    return 0;
}

static json_t *paths_to_ask(struct prop_lint *l)
{
    json_t *list = json_array();
    const char *path;
    json_t *line;
    size_t i;
    json_t *rule;
    bool ok = list != NULL && add_path(list, anything) == 0;
    json_object_foreach(l->paths, path, line)
        ok = ok && add_path(list, path) == 0;
    json_array_foreach(json_object_get(l->outline, "rules"), i, rule)
        if (strcmp(prop_outline_text(rule, "name"), "allow") == 0)
            ok = ok && add_parts(l, rule, list) == 0;
    if (ok)
        return list;
    json_decref(list);
    prop_lint_nomem(l);
    return NULL;
}

/* --- asking ----------------------------------------------------------------------------------- */

struct asking {
    struct prop_lint *l;
    const char *path;
    bool old_server;
    unsigned told; /* findings of any kind: reasons are not looked for endlessly */
};

/* The line of the rule that let the last guest in. */
static size_t holding_line(const struct asking *a)
{
    prop_auto_json json_t *why = NULL;
    size_t i;
    json_t *one;
    if (prop_policy_explain(a->l->judge, "allow", a->path, 0, &why, NULL, NULL) != 0)
        return 0;
    json_array_foreach(why, i, one)
        if (json_is_true(json_object_get(one, "holds")))
            return prop_outline_line(one);
    return 0;
}

/* Each rule of the policy is told about once for each kind of guest. */
static void tell(struct asking *a, const char *rule, const char *kind, const char *what)
{
    if (a->told >= FINDINGS_MAX)
        return;
    size_t line = holding_line(a);
    prop_auto_free char *key = prop_asprintf("%zu %s %s", line, rule, kind);
    if (key == NULL) {
        prop_lint_nomem(a->l);
        return;
    }
    a->told++;
    if (json_object_get(a->l->seen, key) != NULL)
        return;
    if (json_object_set_new(a->l->seen, key, json_true()) != 0)
        prop_lint_nomem(a->l);
    prop_lint_add(a->l, line, PROP_LINT_WARNING, rule, "%s, for '%s' for one", what, a->path);
}

/* Does the guest get the resource? Takes `token` over; `made` tells whether there is one. */
static bool let_in(struct asking *a, int made, json_t *token)
{
    prop_auto_json json_t *mine = token;
    struct prop_policy_question q = { .token = mine, .path = a->path, .old_server = a->old_server };
    struct prop_err why = PROP_ERR_INIT;
    bool allow = false;
    if (made != 0 || mine == NULL) {
        prop_lint_nomem(a->l);
        return false;
    }
    int rc = prop_policy_judge_ask(a->l->judge, &q, &allow, NULL, &why);
    if (rc == PROP_E_NOMEM)
        prop_lint_nomem(a->l);
    if (rc == PROP_E_INPUT && !a->old_server)
        prop_lint_failure(a->l, "fails", &why);
    return rc == 0 && allow;
}

static const char *const statuses[] = { "affirming", "warning", "contraindicated", "none" };

static void ask_sample(struct asking *a)
{
    for (size_t i = PROP_ARRAY_LEN(statuses); i-- > 0;) {
        char what[160];
        json_t *token = NULL;
        int rc = prop_policy_token_sample(statuses[i], &token, a->l->err);
        if (!let_in(a, rc, token))
            continue;
        (void)snprintf(what, sizeof what,
                       "sample evidence, which anybody can make, is let in (status '%s')",
                       statuses[i]);
        tell(a, "sample-allowed", "sample", what);
        return; /* the worst that is let in */
    }
}

/* A guest of this kind and measurement that is open to its host, or that nothing is known of. */
static void ask_hardware(struct asking *a, const struct prop_policy_tee *tee, const char *pin)
{
    for (size_t i = 1; i < PROP_ARRAY_LEN(statuses); i++) {
        char what[160];
        json_t *token = NULL;
        int rc = prop_policy_token_new(tee->name, statuses[i], pin, true, &token, a->l->err);
        if (let_in(a, rc, token)) {
            (void)snprintf(what, sizeof what,
                           "a guest (%s) that its host may debug is let in (status '%s')",
                           tee->name, statuses[i]);
            tell(a, "debug-allowed", tee->name, what);
        }
        if (pin != NULL || i < 2)
            continue;
        token = NULL;
        rc = prop_policy_token_new(tee->name, statuses[i], NULL, false, &token, a->l->err);
        if (let_in(a, rc, token)) {
            (void)snprintf(what, sizeof what,
                           "any guest (%s) is let in, whatever runs in it (status '%s')", tee->name,
                           statuses[i]);
            tell(a, "any-guest", tee->name, what);
        }
    }
}

static void ask_all(struct asking *a)
{
    static const char *const kinds[] = { "snp", "tdx" };
    if (let_in(a, 0, json_object()))
        tell(a, "fails-open", "",
             "a token that says nothing is let in: claims are only asked not to "
             "be there");
    ask_sample(a);
    for (size_t k = 0; k < PROP_ARRAY_LEN(kinds); k++) {
        const struct prop_policy_tee *tee = prop_policy_tee_find(kinds[k]);
        const char *pin;
        json_t *v;
        size_t n = 0;
        ask_hardware(a, tee, NULL);
        json_object_foreach(a->l->pins, pin, v)
            if (n++ < PINS_MAX)
                ask_hardware(a, tee, pin);
    }
}

void prop_lint_ask(struct prop_lint *l)
{
    prop_auto_json json_t *paths = paths_to_ask(l);
    struct asking a = { .l = l };
    size_t i;
    json_t *path;

    json_array_foreach(paths, i, path) {
        a.path = json_string_value(path);
        for (unsigned old = 0; l->rc == 0 && old < 2; old++) {
            a.old_server = old == 1;
            ask_all(&a);
        }
    }
}

int prop_policy_named(struct prop_policy_judge *j, json_t **ret_resources, json_t **ret_pins,
                      struct prop_err *err)
{
    static const struct prop_lint_options none = { NULL, NULL, false };
    struct prop_lint l = { .name = "", .options = &none, .judge = j, .findings = json_array(),
                           .seen = json_object(), .paths = json_object(), .pins = json_object(),
                           .err = err };
    prop_auto_json json_t *pins = json_array();
    json_t *paths = NULL;
    const char *pin;
    json_t *v;

    l.text = prop_policy_judge_rego(j, &l.len);
    if (l.findings == NULL || l.seen == NULL || l.paths == NULL || l.pins == NULL || pins == NULL)
        prop_lint_nomem(&l);
    if (l.rc == 0)
        l.rc = prop_policy_judge_outline(j, &l.outline, err);
    if (l.rc == 0) {
        prop_lint_claims(&l);
        paths = paths_to_ask(&l);
    }
    json_object_foreach(l.pins, pin, v)
        if (json_array_append_new(pins, json_string(pin)) != 0)
            prop_lint_nomem(&l);
    json_decref(l.findings);
    json_decref(l.seen);
    json_decref(l.paths);
    json_decref(l.pins);
    if (l.rc != 0) {
        json_decref(paths);
        return l.rc;
    }
    *ret_resources = paths;
    *ret_pins = PROP_TAKE(pins);
    return 0;
}
