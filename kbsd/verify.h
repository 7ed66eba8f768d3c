/* Checking evidence: the two sample verifiers (kbs.md 2.5) and init-data (kbs.md 2.7). There is no
 * verifier for hardware here, on purpose: this server must never be mistaken for one that has. */
#ifndef PROP_KBSD_VERIFY_H
#define PROP_KBSD_VERIFY_H

#include "kbsd/state.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

/* What a TEE name of the protocol means to us. */
enum prop_kbsd_tee { PROP_KBSD_TEE_UNKNOWN, PROP_KBSD_TEE_FOREIGN, PROP_KBSD_TEE_NO_CHALLENGE,
                     PROP_KBSD_TEE_SAMPLE, PROP_KBSD_TEE_SAMPLEDEVICE };
/* Exact case. FOREIGN: named in the protocol, but no verifier here. NO_CHALLENGE: likewise, and its
 * challenge would already need one (IBM SE). */
enum prop_kbsd_tee prop_kbsd_tee_kind(const char *name);

/* Check one piece of evidence and give its annotated form, members sorted: report_data,
 * runtime_data_claims, init_data and init_data_claims when there was init-data, and the claims
 * under the TEE's name.
 * runtime     the object that is bound by report_data; all its members end up in the claims
 * init_data   {"format","body"} or NULL
 * Fails: PROP_E_UNSUPPORTED no verifier, init-data format or algorithm; PROP_E_INPUT malformed;
 *        PROP_E_VERIFY report_data is not the digest of `runtime`. */
int prop_kbsd_verify(const char *tee, const json_t *evidence, const json_t *runtime,
                     const json_t *init_data, json_t **ret_annotated,
                     enum prop_kbsd_class *ret_class, struct prop_err *err);

#endif
