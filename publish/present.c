/* Idempotence starts here: the same module published again under the key that its image has already
 * must not become another image. */
#include "publish/present.h"

#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "publish/key.h"
#include "publish/source.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

static int open_and_read(const struct prop_location *loc, const struct prop_oci_options *oci,
                         struct prop_images *ret, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    int rc = prop_src_open(loc, oci, &src, err);
    return rc == 0 ? prop_images_read(src, "the manifest", ret, err) : rc;
}

int prop_publish_present_read(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    struct prop_digest now;
    int rc = prop_dst_current(s->dst, &now, &inner);
    if (rc == PROP_E_NOTFOUND)
        return 0;
    if (rc == 0) {
        s->had_tag = true;
        s->before = now;
        rc = open_and_read(s->p->dst, s->p->oci, &s->present, &inner);
        if (rc == PROP_E_UNSUPPORTED || rc == PROP_E_INPUT || rc == PROP_E_NOTFOUND ||
            rc == PROP_E_VERIFY || rc == PROP_E_LIMIT)
            return 0; /* whatever it is, it may be replaced */
    }
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

/* --- the same image? --------------------------------------------------------------------------- */

/* The name and KEK to compare with: those asked for, else the present image's as far as this
 * machine made them. False: there are none. */
static bool candidate_for(const struct prop_publish_state *s, const char *kid,
                          struct prop_secret **ret_kek)
{
    struct prop_resource_id id, wanted;
    char fingerprint[17];
    if (prop_resource_id_parse(kid, false, &id, NULL) != 0)
        return false;
    if (s->p->kid != NULL && (prop_resource_id_parse(s->p->kid, false, &wanted, NULL) != 0 ||
                              !prop_resource_id_same(&id, &wanted)))
        return false;
    if (s->p->kek_file != NULL)
        return prop_kek_read(s->p->kek_file, ret_kek, NULL) == 0;
    prop_auto_free char *path = prop_resource_id_path(&id);
    return path != NULL && s->ledger != NULL &&
           prop_ledger_find_key(s->ledger, prop_kbs_url(s->p->kbs), path, fingerprint, NULL) == 0 &&
           prop_kek_store_find(fingerprint, ret_kek, NULL) == 0;
}

static int find_in_layer(struct prop_publish_state *s, const struct prop_descriptor *layer,
                         bool *ret, struct prop_err *err)
{
    prop_auto_json json_t *kids = NULL;
    size_t i;
    json_t *kid;
    int rc = prop_layer_is_encrypted(layer) ? prop_publish_layer_kids(layer, &kids, err) : 0;
    json_array_foreach (kids, i, kid) {
        if (rc == 0 && !*ret && candidate_for(s, json_string_value(kid), &s->kek)) {
            *ret = true;
            rc = prop_publish_key_name(s, json_string_value(kid), err);
        }
    }
    return rc;
}

static int find_candidate(struct prop_publish_state *s, bool *ret, struct prop_err *err)
{
    int rc = 0;
    *ret = false;
    for (size_t i = 0; i < s->present.n; i++)
        for (size_t k = 0; rc == 0 && !*ret && k < s->present.all[i].m.n_layers; k++)
            rc = find_in_layer(s, &s->present.all[i].m.layers[k], ret, err);
    return rc;
}

/* Is this layer there, and does it open to this plaintext for every recipient of ours? */
static bool layer_same(struct prop_publish_state *s, const struct prop_recipients *to,
                       const struct prop_descriptor *layer, const struct prop_digest *plain)
{
    bool there = false;
    return prop_layer_is_encrypted(layer) && prop_recipients_verify(to, layer, plain, NULL) == 0 &&
           prop_dst_has_blob(s->dst, &layer->digest, layer->size, &there, NULL) == 0 && there;
}

/* The present images and their layers become this run's, one by one. */
static int adopt_image(struct prop_publish_state *s, size_t at, struct prop_err *err)
{
    const struct prop_images_one *one = &s->present.all[at];
    char text[PROP_DIGEST_TEXT];
    return json_array_append_new(s->sent,
                                 json_pack("{s:s,s:s*,s:[]}", "digest",
                                           prop_digest_format(&one->digest, text), "platform",
                                           *one->platform ? one->platform : NULL, "layers")) == 0
               ? 0
               : prop_err_nomem(err);
}

static int adopt_layer(struct prop_publish_state *s, const struct prop_descriptor *layer,
                       const struct prop_digest *plain, struct prop_err *err)
{
    char cipher[PROP_DIGEST_TEXT], clear[PROP_DIGEST_TEXT];
    json_t *rows = json_object_get(json_array_get(s->sent, json_array_size(s->sent) - 1), "layers");
    if (json_array_append_new(rows, json_pack("{s:s,s:s,s:I,s:s,s:s}", "media_type",
                                              layer->media_type, "digest",
                                              prop_digest_format(&layer->digest, cipher), "size",
                                              (json_int_t)layer->size, "plain",
                                              prop_digest_format(plain, clear), "action",
                                              "encrypted")) != 0)
        return prop_err_nomem(err);
    if (s->image.layers++ == 0) {
        s->image.layer = layer->digest;
        s->image.plain = *plain;
    }
    s->image.bytes += layer->size;
    return 0;
}

static bool text_same(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static int bare_same(struct prop_publish_state *s, const struct prop_recipients *to, bool *ret,
                     struct prop_err *err)
{
    struct prop_digest plain;
    const struct prop_manifest *m = &s->present.all[0].m;
    const char *title = s->p->title != NULL ? s->p->title : prop_src_bare_title(s->src);
    *ret = false;
    if (s->present.index != NULL || m->n_layers != 1 ||
        !text_same(prop_descriptor_annotation(&m->layers[0], PROP_ANNOTATION_TITLE), title))
        return 0;
    int rc = prop_publish_source_hash(s, &plain, ret, err);
    if (rc != 0 || !*ret)
        return rc;
    *ret = layer_same(s, to, &m->layers[0], &plain);
    rc = *ret ? adopt_image(s, 0, err) : 0;
    return rc == 0 && *ret ? adopt_layer(s, &m->layers[0], &plain, err) : rc;
}

static const char enc_prefix[] = "org.opencontainers.image.enc.";

/* A layer's annotations but for those that encryption adds: how many, and are they all in `other`? */
static size_t plain_annotations(const json_t *all, const json_t *other, bool *same)
{
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)all, key, value) {
        if (prop_starts_with(key, enc_prefix))
            continue;
        n++;
        *same = *same && json_equal(value, json_object_get(other, key));
    }
    return n;
}

