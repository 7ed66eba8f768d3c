/* Rotation: names and keys, and the order of the steps (publish/rotate.h). The ledger's lock is
 * held from the first look to the last note: two rotations of one key on one machine would choose
 * two successors, and manifests alone are moved, which takes seconds. */
#include "publish/rotate.h"

#include "crypto/random.h"
#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "publish/key.h"
#include "publish/plan.h"
#include "publish/rotate_state.h"
#include "util/mem.h"
#include "util/stop.h"

#include <string.h>

enum { kek_bytes = 32, fingerprint_digits = 16 };

static void init(struct prop_rotate_state *r, const struct prop_rotate *p)
{
    memset(r, 0, sizeof *r);
    r->p = p;
    r->publish = (struct prop_publish){ .oci = p->oci, .kbs = p->kbs, .ledger = p->ledger,
                                        .policy_doc = p->policy_doc, .dry_run = p->dry_run,
                                        .tee = p->tee, .step = p->step, .warn = p->warn,
                                        .ctx = p->ctx };
    (void)prop_publish_state_init(&r->s, &r->publish, NULL);
}

static void release(struct prop_rotate_state *r)
{
    prop_rotate_images_release(r);
    prop_publish_state_release(&r->s);
    prop_free(r->old_path);
    prop_free(r->old_uri);
    prop_secret_free(r->old_kek);
}

/* --- names and keys --------------------------------------------------------------------------- */

static int parse_old(struct prop_rotate_state *r, struct prop_err *err)
{
    int rc = prop_resource_id_parse(r->p->path, false, &r->old, err);
    if (rc != 0)
        return rc;
    r->old_path = prop_resource_id_path(&r->old);
    r->old_uri = prop_resource_id_uri(&r->old);
    return r->old_path != NULL && r->old_uri != NULL ? 0 : prop_err_nomem(err);
}

/* A file that holds another KEK than the one uploaded under that name from here. */
static int read_kek(const char *file, const char *path, const char *known, struct prop_secret **ret,
                    struct prop_err *err)
{
    char fingerprint[17];
    prop_auto_secret struct prop_secret *kek = NULL;
    int rc = prop_kek_read(file, &kek, err);
    if (rc == 0)
        rc = prop_kek_fingerprint(kek, fingerprint, err);
    if (rc != 0)
        return rc;
    if (known[0] != 0 && strcmp(known, fingerprint) != 0)
        return prop_err_set_id(err, PROP_E_VERIFY, "kek-wrong",
                               "'%s' holds the KEK %s, and '%s' has %s", file, fingerprint, path,
                               known);
    *ret = PROP_TAKE(kek);
    return 0;
}

/* The KEK of a name: the file given, else the one kept here under the ledger's fingerprint. */
static int find_kek(const struct prop_rotate_state *r, const char *path, struct prop_secret **ret,
                    struct prop_err *err)
{
    char known[17] = "";
    if (r->s.ledger != NULL)
        (void)prop_ledger_find_key(r->s.ledger, prop_kbs_url(r->p->kbs), path, known, NULL);
    if (r->p->kek_file != NULL)
        return read_kek(r->p->kek_file, path, known, ret, err);
    int rc = 0;
    if (known[0] != 0)
        rc = prop_kek_store_find(known, ret, err);
    else
        rc = prop_err_set_id(err, PROP_E_NOTFOUND, "kek-not-kept",
                             "the KEK of '%s' is not known on this machine", path);
    if (rc == PROP_E_NOTFOUND)
        (void)prop_err_hint(err,
                            "give it with --kek FILE, or bring it back with 'propkey restore'");
    return rc;
}

/* "r/t/app" becomes "r/t/app-<fingerprint>", "r/t/app-<old fingerprint>" likewise. */
static int name_successor(struct prop_rotate_state *r, const char *fingerprint,
                          struct prop_err *err)
{
    if (r->p->to != NULL)
        return prop_publish_key_name(&r->s, r->p->to, err);
    const char *tag = r->old.tag;
    size_t len = strlen(tag);
    if (len > fingerprint_digits + 1 && tag[len - fingerprint_digits - 1] == '-' &&
        strspn(tag + len - fingerprint_digits, "0123456789abcdef") == fingerprint_digits)
        len -= fingerprint_digits + 1;
    if (len + fingerprint_digits + 2 > PROP_RESOURCE_PART)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-resource-path",
                               "'%s' is too long to put a fingerprint behind it: give --to", tag);
    prop_auto_free char *path =
        prop_asprintf("%s/%s/%.*s-%s", r->old.repo, r->old.type, (int)len, tag, fingerprint);
    return path != NULL ? prop_publish_key_name(&r->s, path, err) : prop_err_nomem(err);
}

