/* Appraisals. Whatever the policy gives is read as narrowly as the real server reads it. */
#include "kbsd/appraise.h"

#include "kbsd/policy.h"
#include "kbsd/token.h"

#include <string.h>

/* In the order of the token. */
static const char *const claim_names[] = {
    "instance-identity", "configuration", "executables", "file-system",
    "hardware", "runtime-opaque", "storage-opaque", "sourced-data",
};
#define N_CLAIMS PROP_ARRAY_LEN(claim_names)

int prop_kbsd_tier(int value)
{
    if (value >= -1 && value <= 1)
        return 0;
    if (value >= -32 && value <= 31)
        return 1;
    if (value >= -96 && value <= 95)
        return 2;
    return 3;
}

/* Read the vector: NULL (rule undefined) sets every claim to 0. */
static int read_vector(const json_t *trust, int values[N_CLAIMS], bool set[N_CLAIMS],
                       bool *ret_crash, struct prop_err *err)
{
    const char *name;
    json_t *value;
    bool any = trust == NULL;

    for (size_t i = 0; i < N_CLAIMS; i++) {
        values[i] = 0;
        set[i] = trust == NULL;
    }
    if (trust != NULL && !json_is_object(trust))
        return prop_err_set(err, PROP_E_INPUT, "policy: trust_claims is not an object");
    prop_auto_json json_t *sorted = trust != NULL ? prop_kbsd_sorted(trust) : json_object();
    if (sorted == NULL)
        return prop_err_nomem(err);
    json_object_foreach(sorted, name, value) {
        size_t i = 0;
        if (!json_is_integer(value))
            return prop_err_set(err, PROP_E_INPUT, "policy: trust claim '%s' is not an integer",
                                name);
        while (i < N_CLAIMS && strcmp(name, claim_names[i]) != 0)
            i++;
        if (i == N_CLAIMS) {
            *ret_crash = true;
            return prop_err_set(err, PROP_E_INPUT, "policy: there is no trust claim '%s'", name);
        }
        values[i] = (int)(int8_t)(uint8_t)((uint64_t)json_integer_value(value) & 0xff);
        set[i] = any = true;
    }
    return any ? 0 : prop_err_set(err, PROP_E_INPUT, "policy: trust_claims is empty");
}

static int put_vector(json_t *submod, const int values[N_CLAIMS], const bool set[N_CLAIMS],
                      struct prop_err *err)
{
    static const char *const status[] = { "none", "affirming", "warning", "contraindicated" };
    json_t *vector = json_object();
    int worst = 0;
    bool ok = vector != NULL;

    for (size_t i = 0; ok && i < N_CLAIMS; i++) {
        if (!set[i])
            continue;
        int tier = prop_kbsd_tier(values[i]);
        worst = tier > worst ? tier : worst;
        ok = json_object_set_new(vector, claim_names[i], json_integer(values[i])) == 0;
    }
    ok = ok && json_object_set_new(submod, "ear.status", json_string(status[worst])) == 0 &&
         json_object_set(submod, "ear.trustworthiness-vector", vector) == 0;
    json_decref(vector);
    return ok ? 0 : prop_err_nomem(err);
}

/* Check [{"name":,"key":,"value":}]: no name and no key twice, keys of 32 bits. */
static int check_extensions(const json_t *list, struct prop_err *err)
{
    prop_auto_json json_t *keys = json_object();
    size_t i;
    json_t *one;

    if (keys == NULL)
        return prop_err_nomem(err);
    if (!json_is_array(list))
        return prop_err_set(err, PROP_E_INPUT, "policy: extensions is not a list");
    json_array_foreach(list, i, one) {
        json_t *name = json_object_get(one, "name");
        json_t *key = json_object_get(one, "key");
        if (!json_is_string(name) || !json_is_integer(key) ||
            json_object_get(one, "value") == NULL || json_integer_value(key) < INT32_MIN ||
            json_integer_value(key) > INT32_MAX)
            return prop_err_set(err, PROP_E_INPUT, "policy: extension %zu is malformed", i);
        prop_auto_free char *by_key = prop_asprintf("k%lld", (long long)json_integer_value(key));
        prop_auto_free char *by_name = prop_asprintf("n%s", json_string_value(name));
        if (by_key == NULL || by_name == NULL)
            return prop_err_nomem(err);
        if (json_object_get(keys, by_key) != NULL || json_object_get(keys, by_name) != NULL)
            return prop_err_set(err, PROP_E_INPUT, "policy: extension %zu is there twice", i);
        if (json_object_set_new(keys, by_key, json_true()) != 0 ||
            json_object_set_new(keys, by_name, json_true()) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* Add the extensions by name, sorted; null values are left out. */
static int put_extensions(json_t *submod, const json_t *list, struct prop_err *err)
{
    prop_auto_json json_t *by_name = json_object();
    size_t i;
    json_t *one;

    if (by_name == NULL)
        return prop_err_nomem(err);
    json_array_foreach(list, i, one) {
        if (json_object_set(by_name, json_string_value(json_object_get(one, "name")),
                            json_object_get(one, "value")) != 0)
            return prop_err_nomem(err);
    }
    prop_auto_json json_t *sorted = prop_kbsd_sorted(by_name);
    const char *name;
    if (sorted == NULL)
        return prop_err_nomem(err);
    json_object_foreach(sorted, name, one) {
        if (!json_is_null(one) && json_object_set(submod, name, one) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

int prop_kbsd_appraise(struct prop_kbsd *k, enum prop_kbsd_class class, json_t *annotated,
                       json_t **ret, bool *ret_crash, struct prop_err *err)
{
    prop_auto_json json_t *trust = NULL;
    prop_auto_json json_t *extensions = NULL;
    prop_auto_json json_t *submod = json_object();
    int values[N_CLAIMS];
    bool set[N_CLAIMS];

    if (submod == NULL)
        return prop_err_nomem(err);
    int rc = prop_kbsd_policy_appraise(k, class, annotated, &trust, &extensions, err);
    if (rc == 0)
        rc = read_vector(trust, values, set, ret_crash, err);
    if (rc == 0 && extensions != NULL)
        rc = check_extensions(extensions, err);
    if (rc == 0)
        rc = put_vector(submod, values, set, err);
    if (rc == 0 &&
        (json_object_set_new(submod, "ear.appraisal-policy-id", json_string("default")) != 0 ||
         json_object_set(submod, "ear.veraison.annotated-evidence", annotated) != 0))
        rc = prop_err_nomem(err);
    if (rc == 0 && extensions != NULL)
        rc = put_extensions(submod, extensions, err);
    if (rc == 0)
        *ret = PROP_TAKE(submod);
    return rc;
}
