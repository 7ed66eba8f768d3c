/* References into input and data, and what they are compared with. */
#include "policy/lint_internal.h"

#include "policy/pattern.h"
#include "util/limits.h"

#include <ctype.h>
#include <string.h>

#define HEX_DIGEST 96 /* digits of a SHA-384 */
#define PIN_LEAST 64  /* digits that make a text look like a measurement */

struct claims {
    struct prop_lint *l;
    size_t text_line, list_line; /* the path compared as one text, as a list; 0 = nowhere */
    bool asks_form;              /* is_string or is_array decides which */
    size_t old_submod;           /* line of submods.cpu; 0 = not used */
    bool new_submod;
};

static bool path_is(const json_t *path, const char *of, const char *name)
{
    const char *a = json_string_value(json_array_get(path, 0));
    const char *b = json_string_value(json_array_get(path, 1));
    return a != NULL && b != NULL && strcmp(a, of) == 0 && strcmp(b, name) == 0;
}

static bool is_resource_path(const json_t *path)
{
    return json_array_size(path) == 2 && path_is(path, "data", "resource-path");
}

/* --- references ------------------------------------------------------------------------------- */

void prop_lint_input(struct prop_lint *l, const json_t *node, const json_t *path, bool negated,
                     bool attestation)
{
    size_t depth = 0;
    char near[64];
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_json json_t *there = json_array();

    if (prop_claims_known(path, attestation, &depth, near))
        return;
    for (size_t i = 0; i < depth; i++)
        if (json_array_append(there, json_array_get(path, i)) != 0)
            prop_lint_nomem(l);
    if (prop_outline_spell(there, &out, NULL) != 0)
        prop_lint_nomem(l);
    const char *name = json_string_value(json_array_get(path, depth));
    prop_auto_free char *step =
        name == NULL ? prop_json_compact(json_array_get(path, depth)) : NULL;
    bool dots = name != NULL && strcmp(name, "ear") == 0;
    prop_lint_add(l, prop_outline_line(node), negated ? PROP_LINT_ERROR : PROP_LINT_WARNING,
                  "unknown-claim", "no verifier puts '%s' into %s%s%s%s%s%s",
                  name != NULL ? name : step != NULL ? step : "?", prop_buf_str(&out),
                  dots ? ": a name with dots goes in brackets, [\"ear.status\"]" : "",
                  !dots && *near ? " (but '" : "", !dots ? near : "", !dots && *near ? "')" : "",
                  negated ? ", so this 'not' always holds" : "");
}

static void check_submod(struct claims *c, const json_t *node, const json_t *path)
{
    const char *name = json_string_value(json_array_get(path, 2));
    size_t word = name != NULL ? strcspn(name, "0123456789") : 0;
    if (!path_is(path, "input", "submods") || name == NULL)
        return;
    if (strcmp(name, "cpu") == 0) {
        c->old_submod = c->old_submod ? c->old_submod : prop_outline_line(node);
        return;
    }
    bool known = (word == 3 && (strncmp(name, "cpu", 3) == 0 || strncmp(name, "gpu", 3) == 0)) ||
                 (word == 6 && strncmp(name, "switch", 6) == 0) ||
                 (word == 5 && strncmp(name, "ppcie", 5) == 0);
    c->new_submod = c->new_submod || strncmp(name, "cpu", 3) == 0;
    if (!known || strspn(name + word, "0123456789") != strlen(name + word) || name[word] == '\0')
        prop_lint_add(c->l, prop_outline_line(node), PROP_LINT_WARNING, "unknown-claim",
                      "submodules are called cpu0, gpu0 and so on, not '%s'", name);
}

