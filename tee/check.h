/* The cheap half of what a key broker's verifier checks, done by the guest before anything is sent: the
 * server only ever says 401 (attestation.md 4, 8.1).
 *
 * id                   fails with                          means
 * report-data          VERIFY                              the report is bound to what was asked
 * report-version       UNSUPPORTED snp-report-version      3 to 5; version 2 is too old for Trustee
 * vmpl                 UNSUPPORTED snp-vmpl                0
 * debug                DENIED      debug-guest             the host cannot read the guest's memory
 * signed               UNSUPPORTED snp-unsigned            somebody signed the report
 * processor            warning                             a generation that Trustee knows
 * certificates         warning                             VCEK or VLEK came along
 * layout               UNSUPPORTED snp-report-layout       the JSON makes the same bytes again
 * event-log            warning                             the log replays to the registers
 * init-data            VERIFY      init-data-mismatch      HOSTDATA or MRCONFIGID has its digest
 */
#ifndef PROP_TEE_CHECK_H
#define PROP_TEE_CHECK_H

#include "tee/fields.h"
#include "tee/initdata.h"
#include "util/err.h"
#include "util/json.h"

/* Check evidence taken apart against what was asked for. `json` is what would be sent; `log` says
 * whether the machine had an event log at all (it is left out of the JSON when it does not replay). */
int prop_tee_checks_run(const struct prop_tee_ask *ask, const struct prop_tee_fields *f,
                        const json_t *json, bool log, struct prop_tee_checks *ret,
                        struct prop_err *err);

/* [{"check","ok","fatal","detail"}...]; owned, NULL when memory is out. */
json_t *prop_tee_checks_json(const struct prop_tee_checks *c);
/* The first check that failed without being fatal, as text for a hint; NULL = none. Borrowed. */
const char *prop_tee_checks_warning(const struct prop_tee_checks *c);

#endif
