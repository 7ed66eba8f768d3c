/* Upload, proof and name of the image. What was sent is not taken for there: it is read back. */
#include "publish/image.h"

#include "publish/policy.h"
#include "publish/present.h"
#include "util/mem.h"

#include <string.h>

int prop_publish_image_send(struct prop_publish_state *s, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    if (s->unchanged)
        return prop_publish_step(s, err, "image", "'%s' holds this module already, under this key",
                                 s->p->dst->text);
    const struct prop_encrypt_options o = { .recipients = s->recipients, .title = s->p->title };
    int rc = prop_image_encrypt(s->src, s->dst, &o, &s->image, err);
    if (rc != 0)
        return rc;
    s->image_sent = true;
    if (prop_src_is_bare(s->src) && !s->image.is_wasm)
        prop_publish_warn(s, "'%s' does not begin as a WebAssembly module does", s->p->src->text);
    return prop_publish_step(s, err, "image", "%llu bytes encrypted and sent, no name yet: %s",
                             (unsigned long long)s->image.bytes,
                             prop_digest_format(&s->image.manifest, digest));
}

/* --- proof ------------------------------------------------------------------------------------- */

static int wrong(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_VERIFY, "proof", "what lies at the destination is not what "
                                                        "was sent: %s", what);
}

static int prove_layers(struct prop_publish_state *s, const struct prop_manifest *m,
                        struct prop_err *err)
{
    if (m->n_layers != s->image.layers)
        return wrong(err, "the number of layers");
    for (size_t i = 0; i < m->n_layers; i++) {
        const struct prop_descriptor *layer = &m->layers[i];
        bool there = false;
        if (!prop_layer_is_encrypted(layer))
            return wrong(err, "a layer is not encrypted");
        if (i == 0 && !prop_digest_equal(&layer->digest, &s->image.layer))
            return wrong(err, "the first layer is another");
        int rc = prop_recipients_verify(s->recipients, layer, i == 0 ? &s->image.plain : NULL, err);
        if (rc == 0)
            rc = prop_dst_has_blob(s->dst, &layer->digest, layer->size, &there, err);
        if (rc != 0)
            return prop_err_wrap(err, "layer %zu of %zu", i + 1, m->n_layers);
        if (!there)
            return wrong(err, "a layer is missing");
    }
    return 0;
}

static int prove_image(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    bool read = false, there = false;
    int rc = prop_publish_read_back(s, &s->image.manifest, &read, &m, err);
    if (rc != 0)
        return rc;
    if (read) {
        rc = prove_layers(s, &m, err);
        return rc == 0 ? prop_publish_proved(s, "image", "manifest read back by digest; every layer is "
                                                         "there, encrypted, and opens with the key",
                                             err)
                       : rc;
    }
    rc = prop_dst_has_blob(s->dst, &s->image.layer, s->image.bytes, &there, err);
    if (rc == 0 && s->image.layers == 1 && !there)
        rc = wrong(err, "the layer is missing");
    return rc == 0 ? prop_publish_proved(s, "image", "layer is there; the key was checked when it was "
                                                     "wrapped",
                                         err)
                   : rc;
}

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
    int rc = prove_image(s, err);
    if (rc == 0)
        rc = prove_key(s, err);
    if (rc == 0)
        rc = prop_publish_policy_prove(s, err);
    if (rc == 0)
        rc = prop_publish_step(s, err, "proof", "read back and proved");
    return rc;
}

/* --- the name ---------------------------------------------------------------------------------- */

static int check_unmoved(struct prop_publish_state *s, struct prop_err *err)
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
    if (there == s->had_tag && (!there || prop_digest_equal(&now, &s->before)))
        return 0;
    (void)prop_err_set_id(err, PROP_E_EXISTS, "tag-changed",
                          "somebody else moved '%s' while this ran", s->p->dst->text);
    return prop_err_hint(err, "look at what is there now, then publish again");
}

int prop_publish_image_tag(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_digest now;
    if (s->unchanged)
        return 0;
    int rc = check_unmoved(s, err);
    if (rc != 0)
        return rc;
    s->tag_tried = true;
    rc = prop_dst_tag(s->dst, err);
    if (rc != 0) {
        /* The answer may have been lost behind a change that was made. */
        int look = prop_dst_current(s->dst, &now, NULL);
        bool moved = look == 0 && prop_digest_equal(&now, &s->image.manifest);
        s->tag_unsure = !moved && look != 0 && look != PROP_E_NOTFOUND;
        if (!moved)
            return prop_err_wrap(err, "name the image '%s'", s->p->dst->text);
        prop_err_clear(err);
    }
    return prop_publish_step(s, err, "name", "'%s' names the image now", s->p->dst->text);
}
