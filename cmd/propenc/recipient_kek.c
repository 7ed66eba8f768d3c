/* A generated KEK is on disk before it is anywhere else, and at the key broker before anything is
 * encrypted with it: a POST overwrites silently and an administrator cannot read a key back. */
#include "cmd/propenc/recipient_kek.h"

#include "crypto/random.h"
#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "store/ledger.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

enum { KEK_BYTES = 32 };

static int open_client(struct propenc_recipient_opts *o, struct prop_err *err)
{
    return o->client ? 0 : prop_kbs_opts_open(&o->kbs, &o->client, err);
}

static int fetch(struct propenc_recipient_opts *o, const struct prop_resource_id *kid,
                 struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *value = NULL;
    prop_auto_free char *path = prop_resource_id_path(kid);
    int rc = path ? open_client(o, err) : prop_err_nomem(err);
    if (rc == 0 && o->how.tee == PROP_TEE_NONE)
        rc = prop_kbs_opts_tee(&o->kbs, &o->how.tee, err);
    if (rc == 0)
        rc = prop_kbs_get_resource(o->client, &o->how, kid, &value, err);
    return rc != 0 ? rc : prop_kek_from_bytes(value, path, ret, err);
}

int propenc_kek_fetch(void *ctx, const struct prop_resource_id *kid, struct prop_secret **ret,
                      struct prop_err *err)
{
    int rc = fetch(ctx, kid, ret, err);
    return rc != 0 ? prop_err_wrap(err, "KEK '%s/%s/%s' from the key broker", kid->repo, kid->type,
                                   kid->tag)
                   : 0;
}

/* --- a new one --- */

static bool uploads(const struct propenc_recipient_opts *o)
{
    return o->kbs.kbs && *o->kbs.kbs && (o->kbs.admin_key || o->kbs.admin_token);
}

static int in_use(const char *path, const char *where, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_EXISTS, "kid-in-use",
                          "key id '%s' is in use with another key (%s)", path, where);
    return prop_err_hint(err, "take another keyid, name that key with keypath, or let it be "
                         "overwritten with --replace-key: images under it can then not be opened "
                         "any more");
}

/* What this machine's ledger, and where evidence was offered the broker, know of the name. */
static int check_free(struct propenc_recipient_opts *o, const struct prop_resource_id *kid,
                      const char *path, struct prop_err *err)
{
    prop_auto_ledger struct prop_ledger *ledger = NULL;
    prop_auto_secret struct prop_secret *there = NULL;
    char known[17];
    int rc;
    if (o->replace_key)
        return 0;
    if ((rc = open_client(o, err)) != 0 ||
        (rc = prop_ledger_open_existing(NULL, &ledger, err)) != 0)
        return rc;
    if (ledger && prop_ledger_find_key(ledger, prop_kbs_url(o->client), path, known, NULL) == 0)
        return in_use(path, "the ledger of this machine", err);
    if (prop_cli_given(o->cli, "tee") && fetch(o, kid, &there, NULL) == 0)
        return in_use(path, "the key broker", err);
    return 0;
}

static int upload(struct propenc_recipient_opts *o, const struct prop_resource_id *kid,
                  const char *path, const struct prop_secret *kek, const char *fingerprint,
                  struct prop_err *err)
{
    prop_auto_ledger struct prop_ledger *ledger = NULL;
    int rc;
    if ((rc = open_client(o, err)) != 0 || (rc = prop_ledger_open(NULL, &ledger, err)) != 0 ||
        (rc = prop_kbs_set_resource(o->client, kid, kek, err)) != 0)
        return prop_err_wrap(err, "give the new key '%s' to the key broker", path);
    return prop_ledger_add_key(ledger, prop_kbs_url(o->client), path, fingerprint, NULL, err);
}

