/* What an SNP report or a TDX quote says, as numbers and bytes: for checks, summaries and comparisons
 * (attestation.md 3.3, 3.4). Nothing here is verified against a signature: that is the key broker's
 * work. Byte fields are in the order in which they stand; numbers are as the machine means them. */
#ifndef PROP_TEE_FIELDS_H
#define PROP_TEE_FIELDS_H

#include "tee/eventlog.h"
#include "tee/evidence.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Security versions of the firmware's parts. */
struct prop_snp_tcb {
    int fmc; /* -1: machines before Turin have none */
    uint8_t bootloader, tee, snp, microcode;
};

struct prop_snp_fields {
    uint32_t version, guest_svn, vmpl, sig_algo, key_info;
    uint64_t policy, plat_info;
    uint8_t family_id[16], image_id[16];
    uint8_t report_data[64];
    uint8_t measurement[48];      /* the launch digest */
    uint8_t host_data[32];
    uint8_t id_key_digest[48], author_key_digest[48];
    uint8_t report_id[32], chip_id[64];
    struct prop_snp_tcb current_tcb, reported_tcb, committed_tcb, launch_tcb;
    int cpuid_family, cpuid_model, cpuid_stepping; /* -1: reports of version 2 do not say */
};

/* Bits of the guest policy and of plat_info (SEV-SNP firmware ABI, tables 9 and 24). */
enum prop_snp_policy_bit { PROP_SNP_POLICY_SMT = 16, PROP_SNP_POLICY_MIGRATE_MA = 18,
                           PROP_SNP_POLICY_DEBUG = 19, PROP_SNP_POLICY_SINGLE_SOCKET = 20 };

struct prop_tdx_fields {
    unsigned version;             /* of the quote: 4 or 5; 0 for a bare TD report */
    uint8_t tee_tcb_svn[16], mr_seam[48], mrsigner_seam[48], seam_attributes[8], xfam[8];
    uint64_t td_attributes;       /* bit 0: debug */
    uint8_t mr_td[48], mr_config_id[48], mr_owner[48], mr_owner_config[48];
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    uint8_t report_data[64];
};

/* The fields of one raw report (versions 2 to 5) or quote (versions 4 and 5).
 * Fails: PROP_E_INPUT wrong length, (id "tdx-quote") no such quote; PROP_E_UNSUPPORTED (id
 * "snp-report-layout") another version of the report. */
int prop_snp_fields_read(const uint8_t *report, size_t len, struct prop_snp_fields *ret,
                         struct prop_err *err);
int prop_tdx_fields_read(const uint8_t *quote, size_t len, struct prop_tdx_fields *ret,
                         struct prop_err *err);

/* Everything that one piece of evidence tells. */
struct prop_tee_fields {
    enum prop_tee tee;             /* PROP_TEE_SNP or PROP_TEE_TDX: which of the two below holds */
    struct prop_snp_fields snp;
    struct prop_tdx_fields tdx;
    struct prop_buf raw;           /* the report or the quote */
    struct prop_buf log;           /* TDX: the event log without its end mark; empty = none sent */
    struct prop_event *events;     /* of that log, in order; data points into `log` */
    size_t n_events;
};
#define PROP_TEE_FIELDS_INIT                                                                       \
    { .tee = PROP_TEE_NONE, .raw = PROP_BUF_INIT(PROP_EVENTLOG_MAX),                               \
      .log = PROP_BUF_INIT(PROP_EVENTLOG_MAX) }
void prop_tee_fields_release(struct prop_tee_fields *f);
#define prop_auto_tee_fields __attribute__((cleanup(prop_tee_fields_release)))

/* Take evidence apart, in any form it is kept in: a raw report or quote; the JSON that goes to a key
 * broker as "primary_evidence"; a document that has it as "evidence" (`propcvm evidence --json`) or
 * below "tee-evidence" (a recorded POST /attest). `what` names it in errors.
 * Fails: PROP_E_INPUT (id "bad-evidence", "event-log", or as the calls above); PROP_E_UNSUPPORTED (id
 * "sample-evidence") it is sample evidence, which says nothing. */
int prop_tee_fields_parse(const void *data, size_t len, const char *what,
                          struct prop_tee_fields *ret, struct prop_err *err);

/* The fields as a flat object for people and --json: byte fields as hex, flags as booleans. Owned. */
json_t *prop_tee_fields_json(const struct prop_tee_fields *f);

#endif
