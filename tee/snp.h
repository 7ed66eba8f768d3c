/* AMD SEV-SNP attestation reports as Trustee wants them: field by field, in JSON (kbs.md 2.5,
 * attestation.md 3.3). */
#ifndef PROP_TEE_SNP_H
#define PROP_TEE_SNP_H

#include "util/err.h"
#include "util/json.h"

#include <stddef.h>
#include <stdint.h>

#define PROP_SNP_REPORT 1184
#define PROP_SNP_CERTS_MAX (16u << 10)

/* Re-express one raw report, versions 2 to 5. The server rebuilds the signed bytes from this, so a
 * report with anything in bytes we do not know is refused here.
 * Fails: PROP_E_INPUT wrong length; PROP_E_UNSUPPORTED (id "snp-report-layout") another version or
 * unknown bytes. */
int prop_snp_report_json(const uint8_t *report, size_t len, json_t **ret, struct prop_err *err);

/* The raw report again, as the server rebuilds it.
 * Fails: PROP_E_INPUT (id "bad-evidence") naming the member that is not what it must be. */
int prop_snp_report_raw(const json_t *json, uint8_t ret[PROP_SNP_REPORT], struct prop_err *err);

/* The kernel's certificate table as the "cert_chain" array; JSON null when it holds no
 * VCEK or VLEK (the server then fetches the VCEK itself). Every offset is checked.
 * Fails: PROP_E_INPUT (id "snp-cert-table"). */
int prop_snp_cert_chain(const uint8_t *table, size_t len, json_t **ret, struct prop_err *err);

/* {"attestation_report":{...},"cert_chain":...}. Whether the report is one to be sent is
 * tee/check.h's matter. Fails: as above. */
int prop_snp_evidence(const uint8_t *report, size_t len, const uint8_t *table, size_t table_len,
                      json_t **ret, struct prop_err *err);

/* Bytes as the array of numbers that Trustee's types are; NULL when memory is out. Owned. */
json_t *prop_json_numbers(const uint8_t *data, size_t len);

#endif
