/* What push, copy and pull share: an image or an index, whole or by platform, from one place to
 * another, its further tags, and what is said about it. Manifests keep their bytes; only an index
 * that leaves platforms out is another one, and that is told. */
#include "cmd/proppush/transfer.h"

#include "cmd/proppush/follow.h"
#include "oci/referrers.h"
#include "ocicrypt/image_walk.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int proppush_ends_open(struct proppush_ends *e, const char *dst, const struct prop_oci_options *oci,
                       bool dry_run, struct prop_err *err)
{
    static const char sink[] = "sink:";
    struct prop_location nowhere = { .text = NULL };
    int rc = proppush_names_read(dst, &e->names, err);

    if (rc == 0)
        rc = prop_dst_open(&e->names.first, oci, &e->dst, err);
    if (rc < 0 || !dry_run)
        return rc;
    rc = prop_location_parse(sink, &nowhere, err);
    if (rc == 0)
        rc = prop_dst_open(&nowhere, oci, &e->sink, err);
    prop_location_release(&nowhere);
    return rc;
}

void proppush_ends_release(struct proppush_ends *e)
{
    prop_dst_free(e->sink);
    prop_dst_free(e->dst);
    proppush_names_release(&e->names);
}

/* --- images --- */

struct moving {
    struct prop_walk walk;
    struct proppush_ends *ends;
    const struct prop_oci_options *oci;
    struct proppush_moved *moved;
};

/* What a blob would cost: bytes that are not there yet. */
static int weigh(struct moving *m, const struct prop_descriptor *d, struct prop_err *err)
{
    bool there = prop_same_place(m->walk.src, m->ends->dst);
    int rc = there ? 0 : prop_dst_has_blob(m->ends->dst, &d->digest, d->size, &there, err);

    if (rc == 0 && !there) {
        m->moved->new_blobs++;
        m->moved->new_bytes += d->size;
    }
    return rc;
}

static int move_image(void *ctx, struct prop_walk_image *im, struct prop_err *err)
{
    struct moving *m = ctx;
    int rc = 0;

    if (m->ends->sink == NULL)
        return prop_walk_copy_blobs(&m->walk, im, err);
    for (size_t i = 0; rc == 0 && i < im->m.n_layers; i++)
        rc = weigh(m, &im->m.layers[i], err);
    return rc == 0 ? weigh(m, &im->m.config, err) : rc;
}

int proppush_announce(const struct proppush_ends *ends, const struct prop_oci_options *oci,
                      const struct prop_buf *manifest, const char *media_type, char **ret_tag,
                      struct prop_err *err)
{
    const struct prop_location *to = &ends->names.first;

    if (ends->sink != NULL || to->transport != PROP_T_DOCKER)
        return 0;
    return prop_referrers_announce(&to->ref, oci, manifest, media_type, ret_tag, err);
}

static int written(void *ctx, const struct prop_walk_image *im, struct prop_err *err)
{
    struct moving *m = ctx;
    char digest[PROP_DIGEST_TEXT], platform[128];
    prop_auto_free char *tag = NULL;
    json_t *row = json_pack("{s:s}", "digest", prop_digest_format(&im->digest, digest));

    if (row != NULL && im->place != NULL && *prop_walk_platform(im->place, platform))
        (void)json_object_set_new(row, "platform", json_string(platform));
    if (json_array_append_new(m->moved->images, row) < 0)
        return prop_err_nomem(err);
    if (json_object_get(im->m.json, "subject") == NULL)
        return 0;
    return proppush_announce(m->ends, m->oci, &im->bytes, im->type, &tag, err);
}

/* An index may have a subject of its own. */
static int announce_index(struct moving *m, const struct prop_digest *digest, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *tag = NULL;
    int rc;

    if (m->ends->sink != NULL || m->ends->names.first.transport != PROP_T_DOCKER)
        return 0;
    rc = prop_dst_read_back(m->ends->dst, digest, &bytes, err);
    return rc == 0 ? proppush_announce(m->ends, m->oci, &bytes, PROP_MT_OCI_INDEX, &tag, err) : rc;
}

