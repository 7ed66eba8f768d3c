/* What one rotation knows: shared by its steps, private to this room. */
#ifndef PROP_PUBLISH_ROTATE_STATE_H
#define PROP_PUBLISH_ROTATE_STATE_H

#include "ocicrypt/rewrap.h"
#include "publish/rotate.h"
#include "publish/state.h"

/* One image that is given another recipient. */
struct prop_rotate_image {
    char *text;                    /* as the ledger names it */
    struct prop_location loc;
    struct prop_src *src;
    struct prop_dst *dst;
    struct prop_rewrap_result done;
    bool known_only;               /* nobody named it: it may be gone meanwhile */
    bool skipped;
};

struct prop_rotate_state {
    const struct prop_rotate *p;
    struct prop_publish publish;   /* what the policy step is told */
    struct prop_publish_state s;   /* ledger, new KEK and its name, policy, steps */
    struct prop_resource_id old;
    char *old_path, *old_uri;
    struct prop_secret *old_kek;
    bool resumed;                  /* an earlier run chose name and KEK */
    const char *policy;            /* "copied", "covers", "as-is" */
    struct prop_rotate_image *images;
    size_t n_images;
};

/* Which rules the new name needs, and whether the policy can be changed to have them. */
int prop_rotate_policy_plan(struct prop_rotate_state *r, struct prop_err *err);
/* Under the ledger's lock: upload it where rules were copied. */
int prop_rotate_policy_send(struct prop_rotate_state *r, struct prop_err *err);

/* Open the images that were named, or that the ledger knows. */
int prop_rotate_images_open(struct prop_rotate_state *r, struct prop_err *err);
/* Would each of them work? Nothing is written; images that only the ledger knows and that are gone,
 * or another key's, are left out. */
int prop_rotate_images_check(struct prop_rotate_state *r, struct prop_err *err);
/* Note that the old key opens those that were named: a run that ends before its end, and --retire
 * after it, must not forget them. */
int prop_rotate_images_remember(struct prop_rotate_state *r, struct prop_err *err);
/* Put the new manifests by digest, read back, open with the new KEK. */
int prop_rotate_images_rewrap(struct prop_rotate_state *r, struct prop_err *err);
/* Move the tags, and note it. */
int prop_rotate_images_tag(struct prop_rotate_state *r, struct prop_err *err);
/* The images for the result. */
int prop_rotate_images_told(const struct prop_rotate_state *r, json_t *doc, struct prop_err *err);
void prop_rotate_images_release(struct prop_rotate_state *r);

#endif
