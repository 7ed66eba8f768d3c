/* Images and indexes on their way. Nothing is written before every manifest was read and checked;
 * an index is written last, its entries in their order with platform and annotations kept. */
#include "ocicrypt/image_walk.h"

#include "oci/index_tree.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

#define MANIFESTS_BYTES_MAX (64u << 20)
/* BuildKit's statements about an image name it so. */
#define DOCKER_REFERENCE "vnd.docker.reference.digest"

enum level_state { LEVEL_SAME, LEVEL_CHANGED, LEVEL_EMPTY };

struct walk {
    const struct prop_walk *w;
    struct prop_walk_image *images;
    size_t n;
    bool index; /* else an image alone */
    struct prop_index_tree tree; /* its leaves are the images */
    enum level_state *levels;
    uint64_t read;
};

static void release(struct walk *k)
{
    for (size_t i = 0; i < k->n; i++) {
        prop_manifest_release(&k->images[i].m);
        prop_free(k->images[i].type);
        prop_buf_release(&k->images[i].bytes);
    }
    prop_free(k->images);
    prop_free(k->levels);
    prop_index_tree_release(&k->tree);
}
#define auto_walk __attribute__((cleanup(release)))

static const char *member(const json_t *entry, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(entry, "platform"), name));
    return text ? text : "";
}

const char *prop_walk_platform(const json_t *entry, char out[128])
{
    const char *os = member(entry, "os"), *variant = member(entry, "variant");
    out[0] = 0;
    if (*os)
        (void)snprintf(out, 128, "%.40s/%.40s%s%.40s", os, member(entry, "architecture"),
                       *variant ? "/" : "", variant);
    return out;
}

bool prop_walk_fits(const json_t *entry, const char *wanted)
{
    char have[128];
    size_t len = strlen(wanted);
    (void)prop_walk_platform(entry, have);
    if (strncmp(have, wanted, len) != 0)
        return false;
    return have[len] == 0 || (have[len] == '/' && strchr(wanted, '/') == strrchr(wanted, '/'));
}

int prop_walk_check_platform(const char *text, struct prop_err *err)
{
    const char *slash = strchr(text, '/');
    const char *second = slash ? strchr(slash + 1, '/') : NULL;
    bool good = slash && slash != text && slash[1] && slash[1] != '/' &&
                (!second || (second[1] && !strchr(second + 1, '/')));
    if (good)
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-platform", "'%s' is no platform", text);
    return prop_err_hint(err, "os/arch or os/arch/variant, for example linux/arm64/v8");
}

static int no_platform(const struct walk *k, const char *wanted, struct prop_err *err)
{
    prop_auto_buf struct prop_buf there = PROP_BUF_INIT(300);
    char text[128];
    for (size_t i = 0; i < k->n; i++) {
        const char *p = prop_walk_platform(k->images[i].place, text);
        if (*p)
            (void)prop_buf_printf(&there, NULL, "%s%s", there.len ? ", " : "", p);
    }
    (void)prop_err_set_id(err, PROP_E_NOTFOUND, "platform-not-found",
                          "the index holds no image for '%s'", wanted);
    return prop_err_hint(err, "it holds: %s", there.len ? prop_buf_str(&there) : "none with a platform");
}

static int choose(struct walk *k, struct prop_err *err)
{
    for (size_t i = 0; i < k->n; i++)
        k->images[i].chosen = k->w->n_platforms == 0;
    for (size_t p = 0; p < k->w->n_platforms; p++) {
        bool found = false;
        int rc = prop_walk_check_platform(k->w->platforms[p], err);
        if (rc != 0)
            return rc;
        if (!k->index)
            return prop_err_set_id(err, PROP_E_USAGE, "not-an-index",
                                   "the source is one image: there are no platforms to choose from");
        for (size_t i = 0; i < k->n; i++)
            if (prop_walk_fits(k->images[i].place, k->w->platforms[p]))
                found = k->images[i].chosen = true;
        if (!found)
            return no_platform(k, k->w->platforms[p], err);
    }
    return 0;
}

