/* The name before the key: a key without an image is waste, an image without its key is broken. */
#include "publish/withdraw.h"

#include "keys/resource_id.h"
#include "oci/registry.h"
#include "oci/remove.h"
#include "publish/images.h"
#include "publish/key.h"
#include "publish/reference.h"
#include "store/ledger.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

struct withdraw {
    const struct prop_withdraw *w;
    struct prop_ledger *ledger; /* NULL: there is none */
    char *reference;            /* as the ledger names it */
    struct prop_digest digest;
    json_t *kids;               /* "r/t/n" */
    json_t *tags;               /* others of the same manifest, where they were looked for */
    json_t *keys, *left;
    const char *deleted;
};

static void left(struct withdraw *s, const char *what, const char *why)
{
    prop_auto_free char *text = prop_asprintf("%s%s", what, why);
    (void)json_array_append_new(s->left, text != NULL ? json_string(text) : NULL);
}

/* --- what is there ----------------------------------------------------------------------------- */

/* Its keys, where it is an image of layers or an index of such images that are all there. */
static int read_keys(struct withdraw *s, struct prop_src *src, struct prop_err *err)
{
    prop_auto_images struct prop_images all = { .n = 0 };
    struct prop_err why = PROP_ERR_INIT;
    int rc = prop_images_read(src, "the manifest", &all, &why);
    if (rc == PROP_E_INPUT || rc == PROP_E_UNSUPPORTED || rc == PROP_E_NOTFOUND ||
        rc == PROP_E_LIMIT) {
        if (s->w->kbs != NULL)
            left(s, "keys: which it has cannot be told: ", why.message);
        return 0;
    }
    if (rc != 0 && err != NULL)
        *err = why;
    for (size_t i = 0; i < all.n; i++)
        for (size_t k = 0; rc == 0 && k < all.all[i].m.n_layers; k++)
            rc = prop_publish_layer_paths(&all.all[i].m.layers[k], s->kids, NULL, err);
    return rc;
}

static int read_image(struct withdraw *s, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    int rc = prop_src_open(s->w->ref, s->w->oci, &src, err);
    if (rc == 0 && s->w->digest != NULL)
        rc = prop_src_expect(src, s->w->digest, err);
    if (rc == 0)
        rc = prop_src_manifest(src, &bytes, NULL, &s->digest, err);
    if (rc == 0) /* it is this one that is deleted, wherever the tag points meanwhile */
        rc = prop_src_expect(src, &s->digest, err);
    return rc == 0 ? read_keys(s, src, err) : rc;
}

static int digest_of_tag(struct withdraw *s, const char *tag, struct prop_digest *ret,
                         struct prop_err *err)
{
    struct prop_location loc;
    const struct prop_ref *ref = &s->w->ref->ref;
    prop_auto_free char *text = prop_asprintf("docker://%s/%s:%s", ref->domain, ref->path, tag);
    prop_auto_dst struct prop_dst *dst = NULL;
    if (text == NULL)
        return prop_err_nomem(err);
    int rc = prop_location_parse(text, &loc, err);
    if (rc != 0)
        return rc;
    rc = prop_dst_open(&loc, s->w->oci, &dst, err);
    if (rc == 0)
        rc = prop_dst_current(dst, ret, err);
    prop_location_release(&loc);
    return rc;
}

/* Other tags of the same manifest: they go with it. */
static int find_tags(struct withdraw *s, struct prop_err *err)
{
    prop_auto_json json_t *all = NULL;
    const char *own = s->w->ref->ref.digest.len == 0 ? s->w->ref->ref.tag : NULL;
    size_t i;
    json_t *tag;
    int rc = prop_registry_tags(&s->w->ref->ref, s->w->oci, &all, err);
    json_array_foreach (all, i, tag) {
        struct prop_digest d;
        struct prop_err inner = PROP_ERR_INIT;
        const char *name = json_string_value(tag);
        if (rc != 0 || (own != NULL && strcmp(own, name) == 0))
            continue;
        int look = digest_of_tag(s, name, &d, &inner);
        if (look == 0 && prop_digest_equal(&d, &s->digest))
            (void)json_array_append(s->tags, tag);
        if (look != 0 && look != PROP_E_NOTFOUND) {
            rc = look;
            if (err != NULL)
                *err = inner;
        }
    }
    return rc;
}

