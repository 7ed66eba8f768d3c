/* Tables of the development KBS. Write-ahead logging keeps the file whole when the process is
 * killed at any moment; deleted values are overwritten (secure_delete): resources are keys. */
#include "store/kbsdb.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KBSDB_VERSION 1
#define KBSDB_BUSY_MS 5000

enum statement {
    ST_PUT, ST_PUT_NEW, ST_GET, ST_DELETE, ST_LIST, ST_SESSION_PUT, ST_SESSION_GET,
    ST_SESSION_PURGE, ST_BEGIN, ST_COMMIT, ST_ROLLBACK, ST_COUNT
};

static const char *const statement_sql[ST_COUNT] = {
    [ST_PUT] = "INSERT INTO item(kind,key,value) VALUES(?1,?2,?3) "
               "ON CONFLICT(kind,key) DO UPDATE SET value=excluded.value",
    [ST_PUT_NEW] = "INSERT OR IGNORE INTO item(kind,key,value) VALUES(?1,?2,?3)",
    [ST_GET] = "SELECT value FROM item WHERE kind=?1 AND key=?2",
    [ST_DELETE] = "DELETE FROM item WHERE kind=?1 AND key=?2",
    [ST_LIST] = "SELECT key FROM item WHERE kind=?1 ORDER BY key",
    [ST_SESSION_PUT] = "INSERT OR REPLACE INTO session(id,tee,nonce,token,expires_s) "
                       "VALUES(?1,?2,?3,?4,?5)",
    [ST_SESSION_GET] = "SELECT tee,nonce,token,expires_s FROM session "
                       "WHERE id=?1 AND expires_s>=?2",
    [ST_SESSION_PURGE] = "DELETE FROM session WHERE expires_s<?1",
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
};