static bool annotations_same(const json_t *a, const json_t *b)
{
    bool same = true;
    return plain_annotations(a, b, &same) == plain_annotations(b, a, &same) && same;
}

/* What is kept as it is when an image, or an index, is encrypted. */
static bool members_same(const json_t *a, const json_t *b)
{
    static const char *const names[] = { "annotations", "subject", "artifactType" };
    bool same = true;
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        const json_t *of_a = json_object_get(a, names[i]), *of_b = json_object_get(b, names[i]);
        same = same && (of_a == of_b || json_equal(of_a, of_b));
    }
    return same;
}

/* One image of the source and the one in its place at the destination. */
static int one_same(struct prop_publish_state *s, const struct prop_recipients *to,
                    const struct prop_images *from, size_t at, bool *ret, struct prop_err *err)
{
    const struct prop_manifest *m = &from->all[at].m, *is = &s->present.all[at].m;
    int rc = 0;
    *ret = m->n_layers == is->n_layers && members_same(m->json, is->json) &&
           prop_digest_equal(&m->config.digest, &is->config.digest) &&
           strcmp(from->all[at].platform, s->present.all[at].platform) == 0;
    if (*ret)
        rc = adopt_image(s, at, err);
    for (size_t i = 0; rc == 0 && *ret && i < m->n_layers; i++) {
        *ret = m->layers[i].digest.alg == PROP_SHA256 &&
               annotations_same(json_object_get(m->layers[i].json, "annotations"),
                                json_object_get(is->layers[i].json, "annotations")) &&
               layer_same(s, to, &is->layers[i], &m->layers[i].digest);
        if (*ret)
            rc = adopt_layer(s, &is->layers[i], &m->layers[i].digest, err);
    }
    return rc;
}

