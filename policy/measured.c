/* Measurement files read, and rules filled from them. A filled rule goes through the same checks as
 * one that was written by hand. */
#include "policy/measured.h"

#include "policy/rule.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

static const char *const registers[] = { "rtmr_0", "rtmr_1", "rtmr_2", "rtmr_3" };

static int bad(struct prop_err *err, const char *path, const char *why)
{
    (void)prop_err_set_id(err, PROP_E_INPUT, "bad-measurement", "measurement file '%s': %s", path,
                          why);
    return prop_err_hint(err, "the output of 'propcvm vm measure --json' is one");
}

/* The text in a value of any of the forms: of a list its i-th, of an object its i-th. */
static const char *text_at(const json_t *v, size_t i)
{
    if (json_is_string(v))
        return json_string_value(v);
    if (json_is_array(v)) {
        const json_t *item = json_array_get(v, i);
        return json_string_value(json_is_object(item) ? json_object_get(item, "value") : item);
    }
    void *it = json_object_iter((json_t *)(uintptr_t)v);
    while (it != NULL && i-- > 0)
        it = json_object_iter_next((json_t *)(uintptr_t)v, it);
    return it != NULL ? json_string_value(json_object_iter_value(it)) : NULL;
}

/* A value of `from` as a list under `key` of `entry`; nothing when it is absent. */
static int take(json_t *entry, const char *key, const json_t *from, const char *name,
                const char *path, struct prop_err *err)
{
    const json_t *v = json_object_get(from, name);
    size_t n = json_is_array(v) ? json_array_size(v) : json_is_object(v) ? json_object_size(v) : 1;
    if (v == NULL || json_is_null(v))
        return 0;
    prop_auto_json json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < n; i++) {
        const char *s = text_at(v, i);
        if (s == NULL) {
            char why[80];
            (void)snprintf(why, sizeof why, "'%s' is not hex, nor a list of it", name);
            return bad(err, path, why);
        }
        if (json_array_append_new(list, json_string(s)) != 0)
            return prop_err_nomem(err);
    }
    return list != NULL && json_object_set(entry, key, list) == 0 ? 0 : prop_err_nomem(err);
}

/* The entry's values must be what a rule may say: let the rule's own reader tell. */
static int check_entry(json_t *entry, const char *path, struct prop_err *err)
{
    prop_auto_json json_t *rule = json_copy(entry);
    json_t *normal = NULL;
    const char *key;
    json_t *v;
    if (rule == NULL || json_object_del(rule, "name") != 0 ||
        json_object_set_new(rule, "resource", json_string("a/b/c")) != 0)
        return prop_err_nomem(err);
    int rc = prop_policy_rule_normal(rule, "an entry", NULL, &normal, err);
    if (rc == PROP_E_INPUT && err != NULL) {
        err->id = "bad-measurement";
        return prop_err_wrap(err, "measurement file '%s'", path);
    }
    if (rc != 0)
        return rc;
    (void)json_object_del(normal, "resource");
    json_object_foreach (normal, key, v)
        if (json_object_set(entry, key, v) != 0)
            rc = prop_err_nomem(err);
    json_decref(normal);
    return rc;
}

static int add_tee(json_t *list, const json_t *from, const char *name, const char *tee,
                   const char *digest, const char *path, struct prop_err *err)
{
    prop_auto_json json_t *entry = json_pack("{s:s, s:s}", "name", name, "tee", tee);
    if (entry == NULL)
        return bad(err, path, "its name is not text");
    int rc = take(entry, "measurement", from, digest, path, err);
    for (size_t i = 0; rc == 0 && strcmp(tee, "tdx") == 0 && i < PROP_ARRAY_LEN(registers); i++)
        rc = take(entry, registers[i], from, registers[i], path, err);
    if (rc == 0)
        rc = take(entry, "init_data", from, "init_data", path, err);
    if (rc == 0)
        rc = check_entry(entry, path, err);
    return rc != 0 ? rc : json_array_append(list, entry) == 0 ? 0 : prop_err_nomem(err);
}

static int add_entry(json_t *list, const json_t *from, const char *name, const char *path,
                     struct prop_err *err)
{
    const json_t *own = json_object_get(from, "name");
    bool snp = json_object_get(from, "launch_digest") != NULL;
    bool tdx = json_object_get(from, "mr_td") != NULL;
    int rc = 0;
    if (!snp && !tdx)
        return bad(err, path, "there is neither a launch_digest nor an mr_td in it");
    if (json_is_string(own))
        name = json_string_value(own);
    if (snp)
        rc = add_tee(list, from, name, "snp", "launch_digest", path, err);
    if (rc == 0 && tdx)
        rc = add_tee(list, from, name, "tdx", "mr_td", path, err);
    return rc;
}

/* The file's name without folder and ".json". */
static char *short_name(const char *path)
{
    const char *base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    size_t len = strlen(base);
    return prop_strndup(base, prop_ends_with(base, ".json") ? len - strlen(".json") : len);
}