static void check_data(struct claims *c, const json_t *node, const json_t *path)
{
    const char *name = json_string_value(json_array_get(path, 1));
    size_t line = prop_outline_line(node);
    if (name == NULL || strcmp(name, "plugin") == 0 || strcmp(name, "query") == 0)
        return;
    if (strcmp(name, "resource-path") == 0) {
        if (json_array_size(path) > 2 && c->list_line == 0)
            c->list_line = line;
        return;
    }
    if (strcmp(name, "reference") == 0)
        prop_lint_add(
            c->l, line, PROP_LINT_ERROR, "data-reference",
            "data.reference was for attestation policies of v0.11 to v0.15: a resource policy "
            "has no reference values, and attestation policies ask query_reference_value");
    else
        prop_lint_add(c->l, line, PROP_LINT_ERROR, "unknown-data",
                      "key brokers give data.plugin, data[\"resource-path\"] and data.query, no "
                      "data.%s", name);
}

static void check_ref(struct claims *c, const json_t *node, const struct prop_outline_at *at)
{
    const char *of = prop_outline_text(node, "of");
    bool direct = strcmp(of, "input") == 0 || strcmp(of, "data") == 0;
    if (!direct && json_array_size(json_object_get(node, "path")) == 0)
        return; /* looked at where it got its value */
    prop_auto_json json_t *path = prop_outline_resolve(c->l->outline, at->rule, node);
    const char *root = json_string_value(json_array_get(path, 0));
    if (root == NULL)
        return;
    if (strcmp(root, "data") == 0) {
        check_data(c, node, path);
        return;
    }
    check_submod(c, node, path);
    prop_lint_input(c->l, node, path, at->negated, false);
}

void prop_lint_dash(struct prop_lint *l, const json_t *op)
{
    const json_t *args = json_object_get(op, "args");
    const json_t *left = json_array_get(args, 0);
    const json_t *right = json_array_get(args, 1);
    const json_t *path = json_object_get(left, "path");
    const char *of = prop_outline_text(left, "of");
    if (strcmp(prop_outline_text(op, "op"), "-") != 0 || !prop_outline_is(right, "ref") ||
        (strcmp(of, "input") != 0 && strcmp(of, "data") != 0))
        return;
    const char *last = json_string_value(json_array_get(path, json_array_size(path) - 1));
    prop_lint_add(l, prop_outline_line(op), PROP_LINT_ERROR, "dash-in-name",
                  "this is '%s' minus '%s': a name with a dash goes in brackets, [\"%s-%s\"]",
                  last != NULL ? last : of, prop_outline_text(right, "name"),
                  last != NULL ? last : of, prop_outline_text(right, "name"));
}

/* --- comparisons ------------------------------------------------------------------------------ */

static void check_status(struct claims *c, const json_t *value, size_t line)
{
    static const char *const known[] = { "affirming", "warning", "contraindicated", "none" };
    const char *s = json_string_value(value);
    prop_auto_free char *text = prop_json_compact(value);
    for (size_t i = 0; s != NULL && i < PROP_ARRAY_LEN(known); i++)
        if (strcmp(s, known[i]) == 0)
            return;
    prop_lint_add(c->l, line, PROP_LINT_ERROR, "unknown-status",
                  "ear.status is one of affirming, warning, contraindicated and none, never %s",
                  text != NULL ? text : "that");
}

static bool is_digest(const json_t *path)
{
    static const char *const names[] = { "measurement",   "mr_td",  "mr_seam",
                                         "mrsigner_seam", "rtmr_0", "rtmr_1",
                                         "rtmr_2",        "rtmr_3", "mr_config_id" };
    const char *last = json_string_value(json_array_get(path, json_array_size(path) - 1));
    for (size_t i = 0; last != NULL && i < PROP_ARRAY_LEN(names); i++)
        if (strcmp(last, names[i]) == 0)
            return true;
    return false;
}

