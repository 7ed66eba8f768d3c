/* Everything is looked at before the first "no" is reported: a release engineer wants all of it. */
#include "publish/verify.h"

#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "publish/key.h"
#include "publish/layer_check.h"
#include "publish/verify_policy.h"
#include "store/ledger.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void init(struct prop_verify_state *s, const struct prop_verify *v)
{
    memset(s, 0, sizeof *s);
    s->v = v;
    s->checks = json_array();
    s->kids = json_array();
}

static void release(struct prop_verify_state *s)
{
    prop_src_free(s->src);
    prop_images_release(&s->images);
    prop_openers_free(s->openers);
    prop_ledger_close(s->ledger);
    json_decref(s->checks);
    json_decref(s->kids);
}

void prop_verify_answer(struct prop_verify_state *s, const char *check, const char *answer,
                        const char *fmt, ...)
{
    char text[1000], label[200] = "", digest[PROP_DIGEST_TEXT];
    va_list ap;
    if (s->of != NULL && *prop_images_label(&s->images, (size_t)(s->of - s->images.all), label))
        (void)snprintf(text, sizeof text, "%s: ", label);
    else
        text[0] = 0;
    size_t n = strlen(text);
    va_start(ap, fmt);
    (void)vsnprintf(text + n, sizeof text - n, fmt, ap);
    va_end(ap);
    (void)json_array_append_new(
        s->checks, json_pack("{s:s,s:s,s:s,s:s*}", "check", check, "answer", answer, "text", text,
                             "image", *label ? prop_digest_format(&s->of->digest, digest) : NULL));
    s->unknown += strcmp(answer, "unknown") == 0;
    if (s->v->tell != NULL)
        s->v->tell(s->v->ctx, check, answer, text);
}

void prop_verify_no(struct prop_verify_state *s, const char *check, const struct prop_err *why)
{
    char label[200];
    prop_verify_answer(s, check, "no", "%s", why->message);
    if (s->first.code != PROP_OK)
        return;
    s->first = *why;
    if (s->of != NULL && *prop_images_label(&s->images, (size_t)(s->of - s->images.all), label))
        (void)prop_err_wrap(&s->first, "%s", label);
}

/* --- the image --------------------------------------------------------------------------------- */

static int open_image(struct prop_verify_state *s, struct prop_err *err)
{
    int rc = prop_src_open(s->v->ref, s->v->oci, &s->src, err);
    if (rc == 0 && prop_src_is_bare(s->src))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-location", "'%s' is a file, not an image",
                               s->v->ref->text);
    if (rc == 0 && s->v->digest != NULL)
        rc = prop_src_expect(s->src, s->v->digest, err);
    return rc == 0 ? prop_images_read(s->src, "the image's manifest", &s->images, err) : rc;
}

/* Does the caller want this layer encrypted? `i` counts from 0. */
static bool is_wanted(const struct prop_verify_state *s, size_t i)
{
    const char *type = s->of->m.layers[i].media_type;
    size_t len = strlen(type) - (prop_ends_with(type, PROP_MT_ENCRYPTED)
                                     ? strlen(PROP_MT_ENCRYPTED)
                                     : 0);
    for (size_t k = 0; k < s->v->n_layers; k++) {
        const char *one = s->v->layers[k];
        uint64_t number = 0;
        if (prop_parse_u64(one, "layer", &number, NULL) == 0 ? number == i + 1
                                                             : strlen(one) == len &&
                                                                   strncmp(one, type, len) == 0)
            return true;
    }
    return s->v->n_layers == 0;
}

/* What BuildKit says of the images beside it: where only modules have to be encrypted it need not. */
static bool is_statement(const struct prop_verify_state *s)
{
    return s->v->n_layers > 0 && prop_starts_with(s->of->platform, "unknown/");
}

static void check_encrypted(struct prop_verify_state *s)
{
    const struct prop_manifest *m = &s->of->m;
    struct prop_err why = PROP_ERR_INIT;
    size_t encrypted = 0, wanted = 0;
    for (size_t i = 0; i < m->n_layers; i++) {
        bool is = prop_layer_is_encrypted(&m->layers[i]);
        encrypted += is;
        wanted += is_wanted(s, i);
        if (is_wanted(s, i) && !is && why.code == PROP_OK)
            (void)prop_err_set_id(&why, PROP_E_NO, "not-encrypted",
                                  "layer %zu of %zu ('%s') is not encrypted", i + 1, m->n_layers,
                                  m->layers[i].media_type);
    }
    if (wanted == 0 && !is_statement(s))
        (void)prop_err_set_id(&why, PROP_E_NO, "not-encrypted",
                              "the image has no layer that has to be encrypted");
    if (why.code != PROP_OK)
        prop_verify_no(s, "encrypted", &why);
    else
        prop_verify_answer(s, "encrypted", "yes", "%zu of %zu layers are encrypted", encrypted,
                           m->n_layers);
}