int prop_policy_measured_add(json_t *list, const char *text, size_t len, const char *path,
                             struct prop_err *err)
{
    prop_auto_free char *what = prop_asprintf("measurement file '%s'", path);
    prop_auto_free char *name = short_name(path);
    prop_auto_json json_t *root = NULL;
    if (what == NULL || name == NULL)
        return prop_err_nomem(err);
    int rc = prop_json_parse(text, len, what, &root, err);
    if (rc != 0)
        return rc;
    const json_t *many = json_object_get(root, "measurements");
    const char *key;
    json_t *v;
    size_t i;
    if (json_is_array(root))
        many = root;
    if (many == NULL)
        return add_entry(list, root, name, path, err);
    if (json_is_array(many) ? json_array_size(many) == 0 : json_object_size(many) == 0)
        return bad(err, path, "there is no measurement in it");
    json_array_foreach (many, i, v) {
        rc = add_entry(list, v, name, path, err);
        if (rc != 0)
            return rc;
    }
    json_object_foreach ((json_t *)(uintptr_t)many, key, v) {
        rc = add_entry(list, v, key, path, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int prop_policy_measured_read(json_t *list, const char *path, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = prop_file_read(path, &text, err);
    return rc == 0 ? prop_policy_measured_add(list, prop_buf_str(&text), text.len, path, err) : rc;
}

/* --- filling ----------------------------------------------------------------------------------- */

static bool fits(const json_t *entry, const json_t *tee, const json_t *measured)
{
    return json_equal(json_object_get(entry, "tee"), tee) &&
           (json_is_true(measured) || json_equal(json_object_get(entry, "name"), measured));
}

static int none(const json_t *rule, const char *what, const json_t *list, struct prop_err *err)
{
    const json_t *measured = json_object_get(rule, "measured");
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    char names[300] = "";
    size_t i, len = 0;
    json_t *e;
    json_array_foreach (list, i, e)
        if (len < sizeof names)
            len += (size_t)snprintf(names + len, sizeof names - len, " %s (%s)",
                                    json_string_value(json_object_get(e, "name")),
                                    json_string_value(json_object_get(e, "tee")));
    if (json_is_true(measured))
        (void)prop_err_set_id(err, PROP_E_INPUT, "not-measured",
                              "%s wants measured values for %s, and none is given", what, tee);
    else
        (void)prop_err_set_id(err, PROP_E_INPUT, "not-measured",
                              "%s wants the measurement '%s' for %s, and it is not given", what,
                              json_string_value(measured), tee);
    return len > 0 ? prop_err_hint(err, "given:%s", names)
                   : prop_err_hint(err, "--measured FILE, with what 'propcvm vm measure --json' says");
}

/* The values of one member of all entries that fit, behind the rule's own. */
static int fill_member(json_t *rule, const char *key, const char *what, const json_t *list,
                       const json_t *measured, struct prop_err *err)
{
    const json_t *tee = json_object_get(rule, "tee");
    prop_auto_json json_t *values = json_array();
    size_t i, with = 0, without = 0;
    json_t *entry;
    if (values == NULL)
        return prop_err_nomem(err);
    json_array_foreach (list, i, entry) {
        json_t *v = json_object_get(entry, key);
        if (!fits(entry, tee, measured))
            continue;
        with += v != NULL;
        without += v == NULL;
        if (v != NULL && json_array_extend(values, v) != 0)
            return prop_err_nomem(err);
    }
    if (with > 0 && without > 0) {
        (void)prop_err_set_id(err, PROP_E_INPUT, "not-measured",
                              "%s: some of the measurements have '%s' and some have not", what, key);
        return prop_err_hint(err, "name one with measured = \"NAME\", in a rule for each");
    }
    if (with == 0)
        return 0;
    json_t *own = json_object_get(rule, key);
    if (own != NULL) {
        prop_auto_json json_t *both = json_copy(own);
        if (both == NULL || json_array_extend(both, values) != 0)
            return prop_err_nomem(err);
        return json_object_set(rule, key, both) == 0 ? 0 : prop_err_nomem(err);
    }
    return json_object_set(rule, key, values) == 0 ? 0 : prop_err_nomem(err);
}

int prop_policy_measured_fill(const json_t *rule, const char *what, const json_t *list, json_t **ret,
                              struct prop_err *err)
{
    static const char *const keys[] = { "measurement", "rtmr_0", "rtmr_1",
                                        "rtmr_2",      "rtmr_3", "init_data" };
    const json_t *measured = json_object_get(rule, "measured");
    prop_auto_json json_t *filled = json_copy((json_t *)(uintptr_t)rule);
    size_t i, n = 0;
    json_t *entry;
    if (filled == NULL)
        return prop_err_nomem(err);
    if (measured == NULL) {
        *ret = PROP_TAKE(filled);
        return 0;
    }
    json_array_foreach (list, i, entry)
        n += fits(entry, json_object_get(rule, "tee"), measured);
    if (n == 0)
        return none(rule, what, list, err);
    int rc = 0;
    for (i = 0; rc == 0 && i < PROP_ARRAY_LEN(keys); i++)
        rc = fill_member(filled, keys[i], what, list, measured, err);
    if (rc != 0)
        return rc;
    (void)json_object_del(filled, "measured");
    return prop_policy_rule_normal(filled, what, NULL, ret, err);
}
