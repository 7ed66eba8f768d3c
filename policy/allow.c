/* "tee=snp,measurement=sha384:..." taken apart. What a document may say about one rule can be said
 * here, except a comment and init_data_claims; what is too wide needs a flag of its own. */
#include "policy/allow.h"

#include "policy/rule.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

static int refuse(struct prop_err *err, const char *allow, const char *why)
{
    char shown[200];
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-allow", "--allow '%s': %s",
                          prop_printable(allow, strlen(allow), shown, sizeof shown), why);
    return prop_err_hint(err, "for example tee=snp,measurement=sha384:HEX or tee=tdx,tier=affirming");
}

/* Keys that may come several times: a list of them counts as any of them. */
static const char *const lists[] = { "measurement", "rtmr_0", "rtmr_1", "rtmr_2", "rtmr_3",
                                     "reference_values", "tcb_status", "init_data",
                                     "container_images", NULL };
static const char *const words[] = { "tee", "tier", "executables", "hardware", "configuration",
                                     "debug", "migration", NULL };

/* min_tcb.PART=N */
static int take_tcb(const char *allow, const char *part, const char *value, json_t *rule,
                    struct prop_err *err)
{
    uint64_t n = 0;
    json_t *parts = json_object_get(rule, "min_tcb");
    if (prop_parse_u64(value, "min_tcb", &n, NULL) != 0 || n > 255)
        return refuse(err, allow, "min_tcb.PART is no number from 0 to 255");
    if (parts == NULL && json_object_set_new(rule, "min_tcb", parts = json_object()) != 0)
        return prop_err_nomem(err);
    if (json_object_get(parts, part) != NULL)
        return refuse(err, allow, "a key is given twice");
    return json_object_set_new(parts, part, json_integer((json_int_t)n)) == 0 ? 0
                                                                             : prop_err_nomem(err);
}

/* A value (taken) under its key. */
static int put(const char *allow, const char *key, json_t *value, json_t *rule, struct prop_err *err)
{
    json_t *old = json_object_get(rule, key);
    bool list = prop_policy_word_in(lists, key);
    if (list && old != NULL)
        return json_array_append_new(old, value) == 0 ? 0 : prop_err_nomem(err);
    if (old != NULL) {
        json_decref(value);
        return refuse(err, allow, "a key is given twice");
    }
    if (list) {
        json_t *items = json_array();
        if (items == NULL || json_array_append_new(items, value) != 0) {
            json_decref(items);
            return prop_err_nomem(err);
        }
        value = items;
    }
    return json_object_set_new(rule, key, value) == 0 ? 0 : prop_err_nomem(err);
}

/* One "key=value" into the rule. */
static int take_pair(const char *allow, const char *pair, size_t len, json_t *rule,
                     struct prop_err *err)
{
    const char *eq = memchr(pair, '=', len);
    if (eq == NULL)
        return refuse(err, allow, "not a list of key=value");
    prop_auto_free char *key = prop_strndup(pair, (size_t)(eq - pair));
    prop_auto_free char *text = prop_strndup(eq + 1, len - (size_t)(eq + 1 - pair));
    if (key == NULL || text == NULL)
        return prop_err_nomem(err);
    if (prop_starts_with(key, "min_tcb."))
        return take_tcb(allow, key + strlen("min_tcb."), text, rule, err);
    if (!prop_policy_word_in(lists, key) && !prop_policy_word_in(words, key))
        return refuse(err, allow, "known keys are tee, tier, executables, hardware, configuration, "
                                  "measurement, rtmr_0 to rtmr_3, reference_values, min_tcb.PART, "
                                  "tcb_status, init_data, container_images, debug, migration");
    json_t *value = json_string(text);
    if (value == NULL)
        return refuse(err, allow, "not UTF-8");
    return put(allow, key, value, rule, err);
}

static int take_pairs(const char *allow, json_t *rule, struct prop_err *err)
{
    for (const char *p = allow;;) {
        size_t len = strcspn(p, ",");
        int rc = take_pair(allow, p, len, rule, err);
        if (rc != 0)
            return rc;
        p += len;
        if (*p == 0)
            return 0;
        p++;
    }
}

/* The two things that are too wide for a line that is typed quickly. */
static int check_width(const char *allow, unsigned flags, bool sample, json_t *rule,
                       struct prop_err *err)
{
    if (sample) {
        if ((flags & (PROP_ALLOW_LOOPBACK | PROP_ALLOW_TEST)) != 0)
            return 0;
        (void)prop_err_set_id(err, PROP_E_USAGE, "sample-not-loopback",
                              "--allow '%s': anybody can make sample evidence, and this KBS is not "
                              "on this machine",
                              allow);
        return prop_err_hint(err, "name real hardware; for a test setup add "
                                  "--i-know-this-is-a-test");
    }
    if (prop_policy_rule_is_narrow(rule))
        return 0;
    if ((flags & PROP_ALLOW_ANY_GUEST) != 0)
        return json_object_set_new(rule, "allow_any_guest", json_true()) == 0 ? 0
                                                                             : prop_err_nomem(err);
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-allow",
                          "--allow '%s': every guest on such hardware could have the key", allow);
    return prop_err_hint(err, "add tier=affirming or a measurement, or say --allow-any-guest");
}

int prop_policy_rule_parse(const char *allow, const char *resource, unsigned flags,
                           json_t **ret_rule, bool *ret_insecure, struct prop_err *err)
{
    prop_auto_json json_t *rule = json_object();
    if (rule == NULL || json_object_set_new(rule, "resource", json_string(resource)) != 0)
        return prop_err_nomem(err);
    int rc = take_pairs(allow, rule, err);
    if (rc != 0)
        return rc;
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    bool sample = tee != NULL && strcmp(tee, "sample") == 0;
    rc = check_width(allow, flags, sample, rule, err);
    if (rc != 0)
        return rc;
    char shown[200], what[220];
    (void)prop_printable(allow, strlen(allow), shown, sizeof shown);
    (void)snprintf(what, sizeof what, "--allow '%s'", shown);
    json_t *normal = NULL;
    rc = prop_policy_rule_normal(rule, what, NULL, &normal, err);
    if (rc == PROP_E_INPUT && err != NULL) {
        err->code = PROP_E_USAGE; /* the same words, but they were typed */
        err->id = "bad-allow";
        return PROP_E_USAGE;
    }
    if (rc != 0)
        return rc;
    *ret_rule = normal;
    *ret_insecure = sample;
    return 0;
}