/* Names of key broker keys that open a layer, each once; a layer without one is told. */
static int collect_kids(struct prop_verify_state *s, struct prop_err *err)
{
    const struct prop_manifest *m = &s->of->m;
    struct prop_err why = PROP_ERR_INIT;
    for (size_t i = 0; i < m->n_layers; i++) {
        size_t had = 0;
        int rc = prop_publish_layer_paths(&m->layers[i], s->kids, &had, err);
        if (rc != 0)
            return rc;
        if (prop_layer_is_encrypted(&m->layers[i]) && had == 0 && s->v->kbs != NULL)
            (void)prop_err_set_id(&why, PROP_E_NO, "no-kid",
                                  "layer %zu of %zu opens with no key of a key broker", i + 1,
                                  m->n_layers);
    }
    if (why.code != PROP_OK)
        prop_verify_no(s, "key", &why);
    return 0;
}

/* --- the keys ---------------------------------------------------------------------------------- */

/* The fetched key against what this machine gave out under the name. */
static void compare_key(struct prop_verify_state *s, const char *path, const struct prop_secret *got,
                        const char *known)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    char fingerprint[17] = "";
    struct prop_err why = PROP_ERR_INIT;
    int rc = prop_kek_from_bytes(got, path, &kek, &why);
    if (rc == 0)
        rc = prop_kek_fingerprint(kek, fingerprint, &why);
    if (rc == 0)
        rc = prop_openers_add_kek(s->openers, kek, &why);
    if (rc == 0 && known[0] != 0 && strcmp(known, fingerprint) != 0)
        rc = prop_err_set_id(&why, PROP_E_VERIFY, "proof",
                             "the KBS has the KEK %s under '%s', this machine uploaded %s",
                             fingerprint, path, known);
    if (rc != 0) {
        prop_verify_no(s, "key", &why);
        return;
    }
    s->n_keys++;
    prop_verify_answer(s, "key", "yes", "'%s' was fetched from the KBS as a guest would", path);
}

/* PROP_E_DENIED by the policy says nothing about the key. */
static void fetch_key(struct prop_verify_state *s, const char *path,
                      const struct prop_resource_id *id, const char *known)
{
    prop_auto_secret struct prop_secret *got = NULL;
    const struct prop_kbs_attest how = { .tee = s->v->tee };
    struct prop_err why = PROP_ERR_INIT;
    int rc = prop_kbs_get_resource(s->v->kbs, &how, id, &got, &why);
    if (rc == 0) {
        compare_key(s, path, got, known);
    } else if (rc == PROP_E_DENIED && strcmp(prop_err_id(&why), "policy-deny") == 0) {
        prop_verify_answer(s, "key", "unknown", "'%s': the policy keeps this machine out", path);
    } else {
        if (rc == PROP_E_NOTFOUND)
            (void)prop_err_set_id(&why, PROP_E_NOTFOUND, "key-missing",
                                  "the KBS has no key '%s'", path);
        prop_verify_no(s, "key", &why);
    }
}

/* A KEK kept on this machine opens the image where nothing else does. */
static void take_kept(struct prop_verify_state *s, const char *fingerprint)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    if (fingerprint[0] != 0 && prop_kek_store_find(fingerprint, &kek, NULL) == 0 &&
        prop_openers_add_kek(s->openers, kek, NULL) == 0)
        s->n_keys++;
}

static int check_keys(struct prop_verify_state *s, struct prop_err *err)
{
    size_t i;
    json_t *kid;
    if (s->v->kbs == NULL) {
        prop_verify_answer(s, "key", "unknown", "no key broker was named (--kbs)");
        return 0;
    }
    json_array_foreach (s->kids, i, kid) {
        const char *path = json_string_value(kid);
        struct prop_resource_id id;
        char known[17] = "";
        int rc = prop_resource_id_parse(path, false, &id, err);
        if (rc != 0)
            return rc;
        if (s->ledger != NULL)
            (void)prop_ledger_find_key(s->ledger, prop_kbs_url(s->v->kbs), path, known, NULL);
        take_kept(s, known);
        if (s->v->tee != PROP_TEE_NONE)
            fetch_key(s, path, &id, known);
        else
            prop_verify_answer(s, "key", "unknown",
                               known[0] != 0 ? "'%s' was uploaded from this machine; only a guest can "
                                               "look (--tee)"
                                             : "'%s': only a guest can look (--tee)",
                               path);
    }
    return 0;
}

