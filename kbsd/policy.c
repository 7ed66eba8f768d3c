/* Policies are compiled once and kept until another one is uploaded. */
#include "kbsd/policy.h"

#include "kbsd/defaults.h"

#include <string.h>

#define NAME_MAX_LEN 255 /* a file name of the real server's storage (kbs.md 3) */
#define REGO_SUFFIX 5    /* ".rego" */

static const char *const class_policy_id[PROP_KBSD_CLASSES] = { "default_cpu", "default_gpu" };

bool prop_kbsd_key_fits(const char *key, size_t suffix)
{
    size_t len = suffix;

    for (; *key != '\0'; key++) {
        bool plain = (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') ||
                     (*key >= '0' && *key <= '9') || strchr("._-", *key) != NULL;
        if (!plain && *key != '/')
            return false;
        len += plain ? 1 : 4;
    }
    return len <= NAME_MAX_LEN;
}

int prop_kbsd_policy_install_defaults(struct prop_kbsd *k, struct prop_err *err)
{
    int rc = prop_kbsdb_begin(k->db, err);

    if (rc != 0)
        return rc;
    rc = prop_kbsdb_put_new(k->db, PROP_KBSDB_RESOURCE_POLICY, PROP_KBSD_RESOURCE_POLICY_ID,
                            prop_kbsd_default_resource_policy,
                            strlen(prop_kbsd_default_resource_policy), err);
    if (rc == 0)
        rc = prop_kbsdb_put_new(k->db, PROP_KBSDB_ATTESTATION_POLICY, "default_cpu",
                                prop_kbsd_default_cpu_policy,
                                strlen(prop_kbsd_default_cpu_policy), err);
    if (rc == 0)
        rc = prop_kbsdb_put_new(k->db, PROP_KBSDB_ATTESTATION_POLICY, "default_gpu",
                                prop_kbsd_default_gpu_policy,
                                strlen(prop_kbsd_default_gpu_policy), err);
    if (rc == 0)
        rc = prop_kbsdb_commit(k->db, err);
    if (rc != 0)
        prop_kbsdb_rollback(k->db);
    return rc;
}

/* query_reference_value(name): JSON text or NULL. A value that cannot be read counts as none. */
static char *lookup_reference(void *ctx, const char *name)
{
    struct prop_kbsd *k = ctx;
    prop_auto_secret struct prop_secret *value = NULL;

    if (prop_kbsdb_get(k->db, PROP_KBSDB_REFERENCE_VALUE, name, &value, NULL) != 0)
        return NULL;
    return prop_strndup((const char *)prop_secret_data(value), prop_secret_len(value));
}

static int compile(struct prop_kbsd *k, enum prop_kbsdb_table table, const char *id,
                   struct prop_rego **slot, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    prop_auto_rego struct prop_rego *rego = NULL;

    if (*slot != NULL)
        return 0;
    int rc = prop_kbsdb_get(k->db, table, id, &text, err);
    if (rc == 0)
        rc = prop_rego_new("", (const char *)prop_secret_data(text), prop_secret_len(text), &rego,
                           NULL, err);
    if (rc == 0 && table == PROP_KBSDB_ATTESTATION_POLICY)
        rc = prop_rego_set_reference(rego, lookup_reference, k, err);
    if (rc == 0)
        *slot = PROP_TAKE(rego);
    return rc;
}

void prop_kbsd_policy_warm(struct prop_kbsd *k)
{
    (void)compile(k, PROP_KBSDB_RESOURCE_POLICY, PROP_KBSD_RESOURCE_POLICY_ID, &k->resource_policy,
                  NULL);
    for (size_t i = 0; i < PROP_KBSD_CLASSES; i++)
        (void)compile(k, PROP_KBSDB_ATTESTATION_POLICY, class_policy_id[i],
                      &k->attestation_policy[i], NULL);
}

int prop_kbsd_policy_set_resource(struct prop_kbsd *k, const char *text, size_t len,
                                  char **ret_detail, struct prop_err *err)
{
    prop_auto_rego struct prop_rego *rego = NULL;
    int rc = prop_rego_new("", text, len, &rego, ret_detail, err);

    if (rc == 0)
        rc = prop_kbsdb_put(k->db, PROP_KBSDB_RESOURCE_POLICY, PROP_KBSD_RESOURCE_POLICY_ID, text,
                            len, err);
    if (rc == 0) {
        prop_rego_free(k->resource_policy);
        k->resource_policy = PROP_TAKE(rego);
    }
    return rc;
}

int prop_kbsd_policy_set_attestation(struct prop_kbsd *k, const char *id, const char *text,
                                     size_t len, struct prop_err *err)
{
    prop_auto_rego struct prop_rego *rego = NULL;

    if (!prop_kbsd_key_fits(id, REGO_SUFFIX))
        return prop_err_set_id(err, PROP_E_INPUT, "policy-id", "policy id cannot be stored");
    int rc = prop_rego_new("", text, len, &rego, NULL, err);
    if (rc == 0)
        rc = prop_kbsdb_put(k->db, PROP_KBSDB_ATTESTATION_POLICY, id, text, len, err);
    for (size_t i = 0; rc == 0 && i < PROP_KBSD_CLASSES; i++) {
        if (strcmp(id, class_policy_id[i]) == 0) {
            prop_rego_free(k->attestation_policy[i]);
            k->attestation_policy[i] = NULL;
        }
    }
    return rc;
}

int prop_kbsd_policy_allows(struct prop_kbsd *k, const json_t *claims, const json_t *data,
                            bool *ret_allowed, bool *ret_broken, struct prop_err *err)
{
    prop_auto_json json_t *value = NULL;
    int rc = compile(k, PROP_KBSDB_RESOURCE_POLICY, PROP_KBSD_RESOURCE_POLICY_ID,
                     &k->resource_policy, err);

    if (rc == 0)
        rc = prop_rego_set_data(k->resource_policy, data, err);
    if (rc == 0)
        rc = prop_rego_set_input(k->resource_policy, claims, err);
    if (rc == 0)
        rc = prop_rego_eval_rule(k->resource_policy, "data.policy.allow", &value, err);
    if (rc == 0) {
        *ret_broken = !json_is_boolean(value);
        *ret_allowed = json_is_true(value);
    }
    return rc;
}

int prop_kbsd_policy_appraise(struct prop_kbsd *k, enum prop_kbsd_class class,
                              const json_t *evidence, json_t **ret_trust, json_t **ret_extensions,
                              struct prop_err *err)
{
    prop_auto_json json_t *none = json_object();
    prop_auto_json json_t *trust = NULL;
    struct prop_rego **slot = &k->attestation_policy[class];

    if (none == NULL)
        return prop_err_nomem(err);
    int rc = compile(k, PROP_KBSDB_ATTESTATION_POLICY, class_policy_id[class], slot, err);
    if (rc == 0)
        rc = prop_rego_set_data(*slot, none, err);
    if (rc == 0)
        rc = prop_rego_set_input(*slot, evidence, err);
    if (rc == 0)
        rc = prop_rego_eval_rule(*slot, "data.policy.trust_claims", &trust, err);
    if (rc == 0)
        rc = prop_rego_eval_rule(*slot, "data.policy.extensions", ret_extensions, err);
    if (rc == 0)
        *ret_trust = PROP_TAKE(trust);
    return rc;
}
