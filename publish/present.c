/* Idempotence starts here: the same module published again under the key that its image has already
 * must not become another image. */
#include "publish/present.h"

#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "oci/image_manifest.h"
#include "publish/key.h"
#include "publish/source.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

static int parse_manifest(struct prop_src *src, struct prop_manifest *ret, struct prop_err *err)
{
    return prop_image_manifest(src, "the manifest", ret, NULL, NULL, err);
}

static int open_and_parse(const struct prop_location *loc, const struct prop_oci_options *oci,
                          struct prop_manifest *ret, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    int rc = prop_src_open(loc, oci, &src, err);
    return rc == 0 ? parse_manifest(src, ret, err) : rc;
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
        rc = open_and_parse(s->p->dst, s->p->oci, &s->present, &inner);
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

static int find_candidate(struct prop_publish_state *s, bool *ret, struct prop_err *err)
{
    for (size_t i = 0; i < s->present.n_layers; i++) {
        prop_auto_json json_t *kids = NULL;
        if (!prop_layer_is_encrypted(&s->present.layers[i]))
            continue;
        int rc = prop_publish_layer_kids(&s->present.layers[i], &kids, err);
        if (rc != 0)
            return rc;
        for (size_t k = 0; k < json_array_size(kids); k++) {
            const char *kid = json_string_value(json_array_get(kids, k));
            if (candidate_for(s, kid, &s->kek)) {
                *ret = true;
                return prop_publish_key_name(s, kid, err);
            }
        }
    }
    *ret = false;
    return 0;
}

/* Is this layer there, and does it open to this plaintext for every recipient of ours? */
static bool layer_same(struct prop_publish_state *s, const struct prop_recipients *to,
                       const struct prop_descriptor *layer, const struct prop_digest *plain)
{
    bool there = false;
    return prop_layer_is_encrypted(layer) && prop_recipients_verify(to, layer, plain, NULL) == 0 &&
           prop_dst_has_blob(s->dst, &layer->digest, layer->size, &there, NULL) == 0 && there;
}

static bool text_same(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static int bare_same(struct prop_publish_state *s, const struct prop_recipients *to, bool *ret,
                     struct prop_err *err)
{
    struct prop_digest plain;
    const struct prop_descriptor *layer = &s->present.layers[0];
    const char *title = s->p->title != NULL ? s->p->title : prop_src_bare_title(s->src);
    *ret = false;
    if (s->present.n_layers != 1 ||
        !text_same(prop_descriptor_annotation(layer, PROP_ANNOTATION_TITLE), title))
        return 0;
    int rc = prop_publish_source_hash(s, &plain, ret, err);
    if (rc != 0 || !*ret)
        return rc;
    *ret = layer_same(s, to, layer, &plain);
    s->image.plain = plain;
    return 0;
}

static int image_same(struct prop_publish_state *s, const struct prop_recipients *to, bool *ret,
                      struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    int rc = parse_manifest(s->src, &m, err);
    if (rc != 0)
        return rc;
    *ret = m.n_layers == s->present.n_layers &&
           prop_digest_equal(&m.config.digest, &s->present.config.digest);
    for (size_t i = 0; *ret && i < m.n_layers; i++)
        *ret = m.layers[i].digest.alg == PROP_SHA256 &&
               layer_same(s, to, &s->present.layers[i], &m.layers[i].digest);
    if (m.n_layers > 0)
        s->image.plain = m.layers[0].digest;
    return 0;
}

/* Take the present image as this run's outcome. */
static void adopt(struct prop_publish_state *s)
{
    s->unchanged = true;
    s->image.manifest = s->before;
    s->image.layer = s->present.layers[0].digest;
    s->image.layers = s->present.n_layers;
    for (size_t i = 0; i < s->present.n_layers; i++)
        s->image.bytes += s->present.layers[i].size;
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
}

int prop_publish_present_adopt(struct prop_publish_state *s, struct prop_err *err)
{
    bool same = false;
    struct prop_recipients *to = NULL;
    if (s->present.json == NULL || s->present.n_layers == 0 || s->p->replace_key)
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

static int read_registry(const struct prop_publish_state *s, const struct prop_digest *digest,
                         struct prop_manifest *ret, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    int rc = prop_publish_open_pinned(s, digest, &src, err);
    return rc == 0 ? parse_manifest(src, ret, err) : rc;
}

/* A layout keeps manifests among its blobs (image-layout.md of the OCI image specification). */
static int read_layout(const struct prop_publish_state *s, const struct prop_digest *digest,
                       struct prop_manifest *ret, struct prop_err *err)
{
    char hex[PROP_DIGEST_TEXT];
    struct prop_digest got;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *path = prop_asprintf("%s/blobs/%s/%s", s->p->dst->path,
                                              prop_hash_name(digest->alg),
                                              prop_digest_hex(digest, hex));
    if (path == NULL)
        return prop_err_nomem(err);
    int rc = prop_file_read(path, &bytes, err);
    if (rc == 0)
        rc = prop_digest_of(digest->alg, bytes.data, bytes.len, &got, err);
    if (rc == 0)
        rc = prop_digest_check(&got, digest, "the manifest", err);
    return rc == 0 ? prop_manifest_parse(bytes.data, bytes.len, NULL, "the manifest", ret, err)
                   : rc;
}

int prop_publish_read_back(const struct prop_publish_state *s, const struct prop_digest *digest,
                           bool *ret_read, struct prop_manifest *ret, struct prop_err *err)
{
    int rc = 0;
    *ret_read = true;
    if (s->p->dst->transport == PROP_T_DOCKER)
        rc = read_registry(s, digest, ret, err);
    else if (s->p->dst->transport == PROP_T_OCI)
        rc = read_layout(s, digest, ret, err);
    else
        *ret_read = false;
    return rc != 0 ? prop_err_wrap(err, "read the image back") : 0;
}
