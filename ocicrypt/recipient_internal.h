/* Inside ocicrypt/ only: the list of recipients, and what a scheme has to offer. A scheme is a
 * table of functions in a file of its own; recipient.c knows none of them but by this. */
#ifndef PROP_OCICRYPT_RECIPIENT_INTERNAL_H
#define PROP_OCICRYPT_RECIPIENT_INTERNAL_H

#include "crypto/cert.h"
#include "crypto/pkey.h"
#include "ocicrypt/recipient.h"

struct prop_recipient;

struct prop_scheme {
    /* Append this recipient's block to `out`. */
    int (*wrap)(const struct prop_recipients *r, const struct prop_recipient *c,
                const struct prop_secret *privopts, struct prop_buf *out, struct prop_err *err);
    /* Can the recipient's block be opened here? */
    bool (*at_hand)(const struct prop_recipients *r, const struct prop_recipient *c);
    /* Open this block for the recipient; only where at_hand says so. PROP_E_VERIFY: another's. */
    int (*open)(const struct prop_recipients *r, const struct prop_recipient *c,
                const struct prop_buf *block, struct prop_secret **ret, struct prop_err *err);
    /* Is the block this recipient's by what it says of itself? NULL: nothing tells. */
    bool (*is_named)(const struct prop_recipient *c, const struct prop_buf *block);
};

/* One recipient; members that its scheme does not use are NULL. */
struct prop_recipient {
    const struct prop_scheme *scheme;
    char *annotation;             /* what stands behind "...enc.keys." */
    struct prop_pkey *key;        /* jwe: public, or private */
    char *jwk_kid, *alg;          /* jwe */
    struct prop_cert *cert;       /* pkcs7 */
    struct prop_secret *kek;      /* attestation-agent */
    struct prop_resource_id kid;
    bool ctr;
    char **params;                /* key provider of a configuration */
    size_t n_params;
};

struct prop_recipients {
    struct prop_recipient *items;
    size_t n;
    json_t *warnings;
    bool warned_schemes, allow_ctr, agent_is_external;
    struct prop_kek_supply supply;
    const struct prop_openers *openers;
    const struct prop_kp_config *config;
};

/* Add a recipient, whose `annotation` is set to a copy of the name given. Takes `c` over, also on
 * failure. PROP_E_LIMIT. */
int prop_recipients_append_new(struct prop_recipients *r, struct prop_recipient *c,
                               const char *annotation, struct prop_err *err);
/* A word to the user; one that does not fit in memory is not worth a failure. */
void prop_recipients_warn(struct prop_recipients *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* What `-r` takes behind its prefix; see prop_recipients_add. */
int prop_recipients_add_jwe(struct prop_recipients *r, const char *text, struct prop_err *err);
int prop_recipients_add_pkcs7(struct prop_recipients *r, const char *text, struct prop_err *err);
int prop_recipients_add_agent(struct prop_recipients *r, const char *text, struct prop_err *err);
int prop_recipients_add_external(struct prop_recipients *r, const char *text,
                                 struct prop_err *err);

#endif
