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
    const char *ledger, *journal;  /* files; NULL = the usual places */
    int64_t run;                   /* an open run of the journal to go on with; 0 = a new one */
    const json_t *options;         /* what the caller wants to find in the journal's plan, or NULL */
    const char *kid;               /* kbs:///r/t/n or r/t/n; NULL = made from name and KEK */
    const char *kek_file;          /* NULL = generate, kept 0600 in the data folder */
    bool replace_key;
    const char *const *allow;      /* --allow rules */
    size_t n_allow;
    const char *const *measured;   /* files of `propcvm vm measure --json`: each tee in them gets a
                                      rule with those values, or its rule of `allow` gets them */
    size_t n_measured;
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
 * "layer","plaintext","size","unchanged","resumed","policy"?,"proof","insecure"?,
 * "images"?:[{"digest","platform"?,"pinned"?,"layers"}...] (of an index),
 * "steps":[{"step","text","ms"}...],"ms","run"?:"propcvm run ..."}; "run" names one image by its
 * digest, of an index the first that holds a module; with dry_run the plan
 * {"dry_run":true,"reference","kid","policy"?,"insecure"?,"steps"}, and nothing was changed
 * anywhere.
 *
 * Each step is noted in the journal before and after it is done. Killed at any point, the run is
 * finished by a call with `run`, or taken back by prop_publish_abort; until then another publish to
 * this destination is refused. On failure the tag is unmoved and the run is taken back as
 * prop_publish_abort does; what cannot be is named in the hint, and where a server could not be
 * reached for that the run stays open. A run that was gone on with stays open when it fails.
 * Fails, beside what the rooms below fail with:
 *   PROP_E_INPUT   "bad-measurement", "not-measured" a file of `measured`
 *   PROP_E_USAGE   "policy-unknown", "policy-loses-rule", "policy-differs" nobody here knows what the
 *                  upload would replace (replace_policy); "bad-allow", "sample-not-loopback";
 *                  "unfinished-run" a publish there was killed; (run) "source-is-pipe"
 *   PROP_E_EXISTS  "policy-changed" somebody else's policy came in between (where the server tells);
 *                  "kid-in-use" the name holds another KEK (replace_key); "tag-changed" somebody
 *                  else moved the name meanwhile; "publish-running"; (run) "source-changed"
 *   PROP_E_NO      "policy-too-wide" the policy would let in who was not named; "policy-too-narrow"
 *                  or keep out who was
 *   PROP_E_VERIFY  "proof" what lies at the destination or in the KBS is not what was sent */
int prop_publish_run(const struct prop_publish *p, json_t **ret, struct prop_err *err);

/* Take back what the open run p->run did (src, dst, oci, kbs, ledger and the callbacks of p are
 * used): the key is deleted if the run created it and no other image needs it, a key it overwrote is
 * given again where its KEK is kept here; the policy is restored if this machine's last upload is
 * still the run's, its document too; the manifest is deleted where the registry allows that.
 * ret: {"run","reference","taken_back":[text...],"left":[text...]}.
 * Fails: PROP_E_USAGE (id "run-complete") the tag names the run's image already; what a server that
 * cannot be reached fails with: the run stays open then. */
int prop_publish_abort(const struct prop_publish *p, json_t **ret, struct prop_err *err);
/* End the record of the open run p->run (dst of p is used) and take nothing back. ret as above. */
int prop_publish_forget(const struct prop_publish *p, json_t **ret, struct prop_err *err);

/* The open runs, as prop_journal_runs gives them; and one of them: by number, by destination as
 * typed, or (which NULL) the only one. `journal`: file, NULL = the usual place. Owned. */
int prop_publish_runs(const char *journal, json_t **ret, struct prop_err *err);
int prop_publish_find_run(const char *journal, const char *which, json_t **ret,
                          struct prop_err *err);

#endif
