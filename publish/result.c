/* Result documents. The run command in them is meant to be pasted: what the shell would take apart
 * is quoted. */
#include "publish/result.h"

#include "crypto/digest.h"
#include "publish/policy.h"
#include "publish/record.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

static int put(json_t *o, const char *key, json_t *value, struct prop_err *err)
{
    return json_object_set_new(o, key, value) == 0 ? 0 : prop_err_nomem(err);
}

static int put_digest(json_t *o, const char *key, const struct prop_digest *d, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    return put(o, key, json_string(prop_digest_format(d, text)), err);
}

/* One word for the shell. */
static int put_word(struct prop_buf *out, const char *word, struct prop_err *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./:@%+=,[]";
    if (*word != 0 && word[strspn(word, plain)] == 0)
        return prop_buf_puts(out, word, err);
    int rc = prop_buf_puts(out, "'", err);
    for (; rc == 0 && *word != 0; word++)
        rc = *word == '\'' ? prop_buf_puts(out, "'\\''", err) : prop_buf_add(out, word, 1, err);
    return rc == 0 ? prop_buf_puts(out, "'", err) : rc;
}

static bool holds_module(const json_t *image)
{
    size_t i;
    json_t *layer;
    json_array_foreach (json_object_get(image, "layers"), i, layer) {
        const char *type = json_string_value(json_object_get(layer, "media_type"));
        if (type != NULL && (prop_starts_with(type, PROP_MT_WASM_LAYER) ||
                             prop_starts_with(type, PROP_MT_CNCF_LAYER)))
            return true;
    }
    return false;
}

/* What a guest is told to run: a guest runs one image, so of an index the first with a module.
 * False: there is none. */
static bool image_to_run(const struct prop_publish_state *s, struct prop_digest *ret)
{
    size_t i;
    json_t *image;
    *ret = s->image.manifest;
    if (!prop_publish_is_index(s))
        return true;
    /* a folder is read from its top only */
    json_array_foreach (s->sent, i, image)
        if (s->p->dst->transport == PROP_T_DOCKER && holds_module(image))
            return prop_publish_record_digest(image, "digest", ret);
    return false;
}

/* An image by digest: what cannot be moved under anybody's feet. */
static int pinned_ref(const struct prop_publish_state *s, const struct prop_digest *to, char **ret,
                      struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    const struct prop_location *dst = s->p->dst;
    (void)prop_digest_format(to, digest);
    char *text = dst->transport == PROP_T_DOCKER
                     ? prop_asprintf("%s/%s@%s", dst->ref.domain, dst->ref.path, digest)
                     : prop_asprintf("%s@%s", dst->text, digest);
    if (text == NULL)
        return prop_err_nomem(err);
    *ret = text;
    return 0;
}

static int run_command(const struct prop_publish_state *s, const struct prop_digest *image,
                       struct prop_buf *out, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    prop_auto_free char *pinned = NULL;
    bool docker = s->p->dst->transport == PROP_T_DOCKER;
    int rc = pinned_ref(s, image, &pinned, err);
    if (rc == 0)
        rc = prop_buf_puts(out, "propcvm run ", err);
    if (rc == 0)
        rc = put_word(out, docker ? pinned : s->p->dst->text, err);
    if (rc == 0 && !docker)
        rc = prop_buf_printf(out, err, " --digest %s", prop_digest_format(image, digest));
    if (rc == 0)
        rc = prop_buf_puts(out, " --kbs ", err);
    if (rc == 0)
        rc = put_word(out, prop_kbs_url(s->p->kbs), err);
    if (rc == 0 && s->insecure)
        rc = prop_buf_puts(out, " --tee sample", err);
    for (size_t i = 0; rc == 0 && i < s->p->n_run_options; i++) {
        rc = prop_buf_puts(out, " ", err);
        if (rc == 0)
            rc = put_word(out, s->p->run_options[i], err);
    }
    return rc;
}