static void check_digest(struct claims *c, const char *value, size_t line)
{
    size_t digits = strspn(value, "0123456789abcdef");
    const char *why = NULL;
    if (value[digits] != '\0' && strchr(value, ':') != NULL)
        why = "without a prefix such as sha384:";
    else if (value[digits] != '\0' && isxdigit((unsigned char)value[digits]))
        why = "in lower case";
    else if (value[digits] != '\0')
        why = "hex";
    else if (digits != HEX_DIGEST)
        why = "96 hex digits";
    if (why != NULL)
        prop_lint_add(c->l, line, PROP_LINT_ERROR, "measurement-form",
                      "never equal: verifiers give this value %s", why);
}

/* Claims that are never texts. */
static const char *claim_kind(const json_t *path)
{
    static const char *const numbers[] = { "reported_tcb_bootloader", "reported_tcb_tee",
                                           "reported_tcb_snp",        "reported_tcb_microcode",
                                           "policy_abi_major",        "policy_abi_minor" };
    static const char *const truths[] = { "policy_debug_allowed",  "policy_migrate_ma",
                                          "policy_smt_allowed",    "policy_single_socket",
                                          "platform_tsme_enabled", "platform_smt_enabled" };
    size_t n = json_array_size(path);
    const char *last = json_string_value(json_array_get(path, n - 1));
    const char *above = n > 1 ? json_string_value(json_array_get(path, n - 2)) : NULL;
    if (last == NULL || above == NULL)
        return NULL;
    if (strcmp(above, "ear.trustworthiness-vector") == 0)
        return "a number";
    for (size_t i = 0; strcmp(above, "snp") == 0 && i < PROP_ARRAY_LEN(numbers); i++)
        if (strcmp(last, numbers[i]) == 0)
            return "a number";
    for (size_t i = 0; strcmp(above, "snp") == 0 && i < PROP_ARRAY_LEN(truths); i++)
        if (strcmp(last, truths[i]) == 0)
            return "true or false";
    return strcmp(above, "td_attributes") == 0 ? "true or false" : NULL;
}

/* A claim against a text that it never is; in the order of Rego every text is greater. */
static void check_kinds(struct claims *c, const json_t *op, const struct prop_outline_at *at)
{
    const json_t *args = json_object_get(op, "args");
    const char *name = prop_outline_text(op, "op");
    if (json_array_size(args) != 2 || strcspn(name, "=!<>") != 0 || strcmp(name, ":=") == 0)
        return;
    for (size_t turn = 0; turn < 2; turn++) {
        prop_auto_json json_t *path =
            prop_outline_resolve(c->l->outline, at->rule, json_array_get(args, turn));
        const json_t *value = json_object_get(json_array_get(args, 1 - turn), "value");
        const char *kind = path_is(path, "input", "submods") ? claim_kind(path) : NULL;
        if (kind == NULL || !json_is_string(value))
            continue;
        bool always = strcmp(name, "!=") == 0 || name[0] == (turn == 0 ? '<' : '>');
        prop_lint_add(c->l, prop_outline_line(op), PROP_LINT_ERROR, "claim-type",
                      "%s holds: verifiers give %s here, which is compared with a text",
                      always ? "always" : "never", kind);
    }
}

static bool is_resource(const char *s)
{
    return strchr(s, '*') == NULL && prop_policy_pattern_ok(s);
}

static void note_path(struct claims *c, const char *path, size_t line)
{
    if (is_resource(path) && json_object_get(c->l->paths, path) == NULL &&
        json_object_set_new(c->l->paths, path, json_integer((json_int_t)line)) != 0)
        prop_lint_nomem(c->l);
}

/* A text that is compared with something that is no claim: may be a resource. `whole`: with the
 * path as one text, so it has to be one. */
