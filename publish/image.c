/* Upload, proof and name of the image. What was sent is not taken for there: it is read back. */
#include "publish/image.h"

#include "publish/key.h"
#include "publish/policy.h"
#include "publish/present.h"
#include "publish/proof.h"
#include "publish/record.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>
#include <time.h>

enum { name_looks = 4, name_nap_ms = 100 };

static json_t *sent_detail(const struct prop_publish_state *s)
{
    char manifest[PROP_DIGEST_TEXT], layer[PROP_DIGEST_TEXT], plain[PROP_DIGEST_TEXT];
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:b,s:b,s:O}", "manifest",
                     prop_digest_format(&s->image.manifest, manifest), "layer",
                     prop_digest_format(&s->image.layer, layer), "plain",
                     prop_digest_format(&s->image.plain, plain), "bytes",
                     (json_int_t)s->image.bytes, "layers", (json_int_t)s->image.layers, "wasm",
                     s->image.is_wasm, "unchanged", s->unchanged, "images", s->sent);
}

/* What an earlier process of this run sent. */
static bool take_noted(struct prop_publish_state *s)
{
    const json_t *noted = prop_publish_record_of(s, "image", true);
    json_t *images = json_object_get(noted, "images");
    if (json_array_size(images) == 0 || !prop_publish_record_digest(noted, "manifest", &s->image.manifest) ||
        !prop_publish_record_digest(noted, "layer", &s->image.layer) ||
        !prop_publish_record_digest(noted, "plain", &s->image.plain))
        return false;
    s->image.bytes = (uint64_t)json_integer_value(json_object_get(noted, "bytes"));
    s->image.layers = (size_t)json_integer_value(json_object_get(noted, "layers"));
    s->image.images = json_array_size(images);
    s->image.is_wasm = json_is_true(json_object_get(noted, "wasm"));
    json_decref(s->sent);
    s->sent = json_incref(images);
    s->unchanged = json_is_true(json_object_get(noted, "unchanged"));
    return true;
}

static bool is_named(const struct prop_publish_state *s)
{
    struct prop_digest now;
    return prop_dst_current(s->dst, &now, NULL) == 0 &&
           prop_digest_equal(&now, &s->image.manifest);
}

