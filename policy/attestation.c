/* What a policy gives is read as narrowly as the real server reads it. */
#include "policy/attestation.h"

#include "engine/rego.h"
#include "policy/outline.h"

#include <string.h>

#define N_CLAIMS 8

const char *const prop_trust_claims[N_CLAIMS + 1] = {
    "instance-identity", "configuration",  "executables",    "file-system",
    "hardware",          "runtime-opaque", "storage-opaque", "sourced-data", NULL
};

struct prop_attestation {
    struct prop_policy_judge *judge;
    const json_t *references; /* of the appraisal at hand; borrowed */
};

static const char *const tiers[] = { "none", "affirming", "warning", "contraindicated" };

/* draft-ietf-rats-ar4si section 2.3.2 */
static unsigned tier(json_int_t v)
{
    if (v >= -1 && v <= 1)
        return 0;
    if (v >= -32 && v <= 31)
        return 1;
    return v >= -96 && v <= 95 ? 2 : 3;
}

const char *prop_trust_tier(json_int_t value)
{
    return tiers[tier(value)];
}

/* query_reference_value(name) */
static char *look_up(void *ctx, const char *name)
{
    const struct prop_attestation *a = ctx;
    const json_t *value = json_object_get(a->references, name);
    return value != NULL ? prop_json_compact(value) : NULL;
}

int prop_attestation_new(const char *name, const char *text, size_t len,
                         struct prop_attestation **ret, struct prop_err *err)
{
    prop_auto_attestation struct prop_attestation *a = prop_zalloc(sizeof *a);
    if (a == NULL)
        return prop_err_nomem(err);
    int rc = prop_policy_judge_new_rego(name, text, len, &a->judge, err);
    if (rc == 0)
        rc = prop_rego_set_reference(prop_policy_judge_engine(a->judge), look_up, a, err);
    if (rc == 0)
        *ret = PROP_TAKE(a);
    return rc;
}

void prop_attestation_free(struct prop_attestation *a)
{
    if (a == NULL)
        return;
    prop_policy_judge_free(a->judge);
    prop_free(a);
}

struct prop_policy_judge *prop_attestation_judge(struct prop_attestation *a)
{
    return a->judge;
}

static int outcome(json_t **ret, const char *what, struct prop_err *err, const char *reason)
{
    json_t *v = json_pack("{s:s, s:s}", "outcome", what, "reason", reason);
    if (v == NULL)
        return prop_err_nomem(err);
    *ret = v;
    return 0;
}

/* The vector into *ret_vector; or NULL there, and why into `reason`; *ret_crash as the name says.
 */
static int read_vector(const json_t *trust, json_t **ret_vector, bool *ret_crash, char *reason,
                       size_t size, struct prop_err *err)
{
    prop_auto_json json_t *vector = json_object();
    const char *name;
    json_t *value;
    struct prop_err why = PROP_ERR_INIT;

    if (vector == NULL)
        return prop_err_nomem(err);
    if (trust != NULL && !json_is_object(trust))
        (void)prop_err_set(&why, PROP_E_INPUT, "trust_claims is not an object");
    else if (trust != NULL && json_object_size(trust) == 0)
        (void)prop_err_set(&why, PROP_E_INPUT, "trust_claims is empty");
    json_object_foreach((json_t *)(uintptr_t)trust, name, value) {
        size_t i = 0;
        while (prop_trust_claims[i] != NULL && strcmp(prop_trust_claims[i], name) != 0)
            i++;
        if (!json_is_integer(value))
            (void)prop_err_set(&why, PROP_E_INPUT, "trust claim '%s' is not an integer", name);
        else if (prop_trust_claims[i] == NULL && why.code == PROP_OK)
            *ret_crash =
                prop_err_set(&why, PROP_E_INPUT, "there is no trust claim '%s'", name) != 0;
    }
    for (size_t i = 0; prop_trust_claims[i] != NULL && why.code == PROP_OK; i++) {
        value = json_object_get(trust, prop_trust_claims[i]);
        json_int_t v = (int8_t)(uint8_t)((uint64_t)json_integer_value(value) & 0xff);
        if ((trust == NULL || value != NULL) &&
            json_object_set_new(vector, prop_trust_claims[i], json_integer(v)) != 0)
            return prop_err_nomem(err);
    }
    if (why.code == PROP_OK)
        *ret_vector = PROP_TAKE(vector);
    else
        (void)memccpy(reason, why.message, '\0', size);
    return 0;
}

