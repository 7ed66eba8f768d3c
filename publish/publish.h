/* The transaction: key, encrypt while uploading, push by digest, policy rule, key to the KBS, read
 * back and prove, tag last (design.md 3: the rule goes before the key). */
#ifndef PROP_PUBLISH_PUBLISH_H
#define PROP_PUBLISH_PUBLISH_H

#include "kbs/kbs.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

struct prop_publish {
    const struct prop_location *src, *dst;
    const struct prop_oci_options *oci;
    struct prop_kbs *kbs;
    const char *ledger;            /* file; NULL = the usual place */
    const char *kid;               /* kbs:///r/t/n or r/t/n; NULL = made from name and KEK */
    const char *kek_file;          /* NULL = generate, kept 0600 in the data folder */
    bool replace_key;
    const char *const *allow;      /* --allow rules */
    size_t n_allow;
    bool allow_any_guest, this_is_a_test;
    const char *policy_doc;        /* file, or NULL */
    bool replace_policy;
    const char *const *recipients; /* further -r recipients */
    size_t n_recipients;
    const char *title;
    bool dry_run;
    enum prop_tee tee;             /* evidence this machine may attest with to fetch the key back as
                                      a guest would; PROP_TEE_NONE = not asked for */
    const char *const *run_options;/* words behind the printed run command, e.g. "--ca-cert", F */
    size_t n_run_options;
    void (*step)(void *ctx, const char *text); /* one line per finished step; may be NULL */
    void (*warn)(void *ctx, const char *text);
    void *ctx;
};

/* ret: the result document {"reference","digest","pinned","kid","kek_file"?,"kek_fingerprint",
 * "layer","plaintext","size","unchanged","policy"?,"proof","insecure"?,"steps":[{"step","text"}...],
 * "run":"propcvm run ..."}; with dry_run the plan {"dry_run":true,"reference","kid","policy"?,
 * "insecure"?,"steps"}, and nothing was changed anywhere.
 *
 * On failure the tag is unmoved; what was done and cannot be taken back is named in the hint.
 * Fails, beside what the rooms below fail with:
 *   PROP_E_USAGE   "policy-unknown", "policy-loses-rule", "policy-differs" nobody here knows what the
 *                  upload would replace (replace_policy); "bad-allow", "sample-not-loopback"
 *   PROP_E_EXISTS  "kid-in-use" the name holds another KEK (replace_key); "tag-changed" somebody
 *                  else moved the name meanwhile
 *   PROP_E_NO      "policy-too-wide" the policy would let in who was not named; "policy-too-narrow"
 *                  or keep out who was
 *   PROP_E_VERIFY  "proof" what lies at the destination or in the KBS is not what was sent */
int prop_publish_run(const struct prop_publish *p, json_t **ret, struct prop_err *err);

#endif
