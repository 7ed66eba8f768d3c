/* Policies in the ledger: every upload, with its hash, time and target. */
#include "store/ledger_internal.h"

#include "util/checksum.h"

#include <stdio.h>
#include <string.h>

int prop_ledger_add_policy(struct prop_ledger *l, const char *kbs_url, const char *rego,
                           const char *document, struct prop_err *err)
{
    char sha256[65];
    prop_checksum_hex(rego, strlen(rego), sha256);
    const char *const texts[] = { kbs_url, sha256, rego, document };
    return prop_ledger_change(l,
                              "INSERT INTO policy (kbs, sha256, rego, document, time)"
                              " VALUES (?, ?, ?, ?, ?)",
                              texts, 4, true, err);
}

/* The one row of a prepared statement (rego, document), which is finalized. */
static int one_policy(struct prop_ledger *l, sqlite3_stmt *st, const char *kbs_url,
                      char **ret_rego, char **ret_document, struct prop_err *err)
{
    prop_auto_free char *rego = NULL;
    prop_auto_free char *document = NULL;
    int rc = 0;
    int sql = sqlite3_step(st);
    if (sql == SQLITE_ROW) {
        rc = prop_ledger_column(l, st, 0, &rego, err);
        if (rc == 0)
            rc = prop_ledger_column(l, st, 1, &document, err);
    } else if (sql == SQLITE_DONE) {
        rc = prop_err_set_id(err, PROP_E_NOTFOUND, "policy-unknown",
                             "no such policy for '%s' is in the ledger", kbs_url);
    } else {
        rc = prop_ledger_fail(l, sql, "read", err);
    }
    (void)sqlite3_finalize(st);
    if (rc != 0)
        return rc;
    *ret_rego = PROP_TAKE(rego);
    *ret_document = PROP_TAKE(document);
    return 0;
}

int prop_ledger_last_policy(struct prop_ledger *l, const char *kbs_url, char **ret_rego,
                            char **ret_document, struct prop_err *err)
{
    const char *const texts[] = { kbs_url };
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(
        l, "SELECT rego, document FROM policy WHERE kbs = ? ORDER BY id DESC LIMIT 1", texts, 1,
        &st, err);
    return rc == 0 ? one_policy(l, st, kbs_url, ret_rego, ret_document, err) : rc;
}

int prop_ledger_last_policy_id(struct prop_ledger *l, const char *kbs_url, int64_t *ret_id,
                               char ret_sha256[65], struct prop_err *err)
{
    const char *const texts[] = { kbs_url };
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(
        l, "SELECT id, sha256 FROM policy WHERE kbs = ? ORDER BY id DESC LIMIT 1", texts, 1, &st,
        err);
    if (rc != 0)
        return rc;
    int sql = sqlite3_step(st);
    *ret_id = sql == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    const char *hex = sql == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 1) : NULL;
    (void)snprintf(ret_sha256, 65, "%s", hex != NULL ? hex : "");
    if (sql != SQLITE_ROW && sql != SQLITE_DONE)
        rc = prop_ledger_fail(l, sql, "read", err);
    (void)sqlite3_finalize(st);
    return rc;
}

int prop_ledger_policy(struct prop_ledger *l, const char *kbs_url, int64_t id, char **ret_rego,
                       char **ret_document, struct prop_err *err)
{
    const char *const texts[] = { kbs_url };
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(l, "SELECT rego, document FROM policy WHERE kbs = ? AND id = ?",
                                 texts, 1, &st, err);
    if (rc != 0)
        return rc;
    int sql = sqlite3_bind_int64(st, 2, id);
    if (sql != SQLITE_OK) {
        (void)sqlite3_finalize(st);
        return prop_ledger_fail(l, sql, "read", err);
    }
    return one_policy(l, st, kbs_url, ret_rego, ret_document, err);
}

static json_t *policy_row(sqlite3_stmt *st)
{
    return json_pack("{s:I,s:I,s:s,s:I,s:b}", "id", (json_int_t)sqlite3_column_int64(st, 0), "time",
                     (json_int_t)sqlite3_column_int64(st, 1), "sha256",
                     (const char *)sqlite3_column_text(st, 2), "bytes",
                     (json_int_t)sqlite3_column_int64(st, 3), "document",
                     sqlite3_column_int(st, 4));
}

int prop_ledger_policies(struct prop_ledger *l, const char *kbs_url, json_t **ret,
                         struct prop_err *err)
{
    const char *const texts[] = { kbs_url };
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(l,
                                 "SELECT id, time, sha256, length(CAST(rego AS BLOB)),"
                                 " document IS NOT NULL FROM policy WHERE kbs = ? ORDER BY id DESC",
                                 texts, 1, &st, err);
    return rc == 0 ? prop_ledger_rows(l, st, policy_row, ret, err) : rc;
}
