/* Backwards: nothing that is still needed goes. The name decides first: an image that has it is
 * published, and taking that back is another matter (proppush delete, propkey revoke). Then, under
 * the ledger's lock, the key before its rule. */
#include "publish/undo.h"

#include "keys/kek_store.h"
#include "oci/layout_index.h"
#include "oci/remove.h"
#include "policy/docfile.h"
#include "publish/policy.h"
#include "publish/record.h"
#include "publish/server_policy.h"
#include "util/checksum.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { after_failure_ms = 3000 };

struct undo {
    struct prop_publish_state *s;
    struct prop_publish_undo *u;
    bool key_stays;      /* somebody needs it, or may */
    bool key_gone;       /* nothing of it is in the KBS */
    bool policy_back;    /* the policy is what it was, or was never sent */
    struct prop_err last; /* a failure that is worth another try */
};

static void add(json_t *list, const char *fmt, va_list ap)
{
    char text[600];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    (void)json_array_append_new(list, json_string(text));
}

__attribute__((format(printf, 2, 3))) static void taken(struct undo *u, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(u->u->taken, fmt, ap);
    va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void left(struct undo *u, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(u->u->left, fmt, ap);
    va_end(ap);
}

/* A failed call. What this server will never do is told; anything else, a refused token too, is also
 * the reason to try again. */
static void failed(struct undo *u, int rc, const struct prop_err *why, const char *what)
{
    left(u, "%s (%.300s)", what, why->message);
    if (rc != PROP_E_UNSUPPORTED && rc != PROP_E_INPUT)
        u->last = *why;
}

/* --- the name ---------------------------------------------------------------------------------- */

static int complete(const struct prop_publish_state *s, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "run-complete",
                          "'%s' names the image of this run already", s->p->dst->text);
    return prop_err_hint(err, "'proppush publish --resume %lld' ends the run; 'proppush delete' and "
                              "'propkey revoke' withdraw what is published",
                         (long long)s->run);
}

static int check_name(struct undo *u, struct prop_err *err)
{
    struct prop_publish_state *s = u->s;
    const json_t *tag = prop_publish_record_of(s, "tag", false);
    struct prop_digest now, before, after;
    struct prop_err inner = PROP_ERR_INIT;
    if (!prop_publish_record_tried(s, "tag"))
        return 0;
    int rc = s->dst != NULL ? prop_dst_current(s->dst, &now, &inner) : PROP_E_NOTFOUND;
    bool had = prop_publish_record_digest(tag, "before", &before);
    if (rc != 0 && rc != PROP_E_NOTFOUND) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    if (rc == 0 && prop_publish_record_digest(tag, "after", &after) &&
        prop_digest_equal(&now, &after))
        return complete(s, err);
    bool as_before = rc == 0 ? had && prop_digest_equal(&now, &before) : !had;
    if (!as_before) {
        u->key_stays = true;
        left(u, "'%.200s' was moved by somebody else, perhaps after it named this image: the key and "
                "its rule stay",
             s->p->dst->text);
    }
    return 0;
}

/* --- the key ----------------------------------------------------------------------------------- */

/* Does the ledger know an image that needs this key, other than the run's own? */
static bool is_shared(const struct prop_publish_state *s)
{
    prop_auto_json json_t *images = NULL;
    char own[PROP_DIGEST_TEXT] = "";
    struct prop_digest digest;
    size_t i;
    json_t *image;
    bool shared = false;
    if (prop_publish_record_digest(prop_publish_record_of(s, "image", true), "manifest", &digest))
        (void)prop_digest_format(&digest, own);
    if (prop_ledger_images(s->ledger, prop_kbs_url(s->p->kbs), s->kid_path, &images, NULL) != 0)
        return true;
    json_array_foreach (images, i, image) {
        const char *name = json_string_value(json_object_get(image, "image"));
        const char *at = json_string_value(json_object_get(image, "digest"));
        shared = shared || strcmp(name, s->target) != 0 || (at != NULL && strcmp(at, own) != 0);
    }
    return shared;
}

static void delete_key(struct undo *u)
{
    struct prop_publish_state *s = u->s;
    struct prop_err err = PROP_ERR_INIT;
    int rc = prop_kbs_delete_resource(s->p->kbs, &s->kid, &err);
    if (rc != 0 && rc != PROP_E_NOTFOUND) {
        failed(u, rc, &err, "the key may be in the KBS");
        return;
    }
    u->key_gone = true;
    (void)prop_ledger_forget_key(s->ledger, prop_kbs_url(s->p->kbs), s->kid_path, NULL);
    if (rc == 0)
        taken(u, "the key '%s' was deleted from the KBS", s->kid_path);
}