static int add_given_keys(struct prop_verify_state *s, struct prop_err *err)
{
    int rc = prop_openers_new(&s->openers, err);
    for (size_t i = 0; rc == 0 && i < s->v->n_keks; i++) {
        prop_auto_secret struct prop_secret *kek = NULL;
        rc = prop_kek_read(s->v->keks[i], &kek, err);
        if (rc == 0)
            rc = prop_openers_add_kek(s->openers, kek, err);
        s->n_keys++;
    }
    for (size_t i = 0; rc == 0 && i < s->v->n_keys; i++) {
        rc = prop_openers_add(s->openers, s->v->keys[i], err);
        s->n_keys++;
    }
    return rc;
}

static void check_opens(struct prop_verify_state *s)
{
    const struct prop_manifest *m = &s->of->m;
    struct prop_err why = PROP_ERR_INIT;
    size_t n = 0;
    if (s->n_keys == 0) {
        prop_verify_answer(s, "opens", "unknown",
                           "no key to open it with (--tee, --kek, --key, or one kept here)");
        return;
    }
    for (size_t i = 0; i < m->n_layers; i++) {
        struct prop_digest plain;
        if (!prop_layer_is_encrypted(&m->layers[i]))
            continue;
        if (prop_publish_layer_check(s->src, NULL, &m->layers[i], s->openers, &plain, &why) != 0) {
            (void)prop_err_wrap(&why, "layer %zu of %zu", i + 1, m->n_layers);
            prop_verify_no(s, "opens", &why);
            return;
        }
        n++;
    }
    if (n > 0)
        prop_verify_answer(s, "opens", "yes", "%zu layer%s read, decrypted and checked", n,
                           n == 1 ? "" : "s");
}

/* --- all of it --------------------------------------------------------------------------------- */

static int look(struct prop_verify_state *s, struct prop_err *err)
{
    int rc = open_image(s, err);
    if (rc == 0)
        rc = prop_ledger_open_existing(s->v->ledger, &s->ledger, err);
    if (rc == 0)
        rc = add_given_keys(s, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < s->images.n; i++) {
        s->of = &s->images.all[i];
        check_encrypted(s);
        rc = collect_kids(s, err);
    }
    s->of = NULL;
    if (rc == 0)
        rc = check_keys(s, err);
    for (size_t i = 0; rc == 0 && i < s->images.n; i++) {
        s->of = &s->images.all[i];
        check_opens(s);
        rc = prop_stop_check(err);
    }
    s->of = NULL;
    return rc == 0 ? prop_verify_policy(s, err) : rc;
}

static int judge(const struct prop_verify_state *s, struct prop_err *err)
{
    if (s->first.code != PROP_OK) {
        if (err != NULL)
            *err = s->first;
        return s->first.code;
    }
    if (!s->v->strict || s->unknown == 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_NO, "not-known", "%zu of %zu answers are not known",
                          s->unknown, json_array_size(s->checks));
    return prop_err_hint(err, "say what is missing, or leave --strict out");
}

static int told(const struct prop_verify_state *s, json_t **ret, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    const struct prop_location *ref = s->v->ref;
    size_t layers = 0;
    (void)prop_digest_format(&s->images.digest, digest);
    for (size_t i = 0; i < s->images.n; i++)
        layers += s->images.all[i].m.n_layers;
    prop_auto_free char *pinned = ref->transport == PROP_T_DOCKER
                                      ? prop_asprintf("%s/%s@%s", ref->ref.domain, ref->ref.path,
                                                      digest)
                                      : NULL;
    json_t *doc = json_pack("{s:s,s:s,s:s*,s:I,s:I,s:O,s:O,s:b}", "reference", ref->text, "digest",
                            digest, "pinned", pinned, "images", (json_int_t)s->images.n, "layers",
                            (json_int_t)layers, "kids", s->kids, "checks", s->checks, "ok", 1);
    if (doc == NULL)
        return prop_err_nomem(err);
    *ret = doc;
    return 0;
}

int prop_verify_run(const struct prop_verify *v, json_t **ret, struct prop_err *err)
{
    struct prop_verify_state s;
    init(&s, v);
    int rc = s.checks == NULL || s.kids == NULL ? prop_err_nomem(err) : look(&s, err);
    if (rc == 0)
        rc = judge(&s, err);
    if (rc == 0)
        rc = told(&s, ret, err);
    release(&s);
    return rc;
}
