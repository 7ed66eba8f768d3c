/* The images of a rotation: manifests first, all of them proved, then the tags. */
#include "publish/rotate_state.h"

#include "publish/reference.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"

#include <string.h>

/* --- which ------------------------------------------------------------------------------------ */

static void image_release(struct prop_rotate_image *image)
{
    prop_src_free(image->src);
    prop_dst_free(image->dst);
    prop_location_release(&image->loc);
    prop_free(image->text);
}

static bool is_there(const struct prop_rotate_state *r, const char *text)
{
    for (size_t i = 0; i < r->n_images; i++)
        if (strcmp(r->images[i].text, text) == 0)
            return true;
    return false;
}

/* Once each, however it is spelled: moving a tag twice would look like somebody else's doing. */
static int add(struct prop_rotate_state *r, const char *text, bool known_only, struct prop_err *err)
{
    struct prop_rotate_image image = { .known_only = known_only };
    int rc = prop_location_parse(text, &image.loc, err);
    if (rc != 0)
        return rc;
    rc = prop_publish_reference(&image.loc, &image.text, err);
    if (rc == 0 && !is_there(r, image.text)) {
        struct prop_rotate_image *grown =
            prop_realloc_array(r->images, r->n_images + 1, sizeof *r->images);
        if (grown != NULL) {
            r->images = grown;
            r->images[r->n_images++] = image;
            return 0;
        }
        rc = prop_err_nomem(err);
    }
    image_release(&image);
    return rc;
}

/* To retire a key, those that are known count beside those that are named: they die with it too. */
static int collect(struct prop_rotate_state *r, struct prop_err *err)
{
    prop_auto_json json_t *known = NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->p->n_images; i++)
        rc = add(r, r->p->images[i], false, err);
    if (rc != 0 || (r->p->n_images != 0 && !r->p->retire) || r->s.ledger == NULL)
        return rc;
    rc = prop_ledger_images(r->s.ledger, prop_kbs_url(r->p->kbs), r->old_path, &known, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(known); i++)
        rc = add(r, json_string_value(json_object_get(json_array_get(known, i), "image")), true,
                 err);
    return rc;
}

/* An image that only the ledger names may be gone, or may have got another key since. Before a key
 * is deleted only the first will do. */
static bool is_past(const struct prop_rotate_state *r, const struct prop_rotate_image *image,
                    const struct prop_err *e)
{
    if (!image->known_only || r->p->retire)
        return image->known_only && e->code == PROP_E_NOTFOUND;
    return e->code == PROP_E_NOTFOUND || e->code == PROP_E_VERIFY ||
           strcmp(prop_err_id(e), "not-encrypted") == 0 ||
           strcmp(prop_err_id(e), "no-usable-scheme") == 0;
}

/* Leave it out with a word, or fail. */
static int settle(struct prop_rotate_state *r, struct prop_rotate_image *image,
                  const struct prop_err *e, struct prop_err *err)
{
    if (is_past(r, image, e)) {
        prop_publish_warn(&r->s, "'%s' is left out: %s", image->text, e->message);
        image->skipped = true;
        return 0;
    }
    if (err != NULL)
        *err = *e;
    return prop_err_wrap(err, "image '%s'", image->text);
}

static char sink_text[] = "sink:";
static const struct prop_location sink = { .transport = PROP_T_SINK, .text = sink_text };

static int open_one(struct prop_rotate_state *r, struct prop_rotate_image *image,
                    struct prop_err *err)
{
    int rc = prop_src_open(&image->loc, r->p->oci, &image->src, err);
    if (rc == 0 && prop_src_is_bare(image->src))
        rc = prop_err_set_id(err, PROP_E_INPUT, "not-encrypted", "it is a module, not an image");
    return rc == 0 ? prop_dst_open(r->p->dry_run ? &sink : &image->loc, r->p->oci, &image->dst, err)
                   : rc;
}

int prop_rotate_images_open(struct prop_rotate_state *r, struct prop_err *err)
{
    int rc = collect(r, err);
    for (size_t i = 0; rc == 0 && i < r->n_images; i++) {
        struct prop_err e = PROP_ERR_INIT;
        if (open_one(r, &r->images[i], &e) != 0)
            rc = settle(r, &r->images[i], &e, err);
    }
    return rc;
}

/* --- manifests -------------------------------------------------------------------------------- */

static int keys_at_hand(const struct prop_rotate_state *r, bool both, struct prop_openers **ret,
                        struct prop_err *err)
{
    struct prop_openers *o = NULL;
    int rc = prop_openers_new(&o, err);
    if (rc == 0)
        rc = prop_openers_add_kek(o, r->s.kek, err);
    if (rc == 0 && both && r->old_kek != NULL)
        rc = prop_openers_add_kek(o, r->old_kek, err);
    if (rc != 0) {
        prop_openers_free(o);
        return rc;
    }
    *ret = o;
    return 0;
}