static int note(struct propenc_recipient_opts *o, const struct prop_resource_id *kid,
                const char *fingerprint, const char *file, struct prop_err *err)
{
    prop_auto_free char *uri = prop_resource_id_uri(kid);
    if (!o->made)
        o->made = json_array();
    if (!uri || json_array_append_new(o->made, json_pack("{s:s,s:s,s:s?,s:b}", "kid", uri,
                                                         "fingerprint", fingerprint, "file", file,
                                                         "uploaded",
                                                         file && uploads(o) ? 1 : 0)) != 0)
        return prop_err_nomem(err);
    if (!file)
        prop_cli_note(o->cli, "a new key for '%s' would be made", uri);
    else if (uploads(o))
        prop_cli_note(o->cli, "new key for '%s' kept in '%s' and given to %s", uri, file,
                      prop_kbs_url(o->client));
    else
        prop_cli_note(o->cli, "new key for '%s' kept in '%s'; the key broker does not have it yet: "
                      "propkey set %s '%s'", uri, file, uri + strlen("kbs:///"), file);
    return 0;
}

/* Kept, uploaded and noted. */
static int keep(struct propenc_recipient_opts *o, const struct prop_resource_id *kid,
                const struct prop_secret *kek, const char *fingerprint, struct prop_err *err)
{
    prop_auto_free char *file = NULL;
    prop_auto_free char *path = prop_resource_id_path(kid);
    int rc = path ? 0 : prop_err_nomem(err);
    if (rc == 0 && uploads(o))
        rc = check_free(o, kid, path, err);
    if (rc != 0 || o->dry_run)
        return rc != 0 ? rc : note(o, kid, fingerprint, NULL, err);
    if ((rc = prop_kek_store_new(kek, &file, err)) != 0)
        return prop_err_wrap(err, "keep the new KEK");
    if (uploads(o) && (rc = upload(o, kid, path, kek, fingerprint, err)) != 0)
        return rc;
    return note(o, kid, fingerprint, file, err);
}

int propenc_kek_generate(void *ctx, struct prop_resource_id *kid, struct prop_secret **ret,
                         struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    struct prop_resource_id name = *kid;
    char fingerprint[17];
    int rc;
    if ((rc = prop_random_secret(KEK_BYTES, &kek, err)) != 0 ||
        (rc = prop_kek_fingerprint(kek, fingerprint, err)) != 0)
        return rc;
    if (!name.repo[0]) {
        (void)snprintf(name.repo, sizeof(name.repo), "default");
        (void)snprintf(name.type, sizeof(name.type), "key");
        (void)snprintf(name.tag, sizeof(name.tag), "kek-%s", fingerprint);
    }
    if ((rc = keep(ctx, &name, kek, fingerprint, err)) != 0)
        return rc;
    *kid = name;
    *ret = PROP_TAKE(kek);
    return 0;
}

static int note_image(const struct propenc_recipient_opts *o, const char *kid, const char *image,
                      const char *digest, struct prop_err *err)
{
    prop_auto_ledger struct prop_ledger *ledger = NULL;
    struct prop_resource_id id;
    int rc = prop_resource_id_parse(kid, false, &id, err);
    prop_auto_free char *path = rc == 0 ? prop_resource_id_path(&id) : NULL;
    if (rc == 0 && !path)
        rc = prop_err_nomem(err);
    if (rc == 0)
        rc = prop_ledger_open(NULL, &ledger, err);
    if (rc == 0)
        rc = prop_ledger_add_image(ledger, prop_kbs_url(o->client), path, image, digest, err);
    return rc;
}

void propenc_kek_note_image(const struct propenc_recipient_opts *o, const char *image,
                            const char *digest)
{
    size_t i;
    json_t *one;
    if (!image || !digest || o->dry_run)
        return;
    json_array_foreach(o->made, i, one) {
        struct prop_err err = PROP_ERR_INIT;
        const char *kid = json_string_value(json_object_get(one, "kid"));
        if (json_is_true(json_object_get(one, "uploaded")) &&
            note_image(o, kid, image, digest, &err) != 0)
            prop_cli_warn(o->cli, "the ledger does not know the image of '%s': %s", kid,
                          err.message);
    }
}
