/* Reading the journal: which runs there are, and how far each of them got. */
#include "store/journal_internal.h"

#include "util/limits.h"
#include "util/text.h"

#include <string.h>

static const char run_columns[] =
    "SELECT id, target, time, pid, pid_start, state, plan,"
    " (SELECT COUNT(*) FROM entry WHERE entry.run = run.id),"
    " (SELECT step FROM entry WHERE entry.run = run.id ORDER BY entry.id DESC LIMIT 1) FROM run";

static int damaged(const struct prop_journal *j, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "journal-damaged", "journal '%s' is damaged", j->path);
}

/* A column's JSON text; NULL when it is none. */
static json_t *json_column(sqlite3_stmt *st, int i)
{
    json_t *v = NULL;
    const char *text = (const char *)sqlite3_column_text(st, i);
    size_t len = (size_t)sqlite3_column_bytes(st, i);
    return text != NULL && prop_json_parse(text, len, "the journal", &v, NULL) == 0 ? v : NULL;
}

static json_t *run_row(struct prop_journal *j, sqlite3_stmt *st)
{
    const char *target = (const char *)sqlite3_column_text(st, 1);
    const char *last = (const char *)sqlite3_column_text(st, 8);
    prop_auto_json json_t *plan = json_column(st, 6);
    if (target == NULL || plan == NULL)
        return NULL;
    const char *state = (const char *)sqlite3_column_text(st, 5);
    bool running = state != NULL && strcmp(state, "open") == 0 && prop_journal_is_held(j, target);
    return json_pack("{s:I,s:s,s:I,s:I,s:I,s:s,s:b,s:O,s:I,s:s*}", "run",
                     (json_int_t)sqlite3_column_int64(st, 0), "target", target, "time",
                     (json_int_t)sqlite3_column_int64(st, 2), "pid",
                     (json_int_t)sqlite3_column_int64(st, 3), "pid_start",
                     (json_int_t)sqlite3_column_int64(st, 4), "state", state, "running", running,
                     "plan", plan, "entries", (json_int_t)sqlite3_column_int64(st, 7), "last", last);
}

static json_t *entry_row(struct prop_journal *j, sqlite3_stmt *st)
{
    (void)j;
    prop_auto_json json_t *detail = json_column(st, 3);
    return detail == NULL ? NULL
                          : json_pack("{s:s,s:s,s:I,s:O}", "step",
                                      (const char *)sqlite3_column_text(st, 0), "phase",
                                      (const char *)sqlite3_column_text(st, 1), "time",
                                      (json_int_t)sqlite3_column_int64(st, 2), "detail", detail);
}

/* All rows of a statement; finalizes it. */
static int rows(struct prop_journal *j, sqlite3_stmt *st,
                json_t *(*row)(struct prop_journal *j, sqlite3_stmt *st), json_t **ret,
                struct prop_err *err)
{
    prop_auto_json json_t *list = json_array();
    int rc = list != NULL ? 0 : prop_err_nomem(err);
    int sql = SQLITE_DONE;
    while (rc == 0 && (sql = sqlite3_step(st)) == SQLITE_ROW)
        if (json_array_append_new(list, row(j, st)) != 0)
            rc = damaged(j, err);
    if (rc == 0 && sql != SQLITE_DONE)
        rc = prop_journal_fail(j, sql, "read", err);
    (void)sqlite3_finalize(st);
    if (rc == 0)
        *ret = PROP_TAKE(list);
    return rc;
}

int prop_journal_runs(struct prop_journal *j, bool only_open, json_t **ret, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    prop_auto_free char *sql = prop_asprintf("%s%s ORDER BY id DESC", run_columns,
                                             only_open ? " WHERE state = 'open'" : "");
    if (sql == NULL)
        return prop_err_nomem(err);
    int rc = sqlite3_prepare_v2(j->db, sql, -1, &st, NULL);
    return rc == SQLITE_OK ? rows(j, st, run_row, ret, err)
                           : prop_journal_fail(j, rc, "read", err);
}

int prop_journal_entries(struct prop_journal *j, int64_t run, json_t **ret, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(
        j->db, "SELECT step, phase, time, detail FROM entry WHERE run = ? ORDER BY id", -1, &st,
        NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(st, 1, run);
    if (rc == SQLITE_OK)
        return rows(j, st, entry_row, ret, err);
    (void)sqlite3_finalize(st);
    return prop_journal_fail(j, rc, "read", err);
}

static bool is_meant(const json_t *run, const char *which)
{
    uint64_t number = 0;
    if (prop_parse_u64(which, "run", &number, NULL) == 0)
        return (uint64_t)json_integer_value(json_object_get(run, "run")) == number;
    return strcmp(json_string_value(json_object_get(run, "target")), which) == 0;
}

static int no_run(const char *which, struct prop_err *err)
{
    if (which == NULL)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-run",
                               "no publish was left unfinished on this machine");
    (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-run",
                          "no publish '%s' was left unfinished on this machine", which);
    return prop_err_hint(err, "proppush publish --list shows them");
}

static int several(const json_t *runs, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "which-run", "%zu publishes were left unfinished",
                          json_array_size(runs));
    return prop_err_hint(err, "name one: proppush publish --list shows their numbers");
}

int prop_journal_find(struct prop_journal *j, const char *which, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *runs = NULL;
    json_t *found = NULL, *run;
    size_t i;
    int rc = j != NULL ? prop_journal_runs(j, true, &runs, err) : no_run(which, err);
    if (rc != 0)
        return rc;
    if (which == NULL && json_array_size(runs) > 1)
        return several(runs, err);
    json_array_foreach (runs, i, run) {
        if (found == NULL && (which == NULL || is_meant(run, which)))
            found = run;
    }
    if (found == NULL)
        return no_run(which, err);
    *ret = json_incref(found);
    return 0;
}