int prop_publish_image_sent(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    struct prop_err inner = PROP_ERR_INIT;
    if (s->dst == NULL || !take_noted(s))
        return 0;
    /* An archive or a folder is written anew as a whole, unless that was all that was left to do. */
    bool kept = prop_publish_reads_back(s);
    int rc = kept ? prop_dst_read_back(s->dst, &s->image.manifest, &bytes, &inner)
                  : PROP_E_NOTFOUND;
    if (rc == PROP_E_NOTFOUND && !s->unchanged) {
        s->image_sent = !kept && is_named(s);
        if (!s->image_sent) {
            memset(&s->image, 0, sizeof s->image);
            json_decref(s->sent);
            s->sent = json_array();
        }
        return s->sent != NULL ? 0 : prop_err_nomem(err);
    }
    if (rc == 0)
        rc = prop_manifest_type(bytes.data, bytes.len, NULL, "the manifest", &type, &inner);
    /* Again by digest, so that it can be named. */
    if (rc == 0 && !s->unchanged)
        rc = prop_dst_manifest(s->dst, bytes.data, bytes.len, type, &s->image.manifest, &inner);
    s->image_sent = rc == 0;
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

static int encrypt(struct prop_publish_state *s, struct prop_err *err)
{
    const struct prop_encrypt_options o = { .recipients = s->recipients, .title = s->p->title,
                                            .images = s->sent };
    bool noted = !s->resumed && prop_publish_record_of(s, "image", false) != NULL;
    int rc = noted ? 0 : prop_publish_record_begin(s, "image", json_object(), err);
    if (rc == 0)
        rc = prop_image_encrypt(s->src, s->dst, &o, &s->image, err);
    if (rc != 0)
        return rc;
    s->image_sent = true;
    if (prop_src_is_bare(s->src) && !s->image.is_wasm)
        prop_publish_warn(s, "'%s' does not begin as a WebAssembly module does", s->p->src->text);
    return prop_publish_record_done(s, "image", sent_detail(s), err);
}

int prop_publish_image_send(struct prop_publish_state *s, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    if (s->unchanged) {
        int rc = prop_publish_record_done(s, "image", sent_detail(s), err);
        return rc == 0 ? prop_publish_step(s, err, "image",
                                           "'%s' holds this module already, under this key",
                                           s->p->dst->text)
                       : rc;
    }
    if (s->image_sent)
        return prop_publish_step(s, err, "image", "the image was sent before: %s",
                                 prop_digest_format(&s->image.manifest, digest));
    int rc = encrypt(s, err);
    return rc == 0 ? prop_publish_step(s, err, "image",
                                       "%llu bytes encrypted and sent, no name yet: %s",
                                       (unsigned long long)s->image.bytes,
                                       prop_digest_format(&s->image.manifest, digest))
                   : rc;
}

/* --- proof ------------------------------------------------------------------------------------- */

/* Is there a rule that must let this machine's evidence in, whatever the verifier says of it? */
static bool named_without_tier(const struct prop_publish_state *s, const char *tee)
{
    size_t i;
    json_t *rule;
    json_array_foreach (s->rules, i, rule) {
        const char *name = json_string_value(json_object_get(rule, "tee"));
        if (name != NULL && strcmp(name, tee) == 0 && json_object_get(rule, "tier") == NULL &&
            json_object_get(rule, "measurement") == NULL)
            return true;
    }
    return false;
}

/* Fetch the key as a guest would, where this machine was told that it can be one. */
static int prove_key(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *got = NULL;
    const struct prop_kbs_attest how = { .tee = s->p->tee };
    if (s->key_there)
        return prop_publish_proved(s, "key", "fetched from the KBS as a guest would", err);
    if (s->p->tee == PROP_TEE_NONE)
        return prop_publish_proved(s, "key", "taken by the KBS; only a guest can read it back", err);
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kbs_get_resource(s->p->kbs, &how, &s->kid, &got, &inner);
    if (rc == PROP_E_DENIED && !named_without_tier(s, s->p->tee == PROP_TEE_SAMPLE ? "sample" : ""))
        return prop_publish_proved(s, "key", "taken by the KBS, which denies it to this machine", err);
    if (rc == PROP_E_NOTFOUND)
        return prop_err_set_id(err, PROP_E_VERIFY, "proof",
                               "the KBS took the key '%s' and does not have it", s->kid_uri);
    if (rc != 0) {
        if (err != NULL)
            *err = inner;
        return prop_err_wrap(err, "fetch the key back");
    }
    if (!prop_secret_equal(got, s->kek))
        return prop_err_set_id(err, PROP_E_VERIFY, "proof",
                               "the KBS gives out another key under '%s'", s->kid_uri);
    return prop_publish_proved(s, "key", "fetched from the KBS as a guest would", err);
}

int prop_publish_prove(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = prop_publish_record_begin(s, "proof", json_object(), err);
    if (rc == 0)
        rc = prop_publish_prove_images(s, err);
    if (rc == 0)
        rc = prove_key(s, err);
    if (rc == 0)
        rc = prop_publish_policy_prove(s, err);
    if (rc == 0)
        rc = prop_publish_record_done(s, "proof", json_object(), err);
    return rc == 0 ? prop_publish_step(s, err, "proof", "read back and proved") : rc;
}

/* --- the name ---------------------------------------------------------------------------------- */

int prop_publish_image_unmoved(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    struct prop_digest now;
    int rc = prop_dst_current(s->dst, &now, &inner);
    if (rc != 0 && rc != PROP_E_NOTFOUND) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    bool there = rc == 0;
    s->tag_moved = there && s->resumed && prop_digest_equal(&now, &s->image.manifest);
    if (s->tag_moved || (there == s->had_tag && (!there || prop_digest_equal(&now, &s->before))))
        return 0;
    (void)prop_err_set_id(err, PROP_E_EXISTS, "tag-changed",
                          "somebody else moved '%s' while this ran", s->p->dst->text);
    return prop_err_hint(err, "look at what is there now, then publish again");
}

static int begin_tag(struct prop_publish_state *s, struct prop_err *err)
{
    char before[PROP_DIGEST_TEXT], after[PROP_DIGEST_TEXT];
    return prop_publish_record_begin(
        s, "tag",
        json_pack("{s:s*,s:s}", "before",
                  s->had_tag ? prop_digest_format(&s->before, before) : NULL, "after",
                  prop_digest_format(&s->image.manifest, after)),
        err);
}

/* A registry that took the name and does not keep it has lied, or has a cache before it that shows
 * the old state for a while: the name may be moved, so nothing is taken back at once. What somebody
 * else made of the name meanwhile is "tag-changed". */
static int look_at_name(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_digest now;
    struct prop_err inner = PROP_ERR_INIT;
    int rc = 0;
    for (unsigned i = 0; i < name_looks; i++) {
        const struct timespec nap = { 0, (long)i * name_nap_ms * 1000000L };
        (void)nanosleep(&nap, NULL);
        rc = prop_dst_current(s->dst, &now, &inner);
        if (rc == 0 && prop_digest_equal(&now, &s->image.manifest))
            return 0;
        if (rc == 0 && !(s->had_tag && prop_digest_equal(&now, &s->before)))
            return prop_err_set_id(err, PROP_E_EXISTS, "tag-changed",
                                   "somebody else moved '%s' right after it named the image",
                                   s->p->dst->text);
        if (rc != 0 && rc != PROP_E_NOTFOUND)
            break;
    }
    if (rc != 0 && rc != PROP_E_NOTFOUND) { /* the registry said that it is done: that stands */
        prop_publish_warn(s, "the name could not be looked at after it was moved: %s", inner.message);
        return 0;
    }
    s->tag_unsure = true;
    return prop_err_set_id(err, PROP_E_VERIFY, "proof",
                           "'%s' was given to the image, and does not name it", s->p->dst->text);
}

static int move(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_digest now;
    s->tag_tried = true;
    int rc = prop_dst_tag(s->dst, err);
    if (rc == 0) {
        rc = look_at_name(s, err);
        s->tag_moved = rc == 0;
        return rc;
    }
    /* The answer may have been lost behind a change that was made. */
    int look = prop_dst_current(s->dst, &now, NULL);
    s->tag_moved = look == 0 && prop_digest_equal(&now, &s->image.manifest);
    s->tag_unsure = !s->tag_moved && look != 0 && look != PROP_E_NOTFOUND;
    if (!s->tag_moved)
        return prop_err_wrap(err, "name the image '%s'", s->p->dst->text);
    prop_err_clear(err);
    return 0;
}

/* The look comes right before the move, with nothing but the journal's entry between them: no
 * registry can compare and set. */
int prop_publish_image_tag(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = s->unchanged ? prop_publish_image_unmoved(s, err) : begin_tag(s, err);
    if (s->unchanged && rc == 0)
        return prop_publish_key_named(s, err);
    if (rc != 0)
        return rc;
    rc = prop_publish_image_unmoved(s, err);
    if (rc != 0)
        prop_publish_record_refused(s, "tag");
    if (rc == 0 && !s->tag_moved)
        rc = move(s, err);
    if (rc == 0)
        rc = prop_publish_key_named(s, err);
    if (rc == 0)
        rc = prop_publish_record_done(s, "tag", json_object(), err);
    if (rc == 0)
        rc = prop_publish_proved(s, "name", "moved last, after a last look at it; another machine "
                                            "could only have come in between",
                                 err);
    return rc == 0 ? prop_publish_step(s, err, "name",
                                       "'%s' names the image now; nobody else had moved it "
                                       "(best effort across machines)",
                                       s->p->dst->text)
                   : rc;
}