/* Another name than the one begun with would leave two successors. */
static int check_resumed(const struct prop_rotate_state *r, const char *begun, struct prop_err *err)
{
    struct prop_resource_id wanted, id;
    if (r->p->to == NULL)
        return 0;
    int rc = prop_resource_id_parse(r->p->to, false, &wanted, err);
    if (rc != 0 || (prop_resource_id_parse(begun, false, &id, NULL) == 0 &&
                    prop_resource_id_same(&id, &wanted)))
        return rc;
    (void)prop_err_set_id(err, PROP_E_USAGE, "rotation-begun",
                          "the rotation of '%s' to '%s' was begun", r->old_path, begun);
    return prop_err_hint(err, "finish it (leave --to out), then retire it");
}

/* What an earlier run chose, if there was one: *ret_found tells. */
static int resume(struct prop_rotate_state *r, bool *ret_found, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    prop_auto_free char *to = NULL;
    *ret_found = false;
    if (r->s.ledger == NULL)
        return 0;
    int rc = prop_ledger_find_rotation(r->s.ledger, prop_kbs_url(r->p->kbs), r->old_path, &to,
                                       r->s.fingerprint, &inner);
    if (rc == PROP_E_NOTFOUND)
        return 0;
    if (rc == 0)
        rc = check_resumed(r, to, &inner);
    if (rc == 0)
        rc = prop_publish_key_name(&r->s, to, &inner);
    if (rc == 0)
        rc = prop_kek_store_find(r->s.fingerprint, &r->s.kek, &inner);
    if (rc == 0)
        rc = prop_kek_store_path(r->s.fingerprint, &r->s.kek_path, &inner);
    if (rc != 0 && err != NULL)
        *err = inner;
    *ret_found = rc == 0;
    r->resumed = rc == 0;
    return rc;
}

/* A name that is in use with another key is nobody's to give away. */
static int check_free(const struct prop_rotate_state *r, struct prop_err *err)
{
    char known[17] = "";
    if (prop_resource_id_same(&r->s.kid, &r->old))
        return prop_err_set_id(err, PROP_E_USAGE, "same-name",
                               "the new key needs another name than '%s'", r->old_path);
    if (r->s.ledger == NULL ||
        prop_ledger_find_key(r->s.ledger, prop_kbs_url(r->p->kbs), r->s.kid_path, known, NULL) !=
            0 ||
        strcmp(known, r->s.fingerprint) == 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_EXISTS, "kid-in-use",
                          "key name '%s' is in use with another key", r->s.kid_path);
    return prop_err_hint(err, "take another --to");
}

static int choose(struct prop_rotate_state *r, struct prop_err *err)
{
    bool found = false;
    int rc = find_kek(r, r->old_path, &r->old_kek, err);
    if (rc == 0)
        rc = resume(r, &found, err);
    if (rc == 0 && !found) {
        rc = prop_random_secret(kek_bytes, &r->s.kek, err);
        if (rc == 0)
            rc = prop_kek_fingerprint(r->s.kek, r->s.fingerprint, err);
        if (rc == 0)
            rc = name_successor(r, r->s.fingerprint, err);
    }
    return rc == 0 ? check_free(r, err) : rc;
}

/* --- steps ------------------------------------------------------------------------------------ */

/* On disk, then noted: from here on every run means this KEK under this name. */
static int keep(struct prop_rotate_state *r, struct prop_err *err)
{
    if (r->resumed)
        return prop_publish_step(&r->s, err, "kek", "going on with KEK %s as '%s'",
                                 r->s.fingerprint, r->s.kid_path);
    int rc = prop_kek_store_new(r->s.kek, &r->s.kek_path, err);
    if (rc != 0)
        return prop_err_wrap(err, "keep the new KEK");
    rc = prop_ledger_begin_rotation(r->s.ledger, prop_kbs_url(r->p->kbs), r->old_path,
                                    r->s.kid_path, r->s.fingerprint, err);
    return rc == 0 ? prop_publish_step(&r->s, err, "kek", "new KEK %s kept in '%s'",
                                       r->s.fingerprint, r->s.kek_path)
                   : rc;
}

