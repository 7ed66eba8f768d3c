/* What machine this is, and evidence from it (attestation.md 1-3, kbs.md 2.5). */
#ifndef PROP_TEE_EVIDENCE_H
#define PROP_TEE_EVIDENCE_H

#include "util/err.h"
#include "util/json.h"

#include <stddef.h>
#include <stdint.h>

enum prop_tee { PROP_TEE_NONE, PROP_TEE_SAMPLE, PROP_TEE_SNP, PROP_TEE_TDX };

/* "sample", "snp", "tdx", "none". */
const char *prop_tee_name(enum prop_tee tee);
/* "auto", "sample", "snp", "tdx" as the user says it. `auto` looks at the machine and never gives
 * sample. Fails: PROP_E_USAGE unknown word; PROP_E_UNSUPPORTED (id "no-tee") auto found nothing, or
 * the named one is not here; the hint names --tee sample. */
int prop_tee_choose(const char *wish, enum prop_tee *ret, struct prop_err *err);

/* Evidence bound to `report_data` (48 bytes of SHA-384; padded with zeros to 64 for hardware), as
 * the JSON value that goes into "primary_evidence". Owned by the caller. */
int prop_tee_evidence(enum prop_tee tee, const uint8_t *report_data, size_t len, json_t **ret,
                      struct prop_err *err);

#endif
