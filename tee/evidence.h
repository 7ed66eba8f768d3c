/* What machine this is, and evidence from it (attestation.md 1-3, kbs.md 2.5). */
#ifndef PROP_TEE_EVIDENCE_H
#define PROP_TEE_EVIDENCE_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_REPORT_DATA 48 /* bytes of the SHA-384 that evidence is bound to */

enum prop_tee { PROP_TEE_NONE, PROP_TEE_SAMPLE, PROP_TEE_SNP, PROP_TEE_TDX };

/* "sample", "snp", "tdx", "none": the names on the wire (kbs.md 2.1). */
const char *prop_tee_name(enum prop_tee tee);
/* "auto", "sample", "snp", "tdx" as the user says it. `auto` looks at the machine and never gives
 * sample. Fails: PROP_E_USAGE unknown word; PROP_E_UNSUPPORTED (id "no-tee") auto found nothing, or
 * the named one is not here; (id "tee-not-ready") there is one, but no way to its reports; (id
 * "tee-unsupported") one that key brokers do not take this evidence of. The hint says what to do. */
int prop_tee_choose(const char *wish, enum prop_tee *ret, struct prop_err *err);

/* One finding of the guest about its own evidence (attestation.md 8.1). */
struct prop_tee_check {
    const char *id;      /* "report-data", "vmpl", ...: tee/check.h has the list; static */
    bool ok;
    bool fatal;          /* the key broker would refuse it, or we must not send it */
    enum prop_code code; /* of a fatal one */
    char detail[160];
};
#define PROP_TEE_CHECKS_MAX 12
struct prop_tee_checks {
    struct prop_tee_check items[PROP_TEE_CHECKS_MAX];
    size_t n;
};

struct prop_initdata;

/* What evidence is asked for. */
struct prop_tee_ask {
    enum prop_tee tee;
    uint8_t report_data[PROP_REPORT_DATA];   /* padded with zeros to 64 for hardware */
    bool allow_debug;                        /* a guest whose memory the host may read */
    const struct prop_initdata *init_data;   /* the launch must have bound it; NULL = none */
};

struct prop_tee_fields;

struct prop_tee_answer {
    json_t *json;                    /* the value of "primary_evidence"; owned */
    struct prop_tee_fields *fields;  /* what it says; NULL for sample; owned */
    struct prop_tee_checks checks;   /* none for sample */
};
#define PROP_TEE_ANSWER_INIT { NULL, NULL, { .n = 0 } }
void prop_tee_answer_release(struct prop_tee_answer *a);
#define prop_auto_tee_answer __attribute__((cleanup(prop_tee_answer_release)))

/* Ask this machine. Also evidence whose checks fail is given back: see prop_tee_checks_verdict.
 * Fails: PROP_E_UNSUPPORTED (id "no-tsm", "no-tee", "snp-report-layout"), PROP_E_IO (id
 * "tsm-refused", "sev-guest-refused", ...: the host or its firmware did not answer), PROP_E_INPUT
 * what it gave is no report, quote or table. */
int prop_tee_evidence(const struct prop_tee_ask *ask, struct prop_tee_answer *ret,
                      struct prop_err *err);

/* 0, or the first fatal check that failed as an error with its own id. */
int prop_tee_checks_verdict(const struct prop_tee_checks *checks, struct prop_err *err);

/* Does the launch of this machine bind that init-data document? Asks before anything in the document is
 * believed (attestation.md 7.1): SNP by a fresh report; TDX by the processor's own TD report, never by a
 * quote, which the host could make up. Sample evidence cannot tell: 0.
 * Fails: as prop_tee_evidence; PROP_E_UNSUPPORTED (id "no-tdx-guest"); PROP_E_VERIFY (id
 * "init-data-mismatch"). */
int prop_tee_check_init_data(enum prop_tee tee, const struct prop_initdata *init_data,
                             struct prop_err *err);

#endif