/* The key that was overwritten, where its KEK is kept on this machine. */
static void give_back(struct undo *u, const char *fingerprint)
{
    struct prop_publish_state *s = u->s;
    prop_auto_secret struct prop_secret *old = NULL;
    struct prop_err err = PROP_ERR_INIT;
    if (fingerprint[0] == 0 || prop_kek_store_find(fingerprint, &old, NULL) != 0) {
        left(u, "the key in the KBS was overwritten, and the old one is not kept here");
        return;
    }
    int rc = prop_kbs_set_resource(s->p->kbs, &s->kid, old, &err);
    if (rc != 0) {
        failed(u, rc, &err, "the key in the KBS was overwritten");
        return;
    }
    u->key_gone = true;
    (void)prop_ledger_add_key(s->ledger, prop_kbs_url(s->p->kbs), s->kid_path, fingerprint, NULL,
                              NULL);
    taken(u, "the key '%s' is the old one again", s->kid_path);
}

static void undo_key(struct undo *u)
{
    const json_t *begun = prop_publish_record_of(u->s, "key", false);
    const char *replaced = prop_publish_record_text(begun, "replaced");
    if (!prop_publish_record_tried(u->s, "key")) {
        u->key_gone = true;
        return;
    }
    bool ours = replaced != NULL || json_is_true(json_object_get(begun, "created"));
    if (ours && !u->key_stays && is_shared(u->s)) {
        u->key_stays = true;
        left(u, "the key '%s' and its rule stay: another image needs them", u->s->kid_path);
    }
    if (!ours || u->key_stays)
        return;
    if (replaced != NULL)
        give_back(u, replaced);
    else
        delete_key(u);
}

/* --- the policy and its document --------------------------------------------------------------- */

/* Where the KBS tells its policy: has it another than the run's? One that is as it was before the run
 * needs no change. A server that tells nothing leaves both false. */
static void ask_server(struct undo *u, const json_t *begun, bool *ret_foreign, bool *ret_before)
{
    char sha256[65];
    prop_auto_free char *now = NULL;
    const char *own = prop_publish_record_text(begun, "sha256");
    const char *before = prop_publish_record_text(begun, "previous_sha256");
    if (prop_publish_server_policy_ask(u->s, &now, NULL) != 0 || now == NULL)
        return;
    prop_checksum_hex(now, strlen(now), sha256);
    *ret_before = before != NULL && strcmp(sha256, before) == 0;
    *ret_foreign = !*ret_before && (own == NULL || strcmp(sha256, own) != 0);
}

/* Is what this machine uploaded last what this run uploaded, or what was there before it? */
static bool still_ours(struct undo *u, const json_t *begun)
{
    char sha256[65];
    int64_t id = 0;
    if (prop_ledger_last_policy_id(u->s->ledger, prop_kbs_url(u->s->p->kbs), &id, sha256, NULL) !=
        0)
        return false;
    const char *own = prop_publish_record_text(begun, "sha256");
    return (own != NULL && strcmp(sha256, own) == 0) ||
           json_integer_value(json_object_get(begun, "previous")) == (json_int_t)id;
}

static void upload_previous(struct undo *u, int64_t id)
{
    struct prop_publish_state *s = u->s;
    prop_auto_free char *rego = NULL;
    prop_auto_free char *document = NULL;
    struct prop_err err = PROP_ERR_INIT;
    const char *url = prop_kbs_url(s->p->kbs);
    int rc = prop_ledger_policy(s->ledger, url, id, &rego, &document, &err);
    /* A key that stays must not lose its guard to a policy that lets others have it. */
    if (rc == 0 && !u->key_gone && !prop_publish_policy_guards(rego, s->kid_path)) {
        left(u, "the policy in the KBS has the new rule: the one before would let others have the key, "
                "which is still there");
        return;
    }
    if (rc == 0)
        rc = prop_kbs_set_policy(s->p->kbs, rego, strlen(rego), &err);
    if (rc != 0) {
        failed(u, rc, &err, "the policy in the KBS has the new rule");
        return;
    }
    (void)prop_ledger_add_policy(s->ledger, url, rego, document, NULL);
    u->policy_back = true;
    taken(u, "the policy of %s is what it was", url);
}

