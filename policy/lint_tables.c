/* What a verifier puts into a token (kbs.md 2.7) and into the evidence in it (attestation.md 4.2),
 * as paths: "*" is any one name, "**" anything below. */
#include "policy/lint_internal.h"

#include <string.h>

static const char *const token_paths[] = {
    "eat_profile", "iat", "exp", "nbf", "iss", "ear.verifier-id/developer", "ear.verifier-id/build",
    "submods/*/ear.status", "submods/*/ear.appraisal-policy-id",
    "submods/*/ear.trustworthiness-vector/instance-identity",
    "submods/*/ear.trustworthiness-vector/configuration",
    "submods/*/ear.trustworthiness-vector/executables",
    "submods/*/ear.trustworthiness-vector/file-system",
    "submods/*/ear.trustworthiness-vector/hardware",
    "submods/*/ear.trustworthiness-vector/runtime-opaque",
    "submods/*/ear.trustworthiness-vector/storage-opaque",
    "submods/*/ear.trustworthiness-vector/sourced-data",
    "submods/*/ear.trustee.identifiers/validated/container_images/**",
    "submods/*/ear.trustee.identifiers/validated/container_uids/**",
    "submods/*/ear.veraison.annotated-evidence/", /* and those below */
};

static const char *const evidence_paths[] = {
    "report_data", "init_data", "init_data_claims/**",
    "runtime_data_claims/nonce", "runtime_data_claims/additional-evidence",
    "runtime_data_claims/tee-pubkey/**",
    "sample/svn", "sample/launch_digest", "sample/debug", "sample/platform_version/major",
    "sample/platform_version/minor",
    "sampledevice/**", "az-snp-vtpm/**", "az-tdx-vtpm/**", "sgx/**", "cca/**", "csv/**", "se/**",
    "hygondcu/**", "nvidia/**", "nvidia-dpu/**", "tpm/**",
    "snp/policy_abi_major", "snp/policy_abi_minor", "snp/policy_smt_allowed",
    "snp/policy_migrate_ma", "snp/policy_debug_allowed", "snp/policy_single_socket",
    "snp/reported_tcb_bootloader", "snp/reported_tcb_tee", "snp/reported_tcb_snp",
    "snp/reported_tcb_microcode", "snp/platform_tsme_enabled", "snp/platform_smt_enabled",
    "snp/measurement", "snp/chip_id",
    "tdx/quote/header/version", "tdx/quote/header/att_key_type", "tdx/quote/header/tee_type",
    "tdx/quote/header/reserved", "tdx/quote/header/vendor_id", "tdx/quote/header/user_data",
    "tdx/quote/type", "tdx/quote/size",
    "tdx/quote/body/tcb_svn", "tdx/quote/body/mr_seam", "tdx/quote/body/mrsigner_seam",
    "tdx/quote/body/seam_attributes", "tdx/quote/body/td_attributes", "tdx/quote/body/xfam",
    "tdx/quote/body/mr_td", "tdx/quote/body/mr_config_id", "tdx/quote/body/mr_owner",
    "tdx/quote/body/mr_owner_config", "tdx/quote/body/rtmr_0", "tdx/quote/body/rtmr_1",
    "tdx/quote/body/rtmr_2", "tdx/quote/body/rtmr_3", "tdx/quote/body/report_data",
    "tdx/quote/body/tee_tcb_svn2", "tdx/quote/body/mr_servicetd",
    "tdx/td_attributes/debug", "tdx/td_attributes/septve_disable",
    "tdx/td_attributes/protection_keys", "tdx/td_attributes/key_locker",
    "tdx/td_attributes/perfmon",
    "tdx/uefi_event_logs/*/index", "tdx/uefi_event_logs/*/type_name",
    "tdx/uefi_event_logs/*/digest_matches_event", "tdx/uefi_event_logs/*/event",
    "tdx/uefi_event_logs/*/digests/*/alg", "tdx/uefi_event_logs/*/digests/*/digest",
    "tdx/uefi_event_logs/*/details/string", "tdx/uefi_event_logs/*/details/unicode_name",
    "tdx/uefi_event_logs/*/details/variable_name", "tdx/uefi_event_logs/*/details/variable_data",
    "tdx/uefi_event_logs/*/details/device_paths/**", "tdx/uefi_event_logs/*/details/data/**",
    "tdx/tcb_status", "tdx/tcb_date", "tdx/collateral_expiration_status", "tdx/advisory_ids/**",
    "tdx/earliest_issue_date", "tdx/latest_issue_date", "tdx/earliest_expiration_date",
    "tdx/tcb_eval_num", "tdx/sgx_type", "tdx/is_smt_enabled", "tdx/is_cached_keys_policy",
    "tdx/is_dynamic_platform", "tdx/platform_provider_id", "tdx/root_key_id", "tdx/pck_crl_num",
    "tdx/root_ca_crl_num",
};