static void check_path_text(struct claims *c, const char *s, bool whole, size_t line)
{
    const char *why = NULL;
    bool plain = strncmp(s, "kbs:///", 7) != 0 && !(*s == '/' && is_resource(s + 1));
    if (is_resource(s))
        note_path(c, s, line);
    else if (!plain)
        why = *s == '/' ? "without a slash in front" : "without kbs:///";
    else if (whole)
        why = strchr(s, '*') != NULL ? "and '*' stands for itself here" : "with three names";
    /* Other plugins than 'resource' have paths of other forms. */
    if (why != NULL)
        prop_lint_add(c->l, line, plain ? PROP_LINT_WARNING : PROP_LINT_ERROR, "resource-form",
                      "never equal: a resource is asked for as repository/type/tag, %s", why);
}

/* concat("/", path) */
static bool is_joined_path(const struct claims *c, const json_t *node,
                           const struct prop_outline_at *at)
{
    const json_t *args = json_object_get(node, "args");
    const char *by = json_string_value(json_object_get(json_array_get(args, 0), "value"));
    if (!prop_outline_is(node, "call") || strcmp(prop_outline_text(node, "name"), "concat") != 0 ||
        by == NULL || strcmp(by, "/") != 0)
        return false;
    prop_auto_json json_t *path = prop_outline_resolve(c->l->outline, at->rule, json_array_get(args, 1));
    return is_resource_path(path);
}

/* ["a", "b", "c"] of constants as "a/b/c" (prop_alloc), else NULL. */
static char *join(const json_t *list)
{
    const json_t *items = json_object_get(list, "items");
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    size_t i;
    json_t *one;
    json_array_foreach(items, i, one) {
        const char *s = json_string_value(json_object_get(one, "value"));
        if (s == NULL || prop_buf_printf(&out, NULL, "%s%s", i > 0 ? "/" : "", s) != 0)
            return NULL;
    }
    return prop_buf_take(&out, NULL);
}

static void check_against(struct claims *c, const json_t *ref, const json_t *path,
                          const json_t *other, const struct prop_outline_at *at)
{
    const json_t *value = json_object_get(other, "value");
    const char *s = json_string_value(value);
    const char *last = json_string_value(json_array_get(path, json_array_size(path) - 1));
    size_t line = prop_outline_line(other);
    bool input = path_is(path, "input", "submods");

    if (is_resource_path(path) && prop_outline_is(other, "array")) {
        prop_auto_free char *joined = join(other);
        c->list_line = c->list_line ? c->list_line : line;
        if (joined != NULL)
            check_path_text(c, joined, true, line);
    }
    if (!prop_outline_is(other, "const"))
        return;
    if (last != NULL && strcmp(last, "ear.status") == 0)
        check_status(c, value, line);
    if (s == NULL)
        return;
    if (is_digest(path))
        check_digest(c, s, line);
    if (is_resource_path(path) && c->text_line == 0)
        c->text_line = line;
    bool whole = is_joined_path(c, ref, at);
    if (whole || (!input && prop_outline_is(ref, "ref")))
        check_path_text(c, s, whole, line);
}

static void check_comparison(struct claims *c, const json_t *op, const struct prop_outline_at *at)
{
    static const char *const wanted[] = { "==", "!=", "=", "in" };
    const char *name = prop_outline_text(op, "op");
    const json_t *args = json_object_get(op, "args");
    size_t n = json_array_size(args);
    bool fits = false;
    for (size_t i = 0; i < PROP_ARRAY_LEN(wanted); i++)
        fits = fits || strcmp(name, wanted[i]) == 0;
    if (!fits || n < 2)
        return;
    bool in = strcmp(name, "in") == 0;
    const json_t *left = json_array_get(args, n - 2);
    const json_t *right = json_array_get(args, n - 1);
    for (unsigned turn = 0; turn < (in ? 1u : 2u); turn++) {
        const json_t *ref = turn == 0 ? left : right;
        const json_t *other = turn == 0 ? right : left;
        prop_auto_json json_t *path = prop_outline_resolve(c->l->outline, at->rule, ref);
        size_t i;
        json_t *one;
        if (!in)
            check_against(c, ref, path, other, at);
        json_array_foreach(json_object_get(in ? other : NULL, "items"), i, one)
            check_against(c, ref, path, one, at);
    }
}