/* Everybody who holds or gets a key, for the time of one pass over the images. */
struct pass {
    struct prop_openers *openers;  /* what may open the layers before */
    struct prop_openers *alone;    /* the new KEK and nothing else */
    struct prop_recipients *add_to;
    struct prop_dst *nowhere;      /* set: only work out what would be written */
};

static void pass_release(struct pass *pass)
{
    prop_recipients_free(pass->add_to);
    prop_openers_free(pass->openers);
    prop_openers_free(pass->alone);
    prop_dst_free(pass->nowhere);
}
#define auto_pass __attribute__((cleanup(pass_release)))

static int pass_begin(const struct prop_rotate_state *r, struct pass *pass, struct prop_err *err)
{
    int rc = keys_at_hand(r, !r->p->retire, &pass->openers, err);
    if (rc == 0)
        rc = keys_at_hand(r, false, &pass->alone, err);
    if (rc == 0)
        rc = prop_recipients_new(&pass->add_to, err);
    return rc == 0 ? prop_recipients_add_kek(pass->add_to, r->s.kek, &r->s.kid, err) : rc;
}

static int rewrap(const struct prop_rotate_state *r, struct prop_rotate_image *image,
                  const struct pass *pass, struct prop_err *err)
{
    const char *const gone[] = { r->old_uri };
    const struct prop_rewrap_options o = { .openers = pass->openers,
                                           .add = r->p->retire ? NULL : pass->add_to,
                                           .remove = r->p->retire ? gone : NULL,
                                           .n_remove = r->p->retire ? 1 : 0,
                                           .dry_run = pass->nowhere != NULL };
    int rc = prop_image_rewrap(image->src, pass->nowhere != NULL ? pass->nowhere : image->dst, &o,
                               &image->done, err);
    if (!r->p->retire || (rc != PROP_E_VERIFY && strcmp(prop_err_id(err), "no-recipient") != 0))
        return rc;
    (void)prop_err_set_id(err, PROP_E_VERIFY, "not-rotated", "the new key does not open it");
    return prop_err_hint(err, "without --retire it is given the new key first: propkey rotate '%s' "
                              "--image '%s'", r->old_path, image->text);
}

/* What lies there now opens with the new KEK, and nothing else at hand. */
static int prove(struct prop_rotate_image *image, struct prop_openers *alone, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    if (prop_digest_equal(&image->done.before, &image->done.manifest))
        return 0;
    int rc = prop_dst_read_back(image->dst, &image->done.manifest, &bytes, err);
    if (rc == 0)
        rc = prop_manifest_parse(bytes.data, bytes.len, NULL, "the manifest", &m, err);
    if (rc == PROP_E_UNSUPPORTED) { /* an index: its images were checked one by one */
        prop_err_clear(err);
        return 0;
    }
    for (size_t i = 0; rc == 0 && i < m.n_layers; i++) {
        prop_auto_secret struct prop_secret *opened = NULL;
        prop_auto_free char *pubopts = NULL;
        if (prop_layer_is_encrypted(&m.layers[i]) &&
            prop_openers_unwrap(alone, &m.layers[i], &opened, &pubopts, NULL) != 0)
            rc = prop_err_set_id(err, PROP_E_VERIFY, "proof",
                                 "layer %zu, read back, does not open with the new key", i + 1);
    }
    return rc;
}

/* To retire a key that is not in the image any more is done already. */
static bool is_done(const struct prop_rotate_state *r, const struct prop_err *e)
{
    return r->p->retire && strcmp(prop_err_id(e), "recipient-unknown") == 0;
}

static int rewrap_one(struct prop_rotate_state *r, struct prop_rotate_image *image,
                      const struct pass *pass, struct prop_err *err)
{
    struct prop_err e = PROP_ERR_INIT;
    int rc = prop_stop_check(&e);
    if (rc == 0)
        rc = rewrap(r, image, pass, &e);
    if (rc == 0 && pass->nowhere == NULL)
        rc = prove(image, pass->alone, &e);
    if (rc == 0)
        return 0;
    if (!is_done(r, &e))
        return settle(r, image, &e, err);
    return prop_dst_current(image->dst, &image->done.before, NULL) == 0 || pass->nowhere != NULL
               ? (image->done.manifest = image->done.before, 0)
               : settle(r, image, &e, err);
}

static int rewrap_all(struct prop_rotate_state *r, const struct pass *pass, struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->n_images; i++)
        if (!r->images[i].skipped)
            rc = rewrap_one(r, &r->images[i], pass, err);
    return rc;
}