static int move_images(struct prop_src *src, struct proppush_ends *ends,
                       const struct proppush_copy *c, const struct prop_oci_options *oci,
                       struct proppush_moved *moved, struct prop_err *err)
{
    struct prop_walk_result r;
    struct moving m = { .ends = ends, .oci = oci, .moved = moved };
    int rc;

    m.walk = (struct prop_walk){ .src = src, .dst = ends->sink != NULL ? ends->sink : ends->dst,
                                 .platforms = c->platforms, .n_platforms = c->n_platforms,
                                 .others = PROP_WALK_LEAVE_OUT, .left_out = moved->left_out,
                                 .image = move_image, .written = written, .ctx = &m };
    rc = prop_image_walk(&m.walk, &r, err);
    if (rc == 0 && r.index)
        rc = announce_index(&m, &r.manifest, err);
    if (rc < 0)
        return rc;
    moved->digest = r.manifest;
    moved->index = r.index;
    moved->counted = ends->sink != NULL;
    return 0;
}

static int move_bare(struct prop_src *src, struct proppush_ends *ends,
                     const struct proppush_copy *c, struct proppush_moved *moved,
                     struct prop_err *err)
{
    if (c->n_platforms > 0)
        return prop_err_set_id(err, PROP_E_USAGE, "not-an-index",
                               "a bare module has no platforms to choose from");
    return prop_image_copy(src, ends->sink != NULL ? ends->sink : ends->dst, &moved->digest, err);
}

/* --- names --- */

/* One more name for what is there, byte for byte. */
static int give_tag(const struct prop_location *to, const struct prop_oci_options *oci,
                    const struct prop_buf *bytes, const char *type,
                    const struct prop_digest *digest, struct prop_err *err)
{
    prop_auto_dst struct prop_dst *dst = NULL;
    int rc = prop_dst_open(to, oci, &dst, err);

    if (rc == 0)
        rc = prop_dst_manifest(dst, bytes->data, bytes->len, type, digest, err);
    return rc == 0 ? prop_dst_tag(dst, err) : rc;
}

int proppush_give_names(struct proppush_ends *e, const struct prop_oci_options *oci,
                        const struct prop_digest *digest, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    int rc = 0;

    if (e->sink != NULL || e->names.n_more == 0)
        return 0;
    rc = prop_dst_read_back(e->dst, digest, &bytes, err);
    if (rc == 0)
        rc = prop_manifest_type(bytes.data, bytes.len, NULL, "the manifest", &type, err);
    prop_dst_free(PROP_TAKE(e->dst)); /* a layout is locked while it is open */
    for (size_t i = 0; rc == 0 && i < e->names.n_more; i++) {
        rc = give_tag(&e->names.more[i], oci, &bytes, type, digest, err);
        if (rc < 0)
            prop_err_wrap(err, "tag '%s' (%zu of %zu tags were given)", e->names.more[i].text,
                          i + 1, e->names.n_more + 1);
    }
    return rc;
}

/* --- the result --- */

static char *reference_of(const struct prop_location *l)
{
    return l->transport == PROP_T_DOCKER ? prop_ref_format(&l->ref) : prop_strdup(l->text);
}

