/* Where this machine keeps its signs of a TEE. Tests name folders of their own. */
#ifndef PROP_TEE_MACHINE_H
#define PROP_TEE_MACHINE_H

#include "tee/evidence.h"

struct prop_tee_machine {
    const char *tsm_root;  /* configfs-tsm reports */
    const char *sev_guest; /* device nodes: only their being there counts */
    const char *tdx_guest;
    const char *ccel;      /* firmware event log */
};
extern const struct prop_tee_machine prop_tee_this_machine;

/* As prop_tee_choose and prop_tee_evidence, on a machine of one's choice. */
int prop_tee_choose_on(const struct prop_tee_machine *m, const char *wish, enum prop_tee *ret,
                       struct prop_err *err);
int prop_tee_evidence_on(const struct prop_tee_machine *m, enum prop_tee tee,
                         const uint8_t *report_data, size_t len, json_t **ret,
                         struct prop_err *err);

#endif
