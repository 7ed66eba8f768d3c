/* Keys in the ledger, and the images each of them opens. */
#include "store/ledger_internal.h"

#include <string.h>

int prop_ledger_split_image(const char *reference, char **ret_image, char **ret_digest,
                            struct prop_err *err)
{
    const char *at = strrchr(reference, '@');
    bool pinned =
        at != NULL && at > reference && strchr(at, ':') != NULL && strchr(at, '/') == NULL;
    prop_auto_free char *image =
        pinned ? prop_strndup(reference, (size_t)(at - reference)) : prop_strdup(reference);
    prop_auto_free char *digest = pinned ? prop_strdup(at + 1) : NULL;
    if (image == NULL || (pinned && digest == NULL))
        return prop_err_nomem(err);
    *ret_image = PROP_TAKE(image);
    *ret_digest = PROP_TAKE(digest);
    return 0;
}

static int put_image(struct prop_ledger *l, const char *kbs_url, const char *path,
                     const char *image_ref, const char *digest, struct prop_err *err)
{
    prop_auto_free char *image = NULL;
    prop_auto_free char *pinned = NULL;
    int rc = prop_ledger_split_image(image_ref, &image, &pinned, err);
    if (rc != 0)
        return rc;
    const char *const texts[] = { kbs_url, path, image, digest != NULL ? digest : pinned };
    return prop_ledger_change(l,
                              "INSERT OR REPLACE INTO image (kbs, path, image, digest, time)"
                              " VALUES (?, ?, ?, ?, ?)",
                              texts, 4, true, err);
}

/* Another KEK under this name: what the old one opened dies with it. */
static int drop_dead_images(struct prop_ledger *l, const char *const texts[3], struct prop_err *err)
{
    return prop_ledger_change(l,
                              "DELETE FROM image WHERE kbs = ?1 AND path = ?2 AND EXISTS"
                              " (SELECT 1 FROM key WHERE kbs = ?1 AND path = ?2"
                              "  AND fingerprint <> ?3)",
                              texts, 3, false, err);
}

/* The name was given to this image anew: it is no longer one of other keys'. */
static int move_image(struct prop_ledger *l, const char *kbs_url, const char *path,
                      const char *image_ref, struct prop_err *err)
{
    prop_auto_free char *image = NULL;
    prop_auto_free char *digest = NULL;
    int rc = prop_ledger_split_image(image_ref, &image, &digest, err);
    if (rc != 0)
        return rc;
    const char *const texts[] = { kbs_url, path, image };
    rc = prop_ledger_change(l, "DELETE FROM image WHERE kbs = ? AND path <> ? AND image = ?", texts,
                            3, false, err);
    return rc == 0 ? put_image(l, kbs_url, path, image_ref, NULL, err) : rc;
}

int prop_ledger_add_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                        const char *kek_fingerprint, const char *image_ref, struct prop_err *err)
{
    const char *const texts[] = { kbs_url, path, kek_fingerprint };
    int rc = prop_ledger_begin(l, err);
    if (rc != 0)
        return rc;
    rc = drop_dead_images(l, texts, err);
    if (rc == 0)
        rc = prop_ledger_change(l,
                                "INSERT OR REPLACE INTO key (kbs, path, fingerprint, time)"
                                " VALUES (?, ?, ?, ?)",
                                texts, 3, true, err);
    if (rc == 0 && image_ref != NULL)
        rc = move_image(l, kbs_url, path, image_ref, err);
    return prop_ledger_commit(l, rc, err);
}

int prop_ledger_forget_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                           struct prop_err *err)
{
    const char *const texts[] = { kbs_url, path };
    int rc = prop_ledger_begin(l, err);
    if (rc != 0)
        return rc;
    rc = prop_ledger_change(l, "DELETE FROM key WHERE kbs = ? AND path = ?", texts, 2, false, err);
    if (rc == 0)
        rc = prop_ledger_change(l, "DELETE FROM image WHERE kbs = ? AND path = ?", texts, 2, false,
                                err);
    if (rc == 0) /* no later run may go on with it, and bring it back to the server */
        rc = prop_ledger_change(l, "DELETE FROM rotation WHERE kbs = ? AND new_path = ?", texts, 2,
                                false, err);
    return prop_ledger_commit(l, rc, err);
}