static int add_tags(const struct proppush_names *names, json_t *doc, struct prop_err *err)
{
    json_t *all = json_array();

    if (names->n_more == 0) {
        json_decref(all);
        return 0;
    }
    if (json_object_set_new(doc, "tags", all) < 0)
        return prop_err_nomem(err);
    for (size_t i = 0; i <= names->n_more; i++) {
        const struct prop_location *l = i == 0 ? &names->first : &names->more[i - 1];
        const char *tag = l->transport == PROP_T_DOCKER ? l->ref.tag : l->name;

        if (json_array_append_new(all, json_string(tag != NULL ? tag : "")) < 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* What the name stands for now, for who wants to know what a run would change. */
static int add_plan(struct proppush_ends *e, const struct proppush_moved *moved, json_t *doc,
                    struct prop_err *err)
{
    struct prop_digest now;
    char text[PROP_DIGEST_TEXT];
    struct prop_err failure = PROP_ERR_INIT;
    int rc = prop_dst_current(e->dst, &now, &failure);

    if (rc < 0 && rc != PROP_E_NOTFOUND) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    if (json_object_set_new(doc, "dry_run", json_true()) < 0 ||
        json_object_set_new(doc, "current",
                            rc == 0 ? json_string(prop_digest_format(&now, text)) : json_null()) <
            0)
        return prop_err_nomem(err);
    if (moved->counted &&
        (json_object_set_new(doc, "new_blobs", json_integer((json_int_t)moved->new_blobs)) < 0 ||
         json_object_set_new(doc, "new_bytes", json_integer((json_int_t)moved->new_bytes)) < 0))
        return prop_err_nomem(err);
    return 0;
}

static int add_images(const struct proppush_moved *moved, json_t *doc, struct prop_err *err)
{
    char platform[128], digest[PROP_DIGEST_TEXT];
    json_t *left, *entry;
    struct prop_descriptor d;
    size_t i;

    if (!moved->index && json_array_size(moved->left_out) == 0)
        return 0;
    if (json_object_set(doc, "images", moved->images) < 0)
        return prop_err_nomem(err);
    if (json_array_size(moved->left_out) == 0)
        return 0;
    left = json_array();
    if (json_object_set_new(doc, "left_out", left) < 0)
        return prop_err_nomem(err);
    json_array_foreach(moved->left_out, i, entry) {
        int rc = prop_descriptor_read(entry, "an entry of the index", &d, err);
        json_t *row;

        if (rc < 0)
            return rc;
        row = json_pack("{s:s}", "digest", prop_digest_format(&d.digest, digest));
        if (row != NULL && *prop_walk_platform(entry, platform))
            (void)json_object_set_new(row, "platform", json_string(platform));
        if (json_array_append_new(left, row) < 0)
            return prop_err_nomem(err);
    }
    return 0;
}

int proppush_describe(struct proppush_ends *e, const char *source,
                      const struct proppush_moved *moved, json_t **ret, struct prop_err *err)
{
    const struct prop_location *to = &e->names.first;
    prop_auto_free char *reference = reference_of(to);
    prop_auto_free char *pinned = NULL;
    prop_auto_json json_t *doc = NULL;
    char text[PROP_DIGEST_TEXT];
    int rc;

    (void)prop_digest_format(&moved->digest, text);
    if (to->transport == PROP_T_DOCKER)
        pinned = prop_asprintf("%s/%s@%s", to->ref.domain, to->ref.path, text);
    if (reference == NULL || (to->transport == PROP_T_DOCKER && pinned == NULL))
        return prop_err_nomem(err);
    doc = json_pack("{s:s, s:s, s:s, s:s*}", "source", source, "reference", reference, "digest",
                    text, "pinned", pinned);
    if (doc == NULL)
        return prop_err_nomem(err);
    rc = add_tags(&e->names, doc, err);
    if (rc == 0)
        rc = add_images(moved, doc, err);
    if (rc == 0 && e->sink != NULL)
        rc = add_plan(e, moved, doc, err);
    if (rc == 0)
        *ret = PROP_TAKE(doc);
    return rc;
}

int proppush_moved_init(struct proppush_moved *m, struct prop_err *err)
{
    memset(m, 0, sizeof(*m));
    m->images = json_array();
    m->left_out = json_array();
    return m->images == NULL || m->left_out == NULL ? prop_err_nomem(err) : 0;
}

void proppush_moved_release(struct proppush_moved *m)
{
    json_decref(m->images);
    json_decref(m->left_out);
}

static int open_source(const struct proppush_copy *c, const struct prop_oci_options *oci,
                       struct prop_src **ret, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    int rc = proppush_open_src(c->src, c->digest, oci, &src, err);

    if (rc == 0 && c->title != NULL) {
        if (!prop_src_is_bare(src))
            return prop_err_set(err, PROP_E_USAGE,
                                "--title is for bare modules; '%s' is an image and is not changed",
                                c->src);
        rc = prop_src_set_title(src, c->title, err);
    }
    if (rc == 0)
        *ret = PROP_TAKE(src);
    return rc;
}

int proppush_copy_image(const struct proppush_copy *c, const struct prop_oci_options *oci,
                        json_t **ret_doc, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    auto_proppush_ends struct proppush_ends ends = PROPPUSH_ENDS_INIT;
    auto_proppush_moved struct proppush_moved moved = { .images = NULL };
    prop_auto_json json_t *doc = NULL;
    int rc = open_source(c, oci, &src, err);

    if (rc == 0 && c->referrers)
        rc = proppush_copy_referrers(c, NULL, oci, NULL, err);
    if (rc == 0)
        rc = proppush_moved_init(&moved, err);
    if (rc == 0)
        rc = proppush_ends_open(&ends, c->dst, oci, c->dry_run, err);
    if (rc < 0)
        return rc;
    if (prop_src_is_bare(src)) {
        rc = move_bare(src, &ends, c, &moved, err);
    } else {
        rc = move_images(src, &ends, c, oci, &moved, err);
        if (rc == 0 && ends.sink == NULL)
            rc = prop_dst_tag(ends.dst, err);
    }
    if (rc == 0)
        rc = proppush_give_names(&ends, oci, &moved.digest, err);
    if (rc < 0)
        return rc == PROP_E_INTERRUPTED || rc == PROP_E_USAGE
                   ? rc
                   : prop_err_wrap(err, "copy to '%s'", c->dst);
    rc = proppush_describe(&ends, c->src, &moved, &doc, err);
    if (rc == 0 && c->referrers)
        rc = proppush_copy_referrers(c, &moved.digest, oci, doc, err);
    if (rc == 0)
        *ret_doc = PROP_TAKE(doc);
    return rc;
}

/* --- for people --- */

static void print_rows(FILE *out, const json_t *doc, const char *member, const char *label)
{
    json_t *rows = json_object_get(doc, member), *row;
    size_t i;
    char shown[200];

    json_array_foreach(rows, i, row) {
        const char *platform = json_string_value(json_object_get(row, "platform"));

        (void)fprintf(
            out, "%-9s %s  %s\n", label, json_string_value(json_object_get(row, "digest")),
            platform != NULL ? prop_printable(platform, strlen(platform), shown, sizeof(shown))
                             : "no platform");
    }
}

static void print_plan(FILE *out, const json_t *doc)
{
    const char *now = json_string_value(json_object_get(doc, "current"));
    const char *digest = json_string_value(json_object_get(doc, "digest"));

    if (json_integer_value(json_object_get(doc, "new_blobs")) > 0)
        (void)fprintf(out, "%-9s %lld blobs, %lld bytes\n", "would add",
                      (long long)json_integer_value(json_object_get(doc, "new_blobs")),
                      (long long)json_integer_value(json_object_get(doc, "new_bytes")));
    (void)fprintf(out, "%-9s %s %s\n", "would",
                  now == NULL                ? "name"
                  : strcmp(now, digest) == 0 ? "leave as it is"
                                             : "move",
                  json_string_value(json_object_get(doc, "reference")));
}

void proppush_print_copied(const json_t *doc, void *stream)
{
    const char *pinned = json_string_value(json_object_get(doc, "pinned"));

    if (json_is_true(json_object_get(doc, "dry_run")))
        print_plan(stream, doc);
    print_rows(stream, doc, "left_out", "left out");
    if (pinned != NULL)
        (void)fprintf(stream, "%s\n", pinned);
    else
        (void)fprintf(stream, "%s %s\n", json_string_value(json_object_get(doc, "reference")),
                      json_string_value(json_object_get(doc, "digest")));
}
