/* Rules: what people write, checked and put in one form. A rule that says less than who may come
 * in is refused; nothing is guessed. */
#include "policy/rule.h"

#include "util/encode.h"
#include "util/text.h"

#include <string.h>

enum { measurement_bytes = 48, part_max = 255, comment_max = 2000 };

static const char *const snp_measurement[] = { "measurement", NULL };
static const char *const snp_debug[] = { "policy_debug_allowed", NULL };
static const char *const tdx_measurement[] = { "quote", "body", "mr_td", NULL };
static const char *const tdx_debug[] = { "td_attributes", "debug", NULL };

static const struct prop_policy_tee tees[] = {
    { "snp", snp_measurement, snp_debug, false },
    { "tdx", tdx_measurement, tdx_debug, false },
    { "az-snp-vtpm", NULL, NULL, false },
    { "az-tdx-vtpm", NULL, NULL, false },
    { "sgx", NULL, NULL, false },
    { "cca", NULL, NULL, false },
    { "csv", NULL, NULL, false },
    { "se", NULL, NULL, false },
    { "sample", NULL, NULL, true },
    { NULL, NULL, NULL, false },
};

const struct prop_policy_tee *prop_policy_tee_table(void)
{
    return tees;
}

const struct prop_policy_tee *prop_policy_tee_find(const char *name)
{
    for (const struct prop_policy_tee *t = tees; t->name != NULL; t++)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

static int bad(struct prop_err *err, const char *what, const char *why)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-rule", "%s: %s", what, why);
}

/* One part of a resource pattern: the characters of kbs.md 3, and at most one "*". */
static bool part_ok(const char *s, size_t len)
{
    size_t stars = 0;
    if (len == 0 || len > part_max || s[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '*')
            stars++;
        else if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                   (s[i] >= '0' && s[i] <= '9') || strchr("_.-", s[i]) != NULL))
            return false;
    }
    return stars <= 1;
}

static bool pattern_ok(const char *s)
{
    int parts = 0;
    for (const char *p = s;; p++) {
        size_t len = strcspn(p, "/");
        if (!part_ok(p, len))
            return false;
        parts++;
        p += len;
        if (*p == 0)
            return parts == 3;
    }
}

static int take_resource(const json_t *v, const char *what, json_t *out, struct prop_err *err)
{
    const char *s = json_string_value(v);
    if (s == NULL)
        return bad(err, what, "'resource' is missing, or not a text");
    if (prop_starts_with(s, "kbs:///"))
        s += strlen("kbs:///");
    if (strlen(s) != json_string_length(v) - (size_t)(s - json_string_value(v)) || !pattern_ok(s)) {
        char shown[120];
        (void)prop_err_set_id(err, PROP_E_INPUT, "bad-rule",
                              "%s: resource '%s' is not repository/type/tag", what,
                              prop_printable(json_string_value(v), json_string_length(v), shown,
                                             sizeof shown));
        return prop_err_hint(err, "letters, digits, '_', '-', '.'; a part may hold one '*'");
    }
    return json_object_set_new(out, "resource", json_string(s)) == 0 ? 0 : prop_err_nomem(err);
}

static int take_tee(const json_t *v, const char *what, json_t *out,
                    const struct prop_policy_tee **ret, struct prop_err *err)
{
    if (v == NULL)
        return 0;
    const char *s = json_string_value(v);
    const struct prop_policy_tee *tee = s != NULL ? prop_policy_tee_find(s) : NULL;
    if (tee == NULL) {
        (void)bad(err, what, "'tee' names no kind of evidence");
        return prop_err_hint(err, "one of snp tdx az-snp-vtpm az-tdx-vtpm sgx cca csv se sample");
    }
    *ret = tee;
    return json_object_set_new(out, "tee", json_string(s)) == 0 ? 0 : prop_err_nomem(err);
}

static int take_tier(const json_t *v, const char *what, json_t *out, struct prop_err *err)
{
    if (v == NULL)
        return 0;
    const char *s = json_string_value(v);
    if (s == NULL || (strcmp(s, "affirming") != 0 && strcmp(s, "warning") != 0)) {
        (void)bad(err, what, "'tier' is neither 'affirming' nor 'warning'");
        return prop_err_hint(err, "'warning' lets affirming and warning in; guests below that are "
                                  "not to be trusted with a key");
    }
    return json_object_set_new(out, "tier", json_string(s)) == 0 ? 0 : prop_err_nomem(err);
}