static int parse_image(struct prop_walk_image *im, struct prop_err *err)
{
    int rc = prop_digest_of(PROP_SHA256, im->bytes.data, im->bytes.len, &im->digest, err);
    im->size = im->bytes.len;
    return rc != 0 ? rc
                   : prop_manifest_parse(im->bytes.data, im->bytes.len, im->type,
                                         "the image's manifest", &im->m, err);
}

static int read_image(struct walk *k, struct prop_walk_image *im, struct prop_err *err)
{
    struct prop_descriptor d;
    int rc = prop_descriptor_read(im->entry, "an entry of the index", &d, err);
    if (rc != 0)
        return rc;
    k->read += d.size;
    if (k->read > MANIFESTS_BYTES_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "the manifests of the index are over %u bytes",
                            MANIFESTS_BYTES_MAX);
    rc = prop_src_child(k->w->src, &d, &im->bytes, &im->type, err);
    return rc != 0 ? rc : parse_image(im, err);
}

static int read_index(struct walk *k, const struct prop_buf *bytes, const char *type,
                      struct prop_err *err)
{
    int rc = prop_index_tree_read(k->w->src, bytes, type, &k->tree, err);
    if (rc != 0)
        return rc;
    size_t n = k->tree.n_leaves;
    k->index = true;
    k->read = k->tree.bytes;
    k->images = prop_realloc_array(NULL, n, sizeof(*k->images));
    k->levels = prop_realloc_array(NULL, k->tree.n_levels, sizeof(*k->levels));
    if (!k->images || !k->levels)
        return prop_err_nomem(err);
    memset(k->images, 0, n * sizeof(*k->images));
    memset(k->levels, 0, k->tree.n_levels * sizeof(*k->levels));
    for (; k->n < n; k->n++) {
        k->images[k->n].bytes.max = PROP_LIMIT_MANIFEST;
        k->images[k->n].entry = k->tree.leaves[k->n].entry;
        k->images[k->n].place = prop_index_tree_place(&k->tree, k->n);
    }
    return 0;
}

/* The manifests of what comes along: others need not even be there, as in partial mirrors. */
static int read_images(struct walk *k, struct prop_err *err)
{
    for (size_t i = 0; i < k->n; i++) {
        bool chosen = k->images[i].chosen;
        int rc = 0;
        if (chosen || k->w->others == PROP_WALK_COPY)
            rc = read_image(k, &k->images[i], err);
        else if (k->w->left_out && json_array_append(k->w->left_out, k->images[i].entry) != 0)
            rc = prop_err_nomem(err);
        if (rc != 0)
            return prop_err_wrap(err, "image %zu of %zu", i + 1, k->n);
    }
    return 0;
}

/* The manifests, all of them, and which images are meant. */
static int read_all(struct walk *k, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    int rc = prop_src_manifest(k->w->src, &bytes, &type, NULL, err);
    if (rc != 0)
        return rc;
    if (prop_is_index(type)) {
        if ((rc = read_index(k, &bytes, type, err)) != 0 || (rc = choose(k, err)) != 0)
            return rc;
        return read_images(k, err);
    }
    k->images = prop_zalloc(sizeof(*k->images));
    if (!k->images)
        return prop_err_nomem(err);
    k->n = 1;
    k->images[0].bytes = bytes;
    k->images[0].type = PROP_TAKE(type);
    bytes = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    rc = choose(k, err);
    return rc != 0 ? rc : parse_image(&k->images[0], err);
}

int prop_walk_copy_blobs(const struct prop_walk *w, const struct prop_walk_image *im,
                         struct prop_err *err)
{
    return prop_manifest_blobs_copy(w->src, w->dst, &im->m, err);
}

/* Serialise what changed; `digest` and `size` become the new ones. */
static int seal(struct prop_walk_image *im, struct prop_err *err)
{
    if (!im->changed)
        return 0;
    prop_buf_clear(&im->bytes);
    int rc = prop_manifest_write(im->m.json, &im->bytes, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, im->bytes.data, im->bytes.len, &im->digest, err);
    im->size = im->bytes.len;
    return rc;
}

