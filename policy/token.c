/* EAR bodies in the shape of kbs.md 2.7, with claims in the places of attestation.md 4.2. */
#include "policy/token.h"

#include "policy/conditions.h"
#include "policy/tee.h"

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
    prop_auto_json json_t *claims = t != NULL && t->sample ? sample_claims() : json_object();
    if (claims == NULL)
        return prop_err_nomem(err);
    if (t != NULL && measurement != NULL && t->measurement != NULL &&
        set_at(claims, t->measurement, json_string(measurement)) != 0)
        return prop_err_nomem(err);
    if (t != NULL && t->debug != NULL && set_at(claims, t->debug, json_boolean(debug)) != 0)
        return prop_err_nomem(err);
    if (t != NULL && t->migration != NULL && set_at(claims, t->migration, json_false()) != 0)
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

/* Claims under the names of a JSON array; `value` is taken. */
static int set_claim(json_t *evidence, const json_t *path, json_t *value)
{
    const char *names[12] = { NULL };
    size_t n = json_array_size(path);
    if (n >= PROP_ARRAY_LEN(names)) {
        json_decref(value);
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        names[i] = json_string_value(json_array_get(path, i));
    return set_at(evidence, names, value);
}

int prop_policy_token_meet(json_t *token, const json_t *condition, struct prop_err *err)
{
    static const char *const cpu_path[] = { "submods", "cpu0", NULL };
    static const char *const images_path[] = { "ear.trustee.identifiers", "validated",
                                               "container_images", NULL };
    json_t *cpu = json_object_get(json_object_get(token, cpu_path[0]), cpu_path[1]);
    json_t *values = json_object_get(condition, "in");
    json_t *images = json_object_get(condition, "images");
    json_t *least = json_object_get(condition, "least");
    const char *claim = json_string_value(json_object_get(condition, "claim"));
    int rc;
    if (cpu == NULL)
        return prop_err_set(err, PROP_E_BUG, "a token without a CPU");
    if (images != NULL) {
        rc = set_at(cpu, images_path, json_incref(images));
    } else if (claim != NULL) {
        const char *const path[] = { "ear.trustworthiness-vector", claim, NULL };
        rc = set_at(cpu, path, json_incref(least));
    } else {
        json_t *v = values != NULL ? json_array_get(values, 0) : least;
        rc = set_claim(json_object_get(cpu, "ear.veraison.annotated-evidence"),
                       json_object_get(condition, "path"), json_incref(v));
    }
    return rc == 0 ? 0 : prop_err_nomem(err);
}

int prop_policy_token_for_rule(const json_t *rule, json_t **ret, struct prop_err *err)
{
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    const char *tier = json_string_value(json_object_get(rule, "tier"));
    prop_auto_json json_t *conditions = NULL;
    prop_auto_json json_t *token = NULL;
    size_t i;
    json_t *c;
    int rc = prop_policy_conditions(rule, &conditions, err);
    /* Without a tier the rule must not need one. */
    if (rc == 0)
        rc = prop_policy_token_new(tee != NULL ? tee : "snp",
                                   tier != NULL ? tier : "contraindicated", NULL, false, &token, err);
    if (rc != 0)
        return rc;
    json_array_foreach (conditions, i, c) {
        rc = prop_policy_token_meet(token, c, err);
        if (rc != 0)
            return rc;
    }
    *ret = PROP_TAKE(token);
    return 0;
}
