/* The policy document: parsed, validated, added to. Everything it does not know is refused: a
 * misspelt key in a file that decides who gets a key must not pass. */
#include "policy/document.h"

#include "engine/toml.h"
#include "policy/append.h"
#include "policy/measured.h"
#include "policy/position.h"
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

/* "'policy.toml'" with a line: "'policy.toml:7'"; words in place of a name: "the document, line 7". */
static int place(struct prop_err *err, const struct prop_policy_doc *d, const char *what,
                 const struct prop_policy_step *steps, size_t n)
{
    struct prop_policy_place at;
    size_t len = strlen(what);
    prop_policy_find(d->text, d->text_len, d->json, steps, n, &at);
    if (len > 1 && what[0] == '\'' && what[len - 1] == '\'')
        return prop_err_wrap(err, "%.*s:%zu'", (int)(len - 1), what, at.line);
    return prop_err_wrap(err, strchr(what, ' ') != NULL ? "%s, line %zu" : "%s:%zu", what, at.line);
}

static int bad_top(const struct prop_policy_doc *d, const char *what, const char *key,
                   const char *before, const char *behind, struct prop_err *err)
{
    char shown[80];
    const struct prop_policy_step step = PROP_POLICY_MEMBER(key);
    (void)prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s'%s'%s", before,
                          prop_printable(key, strlen(key), shown, sizeof shown), behind);
    return place(err, d, what, &step, 1);
}

static int check_version(const struct prop_policy_doc *d, const json_t *version, const char *what,
                         struct prop_err *err)
{
    static const struct prop_policy_step step = { "version", 7, 0 };
    if (!json_is_integer(version)) {
        (void)bad_top(d, what, "version", "", version != NULL ? " is not a number" : " is missing",
                      err);
        return prop_err_hint(err, "a policy document starts with version = 1");
    }
    if (json_integer_value(version) == 1)
        return 0;
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "policy-version",
                          "version %lld of policy documents is not known",
                          (long long)json_integer_value(version));
    return place(err, d, what, &step, 1);
}

static int check_top(const struct prop_policy_doc *d, const json_t *root, const char *what,
                     struct prop_err *err)
{
    const char *key;
    json_t *v;
    if (!json_is_object(root))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-policy", "%s is not a table", what);
    json_object_foreach ((json_t *)(uintptr_t)root, key, v) {
        if (strcmp(key, "version") == 0 || strcmp(key, "rule") == 0 || strcmp(key, "comment") == 0)
            continue;
        (void)bad_top(d, what, key, "unknown key ", "", err);
        return prop_err_hint(err, "at the top there are version, comment and rule");
    }
    int rc = check_version(d, json_object_get(root, "version"), what, err);
    if (rc != 0)
        return rc;
    const json_t *comment = json_object_get(root, "comment");
    if (comment != NULL && !json_is_string(comment))
        return bad_top(d, what, "comment", "", " is not a text", err);
    const json_t *rules = json_object_get(root, "rule");
    if (rules != NULL && !json_is_array(rules)) {
        (void)bad_top(d, what, "rule", "", " is not a list", err);
        return prop_err_hint(err, "each rule is a [[rule]] table (two brackets)");
    }
    return 0;
}

static int place_rule(const struct prop_policy_doc *d, const char *what, size_t index,
                      const struct prop_policy_spot *spot, struct prop_err *err)
{
    struct prop_policy_step steps[4] = { PROP_POLICY_MEMBER("rule"), PROP_POLICY_ELEMENT(index) };
    size_t n = 2;
    if (spot->member[0] != 0)
        steps[n++] = PROP_POLICY_MEMBER(spot->member);
    if (spot->inner[0] != 0)
        steps[n++] = PROP_POLICY_MEMBER(spot->inner);
    else if (spot->item > 0 && n == 3)
        steps[n++] = PROP_POLICY_ELEMENT(spot->item - 1);
    return place(err, d, what, steps, n);
}

