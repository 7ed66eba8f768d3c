/* Is what stands under a reference fit to be released: encrypted, its key where guests look for it,
 * and a policy that lets in who was recorded and nobody else? Nothing is changed anywhere. */
#ifndef PROP_PUBLISH_VERIFY_H
#define PROP_PUBLISH_VERIFY_H

#include "kbs/kbs.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_verify {
    const struct prop_location *ref;
    const struct prop_digest *digest;  /* what it must stand for; NULL = not said */
    const struct prop_oci_options *oci;
    struct prop_kbs *kbs;              /* NULL = nothing is asked of a key broker */
    enum prop_tee tee;                 /* evidence to fetch keys with; PROP_TEE_NONE = none */
    const char *ledger;                /* file; NULL = the usual place */
    const char *const *keks;           /* KEK files */
    size_t n_keks;
    const char *const *keys;           /* further keys, as prop_openers_add takes them */
    size_t n_keys;
    const char *const *layers;         /* numbers from 1, or media types without "+encrypted"; none =
                                          every layer has to be encrypted */
    size_t n_layers;
    const char *policy;                /* Rego or a policy document; NULL = what the ledger uploaded */
    const char *const *tokens;         /* files: EAR tokens of guests that must be let in */
    size_t n_tokens;
    const char *const *denied;         /* and of guests that must not */
    size_t n_denied;
    bool sample_is_fine;               /* the policy may let sample evidence in */
    bool strict;                       /* what is not known is not good enough */
    void (*tell)(void *ctx, const char *check, const char *answer, const char *text);
    void *ctx;
};

/* Of an index every image in it is checked, and of the indexes within it.
 * ret: {"reference","digest","pinned"?,"images","layers","kids":[...],"checks":[{"check":"encrypted"|
 * "key"|"opens"|"policy","answer":"yes"|"unknown","text","image"? (its digest, where the answer is
 * that of one image of an index)}],"ok":true}. Each check is told as it is made.
 * The first "no" fails, all checks having been made:
 *   PROP_E_NO        "not-encrypted" a layer that must be; "no-kid" no key broker's key opens a layer;
 *                    "policy-too-narrow" a guest is kept out; "policy-too-wide" one that must not be
 *                    is let in, or sample evidence; "not-known" (strict)
 *   PROP_E_VERIFY    the image is damaged, or does not open with its key ("kek-wrong",
 *                    "hmac-mismatch", ...); "proof" the KBS has another key than this machine
 *   PROP_E_NOTFOUND  the image is not there; "key-missing" the KBS has no such key
 *   PROP_E_USAGE     "policy-unknown" tokens to ask with, and no policy
 * and what registry and KBS fail with. */
int prop_verify_run(const struct prop_verify *v, json_t **ret, struct prop_err *err);

#endif
