/* Tables, and looking things up in them. */
#include "policy/tee.h"

#include <string.h>

static const char *const snp_measurement[] = { "measurement", NULL };
static const char *const snp_debug[] = { "policy_debug_allowed", NULL };
static const char *const snp_migration[] = { "policy_migrate_ma", NULL };
static const char *const tdx_measurement[] = { "quote", "body", "mr_td", NULL };
static const char *const tdx_debug[] = { "td_attributes", "debug", NULL };

static const struct prop_policy_tee tees[] = {
    { "snp", snp_measurement, snp_debug, snp_migration, PROP_INIT_DATA_HEX32, false },
    { "tdx", tdx_measurement, tdx_debug, NULL, PROP_INIT_DATA_HEX48, false },
    { "az-snp-vtpm", NULL, NULL, NULL, PROP_INIT_DATA_NONE, false },
    { "az-tdx-vtpm", NULL, NULL, NULL, PROP_INIT_DATA_NONE, false },
    { "sgx", NULL, NULL, NULL, PROP_INIT_DATA_NONE, false },
    { "cca", NULL, NULL, NULL, PROP_INIT_DATA_NONE, false },
    { "csv", NULL, NULL, NULL, PROP_INIT_DATA_NONE, false },
    { "se", NULL, NULL, NULL, PROP_INIT_DATA_NONE, false },
    { "sample", NULL, NULL, NULL, PROP_INIT_DATA_BASE64, true },
    { NULL, NULL, NULL, NULL, PROP_INIT_DATA_NONE, false },
};

enum { low = PROP_VECTOR_AFFIRMING_LEAST, high = PROP_VECTOR_AFFIRMING_MOST };

/* The shipped policy says a better or worse value of the same tier when these alone are met or
 * missed: tdvfkernel 3 instead of 4, the configuration of SNP 2 instead of 3. */
static const struct prop_policy_reference references[] = {
    { "snp", "snp_launch_measurement", "executables", low, high },
    { "snp", "snp_bootloader", "hardware", low, high },
    { "snp", "snp_microcode", "hardware", low, high },
    { "snp", "snp_snp_svn", "hardware", low, high },
    { "snp", "snp_tee_svn", "hardware", low, high },
    { "snp", "snp_smt_enabled", "configuration", 2, 2 },
    { "snp", "snp_tsme_enabled", "configuration", 2, 2 },
    { "snp", "snp_guest_abi_major", "configuration", 2, 2 },
    { "snp", "snp_guest_abi_minor", "configuration", 2, 2 },
    { "snp", "snp_single_socket", "configuration", 2, 2 },
    { "snp", "snp_smt_allowed", "configuration", 2, 2 },
    { "tdx", "rtmr_1", "executables", low, high },
    { "tdx", "rtmr_2", "executables", low, high },
    { "tdx", "tdvfkernel", "executables", 3, 3 },
    { "tdx", "tdvfkernelparams", "executables", 3, 3 },
    { "tdx", "mr_td", "hardware", low, high },
    { "tdx", "xfam", "configuration", low, high },
    { "sample", "launch_digest", "executables", low, high },
    { "sample", "svn", "hardware", low, high },
    { "sample", "major_version", "hardware", low, high },
    { "sample", "minimum_minor_version", "hardware", low, high },
    { NULL, NULL, NULL, 0, 0 },
};

const char *const prop_policy_vector_claims[] = { "executables", "hardware", "configuration", NULL };
const char *const prop_policy_tcb_parts[] = { "bootloader", "tee", "snp", "microcode", NULL };
/* "Revoked" is none that a rule may accept. */
const char *const prop_policy_tcb_statuses[] = {
    "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded",
    "OutOfDate", "OutOfDateConfigurationNeeded", NULL
};

const struct prop_policy_tee *prop_policy_tee_table(void)
{
    return tees;
}

const struct prop_policy_tee *prop_policy_tee_find(const char *name)
{
    for (const struct prop_policy_tee *t = tees; t->name != NULL; t++)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

const struct prop_policy_reference *prop_policy_reference_table(void)
{
    return references;
}

const struct prop_policy_reference *prop_policy_reference_find(const char *tee, const char *name)
{
    for (const struct prop_policy_reference *r = references; r->name != NULL; r++)
        if (strcmp(r->tee, tee) == 0 && strcmp(r->name, name) == 0)
            return r;
    return NULL;
}

bool prop_policy_word_in(const char *const *list, const char *word)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}
