/* Attestation policies: names that make the real server die, values that mean another tier than
 * their author may think, reference values in a shape that never matches. */
#include "policy/lint_internal.h"

#include "policy/attestation.h"

#include <stdint.h>
#include <string.h>

/* --- the trust vector ------------------------------------------------------------------------- */

static bool is_trust_claim(const char *name)
{
    for (size_t i = 0; prop_trust_claims[i] != NULL; i++)
        if (strcmp(prop_trust_claims[i], name) == 0)
            return true;
    return false;
}

static const char *nearest(const char *name)
{
    const char *best = NULL;
    unsigned least = 3;
    for (size_t i = 0; prop_trust_claims[i] != NULL; i++) {
        unsigned d = prop_name_distance(prop_trust_claims[i], name);
        if (d < least) {
            least = d;
            best = prop_trust_claims[i];
        }
    }
    return best;
}

/* A constant that becomes a value of the vector. */
static void check_number(struct prop_lint *l, const char *claim, const json_t *node)
{
    const json_t *v = json_object_get(node, "value");
    json_int_t n = json_integer_value(v);
    if (!prop_outline_is(node, "const"))
        return;
    if (!json_is_integer(v)) {
        prop_auto_free char *text = prop_json_compact(v);
        prop_lint_add(l, prop_outline_line(node), PROP_LINT_ERROR, "trust-value",
                      "%s is %s: attestation fails unless it is an integer", claim,
                      text != NULL ? text : "?");
    } else if (n < INT8_MIN || n > INT8_MAX) {
        prop_lint_add(l, prop_outline_line(node), PROP_LINT_ERROR, "trust-value",
                      "%s is %lld, which servers take as %d (%s): values are -128 to 127", claim,
                      (long long)n, (int)(int8_t)(uint8_t)((uint64_t)n & 0xff),
                      prop_trust_tier((int8_t)(uint8_t)((uint64_t)n & 0xff)));
    } else if (l->options->notes) {
        prop_lint_add(l, prop_outline_line(node), PROP_LINT_NOTE, "trust-tier", "%s %lld is %s",
                      claim, (long long)n, prop_trust_tier(n));
    }
}

/* All that a rule of that name can be, where it is constant. */
static void check_rule_values(struct prop_lint *l, const char *claim, const char *name)
{
    size_t i;
    size_t k;
    json_t *rule;
    json_t *body;
    json_array_foreach(json_object_get(l->outline, "rules"), i, rule) {
        if (strcmp(prop_outline_text(rule, "name"), name) != 0)
            continue;
        check_number(l, claim, json_object_get(rule, "value"));
        json_array_foreach(json_object_get(rule, "bodies"), k, body)
            check_number(l, claim, json_object_get(body, "value"));
    }
}

static void check_vector(struct prop_lint *l, const json_t *object)
{
    const json_t *fields = json_object_get(object, "fields");
    size_t i;
    json_t *pair;
    if (!prop_outline_is(object, "object"))
        return;
    if (json_array_size(fields) == 0)
        prop_lint_add(l, prop_outline_line(object), PROP_LINT_ERROR, "trust-empty",
                      "an empty trust_claims makes attestation fail");
    json_array_foreach(fields, i, pair) {
        const json_t *key = json_array_get(pair, 0);
        const json_t *value = json_array_get(pair, 1);
        const char *name = json_string_value(json_object_get(key, "value"));
        if (name == NULL)
            continue;
        if (!is_trust_claim(name)) {
            const char *near = nearest(name);
            prop_lint_add(l, prop_outline_line(key), PROP_LINT_ERROR, "trust-name",
                          "there is no trust claim '%s'%s%s%s: the real server dies on it", name,
                          near != NULL ? " (but '" : "", near != NULL ? near : "",
                          near != NULL ? "')" : "");
        }
        check_number(l, name, value);
        if (prop_outline_is(value, "ref") && strcmp(prop_outline_text(value, "of"), "rule") == 0)
            check_rule_values(l, name, prop_outline_text(value, "name"));
    }
}

