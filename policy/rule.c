/* Rules: what people write, checked and put in one form. A rule that says less than who may come
 * in is refused; nothing is guessed. */
#include "policy/rule.h"

#include "policy/pattern.h"
#include "policy/rule_internal.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

enum { comment_max = 2000 };

static int take_resource(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *s = json_string_value(v);
    if (s == NULL)
        return prop_rule_bad(r, "'resource' is missing, or not a text");
    if (prop_starts_with(s, "kbs:///"))
        s += strlen("kbs:///");
    if (strlen(s) != json_string_length(v) - (size_t)(s - json_string_value(v)) ||
        !prop_policy_pattern_ok(s)) {
        char shown[120];
        (void)prop_err_set_id(r->err, PROP_E_INPUT, "bad-rule",
                              "%s: resource '%s' is not repository/type/tag", r->what,
                              prop_printable(json_string_value(v), json_string_length(v), shown,
                                             sizeof shown));
        return prop_err_hint(r->err, "letters, digits, '_', '-', '.'; a part may hold one '*'");
    }
    return json_object_set_new(r->out, key, json_string(s)) == 0 ? 0 : prop_err_nomem(r->err);
}

static int take_tee(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *s = json_string_value(v);
    const struct prop_policy_tee *tee = s != NULL ? prop_policy_tee_find(s) : NULL;
    if (tee == NULL) {
        (void)prop_rule_bad(r, "'tee' names no kind of evidence");
        return prop_err_hint(r->err, "one of snp tdx az-snp-vtpm az-tdx-vtpm sgx cca csv se sample");
    }
    r->tee = tee;
    return json_object_set_new(r->out, key, json_string(s)) == 0 ? 0 : prop_err_nomem(r->err);
}

static int take_tier(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *s = json_string_value(v);
    if (s == NULL || (strcmp(s, "affirming") != 0 && strcmp(s, "warning") != 0)) {
        (void)prop_rule_bad(r, "'tier' is neither 'affirming' nor 'warning'");
        return prop_err_hint(r->err, "'warning' lets affirming and warning in; guests below that "
                                     "are not to be trusted with a key");
    }
    return json_object_set_new(r->out, key, json_string(s)) == 0 ? 0 : prop_err_nomem(r->err);
}

static int take_any_guest(struct rule_reader *r, const char *key, const json_t *v)
{
    (void)key;
    if (!json_is_boolean(v))
        return prop_rule_bad(r, "'allow_any_guest' is not true or false");
    return json_is_true(v) && json_object_set_new(r->out, key, json_true()) != 0
               ? prop_err_nomem(r->err)
               : 0;
}

static int take_comment(struct rule_reader *r, const char *key, const json_t *v)
{
    if (!json_is_string(v) || json_string_length(v) > comment_max)
        return prop_rule_bad(r, "'comment' is not a text of at most 2000 bytes");
    json_t *copy = json_stringn(json_string_value(v), json_string_length(v));
    return json_object_set_new(r->out, key, copy) == 0 ? 0 : prop_err_nomem(r->err);
}

typedef int take_fn(struct rule_reader *r, const char *key, const json_t *v);

/* In the order of the normal form. */
static const struct {
    const char *name;
    take_fn *take;
} members[] = {
    { "resource", take_resource },
    { "tee", take_tee },
    { "tier", take_tier },
    { "executables", prop_rule_take_affirming },
    { "hardware", prop_rule_take_affirming },
    { "configuration", prop_rule_take_affirming },
    { "measurement", prop_rule_take_hex },
    { "rtmr_0", prop_rule_take_hex },
    { "rtmr_1", prop_rule_take_hex },
    { "rtmr_2", prop_rule_take_hex },
    { "rtmr_3", prop_rule_take_hex },
    { "measured", prop_rule_take_measured },
    { "reference_values", prop_rule_take_references },
    { "min_tcb", prop_rule_take_min_tcb },
    { "tcb_status", prop_rule_take_tcb_status },
    { "init_data", prop_rule_take_init_data },
    { "init_data_claims", prop_rule_take_claims },
    { "container_images", prop_rule_take_images },
    { "debug", prop_rule_take_debug },
    { "migration", prop_rule_take_migration },
    { "allow_any_guest", take_any_guest },
    { "comment", take_comment },
};

const char *const *prop_policy_rule_members(void)
{
    static const char *names[PROP_ARRAY_LEN(members) + 1];
    for (size_t i = 0; i < PROP_ARRAY_LEN(members); i++)
        names[i] = members[i].name;
    return names;
}

