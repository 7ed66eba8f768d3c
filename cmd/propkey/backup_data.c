/* A backup's content. The JSON is wiped when freed (util/secret.h), as every key that is JSON. */
#include "cmd/propkey/backup_data.h"

#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "keys/resource_id.h"
#include "util/encode.h"
#include "util/mem.h"
#include "util/text.h"

#include <stddef.h>
#include <string.h>

enum { BACKUP_VERSION = 1 };

static bool holds(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        if (strcmp(json_string_value(item), text) == 0)
            return true;
    return false;
}

/* --- out -------------------------------------------------------------------------------------- */

static int add_kek(json_t *keks, const char *fingerprint, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    int rc = prop_kek_store_find(fingerprint, &kek, err);
    if (rc < 0)
        return rc;
    char *b64 = prop_b64_encode(PROP_B64_STD, prop_secret_data(kek), prop_secret_len(kek));
    if (!b64)
        return prop_err_nomem(err);
    rc =
        json_array_append_new(keks, json_pack("{s:s,s:s}", "fingerprint", fingerprint, "kek", b64));
    prop_wipe(b64, strlen(b64));
    prop_free(b64);
    return rc < 0 ? prop_err_nomem(err) : 0;
}

/* One name of the ledger, with its images; its KEK is among those kept, or not. */
static int add_key(struct prop_ledger *l, const json_t *row, const json_t *kept, json_t *keys,
                   json_t *summary, struct prop_err *err)
{
    const char *fingerprint = json_string_value(json_object_get(row, "fingerprint"));
    const char *kbs = json_string_value(json_object_get(row, "kbs"));
    const char *path = json_string_value(json_object_get(row, "path"));
    prop_auto_json json_t *images = NULL;
    if (!fingerprint)
        return 0;
    bool have = holds(kept, fingerprint);
    json_t *names = json_object_get(summary, have ? "keys" : "missing");
    if (json_array_append_new(names, json_pack("{s:s,s:s,s:s}", "kbs", kbs, "path", path,
                                               "fingerprint", fingerprint)) < 0)
        return prop_err_nomem(err);
    if (!have)
        return 0;
    int rc = prop_ledger_images(l, kbs, path, &images, err);
    if (rc < 0)
        return rc;
    return json_array_append_new(keys, json_pack("{s:s,s:s,s:s,s:O}", "kbs", kbs, "path", path,
                                                 "fingerprint", fingerprint, "images", images)) < 0
               ? prop_err_nomem(err) : 0;
}

static int to_secret(const json_t *doc, struct prop_secret **ret, struct prop_err *err)
{
    char *text = prop_json_compact(doc);
    if (!text)
        return prop_err_nomem(err);
    int rc = prop_secret_copy(text, strlen(text), ret, err);
    prop_wipe(text, strlen(text));
    prop_free(text);
    return rc;
}

/* Only where there are some: readers of before know no such member. */
static int add_rotations(struct prop_ledger *l, json_t *doc, struct prop_err *err)
{
    prop_auto_json json_t *rows = NULL;
    int rc = l ? prop_ledger_rotations(l, &rows, err) : 0;
    if (rc == 0 && json_array_size(rows) > 0 && json_object_set(doc, "rotations", rows) < 0)
        return prop_err_nomem(err);
    return rc;
}

int propkey_backup_collect(struct prop_ledger *l, struct prop_secret **ret, json_t **ret_summary,
                           struct prop_err *err)
{
    prop_auto_json json_t *kept = NULL;
    prop_auto_json json_t *rows = NULL;
    prop_auto_json json_t *doc = json_pack("{s:i,s:I,s:[],s:[]}", "version", BACKUP_VERSION, "time",
                                           (json_int_t)prop_wall_time(), "keks", "keys");
    int rc = doc ? prop_kek_store_list(&kept, err) : prop_err_nomem(err);
    if (rc == 0 && json_array_size(kept) == 0)
        rc = prop_err_set_id(err, PROP_E_NOTFOUND, "no-keks", "this machine keeps no KEK");
    if (rc == 0 && l)
        rc = prop_ledger_keys(l, NULL, &rows, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *summary =
        json_pack("{s:I,s:[],s:[]}", "keks", (json_int_t)json_array_size(kept), "keys", "missing");
    if (!summary)
        return prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < json_array_size(kept); i++)
        rc = add_kek(json_object_get(doc, "keks"), json_string_value(json_array_get(kept, i)), err);
    for (size_t i = 0; rc == 0 && i < json_array_size(rows); i++)
        rc = add_key(l, json_array_get(rows, i), kept, json_object_get(doc, "keys"), summary, err);
    if (rc == 0)
        rc = add_rotations(l, doc, err);
    if (rc == 0)
        rc = to_secret(doc, ret, err);
    if (rc == 0)
        *ret_summary = PROP_TAKE(summary);
    return rc;
}