/* --- the name ---------------------------------------------------------------------------------- */

static int tags_share(const struct withdraw *s, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_EXISTS, "tags-share",
                          "this registry deletes manifests only, and %zu other tag%s ('%s'%s) for "
                          "this one",
                          json_array_size(s->tags),
                          json_array_size(s->tags) == 1 ? " stands" : "s stand",
                          json_string_value(json_array_get(s->tags, 0)),
                          json_array_size(s->tags) > 1 ? ", ..." : "");
    return prop_err_hint(err, "--all-tags deletes them all");
}

static int delete_manifest(struct withdraw *s, struct prop_err *err)
{
    int rc = find_tags(s, err);
    if (rc != 0)
        return rc;
    if (json_array_size(s->tags) > 0 && !s->w->all_tags)
        return tags_share(s, err);
    s->deleted = "manifest";
    return s->w->dry_run ? 0 : prop_remove_manifest(s->w->ref, &s->digest, s->w->oci, err);
}

/* By tag where the registry can: other tags of the manifest stay then, and need the key. */
static int delete_tag(struct withdraw *s, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    if (s->w->ref->ref.digest.len > 0 || s->w->dry_run)
        return delete_manifest(s, err);
    int rc = prop_remove_tag(s->w->ref, s->w->oci, &inner);
    if (rc == PROP_E_UNSUPPORTED)
        return delete_manifest(s, err);
    if (rc != 0) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    s->deleted = "tag";
    return s->w->kbs != NULL ? find_tags(s, err) : 0;
}

static int delete_name(struct withdraw *s, struct prop_err *err)
{
    switch (s->w->ref->transport) {
    case PROP_T_DOCKER:
        return delete_tag(s, err);
    case PROP_T_OCI:
        s->deleted = "name";
        return s->w->dry_run ? 0 : prop_remove_layout_name(s->w->ref, err);
    case PROP_T_OCI_ARCHIVE:
    case PROP_T_DIR:
    case PROP_T_FILE:
    case PROP_T_SINK:
        break;
    }
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-location", "'%s' holds one image: it has no names",
                          s->w->ref->text);
    return prop_err_hint(err, "remove the file or folder itself");
}

/* --- the keys ---------------------------------------------------------------------------------- */

/* An image that still needs the key, as far as this machine knows; NULL: none. `images` holds it. */
static const char *needed_by(const struct withdraw *s, const json_t *images)
{
    size_t i;
    json_t *image;
    if (strcmp(s->deleted, "tag") == 0 && json_array_size(s->tags) > 0)
        return json_string_value(json_array_get(s->tags, 0));
    json_array_foreach (images, i, image) {
        const char *name = json_string_value(json_object_get(image, "image"));
        if (s->reference == NULL || strcmp(name, s->reference) != 0)
            return name;
    }
    return NULL;
}

static int delete_key(struct withdraw *s, const char *path, struct prop_err *err)
{
    prop_auto_json json_t *images = NULL;
    struct prop_resource_id id;
    struct prop_err inner = PROP_ERR_INIT;
    const char *url = prop_kbs_url(s->w->kbs);
    int rc = prop_resource_id_parse(path, false, &id, err);
    if (rc == 0 && s->ledger != NULL)
        rc = prop_ledger_images(s->ledger, url, path, &images, err);
    if (rc != 0)
        return rc;
    const char *needs = needed_by(s, images);
    prop_auto_free char *what = prop_asprintf("key '%s': ", path);
    if (needs == NULL && !s->w->dry_run)
        rc = prop_kbs_delete_resource(s->w->kbs, &id, &inner);
    if (needs != NULL || rc == PROP_E_UNSUPPORTED)
        left(s, what != NULL ? what : "", needs != NULL ? "another image needs it" : inner.message);
    bool gone = needs == NULL && (rc == 0 || rc == PROP_E_NOTFOUND);
    if (gone && !s->w->dry_run && s->ledger != NULL)
        (void)prop_ledger_forget_key(s->ledger, url, path, NULL);
    if (json_array_append_new(s->keys, json_pack("{s:s,s:b}", "path", path, "deleted", gone)) != 0)
        return prop_err_nomem(err);
    if (rc == 0 || rc == PROP_E_UNSUPPORTED || rc == PROP_E_NOTFOUND)
        return 0;
    if (err != NULL)
        *err = inner;
    return prop_err_wrap(err, "the image is deleted, its key is not");
}

