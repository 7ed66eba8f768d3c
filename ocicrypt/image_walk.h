/* An image, or every image of an index and the indexes inside it, from one place to another: the manifests
 * are read and checked first, then each is worked on, then what changed is written, children before their
 * index. For encrypting, decrypting and rewrapping, which differ in what is done to one image. */
#ifndef PROP_OCICRYPT_IMAGE_WALK_H
#define PROP_OCICRYPT_IMAGE_WALK_H

#include "oci/image.h"
#include "oci/manifest.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One image on its way. */
struct prop_walk_image {
    struct prop_manifest m;    /* to be changed in place */
    char *type;                /* its media type, owned; a callback may put another here */
    struct prop_buf bytes;     /* as read */
    struct prop_digest digest; /* as read; the one written once the walk is over */
    uint64_t size;
    json_t *entry;             /* its descriptor in the index, borrowed; NULL for an image alone */
    json_t *place;             /* the entry that says its platform: `entry`, or an index's around it */
    bool chosen;
    bool changed;              /* `m` is to be written, not `bytes` */
};

enum prop_walk_others {
    PROP_WALK_LEAVE_OUT, /* images that were not chosen do not come along; one that was comes alone */
    PROP_WALK_COPY       /* they come along as they are */
};

struct prop_walk {
    struct prop_src *src;
    struct prop_dst *dst;
    const char *const *platforms; /* "os/arch[/variant]"; none = all */
    size_t n_platforms;
    enum prop_walk_others others;
    bool leave_blobs; /* those of images not chosen: nothing is kept anyway */
    json_t *left_out; /* array that gets the descriptors of images left out, or NULL; borrowed */
    /* Called for every chosen image before anything is moved; may be NULL. May change the manifest. */
    int (*check)(void *ctx, struct prop_walk_image *im, struct prop_err *err);
    /* Move the blobs and change the manifest. */
    int (*image)(void *ctx, struct prop_walk_image *im, struct prop_err *err);
    /* Its manifest was written; may be NULL. */
    int (*written)(void *ctx, const struct prop_walk_image *im, struct prop_err *err);
    void *ctx;
};

struct prop_walk_result {
    struct prop_digest before, manifest; /* of the whole: the index, or the image */
    uint64_t size;
    size_t images;                       /* chosen ones */
    bool index;                          /* what was written is one */
};
/* The name is not given. Fails: PROP_E_NOTFOUND (id "platform-not-found"), PROP_E_USAGE (id
 * "not-an-index" platforms of an image alone, "bad-platform"), PROP_E_LIMIT (id
 * "nested-index" too deep), what the callbacks fail with. */
int prop_image_walk(const struct prop_walk *w, struct prop_walk_result *ret, struct prop_err *err);

/* Every blob of an image as it is: config and layers. */
int prop_walk_copy_blobs(const struct prop_walk *w, const struct prop_walk_image *im,
                         struct prop_err *err);
/* "linux/arm64/v8" of an index entry; "" when it says none. Returns out. */
const char *prop_walk_platform(const json_t *entry, char out[128]);
/* Is an index entry's platform the one wanted? A variant that was not asked for may be any. */
bool prop_walk_fits(const json_t *entry, const char *wanted);
/* "os/arch[/variant]"? PROP_E_USAGE (id "bad-platform"). */
int prop_walk_check_platform(const char *text, struct prop_err *err);

#endif
