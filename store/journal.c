/* The journal's file, its lock, and what is written to it.
 *
 * Written with synchronous=FULL: an entry is on the disk before the step it announces begins. Entries
 * of one moment (one step done, the next begun) are one write, so that a publish of seven steps syncs
 * eight times.
 *
 * The lock of a target is one byte of a file beside the journal, at an offset made from the target's
 * hash, and belongs to the open file (F_OFD_SETLK): the kernel lets go of it when the process ends,
 * however it ends. A process id could be another process by now, or one of another container.
 *
 * Refuses: a journal written by a newer version of the tools, a file others can write.
 */
#include "store/journal_internal.h"

#include "store/lock_wait.h"
#include "util/checksum.h"
#include "util/file.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { journal_schema = 1, busy_timeout_ms = 10000, checkpoint_pages = 200, runs_kept = 100 };
enum { stat_start_field = 22 };

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS run ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, time INTEGER NOT NULL,"
    " pid INTEGER NOT NULL, pid_start INTEGER NOT NULL, state TEXT NOT NULL, plan TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS run_state ON run (state, id);"
    "CREATE TABLE IF NOT EXISTS entry ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL, step TEXT NOT NULL,"
    " phase TEXT NOT NULL, time INTEGER NOT NULL, detail TEXT);"
    "CREATE INDEX IF NOT EXISTS entry_run ON entry (run, id);"
    "PRAGMA user_version = 1;";

int prop_journal_fail(const struct prop_journal *j, int rc, const char *what, struct prop_err *err)
{
    if (rc == SQLITE_NOMEM)
        return prop_err_nomem(err);
    if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return prop_err_set_id(err, PROP_E_IO, "journal-busy",
                               "%s journal '%s': another process holds it", what, j->path);
    if (rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT) {
        (void)prop_err_set_id(err, PROP_E_INPUT, "journal-damaged", "%s journal '%s': %s", what,
                              j->path, sqlite3_errmsg(j->db));
        return prop_err_hint(err, "move the file away; runs that were killed can then not be "
                                  "finished or taken back by themselves");
    }
    return prop_err_set_id(err, PROP_E_IO, "journal", "%s journal '%s': %s", what, j->path,
                           sqlite3_errmsg(j->db));
}