static const char schema_sql[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS item("
    " kind INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY(kind,key));"
    "CREATE TABLE IF NOT EXISTS session("
    " id TEXT PRIMARY KEY, tee TEXT NOT NULL, nonce TEXT NOT NULL, token TEXT,"
    " expires_s INTEGER NOT NULL) WITHOUT ROWID;"
    "PRAGMA user_version=1;"
    "COMMIT;";

struct prop_kbsdb {
    sqlite3 *handle;
    sqlite3_stmt *st[ST_COUNT];
};

static int db_fail(struct prop_kbsdb *db, const char *what, struct prop_err *err)
{
    int rc = sqlite3_errcode(db->handle) & 0xff;

    if (rc == SQLITE_NOMEM)
        return prop_err_nomem(err);
    if (rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT)
        return prop_err_set_id(err, PROP_E_INPUT, "kbs-db", "%s: %s", what,
                               sqlite3_errmsg(db->handle));
    return prop_err_set_id(err, PROP_E_IO, "kbs-db", "%s: %s", what, sqlite3_errmsg(db->handle));
}

static int db_exec(struct prop_kbsdb *db, const char *sql, const char *path, struct prop_err *err)
{
    if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    int rc = db_fail(db, "database", err);
    (void)prop_err_wrap(err, "'%s'", path);
    return rc;
}

static int db_version(struct prop_kbsdb *db, const char *path, int *ret, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = 0;

    if (sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW) {
        rc = db_fail(db, "database", err);
        (void)prop_err_wrap(err, "'%s'", path);
    } else {
        *ret = sqlite3_column_int(st, 0);
    }
    (void)sqlite3_finalize(st);
    return rc;
}

/* SQLite would make the file with the umask's mode: make it ourselves first, and take away what
 * others may do with one that was there. */
static int db_make_private(const char *path, struct prop_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return prop_err_sys(err, PROP_E_IO, "open '%s'", path);
    int rc = fchmod(fd, 0600);
    if (rc != 0)
        (void)prop_err_sys(err, PROP_E_IO, "make '%s' private", path);
    (void)close(fd);
    return rc != 0 ? PROP_E_IO : 0;
}

static int db_setup(struct prop_kbsdb *db, const char *path, struct prop_err *err)
{
    int version = 0;
    int rc;

    (void)sqlite3_busy_timeout(db->handle, KBSDB_BUSY_MS);
    (void)sqlite3_extended_result_codes(db->handle, 1);
    rc = db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                     "PRAGMA secure_delete=ON; PRAGMA trusted_schema=OFF;", path, err);
    if (rc == 0)
        rc = db_version(db, path, &version, err);
    if (rc != 0)
        return rc;
    if (version > KBSDB_VERSION)
        return prop_err_set_id(err, PROP_E_INPUT, "kbs-db",
                               "'%s' is of version %d, this program knows %d", path, version,
                               KBSDB_VERSION);
    if (version < KBSDB_VERSION)
        rc = db_exec(db, schema_sql, path, err);
    for (size_t i = 0; rc == 0 && i < ST_COUNT; i++) {
        if (sqlite3_prepare_v3(db->handle, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &db->st[i], NULL) != SQLITE_OK) {
            rc = db_fail(db, "database", err);
            (void)prop_err_wrap(err, "'%s'", path);
        }
    }
    return rc;
}

int prop_kbsdb_open(const char *path, struct prop_kbsdb **ret, struct prop_err *err)
{
    prop_auto_kbsdb struct prop_kbsdb *db = NULL;
    int rc = db_make_private(path, err);

    if (rc != 0)
        return rc;
    db = prop_zalloc(sizeof(*db));
    if (db == NULL)
        return prop_err_nomem(err);
    if (sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        return prop_err_set_id(err, PROP_E_IO, "kbs-db", "'%s': %s", path,
                               db->handle != NULL ? sqlite3_errmsg(db->handle) : "out of memory");
    rc = db_setup(db, path, err);
    if (rc != 0)
        return rc;
    *ret = PROP_TAKE(db);
    return 0;
}

void prop_kbsdb_close(struct prop_kbsdb *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < ST_COUNT; i++)
        (void)sqlite3_finalize(db->st[i]);
    (void)sqlite3_close(db->handle);
    prop_free(db);
}

static void st_done(sqlite3_stmt *st)
{
    (void)sqlite3_reset(st);
    (void)sqlite3_clear_bindings(st);
}

/* Run a statement that gives no rows. */
static int st_run(struct prop_kbsdb *db, enum statement which, const char *what,
                  struct prop_err *err)
{
    sqlite3_stmt *st = db->st[which];
    int rc = sqlite3_step(st) == SQLITE_DONE ? 0 : db_fail(db, what, err);

    st_done(st);
    return rc;
}

int prop_kbsdb_begin(struct prop_kbsdb *db, struct prop_err *err)
{
    return st_run(db, ST_BEGIN, "begin", err);
}

int prop_kbsdb_commit(struct prop_kbsdb *db, struct prop_err *err)
{
    return st_run(db, ST_COMMIT, "commit", err);
}

void prop_kbsdb_rollback(struct prop_kbsdb *db)
{
    struct prop_err ignored = PROP_ERR_INIT;

    (void)st_run(db, ST_ROLLBACK, "rollback", &ignored);
}

static void bind_item(sqlite3_stmt *st, enum prop_kbsdb_table table, const char *key)
{
    (void)sqlite3_bind_int(st, 1, (int)table);
    (void)sqlite3_bind_text(st, 2, key, -1, SQLITE_STATIC);
}

static int put_with(struct prop_kbsdb *db, enum statement which, enum prop_kbsdb_table table,
                    const char *key, const void *value, size_t len, struct prop_err *err)
{
    bind_item(db->st[which], table, key);
    /* A NULL pointer would bind SQL NULL; an empty resource is an empty blob (kbs.md 1). */
    (void)sqlite3_bind_blob64(db->st[which], 3, len != 0 ? value : "", len, SQLITE_STATIC);
    return st_run(db, which, "store a value", err);
}

int prop_kbsdb_put(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                   const void *value, size_t len, struct prop_err *err)
{
    return put_with(db, ST_PUT, table, key, value, len, err);
}

int prop_kbsdb_put_new(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                       const void *value, size_t len, struct prop_err *err)
{
    return put_with(db, ST_PUT_NEW, table, key, value, len, err);
}

int prop_kbsdb_get(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                   struct prop_secret **ret, struct prop_err *err)
{
    sqlite3_stmt *st = db->st[ST_GET];
    int rc;

    bind_item(st, table, key);
    int step = sqlite3_step(st);
    if (step == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(st, 0);
        size_t len = (size_t)sqlite3_column_bytes(st, 0);
        rc = prop_secret_copy(len != 0 ? value : "", len, ret, err);
    } else if (step == SQLITE_DONE) {
        rc = prop_err_set(err, PROP_E_NOTFOUND, "'%s' is not stored", key);
    } else {
        rc = db_fail(db, "read a value", err);
    }
    st_done(st);
    return rc;
}

int prop_kbsdb_delete(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                      struct prop_err *err)
{
    bind_item(db->st[ST_DELETE], table, key);
    int rc = st_run(db, ST_DELETE, "delete a value", err);
    if (rc == 0 && sqlite3_changes(db->handle) == 0)
        return prop_err_set(err, PROP_E_NOTFOUND, "'%s' is not stored", key);
    return rc;
}

int prop_kbsdb_list(struct prop_kbsdb *db, enum prop_kbsdb_table table, json_t **ret,
                    struct prop_err *err)
{
    sqlite3_stmt *st = db->st[ST_LIST];
    json_t *list = json_array();
    int rc = list != NULL ? 0 : prop_err_nomem(err);
    int step = SQLITE_DONE;

    (void)sqlite3_bind_int(st, 1, (int)table);
    while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0);
        if (key == NULL || json_array_append_new(list, json_string(key)) != 0)
            rc = prop_err_nomem(err);
    }
    if (rc == 0 && step != SQLITE_DONE)
        rc = db_fail(db, "list keys", err);
    st_done(st);
    if (rc != 0) {
        json_decref(list);
        return rc;
    }
    *ret = list;
    return 0;
}