static int image_same(struct prop_publish_state *s, const struct prop_recipients *to, bool *ret,
                      struct prop_err *err)
{
    prop_auto_images struct prop_images from = { .n = 0 };
    int rc = prop_images_read(s->src, "the source's manifest", &from, err);
    if (rc != 0)
        return rc;
    *ret = from.n == s->present.n && (from.index == NULL) == (s->present.index == NULL) &&
           members_same(from.index, s->present.index);
    for (size_t i = 0; rc == 0 && *ret && i < from.n; i++)
        rc = one_same(s, to, &from, i, ret, err);
    return rc;
}

/* Take the present image as this run's outcome. */
static void adopt(struct prop_publish_state *s)
{
    s->unchanged = true;
    s->image.manifest = s->before;
    s->image.images = s->present.n;
}

static void forget_candidate(struct prop_publish_state *s)
{
    prop_secret_free(s->kek);
    s->kek = NULL;
    prop_free(s->kid_path);
    prop_free(s->kid_uri);
    s->kid_path = NULL;
    s->kid_uri = NULL;
    memset(&s->image, 0, sizeof s->image);
    (void)json_array_clear(s->sent);
}

int prop_publish_present_adopt(struct prop_publish_state *s, struct prop_err *err)
{
    bool same = false;
    struct prop_recipients *to = NULL;
    if (s->present.n == 0 || s->present.nested || s->p->replace_key)
        return 0;
    int rc = find_candidate(s, &same, err);
    if (rc != 0 || !same)
        return rc;
    rc = prop_publish_recipients(s, &to, err);
    if (rc == 0)
        rc = prop_src_is_bare(s->src) ? bare_same(s, to, &same, err)
                                      : image_same(s, to, &same, err);
    prop_recipients_free(to);
    if (rc == 0 && same)
        adopt(s);
    else
        forget_candidate(s);
    return rc;
}

int prop_publish_recipients(const struct prop_publish_state *s, struct prop_recipients **ret,
                            struct prop_err *err)
{
    struct prop_recipients *r = NULL;
    int rc = prop_recipients_new(&r, err);
    if (rc == 0)
        rc = prop_recipients_add_kek(r, s->kek, &s->kid, err);
    for (size_t i = 0; rc == 0 && i < s->p->n_recipients; i++)
        rc = prop_recipients_add(r, s->p->recipients[i], err);
    if (rc != 0) {
        prop_recipients_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

/* --- reading back ------------------------------------------------------------------------------ */

int prop_publish_open_pinned(const struct prop_publish_state *s, const struct prop_digest *digest,
                             struct prop_src **ret, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    const struct prop_ref *ref = &s->p->dst->ref;
    struct prop_location pinned;
    prop_auto_free char *where = prop_asprintf("docker://%s/%s@%s", ref->domain, ref->path,
                                               prop_digest_format(digest, text));
    if (where == NULL)
        return prop_err_nomem(err);
    int rc = prop_location_parse(where, &pinned, err);
    if (rc != 0)
        return rc;
    rc = prop_src_open(&pinned, s->p->oci, ret, err);
    prop_location_release(&pinned);
    return rc;
}

bool prop_publish_reads_back(const struct prop_publish_state *s)
{
    return s->p->dst->transport == PROP_T_DOCKER || s->p->dst->transport == PROP_T_OCI;
}

int prop_publish_read_back(const struct prop_publish_state *s, const struct prop_digest *digest,
                           struct prop_buf *out, struct prop_err *err)
{
    int rc = prop_dst_read_back(s->dst, digest, out, err);
    return rc != 0 ? prop_err_wrap(err, "read the image back") : 0;
}