/* A fingerprint as it is kept: 16 digits, or none. */
static int give_fingerprint(const struct prop_ledger *l, const char *found, const char *path,
                            char ret[17], struct prop_err *err)
{
    size_t len = found != NULL ? strlen(found) : 1;
    if (len != 16 && len != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "ledger-damaged",
                               "ledger '%s': the fingerprint of key '%s' is malformed", l->path,
                               path);
    memcpy(ret, found, len + 1);
    return 0;
}

int prop_ledger_find_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                         char ret_fingerprint[17], struct prop_err *err)
{
    const char *const texts[] = { kbs_url, path };
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(l, "SELECT fingerprint FROM key WHERE kbs = ? AND path = ?", texts,
                                 2, &st, err);
    if (rc != 0)
        return rc;
    prop_auto_free char *found = NULL;
    int sql = sqlite3_step(st);
    if (sql == SQLITE_ROW)
        rc = prop_ledger_column(l, st, 0, &found, err);
    else if (sql == SQLITE_DONE)
        rc = prop_err_set_id(err, PROP_E_NOTFOUND, "key-unknown", "key '%s' is not in the ledger",
                             path);
    else
        rc = prop_ledger_fail(l, sql, "read", err);
    (void)sqlite3_finalize(st);
    if (rc != 0)
        return rc;
    return give_fingerprint(l, found, path, ret_fingerprint, err);
}

static json_t *key_row(sqlite3_stmt *st)
{
    const char *fingerprint = (const char *)sqlite3_column_text(st, 2);
    return json_pack("{s:s,s:s,s:s*,s:I,s:[]}", "kbs", (const char *)sqlite3_column_text(st, 0),
                     "path", (const char *)sqlite3_column_text(st, 1), "fingerprint",
                     fingerprint != NULL && fingerprint[0] != 0 ? fingerprint : NULL, "time",
                     (json_int_t)sqlite3_column_int64(st, 3), "images");
}

static int add_names(struct prop_ledger *l, json_t *key, struct prop_err *err)
{
    prop_auto_json json_t *images = NULL;
    size_t i;
    json_t *image;
    int rc = prop_ledger_images(l, json_string_value(json_object_get(key, "kbs")),
                                json_string_value(json_object_get(key, "path")), &images, err);
    if (rc != 0)
        return rc;
    json_array_foreach(images, i, image)
        if (json_array_append(json_object_get(key, "images"), json_object_get(image, "image")) != 0)
            return prop_err_nomem(err);
    return 0;
}

int prop_ledger_keys(struct prop_ledger *l, const char *kbs_url, json_t **ret, struct prop_err *err)
{
    const char *const texts[] = { kbs_url };
    sqlite3_stmt *st = NULL;
    prop_auto_json json_t *keys = NULL;
    size_t i;
    json_t *key;
    int rc = prop_ledger_prepare(l,
                                 "SELECT kbs, path, fingerprint, time FROM key"
                                 " WHERE ?1 IS NULL OR kbs = ?1 ORDER BY path, kbs",
                                 texts, 1, &st, err);
    if (rc == 0)
        rc = prop_ledger_rows(l, st, key_row, &keys, err);
    json_array_foreach(keys, i, key) {
        if (rc == 0)
            rc = add_names(l, key, err);
    }
    if (rc == 0)
        *ret = PROP_TAKE(keys);
    return rc;
}

int prop_ledger_add_image(struct prop_ledger *l, const char *kbs_url, const char *path,
                          const char *image_ref, const char *digest, struct prop_err *err)
{
    return put_image(l, kbs_url, path, image_ref, digest, err);
}