int prop_journal_exec(struct prop_journal *j, const char *sql, const char *what,
                      struct prop_err *err)
{
    int rc = sqlite3_exec(j->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : prop_journal_fail(j, rc, what, err);
}

/* --- the file ---------------------------------------------------------------------------------- */

/* Made by us, so that its mode does not depend on the umask. */
static int make_file(const char *path, struct prop_err *err)
{
    prop_auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (fd < 0)
        return prop_err_sys(err, PROP_E_IO, "open journal '%s'", path);
    if (fstat(fd, &st) != 0)
        return prop_err_sys(err, PROP_E_IO, "look at journal '%s'", path);
    if (!S_ISREG(st.st_mode))
        return prop_err_set_id(err, PROP_E_INPUT, "journal-damaged", "journal '%s' is not a file",
                               path);
    if ((st.st_mode & 022) == 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_DENIED, "journal-mode",
                          "journal '%s' can be written by others (mode %03o)", path,
                          (unsigned)(st.st_mode & 0777));
    return prop_err_hint(err, "chmod 600 '%s', after a look at who changed it", path);
}

static int read_version(struct prop_journal *j, int *ret, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(j->db, "PRAGMA user_version", -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int(st, 0);
    (void)sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : prop_journal_fail(j, rc, "read", err);
}

static int change_begin(struct prop_journal *j, struct prop_err *err)
{
    return prop_journal_exec(j, "BEGIN IMMEDIATE", "write", err);
}

/* Commit when `rc` is 0, else take back; returns rc, or what the commit failed with. */
static int change_end(struct prop_journal *j, int rc, struct prop_err *err)
{
    if (rc == 0)
        rc = prop_journal_exec(j, "COMMIT", "write", err);
    if (rc != 0)
        (void)sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static int set_up(struct prop_journal *j, struct prop_err *err)
{
    int version = 0;
    (void)sqlite3_busy_timeout(j->db, busy_timeout_ms);
    (void)sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_wal_autocheckpoint(j->db, checkpoint_pages);
    int rc = prop_journal_exec(j, "PRAGMA synchronous=FULL", "open", err);
    if (rc == 0)
        rc = read_version(j, &version, err);
    if (rc != 0 || version == journal_schema)
        return rc;
    if (version > journal_schema)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "journal-version",
                               "journal '%s' has schema %d, this tool knows %d", j->path, version,
                               (int)journal_schema);
    /* Refused where there is no shared memory for it: then SQLite's own journal it is. */
    (void)sqlite3_exec(j->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    rc = change_begin(j, err);
    return rc == 0 ? change_end(j, prop_journal_exec(j, schema, "make", err), err) : rc;
}

static int default_path(char **ret, struct prop_err *err)
{
    prop_auto_free char *dir = NULL;
    int rc = prop_xdg_dir(PROP_XDG_STATE, &dir, err);
    if (rc != 0)
        return rc;
    *ret = prop_path_join(dir, "journal.db");
    return *ret != NULL ? 0 : prop_err_nomem(err);
}

int prop_journal_open(const char *path, struct prop_journal **ret, struct prop_err *err)
{
    struct prop_journal *j = prop_zalloc(sizeof *j);
    if (j == NULL)
        return prop_err_nomem(err);
    j->lock_fd = -1;
    int rc = 0;
    if (path == NULL) {
        rc = default_path(&j->path, err);
    } else {
        j->path = prop_strdup(path);
        rc = j->path == NULL ? prop_err_nomem(err) : 0;
    }
    if (rc == 0)
        rc = make_file(j->path, err);
    if (rc == 0) {
        int sql = sqlite3_open_v2(j->path, &j->db, SQLITE_OPEN_READWRITE, NULL);
        rc = sql == SQLITE_OK ? set_up(j, err) : prop_journal_fail(j, sql, "open", err);
    }
    if (rc != 0) {
        prop_journal_close(j);
        return rc;
    }
    *ret = j;
    return 0;
}

/* Where prop_journal_open would look, without folders being made; NULL when there is no such place
 * or memory is out. */
static char *usual_path(void)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (state != NULL && state[0] == '/')
        return prop_asprintf("%s/prop/journal.db", state);
    return home != NULL ? prop_asprintf("%s/.local/state/prop/journal.db", home) : NULL;
}

int prop_journal_open_existing(const char *path, struct prop_journal **ret, struct prop_err *err)
{
    prop_auto_free char *place = path != NULL ? prop_strdup(path) : usual_path();
    if (place == NULL || access(place, F_OK) != 0) {
        *ret = NULL;
        return 0;
    }
    return prop_journal_open(place, ret, err);
}

void prop_journal_close(struct prop_journal *j)
{
    if (j == NULL)
        return;
    if (j->lock_fd >= 0)
        (void)close(j->lock_fd);
    (void)sqlite3_close(j->db);
    prop_free(j->path);
    prop_free(j);
}

/* --- the lock of a target ---------------------------------------------------------------------- */

static int open_lock(struct prop_journal *j, struct prop_err *err)
{
    if (j->lock_fd >= 0)
        return 0;
    prop_auto_free char *path = prop_asprintf("%s.lock", j->path);
    if (path == NULL)
        return prop_err_nomem(err);
    j->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return j->lock_fd >= 0 ? 0 : prop_err_sys(err, PROP_E_IO, "open lock '%s'", path);
}

static struct flock byte_of(const char *target)
{
    char hex[65];
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
    prop_checksum_hex(target, strlen(target), hex);
    hex[15] = 0;
    l.l_start = (off_t)(strtoull(hex, NULL, 16)); /* 60 bits: always a good offset */
    return l;
}

bool prop_journal_is_held(struct prop_journal *j, const char *target)
{
    prop_auto_free char *path = prop_asprintf("%s.lock", j->path);
    struct flock l = byte_of(target);
    prop_auto_fd int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

int prop_journal_lock(struct prop_journal *j, const char *target, uint64_t wait_ms,
                      struct prop_err *err)
{
    struct prop_lock_wait wait;
    struct flock l = byte_of(target);
    int rc = open_lock(j, err);
    prop_lock_wait_begin(&wait, wait_ms, NULL, NULL);
    if (wait_ms == 0)
        wait.limit_ms = 0;
    while (rc == 0 && fcntl(j->lock_fd, F_OFD_SETLK, &l) != 0) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return prop_err_sys(err, PROP_E_IO, "lock '%s.lock'", j->path);
        rc = prop_stop_check(err);
        if (rc == 0 && !prop_lock_wait_more(&wait, -1)) {
            (void)prop_err_set_id(err, PROP_E_EXISTS, "publish-running",
                                  "another process publishes '%s' now", target);
            return prop_err_hint(err, "wait until it is done");
        }
    }
    return rc;
}

/* --- writing ----------------------------------------------------------------------------------- */

/* When this process began, in clock ticks since boot (proc(5)); 0 = unknown. */
static int64_t own_start(void)
{
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f != NULL)
        (void)fclose(f);
    text[n] = 0;
    const char *at = strrchr(text, ')'); /* the name before it may hold spaces */
    for (int field = 2; at != NULL && field < stat_start_field; field++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    return at != NULL ? (int64_t)strtoll(at, NULL, 10) : 0;
}

struct value {
    const char *text; /* NULL: the number */
    int64_t number;
};

/* A statement that gives no rows. */
static int change(struct prop_journal *j, const char *sql, const struct value *values, int n,
                  struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(j->db, sql, -1, &st, NULL);
    for (int i = 0; rc == SQLITE_OK && i < n; i++)
        rc = values[i].text != NULL
                 ? sqlite3_bind_text(st, i + 1, values[i].text, -1, SQLITE_STATIC)
                 : sqlite3_bind_int64(st, i + 1, values[i].number);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    (void)sqlite3_finalize(st);
    return rc == SQLITE_DONE ? 0 : prop_journal_fail(j, rc, "write", err);
}

static int add_notes(struct prop_journal *j, int64_t run, const struct prop_journal_note *notes,
                     size_t n, struct prop_err *err)
{
    for (size_t i = 0; i < n; i++) {
        prop_auto_free char *detail = prop_json_compact(notes[i].detail);
        if (notes[i].detail != NULL && detail == NULL)
            return prop_err_nomem(err);
        const struct value v[] = { { NULL, run },
                                   { notes[i].step, 0 },
                                   { notes[i].done ? "done" : "begin", 0 },
                                   { NULL, (int64_t)prop_wall_time() },
                                   { detail != NULL ? detail : "{}", 0 } };
        int rc = change(j, "INSERT INTO entry (run, step, phase, time, detail)"
                           " VALUES (?, ?, ?, ?, ?)",
                        v, 5, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int prune(struct prop_journal *j, struct prop_err *err)
{
    const struct value keep[] = { { NULL, runs_kept } };
    int rc = change(j,
                    "DELETE FROM run WHERE state <> 'open' AND id NOT IN"
                    " (SELECT id FROM run WHERE state <> 'open' ORDER BY id DESC LIMIT ?)",
                    keep, 1, err);
    if (rc != 0 || sqlite3_changes(j->db) == 0)
        return rc;
    return change(j, "DELETE FROM entry WHERE run NOT IN (SELECT id FROM run)", NULL, 0, err);
}

static int insert_run(struct prop_journal *j, const char *target, const char *plan, int64_t *ret,
                      struct prop_err *err)
{
    const struct value v[] = { { target, 0 },
                               { NULL, (int64_t)prop_wall_time() },
                               { NULL, (int64_t)getpid() },
                               { NULL, own_start() },
                               { plan, 0 } };
    int rc = change(j,
                    "INSERT INTO run (target, time, pid, pid_start, state, plan)"
                    " VALUES (?, ?, ?, ?, 'open', ?)",
                    v, 5, err);
    if (rc == 0)
        *ret = sqlite3_last_insert_rowid(j->db);
    return rc;
}

int prop_journal_begin(struct prop_journal *j, const char *target, const json_t *plan,
                       const struct prop_journal_note *notes, size_t n, int64_t *ret_run,
                       struct prop_err *err)
{
    int64_t run = 0;
    prop_auto_free char *text = prop_json_compact(plan);
    if (text == NULL)
        return prop_err_nomem(err);
    int rc = change_begin(j, err);
    if (rc != 0)
        return rc;
    rc = insert_run(j, target, text, &run, err);
    if (rc == 0)
        rc = add_notes(j, run, notes, n, err);
    if (rc == 0)
        rc = prune(j, err);
    rc = change_end(j, rc, err);
    if (rc == 0)
        *ret_run = run;
    return rc;
}

int prop_journal_go_on(struct prop_journal *j, int64_t run, const json_t *plan,
                       struct prop_err *err)
{
    prop_auto_free char *text = plan != NULL ? prop_json_compact(plan) : NULL;
    if (plan != NULL && text == NULL)
        return prop_err_nomem(err);
    const struct value v[] = { { NULL, (int64_t)getpid() },
                               { NULL, own_start() },
                               { NULL, run },
                               { text, 0 } };
    return change(j,
                  plan != NULL ? "UPDATE run SET pid = ?1, pid_start = ?2, plan = ?4 WHERE id = ?3"
                               : "UPDATE run SET pid = ?1, pid_start = ?2 WHERE id = ?3",
                  v, plan != NULL ? 4 : 3, err);
}

int prop_journal_note(struct prop_journal *j, int64_t run, const struct prop_journal_note *notes,
                      size_t n, struct prop_err *err)
{
    int rc = change_begin(j, err);
    return rc == 0 ? change_end(j, add_notes(j, run, notes, n, err), err) : rc;
}

int prop_journal_end(struct prop_journal *j, int64_t run, enum prop_journal_state state,
                     const struct prop_journal_note *notes, size_t n, struct prop_err *err)
{
    static const char *const names[] = { "open", "done", "aborted" };
    const struct value v[] = { { names[state], 0 }, { NULL, run } };
    int rc = change_begin(j, err);
    if (rc != 0)
        return rc;
    rc = add_notes(j, run, notes, n, err);
    if (rc == 0)
        rc = change(j, "UPDATE run SET state = ? WHERE id = ?", v, 2, err);
    return change_end(j, rc, err);
}
