/* The KEK is made before anything else and on disk before the first byte leaves: nobody can read it
 * back from a KBS. A name that is in use is never given another KEK without --replace-key, since a
 * POST overwrites silently and every image under the old KEK would be lost. */
#include "publish/key.h"

#include "crypto/random.h"
#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "publish/record.h"
#include "publish/reference.h"
#include "util/mem.h"

#include <string.h>
#include <unistd.h>

enum { kek_bytes = 32, name_max = 100 };

int prop_publish_key_name(struct prop_publish_state *s, const char *text, struct prop_err *err)
{
    struct prop_resource_id id;
    int rc = prop_resource_id_parse(text, false, &id, err);
    if (rc != 0)
        return rc;
    char *path = prop_resource_id_path(&id);
    char *uri = prop_resource_id_uri(&id);
    if (path == NULL || uri == NULL) {
        prop_free(path);
        prop_free(uri);
        return prop_err_nomem(err);
    }
    prop_free(s->kid_path);
    prop_free(s->kid_uri);
    s->kid = id;
    s->kid_path = path;
    s->kid_uri = uri;
    return 0;
}

/* What the image is called: the last part of the repository, a layout's name, the file's name. */
static const char *image_name(const struct prop_publish_state *s)
{
    const struct prop_location *dst = s->p->dst;
    const char *name = dst->transport == PROP_T_DOCKER ? dst->ref.path : dst->name;
    if (name == NULL)
        name = prop_src_is_bare(s->src) ? prop_src_bare_title(s->src) : dst->path;
    if (name == NULL)
        return "image";
    const char *slash = strrchr(name, '/');
    return slash != NULL && slash[1] != 0 ? slash + 1 : name;
}

/* "default/key/NAME-<fingerprint>" with the characters a KBS takes. */
static int fresh_name(struct prop_publish_state *s, struct prop_err *err)
{
    char name[name_max + 1];
    const char *from = image_name(s);
    size_t len = strlen(from);
    if (len > 5 && strcmp(from + len - 5, ".wasm") == 0)
        len -= 5;
    size_t n = 0;
    for (size_t i = 0; i < len && n < name_max; i++) {
        char c = from[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || (c == '.' && n > 0);
        name[n++] = ok ? c : '_';
    }
    name[n] = 0;
    prop_auto_free char *path = prop_asprintf("default/key/%s%s%s", name, n > 0 ? "-" : "",
                                              s->fingerprint);
    return path != NULL ? prop_publish_key_name(s, path, err) : prop_err_nomem(err);
}

int prop_publish_key_choose(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = 0;
    if (s->kek == NULL && s->p->kek_file != NULL)
        rc = prop_kek_read(s->p->kek_file, &s->kek, err);
    if (rc == 0 && s->kek == NULL) {
        rc = prop_random_secret(kek_bytes, &s->kek, err);
        s->kek_fresh = rc == 0;
    }
    if (rc == 0)
        rc = prop_kek_fingerprint(s->kek, s->fingerprint, err);
    if (rc == 0 && s->p->kek_file != NULL && s->kek_path == NULL) {
        s->kek_path = prop_strdup(s->p->kek_file);
        rc = s->kek_path == NULL ? prop_err_nomem(err) : 0;
    }
    if (rc == 0 && s->kid_path == NULL)
        rc = s->p->kid != NULL ? prop_publish_key_name(s, s->p->kid, err) : fresh_name(s, err);
    return rc;
}

/* --- is the name free? ------------------------------------------------------------------------- */

static int in_use(const struct prop_publish_state *s, const char *where, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_EXISTS, "kid-in-use",
                          "key name '%s' is in use with another key (%s)", s->kid_path, where);
    return prop_err_hint(err, "take another --kid, give that key with --kek, or let it be overwritten "
                              "with --replace-key: images under it can then not be opened any more");
}

static int taken(struct prop_publish_state *s, bool same, const char *where, struct prop_err *err)
{
    if (same) {
        s->key_known = true;
        return 0;
    }
    if (!s->p->replace_key)
        return in_use(s, where, err);
    s->key_replaced = true;
    return 0;
}

static int check_ledger(struct prop_publish_state *s, struct prop_err *err)
{
    char known[17];
    if (s->ledger == NULL)
        return 0;
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_ledger_find_key(s->ledger, prop_kbs_url(s->p->kbs), s->kid_path, known, &inner);
    if (rc == PROP_E_NOTFOUND)
        return 0;
    if (rc != 0) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    bool same = strcmp(known, s->fingerprint) == 0;
    if (!same)
        memcpy(s->replaced, known, sizeof known);
    return taken(s, same, "the ledger of this machine", err);
}