/* --- extensions ------------------------------------------------------------------------------- */

static const json_t *field(const json_t *object, const char *name)
{
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(object, "fields"), i, pair) {
        const char *key = json_string_value(json_object_get(json_array_get(pair, 0), "value"));
        if (key != NULL && strcmp(key, name) == 0)
            return json_array_get(pair, 1);
    }
    return NULL;
}

static void check_extensions(struct prop_lint *l, const json_t *value)
{
    size_t i;
    json_t *one;
    if (prop_outline_is(value, "const") || prop_outline_is(value, "object") ||
        prop_outline_is(value, "set"))
        prop_lint_add(l, prop_outline_line(value), PROP_LINT_ERROR, "extension-form",
                      "extensions is a list of {\"name\", \"key\", \"value\"}");
    json_array_foreach(json_object_get(prop_outline_is(value, "array") ? value : NULL, "items"), i,
                       one) {
        const json_t *name = field(one, "name");
        const json_t *key = field(one, "key");
        const json_t *number = json_object_get(key, "value");
        if (!prop_outline_is(one, "object"))
            continue;
        if (name == NULL || key == NULL || field(one, "value") == NULL)
            prop_lint_add(l, prop_outline_line(one), PROP_LINT_ERROR, "extension-form",
                          "an extension has \"name\", \"key\" and \"value\"");
        else if (prop_outline_is(key, "const") &&
                 (!json_is_integer(number) || json_integer_value(number) < INT32_MIN ||
                  json_integer_value(number) > INT32_MAX))
            prop_lint_add(l, prop_outline_line(key), PROP_LINT_ERROR, "extension-form",
                          "the key of an extension is a number of 32 bits");
        else if (prop_outline_is(name, "const") && !json_is_string(json_object_get(name, "value")))
            prop_lint_add(l, prop_outline_line(name), PROP_LINT_ERROR, "extension-form",
                          "the name of an extension is a text");
    }
}

/* --- references ------------------------------------------------------------------------------- */

static bool asks_reference(const json_t *node)
{
    return prop_outline_is(node, "call") &&
           strcmp(prop_outline_text(node, "name"), "query_reference_value") == 0;
}

struct variable {
    const char *name;
    const json_t *call;
};

static void find_variable(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct variable *v = ctx;
    const json_t *args = json_object_get(node, "args");
    (void)at;
    if (prop_outline_is(node, "op") && strcmp(prop_outline_text(node, "op"), ":=") == 0 &&
        strcmp(prop_outline_text(json_array_get(args, 0), "name"), v->name) == 0 &&
        asks_reference(json_array_get(args, 1)))
        v->call = json_array_get(args, 1);
}

/* The name of the reference value that a node stands for, or NULL. */
static const char *reference_name(const json_t *node, const json_t *rule)
{
    struct variable v = { prop_outline_text(node, "name"), NULL };
    if (prop_outline_is(node, "ref") && strcmp(prop_outline_text(node, "of"), "local") == 0 &&
        json_array_size(json_object_get(node, "path")) == 0) {
        prop_outline_rule(rule, find_variable, &v);
        node = v.call;
    }
    if (node == NULL || !asks_reference(node))
        return NULL;
    return json_string_value(
        json_object_get(json_array_get(json_object_get(node, "args"), 0), "value"));
}

static void check_shape(struct prop_lint *l, const json_t *op, const json_t *rule)
{
    const char *sign = prop_outline_text(op, "op");
    const json_t *args = json_object_get(op, "args");
    size_t n = json_array_size(args);
    bool in = strcmp(sign, "in") == 0;
    if (strcmp(sign, ":=") == 0 || n < 2)
        return;
    for (size_t i = in ? n - 1 : 0; i < n; i++) {
        const char *name = reference_name(json_array_get(args, i), rule);
        const json_t *other = json_array_get(args, i == 0 ? 1 : 0);
        const char *shape = name != NULL
                                ? json_string_value(json_object_get(l->options->shapes, name))
                                : NULL;
        bool list = shape != NULL && strcmp(shape, "list") == 0;
        if (shape == NULL || list == in || prop_outline_is(other, "const"))
            continue;
        prop_lint_add(l, prop_outline_line(op), PROP_LINT_WARNING, "reference-shape",
                      "'%s' is registered as a %s for the shipped policy: '%s' never matches it",
                      name, list ? "list" : "single value", sign);
    }
}

