/* Trying a policy on guests that are made up. */
#include "cmd/propkey/attestation_check.h"

#include "policy/attestation.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Enough of each kind for rules that ask which TEE it is (attestation.md 4.2). */
static const char *const guests[] = {
    "{\"report_data\":\"\",\"sample\":{\"debug\":false,\"launch_digest\":\"abcde\","
    "\"platform_version\":{\"major\":1,\"minor\":4},\"svn\":\"1\"}}",
    "{\"report_data\":\"\",\"init_data\":\"\",\"snp\":{\"measurement\":\"\","
    "\"policy_debug_allowed\":false,\"policy_migrate_ma\":false,\"policy_smt_allowed\":true,"
    "\"policy_single_socket\":false,"
    "\"policy_abi_major\":0,\"policy_abi_minor\":0,\"platform_smt_enabled\":true,"
    "\"platform_tsme_enabled\":false,\"reported_tcb_bootloader\":1,\"reported_tcb_tee\":0,"
    "\"reported_tcb_snp\":1,\"reported_tcb_microcode\":1,\"chip_id\":\"\"}}",
    "{\"report_data\":\"\",\"init_data\":\"\",\"tdx\":{\"quote\":{\"header\":{"
    "\"tee_type\":\"81000000\",\"vendor_id\":\"939a7233f79c4ca9940a0db3957f0607\"},"
    "\"body\":{\"mr_td\":\"\",\"rtmr_1\":\"\","
    "\"rtmr_2\":\"\",\"xfam\":\"\"}},\"td_attributes\":{\"debug\":false},"
    "\"tcb_status\":\"UpToDate\",\"collateral_expiration_status\":\"0\",\"uefi_event_logs\":[]}}",
    "{\"report_data\":\"\"}",
};

static char *no_reference(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return NULL;
}

static bool is_claim(const char *name)
{
    for (size_t i = 0; prop_trust_claims[i]; i++)
        if (strcmp(prop_trust_claims[i], name) == 0)
            return true;
    return false;
}

static int bad_value(const char *file, const char *what, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_INPUT, "claim-value", "'%s': %.120s", file, what);
    return prop_err_hint(err, "claims are whole numbers from -128 to 127: 2 or 3 affirming, 32 to "
                              "95 warning, 96 and up contraindicated");
}

static int check_answer(const char *file, const json_t *claims, struct prop_err *err)
{
    const char *name;
    json_t *v;
    char text[120];
    if (!json_is_object(claims))
        return bad_value(file, "trust_claims is not an object", err);
    if (json_object_size(claims) == 0)
        return bad_value(file, "trust_claims is empty, and attestation fails with it", err);
    json_object_foreach((json_t *)(uintptr_t)claims, name, v) {
        if (!is_claim(name)) {
            prop_err_set_id(err, PROP_E_INPUT, "unknown-claim",
                            "'%s': '%.60s' is no trust claim, and a server breaks over it", file,
                            name);
            return prop_err_hint(err, "instance-identity, configuration, executables, file-system, "
                                      "hardware, runtime-opaque, storage-opaque, sourced-data");
        }
        (void)snprintf(text, sizeof text, "the value of '%s' is no whole number from -128 to 127",
                       name);
        if (!json_is_integer(v) || json_integer_value(v) < -128 || json_integer_value(v) > 127)
            return bad_value(file, text, err);
    }
    return 0;
}

int propkey_attestation_check(struct prop_rego *r, const char *file, struct prop_err *err)
{
    prop_auto_json json_t *data = json_object();
    int rc = data ? prop_rego_set_data(r, data, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_rego_set_reference(r, no_reference, NULL, err);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(guests); i++) {
        prop_auto_json json_t *input = NULL;
        prop_auto_json json_t *claims = NULL;
        rc = prop_json_parse(guests[i], strlen(guests[i]), "guest", &input, err);
        if (rc == 0)
            rc = prop_rego_set_input(r, input, err);
        /* A rule that breaks over a guest of another kind is the policy's business. */
        if (rc == 0 && prop_rego_eval_rule(r, "data.policy.trust_claims", &claims, NULL) == 0 &&
            claims)
            rc = check_answer(file, claims, err);
    }
    return rc;
}