/* Where this machine can be a guest: the KBS gives what it got. */
static int fetch_back(struct prop_rotate_state *r, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *got = NULL;
    const struct prop_kbs_attest how = { .tee = r->p->tee };
    if (r->p->tee == PROP_TEE_NONE)
        return 0;
    int rc = prop_kbs_get_resource(r->p->kbs, &how, &r->s.kid, &got, err);
    if (rc != 0)
        return prop_err_wrap(err, "fetch the new key as a guest would");
    if (!prop_secret_equal(got, r->s.kek))
        return prop_err_set_id(err, PROP_E_VERIFY, "proof", "the KBS gives another key for '%s'",
                               r->s.kid_path);
    return prop_publish_step(&r->s, err, "proof", "the KBS gives the new key to a guest");
}

static int send_key(struct prop_rotate_state *r, struct prop_err *err)
{
    int rc = prop_kbs_set_resource(r->p->kbs, &r->s.kid, r->s.kek, err);
    if (rc == 0)
        rc = prop_ledger_add_key(r->s.ledger, prop_kbs_url(r->p->kbs), r->s.kid_path,
                                 r->s.fingerprint, NULL, err);
    if (rc == 0)
        rc = prop_publish_step(&r->s, err, "key", "key '%s' given to %s", r->s.kid_uri,
                               prop_kbs_url(r->p->kbs));
    return rc == 0 ? fetch_back(r, err) : rc;
}

