/* The words of a policy document: kinds of evidence and where the verifier puts what a rule may
 * ask for (attestation.md 4.2), and the names of the shipped attestation policy (4.4). Parser,
 * builder, comparison and published schema read these tables, so they cannot disagree. */
#ifndef PROP_POLICY_TEE_H
#define PROP_POLICY_TEE_H

#include <stdbool.h>
#include <stddef.h>

/* How the verifier writes the init-data a guest was started with (attestation.md 7.1, kbs.md 2.7). */
enum prop_policy_init_data {
    PROP_INIT_DATA_NONE,   /* not known for this evidence */
    PROP_INIT_DATA_HEX32,  /* hex of 32 bytes: longer digests are cut */
    PROP_INIT_DATA_HEX48,  /* hex of 48 bytes: shorter digests are followed by zeros */
    PROP_INIT_DATA_BASE64  /* the digest itself */
};

struct prop_policy_tee {
    const char *name;                 /* as in the evidence's claims */
    const char *const *measurement;   /* path of the launch measurement below `name`; NULL = none */
    const char *const *debug;         /* path of the claim that tells a debugged guest; NULL = none */
    const char *const *migration;     /* path of the claim that tells a guest that may be migrated */
    enum prop_policy_init_data init_data;
    bool sample;                      /* anybody can make it */
};
/* NULL for a name that is not known; the table ends with a NULL name. */
const struct prop_policy_tee *prop_policy_tee_find(const char *name);
const struct prop_policy_tee *prop_policy_tee_table(void);

/* A reference value of the shipped attestation policy, and what that policy says when it was met:
 * `claim` of the trust vector lies in least..most. */
struct prop_policy_reference {
    const char *tee, *name, *claim;
    int least, most;
};
/* The table ends with a NULL name. */
const struct prop_policy_reference *prop_policy_reference_table(void);
const struct prop_policy_reference *prop_policy_reference_find(const char *tee, const char *name);

/* Claims of the trust vector that a rule may name by themselves; firmware parts of `min_tcb`;
 * accepted values of `tcb_status`. Each list ends with NULL. */
extern const char *const prop_policy_vector_claims[];
extern const char *const prop_policy_tcb_parts[];
extern const char *const prop_policy_tcb_statuses[];
bool prop_policy_word_in(const char *const *list, const char *word);

enum { PROP_VECTOR_AFFIRMING_LEAST = 2, PROP_VECTOR_AFFIRMING_MOST = 31 }; /* kbs.md 4.2 */

#endif
