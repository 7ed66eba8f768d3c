/* Whoever pushed an index decides what is in it: depth, number and size are bounded here. */
#include "oci/index_tree.h"

#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

#define LEVELS_MAX 64
#define LEAVES_MAX 256
#define BYTES_MAX (64u << 20)

bool prop_is_index(const char *type)
{
    return strcmp(type, PROP_MT_OCI_INDEX) == 0 || strcmp(type, PROP_MT_DOCKER_LIST) == 0;
}

void prop_index_tree_release(struct prop_index_tree *t)
{
    for (size_t i = 0; i < t->n_levels; i++) {
        json_decref(t->levels[i].doc);
        prop_free(t->levels[i].type);
        prop_buf_release(&t->levels[i].bytes);
    }
    prop_free(t->levels);
    prop_free(t->leaves);
    memset(t, 0, sizeof(*t));
}

static int add_leaf(struct prop_index_tree *t, size_t level, json_t *entry, bool absent,
                    struct prop_err *err)
{
    struct prop_index_leaf *grown;

    if (t->n_leaves == LEAVES_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "the index has more than %d images", LEAVES_MAX);
    grown = prop_realloc_array(t->leaves, t->n_leaves + 1, sizeof(*grown));
    if (grown == NULL)
        return prop_err_nomem(err);
    t->leaves = grown;
    t->leaves[t->n_leaves++] = (struct prop_index_leaf){ entry, level, absent };
    return 0;
}

/* Takes `type` and what is in `bytes`. */
static int add_level(struct prop_index_tree *t, size_t parent, json_t *entry, char *type,
                     struct prop_buf *bytes, struct prop_err *err)
{
    struct prop_index_level *l,
        *grown = prop_realloc_array(t->levels, t->n_levels + 1, sizeof(*grown));
    int rc;

    if (grown == NULL) {
        prop_free(type);
        return prop_err_nomem(err);
    }
    t->levels = grown;
    l = &t->levels[t->n_levels++];
    *l = (struct prop_index_level){ NULL, type, *bytes, { 0 }, parent, entry, 0 };
    *bytes = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    l->depth = entry != NULL ? t->levels[parent].depth + 1 : 0;
    rc = prop_json_parse(prop_buf_str(&l->bytes), l->bytes.len, "the index", &l->doc, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, l->bytes.data, l->bytes.len, &l->digest, err);
    if (rc < 0)
        return rc;
    if (!json_is_array(json_object_get(l->doc, "manifests")))
        return prop_err_set_id(err, PROP_E_INPUT, "empty-index", "the index names no image");
    if (l->depth >= PROP_INDEX_DEPTH || t->n_levels > LEVELS_MAX)
        return prop_err_set_id(err, PROP_E_LIMIT, "nested-index",
                               "indexes stand inside each other more than %d deep, or are more "
                               "than %d", PROP_INDEX_DEPTH, LEVELS_MAX);
    return 0;
}

static int read_entries(struct prop_src *src, struct prop_index_tree *t, size_t level,
                        struct prop_err *err);

static int read_nested(struct prop_src *src, struct prop_index_tree *t, size_t level,
                       json_t *entry, const struct prop_descriptor *d, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_err failure = PROP_ERR_INIT;
    char *type = NULL;
    int rc;

    t->bytes += d->size < BYTES_MAX ? d->size : BYTES_MAX;
    if (t->bytes > BYTES_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "the indexes are over %u bytes", BYTES_MAX);
    rc = prop_src_child(src, d, &bytes, &type, &failure);
    if (rc == PROP_E_NOTFOUND)
        return add_leaf(t, level, entry, true, err);
    if (rc < 0) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    if (!prop_is_index(type)) {
        prop_free(type);
        return prop_err_set_id(err, PROP_E_INPUT, "media-type-mismatch",
                               "an entry says that it is an index, and it is none");
    }
    rc = add_level(t, level, entry, type, &bytes, err);
    return rc == 0 ? read_entries(src, t, t->n_levels - 1, err) : rc;
}

/* Goes down at most PROP_INDEX_DEPTH times: add_level sees to it. */
static int read_entries(struct prop_src *src, struct prop_index_tree *t, size_t level,
                        struct prop_err *err)
{
    json_t *entries = json_object_get(t->levels[level].doc, "manifests"), *entry;
    struct prop_descriptor d;
    size_t i;

    json_array_foreach(entries, i, entry) {
        int rc = prop_descriptor_read(entry, "an entry of the index", &d, err);

        if (rc == 0)
            rc = prop_is_index(d.media_type) ? read_nested(src, t, level, entry, &d, err)
                                             : add_leaf(t, level, entry, false, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int prop_index_tree_read(struct prop_src *src, const struct prop_buf *index, const char *type,
                         struct prop_index_tree *ret, struct prop_err *err)
{
    prop_auto_index_tree struct prop_index_tree t = PROP_INDEX_TREE_INIT;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    char *copy = prop_strdup(type);
    int rc = copy == NULL ? prop_err_nomem(err)
                          : prop_buf_add(&bytes, index->data, index->len, err);

    if (rc < 0) {
        prop_free(copy);
        return rc;
    }
    rc = add_level(&t, 0, NULL, copy, &bytes, err);
    if (rc == 0)
        rc = read_entries(src, &t, 0, err);
    if (rc < 0)
        return rc;
    if (t.n_leaves == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "empty-index", "the index names no image");
    *ret = t;
    t = (struct prop_index_tree)PROP_INDEX_TREE_INIT;
    return 0;
}

json_t *prop_index_tree_place(const struct prop_index_tree *t, size_t leaf)
{
    json_t *entry = t->leaves[leaf].entry;
    size_t level = t->leaves[leaf].level;

    while (json_object_get(entry, "platform") == NULL && t->levels[level].entry != NULL) {
        entry = t->levels[level].entry;
        level = t->levels[level].parent;
    }
    return json_object_get(entry, "platform") != NULL ? entry : t->leaves[leaf].entry;
}