/* --- in --------------------------------------------------------------------------------------- */

struct content {
    json_int_t version;
    json_t *keks, *keys, *rotations;
};
struct rotation_entry {
    const char *kbs, *path, *new_path, *fingerprint;
};
struct kek_entry {
    const char *fingerprint, *kek;
};
struct key_entry {
    const char *kbs, *path, *fingerprint;
    json_t *images;
};
struct image_entry {
    const char *image, *digest;
};

static const struct prop_json_field content_fields[] = {
    { "version", PROP_JSON_INT, offsetof(struct content, version), PROP_JSON_REQUIRED },
    { "keks", PROP_JSON_ARRAY, offsetof(struct content, keks), PROP_JSON_REQUIRED },
    { "keys", PROP_JSON_ARRAY, offsetof(struct content, keys), PROP_JSON_REQUIRED },
    { "rotations", PROP_JSON_ARRAY, offsetof(struct content, rotations), PROP_JSON_OPTIONAL },
};
static const struct prop_json_field rotation_fields[] = {
    { "kbs", PROP_JSON_STRING, offsetof(struct rotation_entry, kbs), PROP_JSON_REQUIRED },
    { "path", PROP_JSON_STRING, offsetof(struct rotation_entry, path), PROP_JSON_REQUIRED },
    { "new_path", PROP_JSON_STRING, offsetof(struct rotation_entry, new_path), PROP_JSON_REQUIRED },
    { "fingerprint", PROP_JSON_STRING, offsetof(struct rotation_entry, fingerprint),
      PROP_JSON_REQUIRED },
};
static const struct prop_json_field kek_fields[] = {
    { "fingerprint", PROP_JSON_STRING, offsetof(struct kek_entry, fingerprint),
      PROP_JSON_REQUIRED },
    { "kek", PROP_JSON_STRING, offsetof(struct kek_entry, kek), PROP_JSON_REQUIRED },
};
static const struct prop_json_field key_fields[] = {
    { "kbs", PROP_JSON_STRING, offsetof(struct key_entry, kbs), PROP_JSON_REQUIRED },
    { "path", PROP_JSON_STRING, offsetof(struct key_entry, path), PROP_JSON_REQUIRED },
    { "fingerprint", PROP_JSON_STRING, offsetof(struct key_entry, fingerprint),
      PROP_JSON_REQUIRED },
    { "images", PROP_JSON_ARRAY, offsetof(struct key_entry, images), PROP_JSON_REQUIRED },
};
static const struct prop_json_field image_fields[] = {
    { "image", PROP_JSON_STRING, offsetof(struct image_entry, image), PROP_JSON_REQUIRED },
    { "digest", PROP_JSON_STRING, offsetof(struct image_entry, digest), PROP_JSON_OPTIONAL },
};

static int bad_content(struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "backup-content",
                           "the backup holds a key that is not what it is named");
}

static int put_kek(const json_t *item, bool dry_run, json_t *report, struct prop_err *err)
{
    struct kek_entry e = { NULL, NULL };
    char found[17];
    prop_auto_secret struct prop_secret *kek = NULL;
    prop_auto_secret struct prop_secret *there = NULL;
    int rc = prop_json_read(item, "backup", kek_fields, PROP_ARRAY_LEN(kek_fields), &e, err);
    if (rc < 0)
        return rc;
    if (prop_b64_decode_secret(PROP_B64_STD, e.kek, strlen(e.kek), "KEK", &kek, NULL) < 0 ||
        prop_secret_len(kek) != 32 || prop_kek_fingerprint(kek, found, NULL) < 0 ||
        strcmp(found, e.fingerprint) != 0)
        return bad_content(err);
    bool present = prop_kek_store_find(found, &there, NULL) == 0;
    if (!present && !dry_run)
        rc = prop_kek_store_new(kek, NULL, err);
    if (rc == 0 && json_array_append_new(json_object_get(report, present ? "present" : "restored"),
                                         json_string(found)) < 0)
        rc = prop_err_nomem(err);
    return rc;
}

