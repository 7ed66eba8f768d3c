/* An index with the indexes inside it: which images are there, and where each is named. */
#ifndef PROP_OCI_INDEX_TREE_H
#define PROP_OCI_INDEX_TREE_H

#include "oci/image.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_INDEX_DEPTH 8 /* indexes inside each other */

struct prop_index_level {
    json_t *doc;               /* owned */
    char *type;                /* media type, owned */
    struct prop_buf bytes;     /* as read */
    struct prop_digest digest; /* sha256 */
    size_t parent;             /* the level it is named in; of level 0, itself */
    json_t *entry;             /* how it is named there, borrowed; NULL for level 0 */
    unsigned depth;
};

struct prop_index_leaf {
    json_t *entry; /* descriptor, borrowed from its level's document */
    size_t level;
    bool absent;   /* it is no image but an index that is not there, as in partial mirrors */
};

/* Levels and leaves in the order in which a reader meets them: a level stands behind the one it is in. */
struct prop_index_tree {
    struct prop_index_level *levels;
    size_t n_levels;
    struct prop_index_leaf *leaves;
    size_t n_leaves;
    uint64_t bytes; /* of all indexes */
};
#define PROP_INDEX_TREE_INIT { NULL, 0, NULL, 0, 0 }

/* Is it the media type of an index or a manifest list? */
bool prop_is_index(const char *media_type);
/* Read what an index (its bytes and type) holds. The images' own manifests are not read.
 * Fails: PROP_E_INPUT (id "empty-index"), PROP_E_LIMIT (id "nested-index" too deep, too many), as
 * prop_src_child. */
int prop_index_tree_read(struct prop_src *src, const struct prop_buf *index, const char *type,
                         struct prop_index_tree *ret, struct prop_err *err);
void prop_index_tree_release(struct prop_index_tree *t);
#define prop_auto_index_tree __attribute__((cleanup(prop_index_tree_release)))
/* The entry that says for which platform a leaf is: its own, else the nearest around it that does, else
 * its own all the same. */
json_t *prop_index_tree_place(const struct prop_index_tree *t, size_t leaf);

#endif
