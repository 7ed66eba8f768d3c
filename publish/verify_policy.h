/* What one verification knows, and its question to the policy. Private to this room. */
#ifndef PROP_PUBLISH_VERIFY_POLICY_H
#define PROP_PUBLISH_VERIFY_POLICY_H

#include "ocicrypt/recipient.h"
#include "publish/images.h"
#include "publish/verify.h"
#include "store/ledger.h"

struct prop_verify_state {
    const struct prop_verify *v;
    struct prop_src *src;
    struct prop_images images;
    const struct prop_images_one *of; /* the one that is looked at; NULL: all of them */
    struct prop_ledger *ledger;     /* NULL: there is none */
    struct prop_openers *openers;
    size_t n_keys;                  /* in it */
    json_t *kids;                   /* "r/t/n" of the image, each once */
    json_t *checks;
    size_t unknown;                 /* answers */
    struct prop_err first;          /* the first "no" */
};

/* An answer: "yes", "no", "unknown". */
void prop_verify_answer(struct prop_verify_state *s, const char *check, const char *answer,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A "no", and what verification fails with if it is the first. */
void prop_verify_no(struct prop_verify_state *s, const char *check, const struct prop_err *why);

/* Ask the policy, for each key of the image: the recorded guests, and made-up sample evidence. Fails
 * only where it cannot be asked. */
int prop_verify_policy(struct prop_verify_state *s, struct prop_err *err);

#endif
