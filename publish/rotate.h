/* Another KEK for a key's images. A new name in the KBS gets the new KEK; every image that the old
 * one opens is given the new one as a further recipient, by its manifest alone; the old key stays
 * until it is retired, so that nothing that runs today stops.
 *
 * In this order, so that a run that ends anywhere loses nothing and the next one goes on: KEK on
 * disk; noted in the ledger; policy with the rules copied for the new name; key to the KBS; the new
 * manifests by digest, read back and opened with the new KEK; tags, last.
 */
#ifndef PROP_PUBLISH_ROTATE_H
#define PROP_PUBLISH_ROTATE_H

#include "kbs/kbs.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_rotate {
    struct prop_kbs *kbs;
    const struct prop_oci_options *oci;
    const char *ledger;            /* file; NULL = the usual place */
    const char *path;              /* the old key: "r/t/n" or kbs:///r/t/n */
    const char *to; /* its successor's name; NULL = the old one with the fingerprint */
    const char *kek_file;          /* the old KEK (retire: the new one) when it is not kept here */
    const char *const *images;     /* NULL = those the ledger knows; retire: these and those */
    size_t n_images;
    const char *policy_doc;        /* document in which rules are copied; NULL = the ledger's */
    bool policy_as_is; /* the policy on the server covers the new name: leave it alone */
    bool retire;                   /* take the old key out of the images and the KBS */
    bool dry_run;
    enum prop_tee tee; /* evidence to fetch the new key back with; PROP_TEE_NONE = not */
    void (*step)(void *ctx, const char *text);
    void (*warn)(void *ctx, const char *text);
    void *ctx;
};

/* ret: {"path","to","kid","fingerprint","kek_file"?,"policy":"copied"|"covers"|"as-is","images":
 * [{"image","digest","changed"}],"skipped":[...],"resumed","steps":[{"step","text"}...]}, with
 * retire {"path","to"?,"deleted","images","skipped","steps"}; with dry_run also "dry_run":true, and
 * nothing was changed.
 *
 * Fails, beside what the rooms below fail with:
 *   PROP_E_USAGE     "policy-unknown" nobody here knows whom the new name would let in; "no-image"
 *                    none is named and none known; "same-name"
 *   PROP_E_NOTFOUND  "kek-not-kept" the old KEK is not on this machine; "no-rotation" (retire)
 *   PROP_E_EXISTS    "kid-in-use" the new name holds another key; "tag-changed" somebody else moved
 *                    a tag meanwhile
 *   PROP_E_VERIFY    "proof" a manifest that was put does not open with the new KEK; "not-rotated"
 *                    (retire) an image that only the old key opens */
int prop_rotate_run(const struct prop_rotate *p, json_t **ret, struct prop_err *err);

#endif
