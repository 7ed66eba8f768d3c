/* The verbs of propkey; cmd/propkey.c has them in a table. */
#ifndef PROP_CMD_PROPKEY_VERBS_H
#define PROP_CMD_PROPKEY_VERBS_H

#include "cmd/cli/cli.h"

extern const struct prop_verb propkey_verb_gen;
extern const struct prop_verb propkey_verb_convert;
extern const struct prop_verb propkey_verb_rotate;
extern const struct prop_verb propkey_verb_revoke;
extern const struct prop_verb propkey_verb_backup;
extern const struct prop_verb propkey_verb_restore;
extern const struct prop_verb propkey_verb_admin_keygen;
extern const struct prop_verb propkey_verb_admin_token;
extern const struct prop_verb propkey_verb_set;
extern const struct prop_verb propkey_verb_get;
extern const struct prop_verb propkey_verb_delete;
extern const struct prop_verb propkey_verb_list;
extern const struct prop_verb propkey_verb_attest;
extern const struct prop_verb propkey_verb_token;
extern const struct prop_verb propkey_verb_attestation_policy_set;
extern const struct prop_verb propkey_verb_reference_value_set;
extern const struct prop_verb propkey_verb_reference_value_get;
extern const struct prop_verb propkey_verb_reference_value_import;
extern const struct prop_verb propkey_verb_doctor;
extern const struct prop_verb propkey_verb_policy_build;
extern const struct prop_verb propkey_verb_policy_set;
extern const struct prop_verb propkey_verb_policy_preset;
extern const struct prop_verb propkey_verb_policy_get;
extern const struct prop_verb propkey_verb_policy_add;
extern const struct prop_verb propkey_verb_policy_remove;
extern const struct prop_verb propkey_verb_policy_history;
extern const struct prop_verb propkey_verb_policy_rollback;
extern const struct prop_verb propkey_verb_policy_schema;
extern const struct prop_verb propkey_verb_policy_test;
extern const struct prop_verb propkey_verb_policy_lint;
extern const struct prop_verb propkey_verb_policy_diff;
extern const struct prop_verb propkey_verb_attestation_lint;
extern const struct prop_verb propkey_verb_attestation_test;

#endif