/* Functions that take the path as a text, or as a list. */
static void check_call(struct claims *c, const json_t *call, const struct prop_outline_at *at)
{
    static const char *const texts[] = { "startswith",  "endswith",    "contains",
                                         "split",       "regex.match", "glob.match",
                                         "trim_prefix", "trim_suffix", "indexof" };
    const char *name = prop_outline_text(call, "name");
    size_t i;
    json_t *arg;
    if (strcmp(name, "query_reference_value") == 0)
        prop_lint_add(c->l, prop_outline_line(call), PROP_LINT_ERROR, "unknown-function",
                      "a resource policy cannot ask for reference values: each decision that comes "
                      "here is an error");
    json_array_foreach(json_object_get(call, "args"), i, arg) {
        prop_auto_json json_t *path = prop_outline_resolve(c->l->outline, at->rule, arg);
        if (!is_resource_path(path))
            continue;
        c->asks_form =
            c->asks_form || strcmp(name, "is_string") == 0 || strcmp(name, "is_array") == 0;
        if (strcmp(name, "concat") == 0 && c->list_line == 0)
            c->list_line = prop_outline_line(call);
        for (size_t k = 0; k < PROP_ARRAY_LEN(texts) && c->text_line == 0; k++)
            if (strcmp(name, texts[k]) == 0)
                c->text_line = prop_outline_line(call);
    }
}

static void note_pin(struct claims *c, const json_t *node)
{
    const char *s = json_string_value(json_object_get(node, "value"));
    if (s != NULL && strlen(s) >= PIN_LEAST && strspn(s, "0123456789abcdef") == strlen(s) &&
        json_object_set_new(c->l->pins, s, json_true()) != 0)
        prop_lint_nomem(c->l);
}

static void see(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct claims *c = ctx;
    if (prop_outline_is(node, "ref")) {
        check_ref(c, node, at);
    } else if (prop_outline_is(node, "op")) {
        prop_lint_dash(c->l, node);
        check_comparison(c, node, at);
        check_kinds(c, node, at);
    } else if (prop_outline_is(node, "call")) {
        check_call(c, node, at);
    } else if (prop_outline_is(node, "const")) {
        note_pin(c, node);
    }
}

static void check_published(struct prop_lint *l)
{
    const char *path;
    json_t *line;
    if (l->options->published == NULL)
        return;
    json_object_foreach(l->paths, path, line) {
        bool there = false;
        size_t i;
        json_t *one;
        json_array_foreach(l->options->published, i, one)
            there = there || strcmp(json_string_value(one), path) == 0;
        if (!there)
            prop_lint_add(l, (size_t)json_integer_value(line), PROP_LINT_WARNING,
                          "unpublished-resource",
                          "nothing was published as '%s' from here", path);
    }
}

void prop_lint_claims(struct prop_lint *l)
{
    struct claims c = { .l = l };
    size_t i;
    json_t *rule;
    json_array_foreach(json_object_get(l->outline, "rules"), i, rule)
        prop_outline_rule(rule, see, &c);
    if (c.old_submod > 0 && !c.new_submod)
        prop_lint_add(l, c.old_submod, PROP_LINT_ERROR, "old-submod",
                      "the submodule is called cpu0 since v0.14; 'cpu' is not there any more");
    if (c.text_line > 0 && c.list_line == 0 && !c.asks_form)
        prop_lint_add(
            l, c.text_line, PROP_LINT_ERROR, "path-as-text",
            "data[\"resource-path\"] is a list of three since v0.17: compared with a text it "
            "never matches");
    if (c.list_line > 0 && c.text_line == 0 && !c.asks_form)
        prop_lint_add(l, c.list_line, PROP_LINT_WARNING, "path-as-list",
                      "servers up to v0.16 give data[\"resource-path\"] as one text: this never "
                      "matches there");
    check_published(l);
}
