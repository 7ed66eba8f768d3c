/* The policy document: parsed, validated, added to. Everything it does not know is refused: a
 * misspelt key in a file that decides who gets a key must not pass. */
#include "policy/document.h"

#include "engine/toml.h"
#include "policy/append.h"
#include "util/limits.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct prop_policy_doc {
    char *text;        /* as parsed */
    size_t text_len;
    bool json;         /* else TOML */
    json_t *rules;     /* normal form */
    size_t parsed;     /* how many of them stand in `text` */
};

static const char new_text[] =
    "# Who may have which keys. A KBS holds one policy for everybody: keep this file in git, and\n"
    "# change it rather than the policy that is built from it.\n"
    "version = 1\n";

static int check_top(const json_t *root, const char *what, struct prop_err *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(root))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s is not a table", what);
    json_object_foreach ((json_t *)(uintptr_t)root, key, v) {
        if (strcmp(key, "version") == 0 || strcmp(key, "rule") == 0 || strcmp(key, "comment") == 0)
            continue;
        char shown[80];
        (void)prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s: unknown key '%s'", what,
                              prop_printable(key, strlen(key), shown, sizeof shown));
        return prop_err_hint(err, "at the top there are version, comment and rule");
    }
    const json_t *version = json_object_get(root, "version");
    if (!json_is_integer(version)) {
        (void)prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s: 'version' is missing", what);
        return prop_err_hint(err, "a policy document starts with version = 1");
    }
    if (json_integer_value(version) != 1)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "policy-version",
                               "%s: version %lld of policy documents is not known", what,
                               (long long)json_integer_value(version));
    const json_t *comment = json_object_get(root, "comment");
    if (comment != NULL && !json_is_string(comment))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s: 'comment' is not a text",
                               what);
    const json_t *rules = json_object_get(root, "rule");
    if (rules != NULL && !json_is_array(rules)) {
        (void)prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s: 'rule' is not a list", what);
        return prop_err_hint(err, "each rule is a [[rule]] table (two brackets)");
    }
    return 0;
}

static int take_rules(struct prop_policy_doc *d, const json_t *rules, const char *what,
                      struct prop_err *err)
{
    size_t i;
    json_t *rule;
    json_array_foreach (rules, i, rule) {
        char where[400];
        (void)snprintf(where, sizeof where, "rule %zu of %.300s", i + 1, what);
        json_t *normal = NULL;
        int rc = prop_policy_rule_normal(rule, where, &normal, err);
        if (rc != 0)
            return rc;
        if (json_array_append_new(d->rules, normal) != 0)
            return prop_err_nomem(err);
    }
    d->parsed = json_array_size(d->rules);
    return 0;
}

static bool is_json(const char *text, size_t len)
{
    size_t i = 0;
    while (i < len && strchr(" \t\r\n", text[i]) != NULL && text[i] != 0)
        i++;
    return i < len && text[i] == '{';
}

static int parse_into(struct prop_policy_doc *d, const char *what, struct prop_err *err)
{
    prop_auto_json json_t *root = NULL;
    int rc = d->json ? prop_json_parse(d->text, d->text_len, what, &root, err)
                     : prop_toml_parse(d->text, d->text_len, what, &root, err);
    if (rc == 0)
        rc = check_top(root, what, err);
    if (rc == 0)
        rc = take_rules(d, json_object_get(root, "rule"), what, err);
    return rc;
}

/* An object without rules around a copy of the text. */
static int make(const char *text, size_t len, bool json, struct prop_policy_doc **ret,
                struct prop_err *err)
{
    struct prop_policy_doc *d = prop_zalloc(sizeof *d);
    if (d == NULL)
        return prop_err_nomem(err);
    d->text = prop_strndup(text, len);
    d->text_len = len;
    d->json = json;
    d->rules = json_array();
    if (d->text == NULL || d->rules == NULL) {
        prop_policy_doc_free(d);
        return prop_err_nomem(err);
    }
    *ret = d;
    return 0;
}

int prop_policy_doc_parse(const char *text, size_t len, const char *what,
                          struct prop_policy_doc **ret, struct prop_err *err)
{
    if (len > PROP_LIMIT_POLICY)
        return prop_err_set_id(err, PROP_E_LIMIT, "policy-size", "%s is longer than %u bytes", what,
                               PROP_LIMIT_POLICY);
    if (memchr(text, 0, len) != NULL)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s has a zero byte in it", what);
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    int rc = make(text, len, is_json(text, len), &d, err);
    if (rc == 0)
        rc = parse_into(d, what, err);
    if (rc == 0)
        *ret = PROP_TAKE(d);
    return rc;
}

int prop_policy_doc_new(struct prop_policy_doc **ret, struct prop_err *err)
{
    return make(new_text, sizeof new_text - 1, false, ret, err);
}

void prop_policy_doc_free(struct prop_policy_doc *d)
{
    if (d == NULL)
        return;
    prop_free(d->text);
    json_decref(d->rules);
    prop_free(d);
}

const json_t *prop_policy_doc_rules(const struct prop_policy_doc *d)
{
    return d->rules;
}

int prop_policy_doc_add(struct prop_policy_doc *d, const json_t *rule, bool *ret_added,
                        struct prop_err *err)
{
    prop_auto_json json_t *normal = NULL;
    int rc = prop_policy_rule_normal(rule, "the rule to add", &normal, err);
    if (rc != 0)
        return rc;
    size_t i;
    json_t *have;
    json_array_foreach (d->rules, i, have) {
        if (prop_policy_rule_covers(have, normal)) {
            *ret_added = false;
            return 0;
        }
    }
    if (json_array_append(d->rules, normal) != 0)
        return prop_err_nomem(err);
    *ret_added = true;
    return 0;
}

/* The written text must read back as what is meant. A build without the TOML parser cannot ask;
 * it could not have read a TOML document either. */
static int check_written(const struct prop_policy_doc *d, const struct prop_buf *out,
                         struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    prop_auto_policy_doc struct prop_policy_doc *again = NULL;
    int rc = prop_policy_doc_parse(prop_buf_str(out), out->len, "the changed document", &again,
                                   &inner);
    if (rc == 0 && json_equal(again->rules, d->rules))
        return 0;
    if (rc == PROP_E_NOMEM || rc == PROP_E_LIMIT ||
        (rc == PROP_E_UNSUPPORTED && strcmp(prop_err_id(&inner), "no-engine") == 0)) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "policy-form",
                          "a rule cannot be added to the document without rewriting it");
    return prop_err_hint(err, "write its rules as [[rule]] tables, or add the rule by hand");
}

int prop_policy_doc_write(const struct prop_policy_doc *d, struct prop_buf *out,
                          struct prop_err *err)
{
    if (d->parsed == json_array_size(d->rules))
        return prop_buf_add(out, d->text, d->text_len, err);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = d->json ? prop_policy_append_json(d->text, d->text_len, d->rules, d->parsed, &text, err)
                     : prop_policy_append_toml(d->text, d->text_len, d->rules, d->parsed, &text, err);
    if (rc == 0)
        rc = check_written(d, &text, err);
    if (rc == 0)
        rc = prop_buf_add(out, text.data, text.len, err);
    return rc;
}
