/* Which TEE this is, and by which signs (attestation.md 1). Only what the guest's own kernel and
 * processor show counts: no variable, no flag of the host. */
#ifndef PROP_TEE_DETECT_H
#define PROP_TEE_DETECT_H

#include "tee/machine.h"
#include "util/err.h"
#include "util/json.h"

struct prop_tee_found {
    enum prop_tee tee;        /* SNP or TDX when reports can be asked for; else NONE */
    const char *test;         /* the sign that decided; NULL = none. static */
    const char *active;       /* what the processor says the guest is ("snp", "tdx", "sev", "sev-es",
                                 "az-snp-vtpm", "az-tdx-vtpm"), also where `tee` is NONE; or NULL */
    const char *advice;       /* what to do when `tee` is NONE and `active` is not; or NULL. static */
};

/* Look at everything. ret_signs (may be NULL) receives [{"test","found"}...]: found is text, or null
 * for a sign that is not there; owned by the caller. Fails: PROP_E_NOMEM. */
int prop_tee_detect(const struct prop_tee_machine *m, struct prop_tee_found *ret, json_t **ret_signs,
                    struct prop_err *err);

#endif
