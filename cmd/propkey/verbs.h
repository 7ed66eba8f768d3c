/* The verbs of propkey; cmd/propkey.c has them in a table. */
#ifndef PROP_CMD_PROPKEY_VERBS_H
#define PROP_CMD_PROPKEY_VERBS_H

#include "cmd/cli/cli.h"

extern const struct prop_verb propkey_verb_gen;
extern const struct prop_verb propkey_verb_admin_keygen;
extern const struct prop_verb propkey_verb_admin_token;
extern const struct prop_verb propkey_verb_set;
extern const struct prop_verb propkey_verb_get;
extern const struct prop_verb propkey_verb_delete;
extern const struct prop_verb propkey_verb_attest;
extern const struct prop_verb propkey_verb_policy_build;
extern const struct prop_verb propkey_verb_policy_set;
extern const struct prop_verb propkey_verb_policy_preset;
extern const struct prop_verb propkey_verb_policy_get;

#endif