static int work(struct walk *k, struct prop_walk_image *im, struct prop_err *err)
{
    int rc = im->chosen          ? k->w->image(k->w->ctx, im, err)
             : k->w->leave_blobs ? 0
                                 : prop_walk_copy_blobs(k->w, im, err);
    return rc != 0 ? rc : seal(im, err);
}

static int set_entry(json_t *entry, const char *type, const struct prop_digest *digest,
                     uint64_t size, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    if (json_object_set_new(entry, "mediaType", json_string(type)) != 0 ||
        json_object_set_new(entry, "digest", json_string(prop_digest_format(digest, text))) != 0 ||
        json_object_set_new(entry, "size", json_integer((json_int_t)size)) != 0)
        return prop_err_nomem(err);
    (void)json_object_del(entry, "data"); /* an inline copy of the old manifest */
    return 0;
}

/* Entries that point at an image by its digest follow it. */
static void follow(json_t *index, const struct prop_digest *before, const struct prop_digest *after)
{
    size_t i;
    json_t *entry;
    char old[PROP_DIGEST_TEXT], new[PROP_DIGEST_TEXT];
    (void)prop_digest_format(before, old);
    json_array_foreach(json_object_get(index, "manifests"), i, entry) {
        json_t *all = json_object_get(entry, "annotations");
        const char *at = json_string_value(json_object_get(all, DOCKER_REFERENCE));
        if (at && strcmp(at, old) == 0)
            (void)json_object_set_new(all, DOCKER_REFERENCE,
                                      json_string(prop_digest_format(after, new)));
    }
}

static int write_child(struct walk *k, size_t i, struct prop_err *err)
{
    struct prop_walk_image *im = &k->images[i];
    size_t level = k->tree.leaves[i].level;
    struct prop_digest before = im->digest;
    int rc = work(k, im, err);
    if (rc == 0)
        rc = prop_dst_child(k->w->dst, im->bytes.data, im->bytes.len, im->type, &im->digest, err);
    if (rc == 0 && im->chosen && k->w->written)
        rc = k->w->written(k->w->ctx, im, err);
    if (rc != 0 || prop_digest_equal(&before, &im->digest))
        return rc;
    k->levels[level] = LEVEL_CHANGED;
    rc = set_entry(im->entry, im->type, &im->digest, im->size, err);
    if (rc == 0)
        follow(k->tree.levels[level].doc, &before, &im->digest);
    return rc;
}

/* Does an entry stay out: an image that was not chosen, or an index nothing of which was? */
static bool stays_out(const struct walk *k, const json_t *entry)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->images[i].entry == entry)
            return !k->images[i].chosen;
    for (size_t l = 1; l < k->tree.n_levels; l++)
        if (k->tree.levels[l].entry == entry)
            return k->levels[l] == LEVEL_EMPTY;
    return false;
}

static void leave_out(struct walk *k, size_t level)
{
    json_t *entries = json_object_get(k->tree.levels[level].doc, "manifests");
    bool fewer = false;
    for (size_t i = json_array_size(entries); i-- > 0;)
        if (stays_out(k, json_array_get(entries, i))) {
            (void)json_array_remove(entries, i);
            fewer = true;
        }
    if (fewer)
        k->levels[level] = json_array_size(entries) ? LEVEL_CHANGED : LEVEL_EMPTY;
}

/* New bytes, type and digest for an index that changed. */
static int seal_level(struct prop_index_level *l, struct prop_err *err)
{
    int rc;
    if (strcmp(l->type, PROP_MT_DOCKER_LIST) == 0) {
        char *type = prop_strdup(PROP_MT_OCI_INDEX);
        if (!type || json_object_set_new(l->doc, "mediaType", json_string(type)) != 0) {
            prop_free(type);
            return prop_err_nomem(err);
        }
        prop_free(l->type);
        l->type = type;
    }
    prop_buf_clear(&l->bytes);
    rc = prop_manifest_write(l->doc, &l->bytes, err);
    return rc == 0 ? prop_digest_of(PROP_SHA256, l->bytes.data, l->bytes.len, &l->digest, err) : rc;
}

