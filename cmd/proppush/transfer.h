/* What push, copy and pull share. */
#ifndef PROP_CMD_PROPPUSH_TRANSFER_H
#define PROP_CMD_PROPPUSH_TRANSFER_H

#include "cmd/proppush/names.h"
#include "cmd/proppush/verbs.h"
#include "crypto/digest.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stdint.h>

/* Where something goes. With a dry run `sink` takes what is written and `dst` is only asked. */
struct proppush_ends {
    struct proppush_names names;
    struct prop_dst *dst, *sink;
};
#define PROPPUSH_ENDS_INIT { PROPPUSH_NAMES_INIT, NULL, NULL }
int proppush_ends_open(struct proppush_ends *e, const char *dst, const struct prop_oci_options *oci,
                       bool dry_run, struct prop_err *err);
void proppush_ends_release(struct proppush_ends *e);
#define auto_proppush_ends __attribute__((cleanup(proppush_ends_release)))

/* What was moved. */
struct proppush_moved {
    struct prop_digest digest;
    bool index;
    json_t *images;   /* {"digest","platform"?} of each */
    json_t *left_out; /* descriptors of those that were not chosen */
    bool counted;     /* a dry run knows what would be new */
    uint64_t new_blobs, new_bytes;
};
int proppush_moved_init(struct proppush_moved *m, struct prop_err *err);
void proppush_moved_release(struct proppush_moved *m);
#define auto_proppush_moved __attribute__((cleanup(proppush_moved_release)))

/* A manifest was put: see to it that it is found by its subject (oci/referrers.h). */
int proppush_announce(const struct proppush_ends *ends, const struct prop_oci_options *oci,
                      const struct prop_buf *manifest, const char *media_type, char **ret_tag,
                      struct prop_err *err);
/* Give the further names, the first one being given. `ends->dst` is closed. */
int proppush_give_names(struct proppush_ends *e, const struct prop_oci_options *oci,
                        const struct prop_digest *digest, struct prop_err *err);
/* The result as every verb gives it: "source", "reference", "digest", "pinned" for registries,
 * "tags" when there are several, "images" of an index and "left_out", and what a dry run found.
 * Owned. */
int proppush_describe(struct proppush_ends *e, const char *source,
                      const struct proppush_moved *moved, json_t **ret, struct prop_err *err);

#endif