int prop_rotate_images_check(struct prop_rotate_state *r, struct prop_err *err)
{
    auto_pass struct pass pass = { NULL, NULL, NULL, NULL };
    size_t left = 0;
    int rc = pass_begin(r, &pass, err);
    if (rc == 0)
        rc = prop_dst_open(&sink, r->p->oci, &pass.nowhere, err);
    if (rc == 0)
        rc = rewrap_all(r, &pass, err);
    for (size_t i = 0; i < r->n_images; i++)
        left += !r->images[i].skipped;
    /* Images that are gone need no key; where none was looked at, nothing is known of any. */
    if (rc != 0 || left != 0 || (r->p->retire && r->n_images != 0))
        return rc;
    (void)prop_err_set_id(err, PROP_E_USAGE, "no-image", "this machine knows no image of '%s'%s",
                          r->old_path, r->n_images != 0 ? " that is still there and its" : "");
    return prop_err_hint(err, r->p->retire ? "name what it opened with --image; 'propkey revoke' "
                                             "deletes a key that opens nothing"
                                           : "name what it opens with --image");
}

int prop_rotate_images_rewrap(struct prop_rotate_state *r, struct prop_err *err)
{
    auto_pass struct pass pass = { NULL, NULL, NULL, NULL };
    int rc = pass_begin(r, &pass, err);
    return rc == 0 ? rewrap_all(r, &pass, err) : rc;
}

int prop_rotate_images_remember(struct prop_rotate_state *r, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->n_images; i++) {
        const struct prop_rotate_image *image = &r->images[i];
        if (image->skipped || image->known_only)
            continue;
        (void)prop_digest_format(&image->done.before, digest);
        rc = prop_ledger_add_image(r->s.ledger, prop_kbs_url(r->p->kbs), r->old_path, image->text,
                                   digest, err);
    }
    return rc;
}

/* --- tags ------------------------------------------------------------------------------------- */

static int move_tag(struct prop_rotate_state *r, struct prop_rotate_image *image,
                    struct prop_err *err)
{
    struct prop_digest now;
    if (prop_digest_equal(&image->done.before, &image->done.manifest))
        return prop_publish_step(&r->s, err, "image", "'%s' has %s already", image->text,
                                 r->p->retire ? "lost the old key" : "the new key");
    int rc = prop_dst_current(image->dst, &now, err);
    if (rc == 0 && !prop_digest_equal(&now, &image->done.before)) {
        (void)prop_err_set_id(err, PROP_E_EXISTS, "tag-changed",
                              "somebody else moved '%s' while this ran", image->text);
        return prop_err_hint(err, "run it again: what is there now is looked at then");
    }
    if (rc == 0)
        rc = prop_dst_tag(image->dst, err);
    if (rc != 0)
        return prop_err_wrap(err, "image '%s'", image->text);
    return prop_publish_step(
        &r->s, err, "image", "'%s' %s, %zu of %zu layer%s rewrapped", image->text,
        r->p->retire ? "opens with the new key only" : "opens with the new key too",
        r->p->retire ? image->done.removed : image->done.added, image->done.layers,
        image->done.layers == 1 ? "" : "s");
}

/* Both keys open it from now on, or the new one alone: an image that was only named is then known
 * when the old key is retired. */
static int note(struct prop_rotate_state *r, const struct prop_rotate_image *image,
                struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    const char *url = prop_kbs_url(r->p->kbs);
    (void)prop_digest_format(&image->done.manifest, digest);
    int rc = prop_ledger_add_image(r->s.ledger, url, r->s.kid_path, image->text, digest, err);
    if (rc == 0 && !r->p->retire)
        rc = prop_ledger_add_image(r->s.ledger, url, r->old_path, image->text, digest, err);
    return rc;
}

int prop_rotate_images_tag(struct prop_rotate_state *r, struct prop_err *err)
{
    for (size_t i = 0; i < r->n_images; i++) {
        struct prop_rotate_image *image = &r->images[i];
        if (image->skipped)
            continue;
        int rc = prop_stop_check(err);
        if (rc == 0)
            rc = move_tag(r, image, err);
        if (rc == 0)
            rc = note(r, image, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- telling ---------------------------------------------------------------------------------- */

int prop_rotate_images_told(const struct prop_rotate_state *r, json_t *doc, struct prop_err *err)
{
    json_t *images = json_array(), *skipped = json_array();
    int rc =
        json_object_set_new(doc, "images", images) | json_object_set_new(doc, "skipped", skipped);
    for (size_t i = 0; rc == 0 && i < r->n_images; i++) {
        const struct prop_rotate_image *image = &r->images[i];
        char digest[PROP_DIGEST_TEXT];
        rc = image->skipped
                 ? json_array_append_new(skipped, json_string(image->text))
                 : json_array_append_new(
                       images,
                       json_pack("{s:s,s:s,s:b}", "image", image->text, "digest",
                                 prop_digest_format(&image->done.manifest, digest), "changed",
                                 !prop_digest_equal(&image->done.before, &image->done.manifest)));
    }
    return rc == 0 ? 0 : prop_err_nomem(err);
}

void prop_rotate_images_release(struct prop_rotate_state *r)
{
    for (size_t i = 0; i < r->n_images; i++)
        image_release(&r->images[i]);
    prop_free(r->images);
    r->images = NULL;
    r->n_images = 0;
}