static const char *status_of(const json_t *vector)
{
    unsigned worst = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)vector, name, value) {
        unsigned t = tier(json_integer_value(value));
        worst = t > worst ? t : worst;
    }
    return tiers[worst];
}

/* [{"name":,"key":,"value":}], no name and no key twice, keys of 32 bits. */
static bool extensions_fit(const json_t *list)
{
    size_t i;
    size_t k;
    json_t *one;
    json_t *before;
    if (list != NULL && !json_is_array(list))
        return false;
    json_array_foreach(list, i, one) {
        const json_t *key = json_object_get(one, "key");
        if (!json_is_string(json_object_get(one, "name")) || !json_is_integer(key) ||
            json_object_get(one, "value") == NULL || json_integer_value(key) < INT32_MIN ||
            json_integer_value(key) > INT32_MAX)
            return false;
        json_array_foreach(list, k, before) {
            if (k == i)
                break;
            if (json_equal(json_object_get(before, "key"), key) ||
                json_equal(json_object_get(before, "name"), json_object_get(one, "name")))
                return false;
        }
    }
    return true;
}

int prop_attestation_appraise(struct prop_attestation *a, const json_t *evidence,
                              const json_t *references, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *none = json_object();
    prop_auto_json json_t *trust = NULL;
    prop_auto_json json_t *extensions = NULL;
    prop_auto_json json_t *vector = NULL;
    struct prop_err local = PROP_ERR_INIT;
    bool crash = false;
    char reason[sizeof local.message] = "";

    if (none == NULL)
        return prop_err_nomem(err);
    a->references = references;
    int rc = prop_policy_judge_rule(a->judge, evidence, none, "data.policy.extensions", &extensions,
                                    &local);
    if (rc == 0)
        rc = prop_policy_judge_rule(a->judge, evidence, none, "data.policy.trust_claims", &trust,
                                    &local);
    if (rc == PROP_E_INPUT)
        return outcome(ret, "refused", err, local.message);
    if (rc != 0) {
        if (err != NULL)
            *err = local;
        return rc;
    }
    rc = read_vector(trust, &vector, &crash, reason, sizeof reason, err);
    if (rc != 0)
        return rc;
    if (vector == NULL)
        return outcome(ret, crash ? "crash" : "refused", err, reason);
    if (!extensions_fit(extensions))
        return outcome(ret, "refused", err, "extensions is not a list of name, key and value");
    json_t *v = json_pack("{s:s, s:s, s:O, s:O*}", "outcome", "token", "status", status_of(vector),
                          "vector", vector, "extensions", extensions);
    if (v == NULL)
        return prop_err_nomem(err);
    *ret = v;
    return 0;
}

int prop_attestation_token(const json_t *evidence, const char *status, const json_t *vector,
                           const json_t *extensions, json_t **ret, struct prop_err *err)
{
    size_t i;
    json_t *one;
    prop_auto_json json_t *copy = json_deep_copy(evidence);
    prop_auto_json json_t *trust = json_deep_copy(vector);
    prop_auto_json json_t *submod =
        json_pack("{s:s, s:O*, s:s, s:O}", "ear.status", status != NULL ? status : "none",
                  "ear.trustworthiness-vector", trust, "ear.appraisal-policy-id", "default",
                  "ear.veraison.annotated-evidence", copy);
    if (copy == NULL || submod == NULL)
        return prop_err_nomem(err);
    json_array_foreach(extensions, i, one) {
        json_t *value = json_deep_copy(json_object_get(one, "value"));
        if (value == NULL ||
            json_object_set_new(submod, prop_outline_text(one, "name"), value) != 0)
            return prop_err_nomem(err);
    }
    json_t *token =
        json_pack("{s:s, s:{s:O}, s:s}", "eat_profile",
                  "tag:github.com,2024:confidential-containers/Trustee", "submods", "cpu0", submod,
                  "iss", "CoCo-Attestation-Service");
    if (token == NULL)
        return prop_err_nomem(err);
    *ret = token;
    return 0;
}