/* How many steps of `path` (those before `i` among them) fit the pattern; *ret_next is the name
 * that the pattern has where they part, or NULL. */
static size_t match(const json_t *path, size_t i, const char *pattern, const char **ret_next,
                    size_t *ret_next_len)
{
    *ret_next = NULL;
    for (; i < json_array_size(path); i++) {
        const json_t *step = json_array_get(path, i);
        const char *name = json_string_value(step);
        size_t len = strcspn(pattern, "/");
        if (strncmp(pattern, "**", 2) == 0)
            return json_array_size(path);
        bool fits = len > 0 && (*pattern == '*' || json_is_null(step) ||
                                (name != NULL && strlen(name) == len &&
                                 memcmp(name, pattern, len) == 0));
        if (!fits) {
            *ret_next = len > 0 ? pattern : NULL;
            *ret_next_len = len;
            return i;
        }
        pattern += len;
        pattern += *pattern == '/';
    }
    return i;
}

struct best {
    size_t depth;
    const char *near;
    size_t near_len;
    unsigned distance;
};

static void consider(const json_t *path, size_t depth, const char *next, size_t len,
                     struct best *best)
{
    const char *name = json_string_value(json_array_get(path, depth));
    char word[64];
    if (depth < best->depth)
        return;
    if (depth > best->depth)
        *best = (struct best){ depth, NULL, 0, 3 };
    if (next == NULL || name == NULL || len >= sizeof word)
        return;
    memcpy(word, next, len);
    word[len] = '\0';
    unsigned distance = prop_name_distance(name, word);
    if (distance < best->distance && 2 * distance <= len) {
        best->distance = distance;
        best->near = next;
        best->near_len = len;
    }
}

static bool among(const json_t *path, size_t first, const char *const *patterns, size_t n,
                  struct best *best)
{
    for (size_t i = 0; i < n; i++) {
        const char *next = NULL;
        size_t len = 0;
        size_t depth = match(path, first, patterns[i], &next, &len);
        if (depth == json_array_size(path))
            return true;
        consider(path, depth, next, len, best);
    }
    return false;
}

bool prop_claims_known(const json_t *path, bool attestation, size_t *ret_depth, char ret_near[64])
{
    static const char annotated[] = "ear.veraison.annotated-evidence";
    const char *third = json_string_value(json_array_get(path, 3));
    bool inside = !attestation && third != NULL && strcmp(third, annotated) == 0 &&
                  json_array_size(path) > 4;
    size_t first = inside ? 4 : 1;
    struct best best = { first, NULL, 0, 3 };

    if (json_array_size(path) <= 1)
        return true;
    if (attestation || inside
            ? among(path, first, evidence_paths, PROP_ARRAY_LEN(evidence_paths), &best)
            : among(path, first, token_paths, PROP_ARRAY_LEN(token_paths), &best))
        return true;
    *ret_depth = best.depth;
    if (best.near != NULL)
        memcpy(ret_near, best.near, best.near_len);
    ret_near[best.near != NULL ? best.near_len : 0] = '\0';
    return false;
}
