/* The verbs of propcvm, one file each. */
#ifndef PROP_CMD_PROPCVM_VERBS_H
#define PROP_CMD_PROPCVM_VERBS_H

#include "cmd/cli/cli.h"

extern const struct prop_verb propcvm_verb_run;
extern const struct prop_verb propcvm_verb_serve;
extern const struct prop_verb propcvm_verb_detect;
extern const struct prop_verb propcvm_verb_evidence;
extern const struct prop_verb propcvm_verb_vm_build;
extern const struct prop_verb propcvm_verb_vm_run;
extern const struct prop_verb propcvm_verb_vm_all;
extern const struct prop_verb propcvm_verb_vm_measure;
extern const struct prop_verb propcvm_verb_init;

#endif