int prop_ledger_forget_image(struct prop_ledger *l, const char *image_ref, struct prop_err *err)
{
    prop_auto_free char *image = NULL;
    prop_auto_free char *digest = NULL;
    int rc = prop_ledger_split_image(image_ref, &image, &digest, err);
    if (rc != 0)
        return rc;
    const char *const texts[] = { image };
    return prop_ledger_change(l, "DELETE FROM image WHERE image = ?", texts, 1, false, err);
}

static json_t *image_row(sqlite3_stmt *st)
{
    return json_pack("{s:s,s:s*,s:I}", "image", (const char *)sqlite3_column_text(st, 0), "digest",
                     (const char *)sqlite3_column_text(st, 1), "time",
                     (json_int_t)sqlite3_column_int64(st, 2));
}

int prop_ledger_images(struct prop_ledger *l, const char *kbs_url, const char *path, json_t **ret,
                       struct prop_err *err)
{
    const char *const texts[] = { kbs_url, path };
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(l,
                                 "SELECT image, digest, time FROM image WHERE kbs = ? AND path = ?"
                                 " ORDER BY time DESC, rowid DESC",
                                 texts, 2, &st, err);
    return rc == 0 ? prop_ledger_rows(l, st, image_row, ret, err) : rc;
}

int prop_ledger_begin_rotation(struct prop_ledger *l, const char *kbs_url, const char *path,
                               const char *new_path, const char *fingerprint, struct prop_err *err)
{
    const char *const texts[] = { kbs_url, path, new_path, fingerprint };
    return prop_ledger_change(l,
                              "INSERT OR REPLACE INTO rotation"
                              " (kbs, path, new_path, fingerprint, time) VALUES (?, ?, ?, ?, ?)",
                              texts, 4, true, err);
}

int prop_ledger_end_rotation(struct prop_ledger *l, const char *kbs_url, const char *path,
                             struct prop_err *err)
{
    const char *const texts[] = { kbs_url, path };
    return prop_ledger_change(l, "DELETE FROM rotation WHERE kbs = ? AND path = ?", texts, 2, false,
                              err);
}

int prop_ledger_find_rotation(struct prop_ledger *l, const char *kbs_url, const char *path,
                              char **ret_new_path, char ret_fingerprint[17], struct prop_err *err)
{
    const char *const texts[] = { kbs_url, path };
    sqlite3_stmt *st = NULL;
    prop_auto_free char *to = NULL;
    prop_auto_free char *fingerprint = NULL;
    int rc = prop_ledger_prepare(l,
                                 "SELECT new_path, fingerprint FROM rotation"
                                 " WHERE kbs = ? AND path = ?",
                                 texts, 2, &st, err);
    if (rc != 0)
        return rc;
    int sql = sqlite3_step(st);
    if (sql == SQLITE_ROW) {
        rc = prop_ledger_column(l, st, 0, &to, err);
        if (rc == 0)
            rc = prop_ledger_column(l, st, 1, &fingerprint, err);
    } else {
        rc = sql == SQLITE_DONE ? prop_err_set_id(err, PROP_E_NOTFOUND, "no-rotation",
                                                  "no rotation of '%s' was begun here", path)
                                : prop_ledger_fail(l, sql, "read", err);
    }
    (void)sqlite3_finalize(st);
    if (rc == 0)
        rc = give_fingerprint(l, fingerprint, path, ret_fingerprint, err);
    if (rc == 0)
        *ret_new_path = PROP_TAKE(to);
    return rc;
}

static json_t *rotation_row(sqlite3_stmt *st)
{
    return json_pack("{s:s,s:s,s:s,s:s}", "kbs", (const char *)sqlite3_column_text(st, 0), "path",
                     (const char *)sqlite3_column_text(st, 1), "new_path",
                     (const char *)sqlite3_column_text(st, 2), "fingerprint",
                     (const char *)sqlite3_column_text(st, 3));
}

int prop_ledger_rotations(struct prop_ledger *l, json_t **ret, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(l,
                                 "SELECT kbs, path, new_path, fingerprint FROM rotation"
                                 " ORDER BY kbs, path",
                                 NULL, 0, &st, err);
    return rc == 0 ? prop_ledger_rows(l, st, rotation_row, ret, err) : rc;
}