static int put_images(struct prop_ledger *l, const struct key_entry *k, struct prop_err *err)
{
    size_t i;
    json_t *item;
    json_array_foreach (k->images, i, item) {
        struct image_entry e = { NULL, NULL };
        int rc =
            prop_json_read(item, "backup", image_fields, PROP_ARRAY_LEN(image_fields), &e, err);
        if (rc == 0)
            rc = prop_ledger_add_image(l, k->kbs, k->path, e.image, e.digest, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A name that this machine knows with another key keeps it. */
static int put_key(const json_t *item, struct prop_ledger *l, bool dry_run, json_t *report,
                   struct prop_err *err)
{
    struct key_entry k = { NULL, NULL, NULL, NULL };
    struct prop_resource_id id;
    char here[17] = "";
    int rc = prop_json_read(item, "backup", key_fields, PROP_ARRAY_LEN(key_fields), &k, err);
    if (rc < 0)
        return rc;
    if (prop_resource_id_parse(k.path, false, &id, NULL) < 0 || strlen(k.fingerprint) != 16)
        return bad_content(err);
    bool known = l && prop_ledger_find_key(l, k.kbs, k.path, here, NULL) == 0;
    bool conflict = known && strcmp(here, k.fingerprint) != 0;
    json_t *told = json_pack("{s:s,s:s,s:s,s:s*}", "kbs", k.kbs, "path", k.path, "fingerprint",
                             k.fingerprint, "here", conflict ? here : NULL);
    if (json_array_append_new(json_object_get(report, conflict ? "conflicts" : "keys"), told) < 0)
        return prop_err_nomem(err);
    if (conflict || dry_run || !l)
        return 0;
    if (!known)
        rc = prop_ledger_add_key(l, k.kbs, k.path, k.fingerprint, NULL, err);
    return rc == 0 ? put_images(l, &k, err) : rc;
}

/* One that this machine began itself stays. */
static int put_rotation(const json_t *item, struct prop_ledger *l, bool dry_run, json_t *report,
                        struct prop_err *err)
{
    struct rotation_entry e = { NULL, NULL, NULL, NULL };
    struct prop_resource_id id;
    char fingerprint[17];
    prop_auto_free char *begun = NULL;
    int rc = prop_json_read(item, "backup", rotation_fields, PROP_ARRAY_LEN(rotation_fields), &e, err);
    if (rc < 0)
        return rc;
    if (prop_resource_id_parse(e.path, false, &id, NULL) < 0 ||
        prop_resource_id_parse(e.new_path, false, &id, NULL) < 0 || strlen(e.fingerprint) != 16)
        return bad_content(err);
    if (l && prop_ledger_find_rotation(l, e.kbs, e.path, &begun, fingerprint, NULL) == 0)
        return 0;
    if (json_array_append_new(json_object_get(report, "rotations"),
                              json_pack("{s:s,s:s,s:s}", "kbs", e.kbs, "path", e.path, "new_path",
                                        e.new_path)) < 0)
        return prop_err_nomem(err);
    return l && !dry_run ? prop_ledger_begin_rotation(l, e.kbs, e.path, e.new_path, e.fingerprint, err)
                         : 0;
}

int propkey_backup_restore(const struct prop_secret *data, struct prop_ledger *l, bool dry_run,
                           json_t **ret_report, struct prop_err *err)
{
    struct content c = { 0, NULL, NULL, NULL };
    prop_auto_json json_t *doc = NULL;
    prop_auto_json json_t *report =
        json_pack("{s:[],s:[],s:[],s:[],s:[]}", "restored", "present", "keys", "conflicts",
                  "rotations");
    if (!report)
        return prop_err_nomem(err);
    int rc = prop_json_parse((const char *)prop_secret_data(data), prop_secret_len(data), "backup",
                             &doc, NULL);
    if (rc < 0) /* the parser's message may quote a key */
        return rc == PROP_E_NOMEM ? prop_err_nomem(err) : bad_content(err);
    rc = prop_json_read(doc, "backup", content_fields, PROP_ARRAY_LEN(content_fields), &c, err);
    if (rc == 0 && c.version != BACKUP_VERSION)
        rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "sealed-version",
                             "the backup's content is of version %lld, this tool knows %d",
                             (long long)c.version, (int)BACKUP_VERSION);
    for (size_t i = 0; rc == 0 && i < json_array_size(c.keks); i++)
        rc = put_kek(json_array_get(c.keks, i), dry_run, report, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(c.keys); i++)
        rc = put_key(json_array_get(c.keys, i), l, dry_run, report, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(c.rotations); i++)
        rc = put_rotation(json_array_get(c.rotations, i), l, dry_run, report, err);
    if (rc == 0)
        *ret_report = PROP_TAKE(report);
    return rc;
}