static int put_policy(const struct prop_publish_state *s, json_t *o, struct prop_err *err)
{
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    const struct prop_publish_policy *p = &s->policy;
    if (!prop_publish_has_rules(s->p))
        return 0;
    int rc = prop_digest_of(PROP_SHA256, p->rego.data, p->rego.len, &digest, err);
    if (rc != 0)
        return rc;
    json_t *v = json_pack("{s:s, s:b, s:b, s:O}", "digest", prop_digest_format(&digest, text),
                          "changed", !p->same_as_last, "sent", p->sent, "rules", s->rules);
    rc = put(o, "policy", v, err);
    if (rc == 0 && s->p->policy_doc != NULL)
        rc = put(v, "document", json_string(s->p->policy_doc), err);
    return rc;
}

static int put_key(const struct prop_publish_state *s, json_t *o, struct prop_err *err)
{
    int rc = put(o, "kek_fingerprint", json_string(s->fingerprint), err);
    if (rc == 0 && s->kek_path != NULL)
        rc = put(o, "kek_file", json_string(s->kek_path), err);
    if (rc == 0 && s->insecure)
        rc = put(o, "insecure", json_true(), err);
    return rc;
}

static int put_image(const struct prop_publish_state *s, json_t *o, struct prop_err *err)
{
    int rc = put_digest(o, "digest", &s->image.manifest, err);
    if (rc == 0)
        rc = put_digest(o, "layer", &s->image.layer, err);
    if (rc == 0)
        rc = put_digest(o, "plaintext", &s->image.plain, err);
    if (rc == 0)
        rc = put(o, "size", json_integer((json_int_t)s->image.bytes), err);
    if (rc == 0)
        rc = put(o, "unchanged", json_boolean(s->unchanged && !s->policy.added), err);
    return rc;
}

/* Where other machines find it, and how a guest is told to run it. */
static int put_places(const struct prop_publish_state *s, json_t *o, struct prop_err *err)
{
    prop_auto_free char *pinned = NULL;
    prop_auto_buf struct prop_buf command = PROP_BUF_INIT(16384);
    struct prop_digest image;
    int rc = pinned_ref(s, &s->image.manifest, &pinned, err);
    if (rc == 0)
        rc = put(o, "pinned", json_string(pinned), err);
    if (rc != 0 || !image_to_run(s, &image))
        return rc;
    rc = run_command(s, &image, &command, err);
    return rc == 0 ? put(o, "run", json_string(prop_buf_str(&command)), err) : rc;
}

/* The images of an index, each with the reference that pins it. */
static int put_images(const struct prop_publish_state *s, json_t *o, struct prop_err *err)
{
    size_t i;
    json_t *image;
    json_t *list = json_array();
    int rc = put(o, "images", list, err);
    json_array_foreach (s->sent, i, image) {
        prop_auto_free char *pinned = NULL;
        struct prop_digest digest;
        if (rc == 0 && prop_publish_record_digest(image, "digest", &digest))
            rc = pinned_ref(s, &digest, &pinned, err);
        if (rc == 0 && json_array_append_new(
                           list, json_pack("{s:O,s:O*,s:s*,s:O}", "digest",
                                           json_object_get(image, "digest"), "platform",
                                           json_object_get(image, "platform"), "pinned",
                                           s->p->dst->transport == PROP_T_DOCKER ? pinned : NULL,
                                           "layers", json_object_get(image, "layers"))) != 0)
            rc = prop_err_nomem(err);
    }
    return rc;
}

int prop_publish_result(const struct prop_publish_state *s, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *o = json_pack("{s:s, s:s}", "reference", s->p->dst->text, "kid",
                                         s->kid_uri);
    if (o == NULL)
        return prop_err_nomem(err);
    int rc = put_image(s, o, err);
    if (rc == 0 && prop_publish_is_index(s))
        rc = put_images(s, o, err);
    if (rc == 0)
        rc = put_places(s, o, err);
    if (rc == 0)
        rc = put_key(s, o, err);
    if (rc == 0)
        rc = put_policy(s, o, err);
    if (rc == 0)
        rc = put(o, "proof", json_incref(s->proof), err);
    if (rc == 0)
        rc = put(o, "resumed", json_boolean(s->resumed), err);
    if (rc == 0)
        rc = put(o, "steps", json_incref(s->steps), err);
    if (rc == 0)
        rc = put(o, "ms", json_integer((json_int_t)(prop_now_ms() - s->begun_ms)), err);
    if (rc == 0)
        *ret = PROP_TAKE(o);
    return rc;
}

