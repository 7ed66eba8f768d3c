/* Between plan.c and plan_inputs.c. */
#ifndef PROP_VM_PLAN_INTERNAL_H
#define PROP_VM_PLAN_INTERNAL_H

#include "vm/plan.h"

/* Keep a remark for the user. */
void prop_plan_note(struct prop_vm_plan *p, enum prop_vm_note_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The forwards, the files for fw_cfg, the init-data's pin, the ID block, the user's own arguments. */
int prop_plan_inputs(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err);

#endif