int prop_publish_layer_kids(const struct prop_descriptor *layer, json_t **ret,
                            struct prop_err *err)
{
    prop_auto_json json_t *told = NULL;
    prop_auto_json json_t *kids = json_array();
    if (kids == NULL || prop_layer_describe(layer, &told, NULL) == PROP_E_NOMEM)
        return prop_err_nomem(err);
    size_t i, k;
    json_t *scheme, *recipient;
    json_array_foreach (json_object_get(told, "schemes"), i, scheme) {
        json_array_foreach (json_object_get(scheme, "recipients"), k, recipient) {
            json_t *kid = json_object_get(recipient, "kid");
            const char *name = json_string_value(json_object_get(scheme, "scheme"));
            /* a JWE's kid names a public key, not a KEK */
            if (json_is_string(kid) && name != NULL && strcmp(name, "jwe") != 0 &&
                json_array_append(kids, kid) != 0)
                return prop_err_nomem(err);
        }
    }
    *ret = PROP_TAKE(kids);
    return 0;
}

static int add_path(json_t *paths, const struct prop_resource_id *id, struct prop_err *err)
{
    size_t i;
    json_t *known;
    prop_auto_free char *path = prop_resource_id_path(id);
    if (path == NULL)
        return prop_err_nomem(err);
    json_array_foreach (paths, i, known)
        if (strcmp(json_string_value(known), path) == 0)
            return 0;
    return json_array_append_new(paths, json_string(path)) == 0 ? 0 : prop_err_nomem(err);
}

int prop_publish_layer_paths(const struct prop_descriptor *layer, json_t *paths, size_t *ret_n,
                             struct prop_err *err)
{
    prop_auto_json json_t *kids = NULL;
    size_t i, n = 0;
    json_t *kid;
    int rc = prop_layer_is_encrypted(layer) ? prop_publish_layer_kids(layer, &kids, err) : 0;
    json_array_foreach (kids, i, kid) {
        struct prop_resource_id id;
        if (rc != 0 || prop_resource_id_parse(json_string_value(kid), true, &id, NULL) != 0)
            continue;
        n++;
        rc = add_path(paths, &id, err);
    }
    if (rc == 0 && ret_n != NULL)
        *ret_n = n;
    return rc;
}

static bool names_us(const struct prop_publish_state *s, const json_t *kids)
{
    size_t i;
    json_t *kid;
    json_array_foreach (kids, i, kid) {
        struct prop_resource_id id;
        if (prop_resource_id_parse(json_string_value(kid), true, &id, NULL) == 0 &&
            prop_resource_id_same(&id, &s->kid))
            return true;
    }
    return false;
}

/* Does our KEK open what the layer holds under our name? */
static int check_layer(struct prop_publish_state *s, const struct prop_descriptor *layer,
                       struct prop_err *err)
{
    prop_auto_json json_t *kids = NULL;
    prop_auto_secret struct prop_secret *opened = NULL;
    prop_auto_free char *pubopts = NULL;
    struct prop_openers *openers = NULL;
    int rc = prop_publish_layer_kids(layer, &kids, err);
    if (rc != 0 || !names_us(s, kids))
        return rc;
    rc = prop_openers_new(&openers, err);
    if (rc == 0)
        rc = prop_openers_add_kek(openers, s->kek, err);
    if (rc == 0) {
        int opens = prop_openers_unwrap(openers, layer, &opened, &pubopts, NULL);
        rc = taken(s, opens == 0, "the image the destination's name points at", err);
    }
    prop_openers_free(openers);
    return rc;
}

static int check_image(struct prop_publish_state *s, const struct prop_manifest *m,
                       struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_layers; i++)
        if (prop_layer_is_encrypted(&m->layers[i]))
            rc = check_layer(s, &m->layers[i], err);
    return rc;
}

/* Where this machine may have the key, the broker itself tells what the name holds: the ledger is
 * only one machine's. A refusal tells nothing, and a fresh name is asked for by nobody. */
static int ask_broker(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *got = NULL;
    prop_auto_secret struct prop_secret *kek = NULL;
    const struct prop_kbs_attest how = { .tee = s->p->tee };
    if (s->p->tee == PROP_TEE_NONE || s->key_replaced || (!s->key_known && s->p->kid == NULL))
        return 0;
    if (prop_kbs_get_resource(s->p->kbs, &how, &s->kid, &got, NULL) != 0)
        return 0;
    s->key_there = prop_kek_from_bytes(got, s->kid_path, &kek, NULL) == 0 &&
                   prop_secret_equal(kek, s->kek);
    return taken(s, s->key_there, "the key broker", err);
}