/* It is back already: the ledger is to say so too. */
static void note_previous(struct undo *u, int64_t id)
{
    struct prop_publish_state *s = u->s;
    prop_auto_free char *rego = NULL;
    prop_auto_free char *document = NULL;
    const char *url = prop_kbs_url(s->p->kbs);
    int64_t last = 0;
    char sha256[65];
    u->policy_back = true;
    if (prop_ledger_last_policy_id(s->ledger, url, &last, sha256, NULL) != 0 || last == id)
        return;
    if (prop_ledger_policy(s->ledger, url, id, &rego, &document, NULL) == 0)
        (void)prop_ledger_add_policy(s->ledger, url, rego, document, NULL);
}

static void undo_policy(struct undo *u)
{
    const json_t *begun = prop_publish_record_of(u->s, "policy", false);
    const char *own = prop_publish_record_text(begun, "sha256");
    const char *before = prop_publish_record_text(begun, "previous_sha256");
    if (!prop_publish_record_tried(u->s, "policy") ||
        (own != NULL && before != NULL && strcmp(own, before) == 0)) {
        u->policy_back = begun == NULL || !prop_publish_record_tried(u->s, "policy");
        return;
    }
    if (u->key_stays)
        return;
    bool foreign = false, as_before = false;
    ask_server(u, begun, &foreign, &as_before);
    if (as_before && still_ours(u, begun))
        note_previous(u, json_integer_value(json_object_get(begun, "previous")));
    else if (before == NULL)
        left(u, "the policy in the KBS has the new rule: what was there before is not known here");
    else if (foreign || !still_ours(u, begun))
        left(u, "the policy in the KBS has the new rule: somebody uploaded another one since "
                "(propkey policy remove)");
    else
        upload_previous(u, json_integer_value(json_object_get(begun, "previous")));
}

static void undo_document(struct undo *u)
{
    const json_t *begun = prop_publish_record_of(u->s, "document", false);
    const char *file = prop_publish_record_text(begun, "file");
    const char *before = prop_publish_record_text(begun, "before");
    prop_auto_buf struct prop_buf now = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    char sha256[65];
    struct prop_err err = PROP_ERR_INIT;
    if (file == NULL || u->key_stays || !u->policy_back)
        return;
    if (prop_file_read(file, &now, NULL) != 0 ||
        (before != NULL && strcmp(prop_buf_str(&now), before) == 0))
        return;
    prop_checksum_hex(now.data, now.len, sha256);
    if (strcmp(sha256, prop_publish_record_text(begun, "sha256")) != 0) {
        left(u, "'%.300s' has the new rule, and was changed since", file);
        return;
    }
    mode_t mode = (mode_t)json_integer_value(json_object_get(begun, "mode"));
    int rc = before != NULL ? prop_file_write(file, before, strlen(before), mode, true, &err)
             : unlink(file) == 0 ? 0
                                 : prop_err_sys(&err, PROP_E_IO, "remove '%s'", file);
    if (rc != 0)
        failed(u, rc, &err, "the policy document has the new rule");
    else
        taken(u, "'%.300s' is what it was", file);
}

/* --- what was uploaded, and the KEK ------------------------------------------------------------- */

static bool remove_blob(const struct undo *u, const struct prop_digest *digest)
{
    prop_auto_free char *path = prop_layout_blob_path(u->s->p->dst->path, digest);
    return path != NULL && unlink(path) == 0;
}

/* A layout's blobs that nothing but the run's manifests refers to: its ciphertext is nobody else's. */
static void remove_blobs(struct undo *u, const json_t *images, const struct prop_digest *top)
{
    struct prop_digest digest;
    size_t i, k;
    json_t *image, *layer;
    json_array_foreach ((json_t *)(uintptr_t)images, i, image) {
        json_array_foreach (json_object_get(image, "layers"), k, layer)
            if (json_object_get(layer, "plain") != NULL &&
                prop_publish_record_digest(layer, "digest", &digest))
                (void)remove_blob(u, &digest);
        if (prop_publish_record_digest(image, "digest", &digest) &&
            !prop_digest_equal(&digest, top))
            (void)remove_blob(u, &digest);
    }
    if (remove_blob(u, top))
        taken(u, "the blobs of the image were removed from '%.300s'", u->s->p->dst->path);
}

