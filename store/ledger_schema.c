/* The ledger's tables, and how those of earlier versions become ours.
 *
 *   1  policy(id, kbs, time, rego, document), key(kbs, path, fingerprint, image, time)
 *   2  policies carry their SHA-256; a key has many images, in a table of their own; a fingerprint
 *      may be "" (a resource that is no KEK); rotations that were begun and not yet retired
 *
 * How SQLite writes it: every `propkey set` notes something here and may take 10 ms in all, and a
 * note must outlive the process that wrote it being killed. Measured for open, look-up, insert and
 * close on the disk of a busy two-core machine (medians; the spread follows the disk): a rollback
 * journal with synchronous=FULL 11 to 16 ms, write-ahead log emptied at close 10 to 17 ms, log left
 * as it is with synchronous=NORMAL 0.4 to 1 ms. The last one it is: nothing waits for the disk
 * except the checkpoint every 200 pages, a killed process loses nothing, and when the power goes
 * the last notes may be lost but the file stays whole (which no journal with synchronous=OFF, at
 * 0.3 ms, can promise). Where there is no shared memory for a log SQLite keeps its journal.
 */
#include "store/ledger_internal.h"

#include "util/checksum.h"

#include <string.h>

enum { ledger_schema = 2, busy_timeout_ms = 10000, checkpoint_pages = 200 };

static const char schema_2[] =
    "CREATE TABLE IF NOT EXISTS policy ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, kbs TEXT NOT NULL, time INTEGER NOT NULL,"
    " sha256 TEXT NOT NULL, rego TEXT NOT NULL, document TEXT);"
    "CREATE INDEX IF NOT EXISTS policy_kbs ON policy (kbs, id);"
    "CREATE TABLE IF NOT EXISTS key ("
    " kbs TEXT NOT NULL, path TEXT NOT NULL, fingerprint TEXT NOT NULL, time INTEGER NOT NULL,"
    " PRIMARY KEY (kbs, path));"
    "CREATE TABLE IF NOT EXISTS image ("
    " kbs TEXT NOT NULL, path TEXT NOT NULL, image TEXT NOT NULL, digest TEXT,"
    " time INTEGER NOT NULL, PRIMARY KEY (kbs, path, image));"
    "CREATE TABLE IF NOT EXISTS rotation ("
    " kbs TEXT NOT NULL, path TEXT NOT NULL, new_path TEXT NOT NULL, fingerprint TEXT NOT NULL,"
    " time INTEGER NOT NULL, PRIMARY KEY (kbs, path));"
    "PRAGMA user_version = 2;";

static const char set_version_1_aside[] =
    "DROP INDEX IF EXISTS policy_kbs;"
    "ALTER TABLE policy RENAME TO policy_1;"
    "ALTER TABLE key RENAME TO key_1;";

static const char take_version_1_over[] =
    "INSERT INTO policy (id, kbs, time, sha256, rego, document)"
    " SELECT id, kbs, time, prop_sha256(rego), rego, document FROM policy_1 ORDER BY id;"
    "INSERT INTO key (kbs, path, fingerprint, time)"
    " SELECT kbs, path, fingerprint, time FROM key_1;"
    "INSERT OR REPLACE INTO image (kbs, path, image, digest, time)"
    " SELECT kbs, path, prop_image(image), prop_digest(image), time FROM key_1"
    " WHERE image IS NOT NULL;"
    "DROP TABLE policy_1;"
    "DROP TABLE key_1;";

static void sql_sha256(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    char hex[65];
    const unsigned char *text = sqlite3_value_text(argv[0]);
    prop_checksum_hex(text, (size_t)sqlite3_value_bytes(argv[0]), hex);
    sqlite3_result_text(ctx, hex, -1, SQLITE_TRANSIENT);
}

static void sql_split(sqlite3_context *ctx, const sqlite3_value *value, bool want_digest)
{
    prop_auto_free char *image = NULL;
    prop_auto_free char *digest = NULL;
    sqlite3_value *v = NULL;
    memcpy(&v, &value, sizeof v);
    const char *text = (const char *)sqlite3_value_text(v);
    if (prop_ledger_split_image(text != NULL ? text : "", &image, &digest, NULL) != 0) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    const char *part = want_digest ? digest : image;
    if (part != NULL)
        sqlite3_result_text(ctx, part, -1, SQLITE_TRANSIENT);
    else
        sqlite3_result_null(ctx);
}

static void sql_image(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    sql_split(ctx, argv[0], false);
}

static void sql_digest(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    sql_split(ctx, argv[0], true);
}

static int add_functions(struct prop_ledger *l, struct prop_err *err)
{
    static const struct {
        const char *name;
        void (*fn)(sqlite3_context *, int, sqlite3_value **);
    } functions[] = { { "prop_sha256", sql_sha256 }, { "prop_image", sql_image },
                      { "prop_digest", sql_digest } };
    for (size_t i = 0; i < PROP_ARRAY_LEN(functions); i++) {
        int rc = sqlite3_create_function(l->db, functions[i].name, 1,
                                         SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                                         functions[i].fn, NULL, NULL);
        if (rc != SQLITE_OK)
            return prop_ledger_fail(l, rc, "renew", err);
    }
    return 0;
}

static int read_version(struct prop_ledger *l, int *ret, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(l->db, "PRAGMA user_version", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int(st, 0);
    (void)sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : prop_ledger_fail(l, rc, "read", err);
}

static int renew(struct prop_ledger *l, struct prop_err *err)
{
    int version = 0;
    int rc = read_version(l, &version, err); /* again: somebody may have been faster */
    if (rc != 0 || version == ledger_schema)
        return rc;
    if (version == 0)
        return prop_ledger_exec(l, schema_2, "make", err);
    rc = add_functions(l, err);
    if (rc == 0)
        rc = prop_ledger_exec(l, set_version_1_aside, "renew", err);
    if (rc == 0)
        rc = prop_ledger_exec(l, schema_2, "renew", err);
    if (rc == 0)
        rc = prop_ledger_exec(l, take_version_1_over, "renew", err);
    return rc;
}

/* Settings of this connection only. */
static int tune(struct prop_ledger *l, struct prop_err *err)
{
    (void)sqlite3_busy_timeout(l->db, busy_timeout_ms);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_wal_autocheckpoint(l->db, checkpoint_pages);
    return prop_ledger_exec(l, "PRAGMA synchronous=NORMAL", "open", err);
}

int prop_ledger_set_up(struct prop_ledger *l, struct prop_err *err)
{
    int version = 0;
    int rc = tune(l, err);
    if (rc == 0)
        rc = read_version(l, &version, err);
    if (rc != 0)
        return rc;
    if (version > ledger_schema)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "ledger-version",
                               "ledger '%s' has schema %d, this tool knows %d", l->path, version,
                               (int)ledger_schema);
    if (version == ledger_schema)
        return 0;
    /* The mode is kept in the file. Refused while another process reads it: then a journal it is,
     * until the next ledger. */
    (void)sqlite3_exec(l->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    /* Two first runs at once: the second waits here and finds the tables made. */
    rc = prop_ledger_begin(l, err);
    return rc == 0 ? prop_ledger_commit(l, renew(l, err), err) : rc;
}
