/* Which image of an index: the one asked for, or the only one; never one that was guessed. */
#include "cmd/proppush/choose.h"

#include "oci/index_tree.h"
#include "ocicrypt/image_walk.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

/* The hint: what there is to choose from. */
static void list_platforms(const struct prop_index_tree *t, struct prop_buf *out)
{
    char text[128];

    for (size_t i = 0; i < t->n_leaves; i++)
        if (*prop_walk_platform(prop_index_tree_place(t, i), text))
            (void)prop_buf_printf(out, NULL, "%s%s", out->len > 0 ? ", " : "", text);
}

static int not_chosen(const struct prop_index_tree *t, const char *platform, struct prop_err *err)
{
    prop_auto_buf struct prop_buf there = PROP_BUF_INIT(300);
    int rc;

    list_platforms(t, &there);
    if (platform != NULL)
        rc = prop_err_set_id(err, PROP_E_NOTFOUND, "platform-not-found",
                             "the index holds no single image for '%s'", platform);
    else
        rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "index",
                             "it is an index of %zu images, not one image", t->n_leaves);
    (void)prop_err_hint(err, "--platform one of: %s",
                        there.len > 0 ? prop_buf_str(&there)
                                      : "(it names none; use NAME@sha256:...)");
    return rc;
}

/* BuildKit's statements about an image are no image to choose. */
static bool counts(const json_t *place, const char *platform)
{
    char text[128];

    if (platform != NULL)
        return prop_walk_fits(place, platform);
    return strncmp(prop_walk_platform(place, text), "unknown/", 8) != 0;
}

/* The same image named twice is one. */
static int pick(const struct prop_index_tree *t, const char *platform, struct prop_descriptor *ret,
                struct prop_err *err)
{
    struct prop_descriptor d, found = { .media_type = NULL };
    size_t n = 0;

    for (size_t i = 0; i < t->n_leaves; i++) {
        int rc;

        if (!counts(prop_index_tree_place(t, i), platform))
            continue;
        rc = prop_descriptor_read(t->leaves[i].entry, "an entry of the index", &d, err);
        if (rc < 0)
            return rc;
        if (n > 0 && prop_digest_equal(&d.digest, &found.digest))
            continue;
        found = d;
        n++;
    }
    if (n != 1)
        return not_chosen(t, platform, err);
    *ret = found;
    return 0;
}

int proppush_one_image(struct prop_src *src, const char *platform, struct prop_buf *bytes,
                       char **ret_type, struct prop_digest *ret_digest, struct prop_err *err)
{
    prop_auto_index_tree struct prop_index_tree tree = PROP_INDEX_TREE_INIT;
    prop_auto_free char *type = NULL;
    struct prop_descriptor d;
    int rc = platform != NULL ? prop_walk_check_platform(platform, err) : 0;

    if (rc == 0)
        rc = prop_src_manifest(src, bytes, &type, ret_digest, err);
    if (rc < 0)
        return rc;
    if (!prop_is_index(type)) {
        if (platform != NULL)
            return prop_err_set_id(err, PROP_E_USAGE, "not-an-index",
                                   "it is one image: there are no platforms to choose from");
        *ret_type = PROP_TAKE(type);
        return 0;
    }
    rc = prop_index_tree_read(src, bytes, type, &tree, err);
    if (rc == 0)
        rc = pick(&tree, platform, &d, err);
    if (rc < 0)
        return rc;
    prop_buf_clear(bytes);
    rc = prop_src_child(src, &d, bytes, ret_type, err);
    if (rc == 0)
        *ret_digest = d.digest;
    return rc;
}