/* "sha384:HEX" or HEX, 48 bytes, as a JSON string of lower-case hex; NULL when it is neither. */
static json_t *measurement_normal(const char *s)
{
    uint8_t bytes[measurement_bytes];
    char hex[2 * measurement_bytes + 1];
    if (prop_starts_with(s, "sha384:"))
        s += strlen("sha384:");
    if (prop_hex_decode(s, strlen(s), bytes, sizeof bytes) != 0)
        return NULL;
    prop_hex_encode(bytes, sizeof bytes, hex);
    return json_string(hex);
}

static bool list_has(const json_t *list, const json_t *v)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        if (json_equal(item, v))
            return true;
    return false;
}

static int add_measurement(const json_t *v, const char *what, json_t *list, struct prop_err *err)
{
    const char *s = json_string_value(v);
    prop_auto_json json_t *hex = s != NULL ? measurement_normal(s) : NULL;
    if (hex == NULL) {
        (void)bad(err, what, "'measurement' is not sha384:HEX");
        return prop_err_hint(err, "96 hex digits, as 'propcvm vm measure' prints them");
    }
    if (list_has(list, hex))
        return 0;
    return json_array_append(list, hex) == 0 ? 0 : prop_err_nomem(err);
}

static int take_measurement(const json_t *v, const char *what, const struct prop_policy_tee *tee,
                            json_t *out, struct prop_err *err)
{
    if (v == NULL)
        return 0;
    if (tee == NULL || tee->measurement == NULL) {
        (void)bad(err, what, "'measurement' goes with tee = \"snp\" or \"tdx\" only");
        return prop_err_hint(err, "other evidence is judged by its tier");
    }
    prop_auto_json json_t *list = json_array();
    if (list == NULL)
        return prop_err_nomem(err);
    int rc = 0;
    if (json_is_array(v)) {
        for (size_t i = 0; rc == 0 && i < json_array_size(v); i++)
            rc = add_measurement(json_array_get(v, i), what, list, err);
    } else {
        rc = add_measurement(v, what, list, err);
    }
    if (rc != 0)
        return rc;
    if (json_array_size(list) == 0)
        return bad(err, what, "'measurement' is an empty list, which lets nobody in");
    return json_object_set(out, "measurement", list) == 0 ? 0 : prop_err_nomem(err);
}

static int take_any_guest(const json_t *v, const char *what, const struct prop_policy_tee *tee,
                          json_t *out, struct prop_err *err)
{
    if (v != NULL && !json_is_boolean(v))
        return bad(err, what, "'allow_any_guest' is not true or false");
    bool any = json_is_true(v);
    bool narrowed = json_object_get(out, "tier") != NULL ||
                    json_object_get(out, "measurement") != NULL;
    bool sample = tee != NULL && tee->sample;
    if (any && (narrowed || sample))
        return bad(err, what, "'allow_any_guest' contradicts 'tier', 'measurement' or tee = "
                              "\"sample\"");
    if (!any && !narrowed && !sample) {
        (void)bad(err, what, "every guest could have the key");
        return prop_err_hint(err, "give a tier or a measurement, or allow_any_guest = true");
    }
    if (any && json_object_set_new(out, "allow_any_guest", json_true()) != 0)
        return prop_err_nomem(err);
    return 0;
}

static int take_comment(const json_t *v, const char *what, json_t *out, struct prop_err *err)
{
    if (v == NULL)
        return 0;
    if (!json_is_string(v) || json_string_length(v) > comment_max)
        return bad(err, what, "'comment' is not a text of at most 2000 bytes");
    json_t *copy = json_stringn(json_string_value(v), json_string_length(v));
    return json_object_set_new(out, "comment", copy) == 0 ? 0 : prop_err_nomem(err);
}

