/* Images and indexes on their way. Nothing is written before every manifest was read and checked;
 * an index is written last, its entries in their order with platform and annotations kept. */
#include "ocicrypt/image_walk.h"

#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

#define IMAGES_MAX 256
#define MANIFESTS_BYTES_MAX (64u << 20)
/* BuildKit's statements about an image name it so. */
#define DOCKER_REFERENCE "vnd.docker.reference.digest"

struct walk {
    const struct prop_walk *w;
    struct prop_walk_image *images;
    size_t n;
    json_t *index; /* owned; NULL: an image alone */
    char *index_type;
    struct prop_buf bytes; /* of the index */
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
    prop_free(k->index_type);
    prop_buf_release(&k->bytes);
    json_decref(k->index);
}
#define auto_walk __attribute__((cleanup(release)))

static bool is_index(const char *type)
{
    return strcmp(type, PROP_MT_OCI_INDEX) == 0 || strcmp(type, PROP_MT_DOCKER_LIST) == 0;
}

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
        const char *p = prop_walk_platform(k->images[i].entry, text);
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
            if (prop_walk_fits(k->images[i].entry, k->w->platforms[p]))
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
    if (is_index(d.media_type))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "nested-index",
                               "the index holds another index: name that one by its digest");
    k->read += d.size;
    if (k->read > MANIFESTS_BYTES_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "the manifests of the index are over %u bytes",
                            MANIFESTS_BYTES_MAX);
    rc = prop_src_child(k->w->src, &d, &im->bytes, &im->type, err);
    return rc != 0 ? rc : parse_image(im, err);
}

static int read_index(struct walk *k, struct prop_err *err)
{
    int rc = prop_json_parse((const char *)k->bytes.data, k->bytes.len, "the index", &k->index,
                             err);
    json_t *entries = json_object_get(k->index, "manifests");
    size_t n = json_array_size(entries);
    if (rc != 0)
        return rc;
    if (!json_is_array(entries) || n == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "empty-index", "the index names no image");
    if (n > IMAGES_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "the index has more than %d images", IMAGES_MAX);
    k->images = prop_realloc_array(NULL, n, sizeof(*k->images));
    if (!k->images)
        return prop_err_nomem(err);
    memset(k->images, 0, n * sizeof(*k->images));
    for (; k->n < n; k->n++) {
        k->images[k->n].bytes.max = PROP_LIMIT_MANIFEST;
        k->images[k->n].entry = json_array_get(entries, k->n);
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
    int rc = prop_src_manifest(k->w->src, &k->bytes, &k->index_type, NULL, err);
    if (rc != 0)
        return rc;
    if (is_index(k->index_type)) {
        if ((rc = read_index(k, err)) != 0 || (rc = choose(k, err)) != 0)
            return rc;
        return read_images(k, err);
    }
    k->images = prop_zalloc(sizeof(*k->images));
    if (!k->images)
        return prop_err_nomem(err);
    k->n = 1;
    k->images[0].bytes = k->bytes;
    k->images[0].type = PROP_TAKE(k->index_type);
    k->bytes = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
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

static int set_entry(struct prop_walk_image *im, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    if (json_object_set_new(im->entry, "mediaType", json_string(im->type)) != 0 ||
        json_object_set_new(im->entry, "digest",
                            json_string(prop_digest_format(&im->digest, text))) != 0 ||
        json_object_set_new(im->entry, "size", json_integer((json_int_t)im->size)) != 0)
        return prop_err_nomem(err);
    (void)json_object_del(im->entry, "data"); /* an inline copy of the old manifest */
    return 0;
}

/* Entries that point at an image by its digest follow it. */
static void follow(json_t *index, const char *before, const char *after)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(index, "manifests"), i, entry) {
        json_t *all = json_object_get(entry, "annotations");
        const char *at = json_string_value(json_object_get(all, DOCKER_REFERENCE));
        if (at && strcmp(at, before) == 0)
            (void)json_object_set_new(all, DOCKER_REFERENCE, json_string(after));
    }
}

static int write_child(struct walk *k, struct prop_walk_image *im, bool *changed,
                       struct prop_err *err)
{
    struct prop_digest before = im->digest;
    char old[PROP_DIGEST_TEXT], new[PROP_DIGEST_TEXT];
    int rc = work(k, im, err);
    if (rc == 0)
        rc = prop_dst_child(k->w->dst, im->bytes.data, im->bytes.len, im->type, &im->digest, err);
    if (rc == 0 && im->chosen && k->w->written)
        rc = k->w->written(k->w->ctx, im, err);
    if (rc != 0 || prop_digest_equal(&before, &im->digest))
        return rc;
    *changed = true;
    rc = set_entry(im, err);
    if (rc == 0)
        follow(k->index, prop_digest_format(&before, old), prop_digest_format(&im->digest, new));
    return rc;
}

static int write_index(struct walk *k, struct prop_walk_result *r, struct prop_err *err)
{
    json_t *entries = json_object_get(k->index, "manifests");
    const char *type = PROP_MT_OCI_INDEX;
    bool changed = false;
    int rc;
    for (size_t i = 0; i < k->n; i++) {
        char platform[128];
        if (!k->images[i].chosen && k->w->others == PROP_WALK_LEAVE_OUT)
            continue;
        rc = write_child(k, &k->images[i], &changed, err);
        if (rc != 0)
            return prop_err_wrap(err, "image %zu of %zu (%s)", i + 1, k->n,
                                 *prop_walk_platform(k->images[i].entry, platform) ? platform
                                                                                   : "no platform");
    }
    for (size_t i = k->n; i-- > 0 && k->w->others == PROP_WALK_LEAVE_OUT;)
        if (!k->images[i].chosen) {
            (void)json_array_remove(entries, i);
            changed = true;
        }
    if (changed && strcmp(k->index_type, PROP_MT_DOCKER_LIST) == 0 &&
        json_object_set_new(k->index, "mediaType", json_string(type)) != 0)
        return prop_err_nomem(err);
    if (!changed)
        type = k->index_type;
    else
        prop_buf_clear(&k->bytes);
    if ((changed && (rc = prop_manifest_write(k->index, &k->bytes, err)) != 0) ||
        (rc = prop_digest_of(PROP_SHA256, k->bytes.data, k->bytes.len, &r->manifest, err)) != 0)
        return rc;
    r->size = k->bytes.len;
    r->index = true;
    return prop_dst_manifest(k->w->dst, k->bytes.data, k->bytes.len, type, &r->manifest, err);
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
    auto_walk struct walk k = { .w = w, .bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST) };
    struct prop_walk_result r = { .size = 0 };
    struct prop_walk_image *only = NULL;
    int rc = read_all(&k, err);
    if (rc != 0)
        return rc;
    const struct prop_buf *whole = k.index ? &k.bytes : &k.images[0].bytes;
    bool alone = !k.index || (w->n_platforms > 0 && w->others == PROP_WALK_LEAVE_OUT);
    if ((rc = prop_digest_of(PROP_SHA256, whole->data, whole->len, &r.before, err)) != 0 ||
        (rc = check_all(&k, &r, &only, err)) != 0)
        return rc;
    rc = alone && only ? write_alone(&k, only, &r, err) : write_index(&k, &r, err);
    if (rc == 0)
        *ret = r;
    return rc;
}