/* --- the plan ---------------------------------------------------------------------------------- */

/* A fresh KEK's fingerprint is in its name, and the KEK of a dry run is thrown away. */
static int planned_name(const struct prop_publish_state *s, char **ret, struct prop_err *err)
{
    char *text = prop_strdup(s->kid_uri);
    if (text == NULL)
        return prop_err_nomem(err);
    char *at = s->kek_fresh && s->p->kid == NULL ? strstr(text, s->fingerprint) : NULL;
    if (at != NULL) {
        *at = 0;
        char *open = prop_asprintf("%s<fingerprint>", text);
        prop_free(text);
        if (open == NULL)
            return prop_err_nomem(err);
        text = open;
    }
    *ret = text;
    return 0;
}

static int plan_policy(struct prop_publish_state *s, struct prop_err *err)
{
    if (!prop_publish_has_rules(s->p))
        return prop_publish_step(s, err, "policy", "the policy of the KBS is left alone");
    int rc = prop_publish_step(s, err, "policy", "send the policy with %zu new rule%s to %s",
                               s->policy.added, s->policy.added == 1 ? "" : "s",
                               prop_kbs_url(s->p->kbs));
    if (rc == 0 && s->policy.file_changes && s->p->policy_doc != NULL)
        rc = prop_publish_step(s, err, "document", "add the rule to '%s'", s->p->policy_doc);
    return rc;
}

static int plan_steps(struct prop_publish_state *s, const char *name, struct prop_err *err)
{
    int rc = 0;
    if (s->kek_fresh)
        rc = prop_publish_step(s, err, "kek", "make a new KEK and keep it on this machine");
    if (rc == 0 && s->unchanged)
        rc = prop_publish_step(s, err, "image", "'%s' holds this module already, under this key",
                               s->p->dst->text);
    else if (rc == 0)
        rc = prop_publish_step(s, err, "image", "encrypt '%s' into '%s', without a name",
                               s->p->src->text, s->p->dst->text);
    if (rc == 0)
        rc = plan_policy(s, err);
    if (rc == 0)
        rc = prop_publish_step(s, err, "key", "give the key '%s' to %s", name,
                               prop_kbs_url(s->p->kbs));
    if (rc == 0)
        rc = prop_publish_step(s, err, "proof", "read everything back and prove it");
    if (rc == 0 && !s->unchanged)
        rc = prop_publish_step(s, err, "name", s->had_tag ? "move the name '%s', last"
                                                          : "give the name '%s', last",
                               s->p->dst->text);
    return rc;
}

int prop_publish_plan_result(struct prop_publish_state *s, json_t **ret, struct prop_err *err)
{
    prop_auto_free char *name = NULL;
    int rc = planned_name(s, &name, err);
    if (rc == 0)
        rc = plan_steps(s, name, err);
    if (rc != 0)
        return rc;
    prop_auto_json json_t *o = json_pack("{s:b, s:s, s:s, s:O, s:b}", "dry_run", 1, "reference",
                                         s->p->dst->text, "kid", name, "steps", s->steps,
                                         "unchanged", s->unchanged && !s->policy.added);
    if (o == NULL)
        return prop_err_nomem(err);
    if (s->insecure)
        rc = put(o, "insecure", json_true(), err);
    if (rc == 0 && prop_publish_has_rules(s->p))
        rc = put_policy(s, o, err);
    if (rc == 0)
        *ret = PROP_TAKE(o);
    return rc;
}