static int execute(struct prop_rotate_state *r, struct prop_err *err)
{
    static int (*const steps[])(struct prop_rotate_state *, struct prop_err *) = {
        keep, prop_rotate_images_remember, prop_rotate_policy_send, send_key,
        prop_rotate_images_rewrap, prop_rotate_images_tag,
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(steps); i++) {
        int rc = prop_stop_check(err);
        if (rc == 0)
            rc = steps[i](r, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int told(struct prop_rotate_state *r, json_t **ret, struct prop_err *err)
{
    bool fresh = r->p->dry_run && !r->resumed && r->p->to == NULL;
    prop_auto_json json_t *doc = json_pack(
        "{s:s,s:s*,s:s*,s:s*,s:s*,s:s,s:b,s:O}", "path", r->old_path, "to",
        fresh ? NULL : r->s.kid_path, "kid", fresh ? NULL : r->s.kid_uri, "fingerprint",
        r->p->dry_run && !r->resumed ? NULL : r->s.fingerprint, "kek_file", r->s.kek_path, "policy",
        r->policy, "resumed", r->resumed, "steps", r->s.steps);
    if (doc == NULL || (r->p->dry_run && json_object_set_new(doc, "dry_run", json_true()) != 0))
        return prop_err_nomem(err);
    int rc = prop_rotate_images_told(r, doc, err);
    if (rc == 0)
        *ret = PROP_TAKE(doc);
    return rc;
}

static int plan(struct prop_rotate_state *r, struct prop_err *err)
{
    int rc = choose(r, err);
    if (rc == 0)
        rc = prop_publish_check_kbs(&r->s, err);
    if (rc == 0)
        rc = prop_rotate_images_open(r, err);
    if (rc == 0)
        rc = prop_rotate_images_check(r, err);
    return rc == 0 ? prop_rotate_policy_plan(r, err) : rc;
}

static int rotate(struct prop_rotate_state *r, json_t **ret, struct prop_err *err)
{
    int rc = plan(r, err);
    if (rc == 0)
        rc = r->p->dry_run ? 0 : execute(r, err);
    return rc == 0 ? told(r, ret, err) : rc;
}

/* --- retire ----------------------------------------------------------------------------------- */

/* The successor: what the rotation noted, or the name given and its KEK. */
static int find_successor(struct prop_rotate_state *r, struct prop_err *err)
{
    bool found = false;
    int rc = resume(r, &found, err);
    if (rc != 0 || found)
        return rc;
    if (r->p->to == NULL) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-rotation",
                              "no rotation of '%s' was begun on this machine", r->old_path);
        return prop_err_hint(err,
                             "propkey rotate begins one; --to names a key that took its place");
    }
    rc = prop_publish_key_name(&r->s, r->p->to, err);
    if (rc == 0)
        rc = find_kek(r, r->s.kid_path, &r->s.kek, err);
    if (rc == 0)
        rc = prop_kek_fingerprint(r->s.kek, r->s.fingerprint, err);
    return rc == 0 ? check_free(r, err) : rc;
}

/* A server that cannot delete keeps the old key: said, and no failure, since images are done. */
static int delete_old(struct prop_rotate_state *r, bool *ret_deleted, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kbs_delete_resource(r->p->kbs, &r->old, &inner);
    *ret_deleted = rc == 0 || rc == PROP_E_NOTFOUND;
    if (rc == PROP_E_UNSUPPORTED) {
        prop_publish_warn(&r->s,
                          "the old key stays in the KBS, which cannot delete: drop its rule from "
                          "the policy (%s)",
                          inner.message);
        return 0;
    }
    if (!*ret_deleted) {
        if (err != NULL)
            *err = inner;
        return rc;
    }
    return prop_publish_step(&r->s, err, "key", "key '%s' deleted from %s", r->old_uri,
                             prop_kbs_url(r->p->kbs));
}

static int forget_old(struct prop_rotate_state *r, struct prop_err *err)
{
    int rc = prop_ledger_forget_key(r->s.ledger, prop_kbs_url(r->p->kbs), r->old_path, err);
    return rc == 0
             ? prop_ledger_end_rotation(r->s.ledger, prop_kbs_url(r->p->kbs), r->old_path, err)
             : rc;
}

static int retire(struct prop_rotate_state *r, json_t **ret, struct prop_err *err)
{
    bool deleted = false;
    int rc = find_successor(r, err);
    if (rc == 0)
        rc = prop_publish_check_kbs(&r->s, err);
    if (rc == 0)
        rc = prop_rotate_images_open(r, err);
    if (rc == 0)
        rc = prop_rotate_images_check(r, err);
    if (rc == 0 && !r->p->dry_run)
        rc = prop_rotate_images_rewrap(r, err);
    if (rc == 0 && !r->p->dry_run)
        rc = prop_rotate_images_tag(r, err);
    if (rc == 0 && !r->p->dry_run)
        rc = delete_old(r, &deleted, err);
    if (rc == 0 && !r->p->dry_run)
        rc = forget_old(r, err);
    if (rc != 0)
        return rc;
    prop_auto_json json_t *doc = json_pack("{s:s,s:s,s:b,s:O}", "path", r->old_path, "to",
                                           r->s.kid_path, "deleted", deleted, "steps", r->s.steps);
    if (doc == NULL || (r->p->dry_run && json_object_set_new(doc, "dry_run", json_true()) != 0))
        return prop_err_nomem(err);
    rc = prop_rotate_images_told(r, doc, err);
    if (rc == 0)
        *ret = PROP_TAKE(doc);
    return rc;
}

int prop_rotate_run(const struct prop_rotate *p, json_t **ret, struct prop_err *err)
{
    struct prop_rotate_state r;
    struct prop_err local = PROP_ERR_INIT;
    init(&r, p);
    int rc =
        r.s.steps == NULL || r.s.proof == NULL ? prop_err_nomem(&local) : parse_old(&r, &local);
    if (rc == 0 && p->policy_as_is && p->policy_doc != NULL)
        rc = prop_err_set_id(&local, PROP_E_USAGE, "two-policies",
                             "--policy-doc and --policy-as-is exclude each other");
    if (rc == 0)
        rc = prop_publish_open_ledger(&r.s, &local);
    if (rc == 0 && !p->dry_run)
        rc = prop_ledger_lock(r.s.ledger, &local);
    if (rc == 0)
        rc = p->retire ? retire(&r, ret, &local) : rotate(&r, ret, &local);
    release(&r);
    if (rc != 0 && err != NULL)
        *err = local;
    return rc;
}