/* An index inside another, after all that it names. */
static int write_nested(struct walk *k, size_t level, struct prop_err *err)
{
    struct prop_index_level *l = &k->tree.levels[level];
    struct prop_digest before = l->digest;
    int rc = k->levels[level] == LEVEL_CHANGED ? seal_level(l, err) : 0;
    if (rc == 0)
        rc = prop_dst_child(k->w->dst, l->bytes.data, l->bytes.len, l->type, &l->digest, err);
    if (rc != 0 || k->levels[level] == LEVEL_SAME)
        return rc;
    k->levels[l->parent] = LEVEL_CHANGED;
    follow(k->tree.levels[l->parent].doc, &before, &l->digest);
    return set_entry(l->entry, l->type, &l->digest, l->bytes.len, err);
}

static int write_images(struct walk *k, struct prop_err *err)
{
    for (size_t i = 0; i < k->n; i++) {
        char platform[128];
        if (!k->images[i].chosen && k->w->others == PROP_WALK_LEAVE_OUT)
            continue;
        int rc = write_child(k, i, err);
        if (rc != 0)
            return prop_err_wrap(err, "image %zu of %zu (%s)", i + 1, k->n,
                                 *prop_walk_platform(k->images[i].place, platform) ? platform
                                                                                   : "no platform");
    }
    return 0;
}

static int write_index(struct walk *k, struct prop_walk_result *r, struct prop_err *err)
{
    struct prop_index_level *root = &k->tree.levels[0];
    int rc = write_images(k, err);
    for (size_t l = k->tree.n_levels; rc == 0 && l-- > 0;) { /* what is inside stands behind */
        if (k->w->others == PROP_WALK_LEAVE_OUT)
            leave_out(k, l);
        if (l > 0 && k->levels[l] != LEVEL_EMPTY)
            rc = write_nested(k, l, err);
    }
    if (rc == 0 && k->levels[0] != LEVEL_SAME)
        rc = seal_level(root, err);
    if (rc != 0)
        return rc;
    r->manifest = root->digest;
    r->size = root->bytes.len;
    r->index = true;
    return prop_dst_manifest(k->w->dst, root->bytes.data, root->bytes.len, root->type, &root->digest,
                             err);
}

/* An image by itself: the only one, or the only one chosen. */
static int write_alone(struct walk *k, struct prop_walk_image *im, struct prop_walk_result *r,
                       struct prop_err *err)
{
    int rc = work(k, im, err);
    if (rc != 0)
        return rc;
    r->manifest = im->digest;
    r->size = im->size;
    rc = prop_dst_manifest(k->w->dst, im->bytes.data, im->bytes.len, im->type, &im->digest, err);
    return rc == 0 && k->w->written ? k->w->written(k->w->ctx, im, err) : rc;
}

static int check_all(struct walk *k, struct prop_walk_result *r, struct prop_walk_image **ret_only,
                     struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < k->n && rc == 0; i++) {
        struct prop_walk_image *im = &k->images[i];
        if (!im->chosen)
            continue;
        *ret_only = r->images++ == 0 ? im : NULL;
        if (k->w->check && (rc = k->w->check(k->w->ctx, im, err)) != 0 && k->index)
            (void)prop_err_wrap(err, "image %zu of %zu", i + 1, k->n);
    }
    return rc;
}

int prop_image_walk(const struct prop_walk *w, struct prop_walk_result *ret, struct prop_err *err)
{
    auto_walk struct walk k = { .w = w, .tree = PROP_INDEX_TREE_INIT };
    struct prop_walk_result r = { .size = 0 };
    struct prop_walk_image *only = NULL;
    int rc = read_all(&k, err);
    if (rc != 0)
        return rc;
    const struct prop_buf *whole = k.index ? &k.tree.levels[0].bytes : &k.images[0].bytes;
    bool alone = !k.index || (w->n_platforms > 0 && w->others == PROP_WALK_LEAVE_OUT);
    if ((rc = prop_digest_of(PROP_SHA256, whole->data, whole->len, &r.before, err)) != 0 ||
        (rc = check_all(&k, &r, &only, err)) != 0)
        return rc;
    rc = alone && only ? write_alone(&k, only, &r, err) : write_index(&k, &r, err);
    if (rc == 0)
        *ret = r;
    return rc;
}
