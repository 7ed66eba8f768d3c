/* EAR bodies in the shape of kbs.md 2.7, with claims in the places of attestation.md 4.2. */
#include "policy/token.h"

#include "policy/rule.h"

#include <string.h>

/* Put `value` (taken) at a path below `object`, making the objects on the way. */
static int set_at(json_t *object, const char *const *path, json_t *value)
{
    for (; path[1] != NULL; path++) {
        json_t *next = json_object_get(object, path[0]);
        if (next == NULL) {
            next = json_object();
            if (next == NULL || json_object_set_new(object, path[0], next) != 0) {
                json_decref(value);
                return -1;
            }
        }
        object = next;
    }
    return json_object_set_new(object, path[0], value);
}

static json_t *sample_claims(void)
{
    return json_pack("{s:s, s:s, s:b, s:{s:i, s:i}}", "svn", "1", "launch_digest", "abcde", "debug",
                     0, "platform_version", "major", 1, "minor", 4);
}

int prop_policy_token_new(const char *tee, const char *status, const char *measurement, bool debug,
                          json_t **ret, struct prop_err *err)
{
    const struct prop_policy_tee *t = prop_policy_tee_find(tee);
    if (t == NULL)
        return prop_err_set(err, PROP_E_BUG, "no evidence is called '%s'", tee);
    prop_auto_json json_t *claims = t->sample ? sample_claims() : json_object();
    if (claims == NULL)
        return prop_err_nomem(err);
    if (measurement != NULL && t->measurement != NULL &&
        set_at(claims, t->measurement, json_string(measurement)) != 0)
        return prop_err_nomem(err);
    if (t->debug != NULL && set_at(claims, t->debug, json_boolean(debug)) != 0)
        return prop_err_nomem(err);
    json_t *token = json_pack("{s:{s:{s:s, s:{s:O}}}}", "submods", "cpu0", "ear.status", status,
                              "ear.veraison.annotated-evidence", tee, claims);
    if (token == NULL)
        return prop_err_nomem(err);
    *ret = token;
    return 0;
}

int prop_policy_token_sample(const char *status, json_t **ret, struct prop_err *err)
{
    return prop_policy_token_new("sample", status, NULL, false, ret, err);
}

int prop_policy_token_for_rule(const json_t *rule, json_t **ret, struct prop_err *err)
{
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    const char *tier = json_string_value(json_object_get(rule, "tier"));
    const json_t *list = json_object_get(rule, "measurement");
    const char *measurement = json_string_value(json_array_get(list, 0));
    /* Without a tier the rule must not need one. */
    return prop_policy_token_new(tee != NULL ? tee : "snp", tier != NULL ? tier : "contraindicated",
                                 measurement, false, ret, err);
}