static void check_reference(struct prop_lint *l, const json_t *call)
{
    const json_t *args = json_object_get(call, "args");
    const char *name = json_string_value(json_object_get(json_array_get(args, 0), "value"));
    if (json_array_size(args) != 1)
        prop_lint_add(l, prop_outline_line(call), PROP_LINT_ERROR, "reference-call",
                      "query_reference_value takes one name");
    if (name != NULL && l->options->shapes != NULL &&
        json_object_get(l->options->shapes, name) == NULL)
        prop_lint_add(l, prop_outline_line(call), PROP_LINT_WARNING, "unknown-reference",
                      "the shipped policy has no reference value '%s': register it under that name",
                      name);
}

static void check_ref(struct prop_lint *l, const json_t *node, const struct prop_outline_at *at)
{
    const char *of = prop_outline_text(node, "of");
    bool direct = strcmp(of, "input") == 0 || strcmp(of, "data") == 0;
    if (!direct && json_array_size(json_object_get(node, "path")) == 0)
        return;
    prop_auto_json json_t *path = prop_outline_resolve(l->outline, at->rule, node);
    const char *root = json_string_value(json_array_get(path, 0));
    const char *first = json_string_value(json_array_get(path, 1));
    if (root == NULL)
        return;
    if (strcmp(root, "input") == 0 && first != NULL && strcmp(first, "submods") == 0)
        prop_lint_add(l, prop_outline_line(node), PROP_LINT_ERROR, "unknown-claim",
                      "an attestation policy sees one piece of evidence, not a token: there is no "
                      "input.submods");
    else if (strcmp(root, "input") == 0)
        prop_lint_input(l, node, path, at->negated, true);
    else
        prop_lint_add(l, prop_outline_line(node), PROP_LINT_ERROR,
                      first != NULL && strcmp(first, "reference") == 0 ? "data-reference"
                                                                       : "unknown-data",
                      "an attestation policy has no data since v0.16: ask query_reference_value");
}

static void see(void *ctx, const json_t *node, const struct prop_outline_at *at)
{
    struct prop_lint *l = ctx;
    if (prop_outline_is(node, "ref")) {
        check_ref(l, node, at);
    } else if (prop_outline_is(node, "op")) {
        prop_lint_dash(l, node);
        check_shape(l, node, at->rule);
    } else if (asks_reference(node)) {
        check_reference(l, node);
    }
}

void prop_lint_attestation(struct prop_lint *l)
{
    size_t i;
    size_t k;
    json_t *rule;
    json_t *body;
    json_array_foreach(json_object_get(l->outline, "rules"), i, rule) {
        const char *name = prop_outline_text(rule, "name");
        bool vector = strcmp(name, "trust_claims") == 0;
        bool extensions = strcmp(name, "extensions") == 0;
        prop_outline_rule(rule, see, l);
        if (vector)
            check_vector(l, json_object_get(rule, "value"));
        if (extensions)
            check_extensions(l, json_object_get(rule, "value"));
        json_array_foreach(json_object_get(rule, "bodies"), k, body) {
            if (vector)
                check_vector(l, json_object_get(body, "value"));
            if (extensions && json_is_object(json_object_get(body, "value")))
                check_extensions(l, json_object_get(body, "value"));
        }
        if (vector && strcmp(prop_outline_text(rule, "kind"), "complete") != 0 &&
            !prop_outline_is(rule, "default") && !prop_outline_is(rule, "object"))
            prop_lint_add(l, prop_outline_line(rule), PROP_LINT_ERROR, "trust-form",
                          "trust_claims is a %s here, not an object",
                          prop_outline_text(rule, "kind"));
    }
}