static int take_rules(struct prop_policy_doc *d, const json_t *rules, const char *what,
                      struct prop_err *err)
{
    size_t i;
    json_t *rule;
    json_array_foreach (rules, i, rule) {
        char number[40];
        struct prop_policy_spot spot;
        (void)snprintf(number, sizeof number, "rule %zu", i + 1);
        json_t *normal = NULL;
        int rc = prop_policy_rule_normal(rule, number, &spot, &normal, err);
        if (rc == PROP_E_INPUT)
            (void)place_rule(d, what, i, &spot, err);
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
        rc = check_top(d, root, what, err);
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
    int rc = prop_policy_rule_normal(rule, "the rule to add", NULL, &normal, err);
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

/* --- taking out, filling in -------------------------------------------------------------------- */

int prop_policy_doc_remove(struct prop_policy_doc *d, size_t index, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_policy_doc struct prop_policy_doc *again = NULL;
    struct prop_err inner = PROP_ERR_INIT;
    if (index >= json_array_size(d->rules))
        return prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-rule",
                               "the document has %zu rules, and none with number %zu",
                               json_array_size(d->rules), index + 1);
    if (d->parsed != json_array_size(d->rules))
        return prop_err_set(err, PROP_E_BUG, "a rule is taken out of a document that was added to");
    int rc = prop_policy_cut(d->text, d->text_len, d->json, index, &text, err);
    if (rc != 0)
        return rc;
    prop_auto_json json_t *left = json_copy(d->rules);
    if (left == NULL || json_array_remove(left, index) != 0)
        return prop_err_nomem(err);
    /* What was cut must be that rule and nothing else, as the parser reads it. */
    rc = prop_policy_doc_parse(prop_buf_str(&text), text.len, "the changed document", &again, &inner);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0 || !json_equal(again->rules, left)) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "policy-form",
                              "rule %zu cannot be taken out without rewriting the document",
                              index + 1);
        return prop_err_hint(err, "take the rule out by hand");
    }
    struct prop_policy_doc old = *d;
    *d = *again;
    *again = old;
    return 0;
}

int prop_policy_doc_measure(struct prop_policy_doc *d, const json_t *measured, struct prop_err *err)
{
    size_t i;
    json_t *rule;
    json_array_foreach (d->rules, i, rule) {
        char number[40];
        json_t *filled = NULL;
        (void)snprintf(number, sizeof number, "rule %zu", i + 1);
        int rc = prop_policy_measured_fill(rule, number, measured, &filled, err);
        if (rc != 0)
            return rc;
        if (json_array_set_new(d->rules, i, filled) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

int prop_policy_doc_plain(const struct prop_policy_doc *d, struct prop_buf *out,
                          struct prop_err *err)
{
    prop_auto_json json_t *root = json_pack("{s:i, s:O}", "version", 1, "rule", d->rules);
    prop_auto_free char *text = root != NULL ? prop_json_compact(root) : NULL;
    if (text == NULL)
        return prop_err_nomem(err);
    return prop_buf_puts(out, text, err);
}

bool prop_policy_doc_looks_like(const char *text, size_t len)
{
    static const char blank[] = " \t\r\n#", name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                     "0123456789_-";
    size_t i = 0;
    /* Both languages begin a comment with "#" and end it with the line. */
    while (i < len && text[i] != 0 && strchr(blank, text[i]) != NULL) {
        if (text[i] == '#')
            while (i < len && text[i] != '\n')
                i++;
        else
            i++;
    }
    if (i >= len || strchr("{[\"'", text[i]) != NULL)
        return true;
    while (i < len && text[i] != 0 && strchr(name, text[i]) != NULL)
        i++;
    while (i < len && (text[i] == ' ' || text[i] == '\t'))
        i++;
    return i < len && (text[i] == '=' || text[i] == '.') && !(i + 1 < len && text[i + 1] == '=');
}