/* A layout that is written by this process takes its blobs back by itself when it is closed. */
static void undo_local(struct undo *u, const json_t *images, const struct prop_digest *digest)
{
    struct prop_publish_state *s = u->s;
    if (!s->resumed)
        return;
    if (s->p->dst->transport == PROP_T_OCI && digest != NULL)
        remove_blobs(u, images, digest);
    else if (s->p->dst->transport == PROP_T_OCI)
        left(u, "'%.200s' may hold blobs that nothing refers to", s->p->dst->text);
}

/* One manifest of a registry; that it stays is told. */
static int remove_manifest(struct undo *u, const struct prop_digest *digest)
{
    struct prop_publish_state *s = u->s;
    struct prop_err err = PROP_ERR_INIT;
    int rc = prop_remove_manifest(s->p->dst, digest, s->p->oci, &err);
    if (rc == PROP_E_AUTH || rc == PROP_E_DENIED) /* to push is one right, to delete another */
        left(u, "the registry holds the manifest without a name (%.300s)", err.message);
    else if (rc != 0 && rc != PROP_E_NOTFOUND)
        failed(u, rc, &err, "the registry holds the manifest without a name");
    return rc;
}

/* The index first: what names others goes before them. */
static void remove_manifests(struct undo *u, const json_t *images, const struct prop_digest *top)
{
    char text[PROP_DIGEST_TEXT];
    struct prop_digest digest;
    size_t i;
    json_t *image;
    int rc = remove_manifest(u, top);
    bool was_there = rc == 0;
    json_array_foreach ((json_t *)(uintptr_t)images, i, image)
        if ((rc == 0 || rc == PROP_E_NOTFOUND) &&
            prop_publish_record_digest(image, "digest", &digest) &&
            !prop_digest_equal(&digest, top))
            rc = remove_manifest(u, &digest);
    if (was_there)
        taken(u, "the manifest %.19s... was deleted; its layers go when the registry cleans up",
              prop_digest_format(top, text));
}

static void undo_image(struct undo *u)
{
    struct prop_publish_state *s = u->s;
    const json_t *sent = prop_publish_record_of(s, "image", true);
    const json_t *images = json_object_get(sent, "images");
    struct prop_digest digest;
    if (!prop_publish_record_tried(s, "image") || u->key_stays ||
        json_is_true(json_object_get(sent, "unchanged")))
        return;
    bool whole = prop_publish_record_digest(sent, "manifest", &digest);
    if (s->p->dst->transport != PROP_T_DOCKER) {
        undo_local(u, images, whole ? &digest : NULL);
        return;
    }
    if (whole)
        remove_manifests(u, images, &digest);
    else
        left(u, "'%.200s' may hold blobs that nothing refers to", s->p->dst->text);
}

/* A KEK that nothing refers to is no use to anybody, and one secret less to keep. */
static void undo_kek(struct undo *u)
{
    struct prop_publish_state *s = u->s;
    const json_t *kept = prop_publish_record_of(s, "kek", false);
    const char *fingerprint = prop_publish_record_text(kept, "fingerprint");
    struct prop_err err = PROP_ERR_INIT;
    if (fingerprint == NULL)
        return;
    if (!u->key_gone || u->key_stays) {
        left(u, "the KEK is kept in '%.300s'",
             s->kek_path != NULL ? s->kek_path
                                 : prop_publish_record_text(prop_publish_record_of(s, "kek", true),
                                                            "file"));
        return;
    }
    int rc = prop_kek_store_forget(fingerprint, &err);
    if (rc == 0)
        taken(u, "the KEK %s was removed from this machine", fingerprint);
    else if (rc != PROP_E_NOTFOUND)
        failed(u, rc, &err, "the KEK is kept on this machine");
}

int prop_publish_undo(struct prop_publish_state *s, struct prop_publish_undo *out,
                      struct prop_err *err)
{
    struct undo u = { .s = s, .u = out, .last = PROP_ERR_INIT };
    int rc = check_name(&u, err);
    /* A run that just failed, perhaps for the lock or by a signal, does not wait for long again: what
     * it leaves is in the journal. */
    if (rc == 0)
        rc = s->resumed ? prop_ledger_lock(s->ledger, err)
                        : prop_ledger_lock_for(s->ledger, after_failure_ms, err);
    if (rc != 0)
        return rc;
    undo_key(&u);
    undo_policy(&u);
    undo_document(&u);
    prop_ledger_unlock(s->ledger);
    undo_image(&u);
    if (u.last.code == PROP_OK)
        undo_kek(&u);
    if (u.last.code == PROP_OK)
        return 0;
    if (err != NULL)
        *err = u.last;
    return u.last.code;
}