static void tell_wait(void *ctx, const char *holder)
{
    const struct withdraw *s = ctx;
    prop_auto_free char *text = prop_asprintf("this machine's ledger is held by %s: waiting for it",
                                              holder != NULL ? holder : "another process");
    if (s->w->warn != NULL && text != NULL)
        s->w->warn(s->w->ctx, text);
}

static int delete_keys(struct withdraw *s, struct prop_err *err)
{
    size_t i;
    json_t *kid;
    prop_ledger_on_wait(s->ledger, tell_wait, s);
    int rc = s->ledger != NULL ? prop_ledger_lock(s->ledger, err) : 0;
    json_array_foreach (s->kids, i, kid) {
        if (rc == 0)
            rc = delete_key(s, json_string_value(kid), err);
    }
    prop_ledger_unlock(s->ledger);
    return rc;
}

/* --- all of it --------------------------------------------------------------------------------- */

static void tell_rest(struct withdraw *s)
{
    if (strcmp(s->deleted, "name") == 0)
        left(s, "blobs stay in the layout", "");
    else
        left(s, "blobs stay until the registry cleans up", "");
    if (json_array_size(s->kids) > 0 && s->w->kbs == NULL)
        left(s, "its keys stay in the KBS", " (--key)");
    if (json_array_size(s->kids) > 0)
        left(s, "rules of the policy stay", " (propkey policy remove), as do KEKs on this machine");
}

static int withdraw(struct withdraw *s, json_t **ret, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    int rc = prop_publish_reference(s->w->ref, &s->reference, err);
    if (rc == 0)
        rc = prop_ledger_open_existing(s->w->ledger, &s->ledger, err);
    if (rc == 0)
        rc = read_image(s, err);
    if (rc == 0)
        rc = delete_name(s, err);
    if (rc == 0 && s->w->kbs != NULL)
        rc = delete_keys(s, err);
    if (rc == 0 && !s->w->dry_run && s->ledger != NULL)
        rc = prop_ledger_forget_image(s->ledger, s->reference, err);
    if (rc != 0)
        return rc;
    tell_rest(s);
    prop_auto_json json_t *doc = json_pack(
        "{s:s,s:s,s:s,s:O,s:O,s:O}", "reference", s->w->ref->text, "digest",
        prop_digest_format(&s->digest, digest), "deleted", s->deleted, "tags", s->tags, "keys",
        s->keys, "left", s->left);
    if (doc == NULL || (s->w->dry_run && json_object_set_new(doc, "dry_run", json_true()) != 0))
        return prop_err_nomem(err);
    *ret = PROP_TAKE(doc);
    return 0;
}

int prop_withdraw_run(const struct prop_withdraw *w, json_t **ret, struct prop_err *err)
{
    struct withdraw s = { .w = w, .kids = json_array(), .tags = json_array(),
                          .keys = json_array(), .left = json_array() };
    int rc = s.kids == NULL || s.tags == NULL || s.keys == NULL || s.left == NULL
                 ? prop_err_nomem(err)
                 : withdraw(&s, ret, err);
    prop_ledger_close(s.ledger);
    prop_free(s.reference);
    json_decref(s.kids);
    json_decref(s.tags);
    json_decref(s.keys);
    json_decref(s.left);
    return rc;
}