int prop_publish_key_check(struct prop_publish_state *s, struct prop_err *err)
{
    s->key_known = false;
    s->key_replaced = false;
    int rc = check_ledger(s, err);
    for (size_t i = 0; rc == 0 && i < s->present.n; i++)
        rc = check_image(s, &s->present.all[i].m, err);
    return rc == 0 ? ask_broker(s, err) : rc;
}

/* --- on disk, to the KBS, and back ------------------------------------------------------------- */

int prop_publish_key_keep(struct prop_publish_state *s, struct prop_err *err)
{
    if (!s->kek_fresh || prop_publish_record_of(s, "kek", true) != NULL)
        return 0;
    char *path = NULL;
    int rc = prop_kek_store_new(s->kek, &path, err);
    if (rc != 0)
        return prop_err_wrap(err, "keep the new KEK");
    prop_free(s->kek_path);
    s->kek_path = path;
    s->kek_kept = true;
    rc = prop_publish_record_done(s, "kek", json_pack("{s:s}", "file", path), err);
    return rc == 0 ? prop_publish_step(s, err, "kek", "new KEK %s kept in '%s'", s->fingerprint, path)
                   : rc;
}

/* The reference under which the ledger knows the image, with its digest. Owned. */
static int pinned_reference(const struct prop_publish_state *s, char **ret, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    prop_auto_free char *where = NULL;
    int rc = prop_publish_reference(s->p->dst, &where, err);
    if (rc != 0)
        return rc;
    *ret = prop_asprintf("%s@%s", where, prop_digest_format(&s->image.manifest, digest));
    return *ret != NULL ? 0 : prop_err_nomem(err);
}

/* Before the name is moved the image is one more that needs the key; what the name stood for still
 * needs its own. */
static int remember(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_free char *ref = NULL;
    const char *url = prop_kbs_url(s->p->kbs);
    int rc = pinned_reference(s, &ref, err);
    if (rc == 0)
        rc = prop_ledger_add_key(s->ledger, url, s->kid_path, s->fingerprint, NULL, err);
    return rc == 0 ? prop_ledger_add_image(s->ledger, url, s->kid_path, ref, NULL, err) : rc;
}

int prop_publish_key_named(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_free char *ref = NULL;
    int rc = pinned_reference(s, &ref, err);
    return rc == 0 ? prop_ledger_add_key(s->ledger, prop_kbs_url(s->p->kbs), s->kid_path,
                                         s->fingerprint, ref, err)
                   : rc;
}

/* Where the answer was lost the key may be there; a refusal says that it is not. */
static int post_key(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kbs_set_resource(s->p->kbs, &s->kid, s->kek, &inner);
    s->key_sent = rc == 0 || inner.http_status == 0 || inner.http_status >= 500;
    if (!s->key_sent)
        prop_publish_record_refused(s, "key");
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

/* Somebody on this machine may have taken the name since the check, or taken its key back. */
static int check_again(struct prop_publish_state *s, struct prop_err *err)
{
    bool known = s->key_known, replaced = s->key_replaced;
    s->key_known = s->key_replaced = false;
    int rc = check_ledger(s, err);
    if (rc == 0 && known && !s->key_known)
        s->key_there = false;
    s->key_known = known || (s->key_known && !s->resumed);
    s->key_replaced = replaced || s->key_replaced;
    return rc;
}

/* What an earlier process of this run found stays true: it made the key then. */
static int begin_key(struct prop_publish_state *s, struct prop_err *err)
{
    const json_t *before = prop_publish_record_of(s, "key", false);
    bool created = before != NULL ? json_is_true(json_object_get(before, "created"))
                                  : !s->key_known && !s->key_replaced;
    const char *replaced = before != NULL ? prop_publish_record_text(before, "replaced")
                           : s->key_replaced ? s->replaced
                                             : NULL;
    return prop_publish_record_begin(s, "key",
                                     json_pack("{s:b,s:s*}", "created", created, "replaced",
                                               replaced),
                                     err);
}

int prop_publish_key_send(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = check_again(s, err);
    if (rc == 0 && s->key_there) {
        rc = remember(s, err);
        return rc == 0 ? prop_publish_step(s, err, "key", "key '%s' is in the KBS already",
                                           s->kid_uri)
                       : rc;
    }
    if (rc == 0)
        rc = begin_key(s, err);
    if (rc == 0)
        rc = post_key(s, err);
    if (rc == 0)
        rc = remember(s, err);
    if (rc == 0)
        rc = prop_publish_record_done(s, "key", json_object(), err);
    return rc == 0 ? prop_publish_step(s, err, "key", "key '%s' given to %s", s->kid_uri,
                                       prop_kbs_url(s->p->kbs))
                   : rc;
}