void prop_kbsdb_session_release(struct prop_kbsdb_session *s)
{
    prop_free(s->tee);
    prop_free(s->nonce);
    prop_free(s->token);
    memset(s, 0, sizeof(*s));
}

int prop_kbsdb_session_put(struct prop_kbsdb *db, const struct prop_kbsdb_session *s,
                           struct prop_err *err)
{
    sqlite3_stmt *st = db->st[ST_SESSION_PUT];

    (void)sqlite3_bind_text(st, 1, s->id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 2, s->tee, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(st, 3, s->nonce, -1, SQLITE_STATIC);
    if (s->token != NULL)
        (void)sqlite3_bind_text(st, 4, s->token, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 5, s->expires_s);
    return st_run(db, ST_SESSION_PUT, "store a session", err);
}

static char *column_dup(sqlite3_stmt *st, int column)
{
    const char *text = (const char *)sqlite3_column_text(st, column);

    return text != NULL ? prop_strdup(text) : NULL;
}

static int session_fill(sqlite3_stmt *st, const char *id, struct prop_kbsdb_session *ret,
                        struct prop_err *err)
{
    struct prop_kbsdb_session s = { .expires_s = sqlite3_column_int64(st, 3) };
    bool attested = sqlite3_column_type(st, 2) != SQLITE_NULL;
    size_t len = strlen(id);

    if (len >= sizeof(s.id))
        return prop_err_set(err, PROP_E_BUG, "session id of %zu characters", len);
    memcpy(s.id, id, len + 1);
    s.tee = column_dup(st, 0);
    s.nonce = column_dup(st, 1);
    s.token = attested ? column_dup(st, 2) : NULL;
    if (s.tee == NULL || s.nonce == NULL || (attested && s.token == NULL)) {
        prop_kbsdb_session_release(&s);
        return prop_err_nomem(err);
    }
    *ret = s;
    return 0;
}

int prop_kbsdb_session_get(struct prop_kbsdb *db, const char *id, int64_t now_s,
                           struct prop_kbsdb_session *ret, struct prop_err *err)
{
    sqlite3_stmt *st = db->st[ST_SESSION_GET];
    int rc;

    (void)sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 2, now_s);
    int step = sqlite3_step(st);
    if (step == SQLITE_ROW)
        rc = session_fill(st, id, ret, err);
    else if (step == SQLITE_DONE)
        rc = prop_err_set(err, PROP_E_NOTFOUND, "no such session");
    else
        rc = db_fail(db, "read a session", err);
    st_done(st);
    return rc;
}

int prop_kbsdb_session_purge(struct prop_kbsdb *db, int64_t now_s, struct prop_err *err)
{
    (void)sqlite3_bind_int64(db->st[ST_SESSION_PURGE], 1, now_s);
    return st_run(db, ST_SESSION_PURGE, "drop old sessions", err);
}