static int check_keys(const json_t *rule, const char *what, struct prop_err *err)
{
    static const char *const known[] = { "resource", "tee", "tier", "measurement",
                                         "allow_any_guest", "comment" };
    const char *key;
    json_t *v;
    json_object_foreach ((json_t *)(uintptr_t)rule, key, v) {
        bool found = false;
        for (size_t i = 0; i < PROP_ARRAY_LEN(known); i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found) {
            char shown[80];
            (void)prop_err_set_id(err, PROP_E_INPUT, "bad-rule", "%s: unknown key '%s'", what,
                                  prop_printable(key, strlen(key), shown, sizeof shown));
            return prop_err_hint(err, "known: resource tee tier measurement allow_any_guest "
                                      "comment");
        }
    }
    return 0;
}

int prop_policy_rule_normal(const json_t *rule, const char *what, json_t **ret,
                            struct prop_err *err)
{
    if (!json_is_object(rule))
        return bad(err, what, "not a table");
    prop_auto_json json_t *out = json_object();
    if (out == NULL)
        return prop_err_nomem(err);
    const struct prop_policy_tee *tee = NULL;
    int rc = check_keys(rule, what, err);
    if (rc == 0)
        rc = take_resource(json_object_get(rule, "resource"), what, out, err);
    if (rc == 0)
        rc = take_tee(json_object_get(rule, "tee"), what, out, &tee, err);
    if (rc == 0)
        rc = take_tier(json_object_get(rule, "tier"), what, out, err);
    if (rc == 0)
        rc = take_measurement(json_object_get(rule, "measurement"), what, tee, out, err);
    if (rc == 0)
        rc = take_any_guest(json_object_get(rule, "allow_any_guest"), what, tee, out, err);
    if (rc == 0)
        rc = take_comment(json_object_get(rule, "comment"), what, out, err);
    if (rc != 0)
        return rc;
    *ret = PROP_TAKE(out);
    return 0;
}

/* --- patterns and comparison --------------------------------------------------------------- */

static bool part_fits(const char *pat, size_t pat_len, const char *s, size_t len)
{
    const char *star = memchr(pat, '*', pat_len);
    if (star == NULL)
        return pat_len == len && memcmp(pat, s, len) == 0;
    size_t before = (size_t)(star - pat), after = pat_len - before - 1;
    return len > 0 && len >= before + after && memcmp(pat, s, before) == 0 &&
           memcmp(star + 1, s + len - after, after) == 0;
}

bool prop_policy_rule_fits(const json_t *rule, const char *path)
{
    const char *pat = json_string_value(json_object_get(rule, "resource"));
    if (pat == NULL)
        return false;
    for (;;) {
        size_t pat_len = strcspn(pat, "/"), len = strcspn(path, "/");
        if (!part_fits(pat, pat_len, path, len))
            return false;
        pat += pat_len;
        path += len;
        if (*pat == 0 || *path == 0)
            return *pat == *path;
        pat++;
        path++;
    }
}

static bool tee_covers(const json_t *a, const json_t *b)
{
    if (json_equal(a, b) || (a == NULL && b == NULL))
        return true;
    const struct prop_policy_tee *tee =
        b != NULL ? prop_policy_tee_find(json_string_value(b)) : NULL;
    return a == NULL && tee != NULL && !tee->sample;
}

static bool tier_covers(const json_t *a, const json_t *b)
{
    return a == NULL || json_equal(a, b) ||
           (b != NULL && strcmp(json_string_value(a), "warning") == 0);
}

static bool measurement_covers(const json_t *a, const json_t *b)
{
    size_t i;
    json_t *item;
    if (a == NULL)
        return true;
    json_array_foreach (b, i, item)
        if (!list_has(a, item))
            return false;
    return b != NULL;
}

bool prop_policy_rule_covers(const json_t *a, const json_t *b)
{
    const json_t *resource = json_object_get(b, "resource");
    const char *path = json_string_value(resource);
    if (path == NULL)
        return false;
    bool same = json_equal(json_object_get(a, "resource"), resource) ||
                (strchr(path, '*') == NULL && prop_policy_rule_fits(a, path));
    return same && tee_covers(json_object_get(a, "tee"), json_object_get(b, "tee")) &&
           tier_covers(json_object_get(a, "tier"), json_object_get(b, "tier")) &&
           measurement_covers(json_object_get(a, "measurement"), json_object_get(b, "measurement"));
}