static int check_keys(struct rule_reader *r, const json_t *rule)
{
    const char *key;
    json_t *v;
    json_object_foreach ((json_t *)(uintptr_t)rule, key, v) {
        if (prop_policy_word_in(prop_policy_rule_members(), key))
            continue;
        char shown[80];
        (void)snprintf(r->spot->member, sizeof r->spot->member, "%s", key);
        (void)prop_err_set_id(r->err, PROP_E_INPUT, "bad-rule", "%s: unknown key '%s'", r->what,
                              prop_printable(key, strlen(key), shown, sizeof shown));
        return prop_err_hint(r->err, "known: resource tee tier executables hardware configuration "
                                     "measurement rtmr_0..rtmr_3 measured reference_values min_tcb "
                                     "tcb_status init_data init_data_claims container_images debug "
                                     "migration allow_any_guest comment");
    }
    return 0;
}

/* Does the rule want `claim` of the trust vector affirmed, by itself or by a reference value? */
static bool wants_affirmed(const json_t *rule, const char *claim)
{
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    const json_t *names = json_object_get(rule, "reference_values");
    if (json_object_get(rule, claim) != NULL)
        return true;
    for (size_t i = 0; tee != NULL && i < json_array_size(names); i++) {
        const struct prop_policy_reference *ref =
            prop_policy_reference_find(tee, json_string_value(json_array_get(names, i)));
        if (ref != NULL && strcmp(ref->claim, claim) == 0)
            return true;
    }
    return false;
}

/* The measurement of an snp guest covers all that was launched. That of a tdx guest is its firmware,
 * which the verifier's word on the hardware covers: its word on the executables alone rests on
 * registers that any firmware can write. */
bool prop_policy_rule_is_narrow(const json_t *rule)
{
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    if (json_object_get(rule, "tier") != NULL || json_object_get(rule, "measurement") != NULL ||
        json_object_get(rule, "measured") != NULL)
        return true;
    return wants_affirmed(rule, "executables") &&
           ((tee != NULL && strcmp(tee, "snp") == 0) || wants_affirmed(rule, "hardware"));
}

static bool has_registers(const json_t *rule)
{
    return json_object_get(rule, "rtmr_0") != NULL || json_object_get(rule, "rtmr_1") != NULL ||
           json_object_get(rule, "rtmr_2") != NULL || json_object_get(rule, "rtmr_3") != NULL;
}

static int check_width(struct rule_reader *r)
{
    bool any = json_object_get(r->out, "allow_any_guest") != NULL;
    bool narrow = prop_policy_rule_is_narrow(r->out);
    bool sample = r->tee != NULL && r->tee->sample;
    (void)snprintf(r->spot->member, sizeof r->spot->member, "%s", any ? "allow_any_guest" : "");
    if (any && (narrow || sample))
        return prop_rule_bad(r, "'allow_any_guest' contradicts what the rule says of the guest");
    if (any || narrow || sample)
        return 0;
    if (has_registers(r->out)) {
        (void)prop_rule_bad(r, "every guest could have the key: any firmware can write those "
                               "registers");
        return prop_err_hint(r->err, "pin the firmware too with measurement (mr_td), or give a tier");
    }
    (void)prop_rule_bad(r, "every guest could have the key");
    return prop_err_hint(r->err, "give a tier or a measurement, or allow_any_guest = true");
}

int prop_policy_rule_normal(const json_t *rule, const char *what, struct prop_policy_spot *spot,
                            json_t **ret, struct prop_err *err)
{
    struct prop_policy_spot unused;
    struct rule_reader r = { what, NULL, NULL, spot != NULL ? spot : &unused, err };
    memset(r.spot, 0, sizeof *r.spot);
    if (!json_is_object(rule))
        return prop_rule_bad(&r, "not a table");
    prop_auto_json json_t *out = json_object();
    if (out == NULL)
        return prop_err_nomem(err);
    r.out = out;
    int rc = check_keys(&r, rule);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(members); i++) {
        const json_t *v = json_object_get(rule, members[i].name);
        (void)snprintf(r.spot->member, sizeof r.spot->member, "%s", v != NULL ? members[i].name : "");
        r.spot->inner[0] = 0;
        if (v != NULL || i == 0)
            rc = members[i].take(&r, members[i].name, v);
    }
    if (rc == 0)
        rc = check_width(&r);
    if (rc != 0)
        return rc;
    *ret = PROP_TAKE(out);
    return 0;
}

bool prop_policy_rule_fits(const json_t *rule, const char *path)
{
    const char *pattern = json_string_value(json_object_get(rule, "resource"));
    return pattern != NULL && prop_policy_pattern_fits(pattern, path);
}
