/* The ledger of this machine: one SQLite file, every write its own transaction, so that what was
 * done on a server is remembered also when the next step is killed. The lock that makes publishers
 * wait for each other is a file beside it: a transaction held open over network steps would forget
 * everything on a crash.
 *
 * Refuses: a ledger written by a newer version of the tools, a file others can write.
 */
#include "store/ledger_internal.h"

#include "util/file.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t lock_wait_ms = 5 * 60 * 1000;

int prop_ledger_fail(const struct prop_ledger *l, int rc, const char *what, struct prop_err *err)
{
    if (rc == SQLITE_NOMEM)
        return prop_err_nomem(err);
    if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return prop_err_set_id(err, PROP_E_IO, "ledger-busy",
                               "%s ledger '%s': another process holds it", what, l->path);
    if (rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT) {
        (void)prop_err_set_id(err, PROP_E_INPUT, "ledger-damaged", "%s ledger '%s': %s", what,
                              l->path, sqlite3_errmsg(l->db));
        return prop_err_hint(err, "move the file away; --policy-doc then tells what is on the KBS");
    }
    return prop_err_set_id(err, PROP_E_IO, "ledger", "%s ledger '%s': %s", what, l->path,
                           sqlite3_errmsg(l->db));
}

/* The file is made by us, so that its mode does not depend on the umask. */
static int make_file(const char *path, struct prop_err *err)
{
    prop_auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return prop_err_sys(err, PROP_E_IO, "open ledger '%s'", path);
    struct stat st;
    if (fstat(fd, &st) != 0)
        return prop_err_sys(err, PROP_E_IO, "look at ledger '%s'", path);
    if (!S_ISREG(st.st_mode))
        return prop_err_set_id(err, PROP_E_INPUT, "ledger-damaged", "ledger '%s' is not a file",
                               path);
    if ((st.st_mode & 022) != 0) {
        (void)prop_err_set_id(err, PROP_E_DENIED, "ledger-mode",
                              "ledger '%s' can be written by others (mode %03o)", path,
                              (unsigned)(st.st_mode & 0777));
        return prop_err_hint(err, "chmod 600 '%s', after a look at who changed it", path);
    }
    return 0;
}

int prop_ledger_exec(struct prop_ledger *l, const char *sql, const char *what, struct prop_err *err)
{
    int rc = sqlite3_exec(l->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : prop_ledger_fail(l, rc, what, err);
}

static int default_path(char **ret, struct prop_err *err)
{
    prop_auto_free char *dir = NULL;
    int rc = prop_xdg_dir(PROP_XDG_STATE, &dir, err);
    if (rc != 0)
        return rc;
    char *path = prop_path_join(dir, "ledger.db");
    if (path == NULL)
        return prop_err_nomem(err);
    *ret = path;
    return 0;
}

int prop_ledger_open(const char *path, struct prop_ledger **ret, struct prop_err *err)
{
    struct prop_ledger *l = prop_zalloc(sizeof *l);
    if (l == NULL)
        return prop_err_nomem(err);
    l->lock_fd = -1;
    int rc = 0;
    if (path == NULL) {
        rc = default_path(&l->path, err);
    } else {
        l->path = prop_strdup(path);
        rc = l->path == NULL ? prop_err_nomem(err) : 0;
    }
    if (rc == 0) {
        l->lock_path = prop_asprintf("%s.lock", l->path);
        rc = l->lock_path == NULL ? prop_err_nomem(err) : make_file(l->path, err);
    }
    if (rc == 0) {
        int sql = sqlite3_open_v2(l->path, &l->db, SQLITE_OPEN_READWRITE, NULL);
        rc = sql == SQLITE_OK ? prop_ledger_set_up(l, err) : prop_ledger_fail(l, sql, "open", err);
    }
    if (rc != 0) {
        prop_ledger_close(l);
        return rc;
    }
    *ret = l;
    return 0;
}

void prop_ledger_close(struct prop_ledger *l)
{
    if (l == NULL)
        return;
    prop_ledger_unlock(l);
    (void)sqlite3_close(l->db);
    prop_free(l->path);
    prop_free(l->lock_path);
    prop_free(l);
}

/* Where prop_ledger_open would look, without the folders being made; NULL when memory is out or
 * there is no such place. */
static char *usual_path(void)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (state != NULL && state[0] == '/')
        return prop_asprintf("%s/prop/ledger.db", state);
    return home != NULL ? prop_asprintf("%s/.local/state/prop/ledger.db", home) : NULL;
}

int prop_ledger_open_existing(const char *path, struct prop_ledger **ret, struct prop_err *err)
{
    prop_auto_free char *place = path != NULL ? prop_strdup(path) : usual_path();
    if (place == NULL || access(place, F_OK) != 0) {
        *ret = NULL;
        return 0;
    }
    return prop_ledger_open(place, ret, err);
}

void prop_ledger_on_wait(struct prop_ledger *l, prop_lock_wait_fn tell, void *ctx)
{
    if (l == NULL)
        return;
    l->tell = tell;
    l->tell_ctx = ctx;
}

static int busy(const struct prop_ledger *l, int fd, struct prop_err *err)
{
    char holder[80];
    (void)prop_lock_holder(fd, holder);
    (void)prop_err_set_id(err, PROP_E_IO, "ledger-busy", "'%s' is held by %s", l->lock_path,
                          *holder ? holder : "another process");
    return prop_err_hint(err, "see what that process is doing, end it if it hangs, and try again; "
                              "PROP_LOCK_TIMEOUT=SECONDS waits longer");
}

int prop_ledger_lock(struct prop_ledger *l, struct prop_err *err)
{
    return prop_ledger_lock_for(l, UINT64_MAX, err);
}

int prop_ledger_lock_for(struct prop_ledger *l, uint64_t wait_ms, struct prop_err *err)
{
    struct prop_lock_wait wait;
    if (l->lock_fd >= 0)
        return prop_err_set(err, PROP_E_BUG, "ledger '%s' is locked already", l->path);
    prop_auto_fd int fd = open(l->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return prop_err_sys(err, PROP_E_IO, "open lock '%s'", l->lock_path);
    prop_lock_wait_begin(&wait, lock_wait_ms, l->tell, l->tell_ctx);
    if (wait.limit_ms > wait_ms)
        wait.limit_ms = wait_ms;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return prop_err_sys(err, PROP_E_IO, "lock '%s'", l->lock_path);
        int rc = prop_stop_check(err);
        if (rc != 0)
            return rc;
        if (!prop_lock_wait_more(&wait, fd))
            return busy(l, fd, err);
    }
    prop_lock_sign(fd);
    l->lock_fd = fd;
    fd = -1;
    return 0;
}

void prop_ledger_unlock(struct prop_ledger *l)
{
    if (l == NULL || l->lock_fd < 0)
        return;
    (void)close(l->lock_fd); /* the lock goes with the descriptor; the file stays for the next */
    l->lock_fd = -1;
}

int prop_ledger_prepare(struct prop_ledger *l, const char *sql, const char *const *texts, int n,
                        sqlite3_stmt **ret, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(l->db, sql, -1, &st, NULL);
    for (int i = 0; rc == SQLITE_OK && i < n; i++)
        rc = sqlite3_bind_text(st, i + 1, texts[i], -1, SQLITE_STATIC);
    if (rc != SQLITE_OK) {
        (void)sqlite3_finalize(st);
        return prop_ledger_fail(l, rc, "use", err);
    }
    *ret = st;
    return 0;
}

int prop_ledger_change(struct prop_ledger *l, const char *sql, const char *const *texts, int n,
                       bool with_time, struct prop_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc = prop_ledger_prepare(l, sql, texts, n, &st, err);
    if (rc != 0)
        return rc;
    int sql_rc = SQLITE_OK;
    if (with_time)
        sql_rc = sqlite3_bind_int64(st, n + 1, (sqlite3_int64)prop_wall_time());
    if (sql_rc == SQLITE_OK)
        sql_rc = sqlite3_step(st);
    (void)sqlite3_finalize(st);
    return sql_rc == SQLITE_DONE ? 0 : prop_ledger_fail(l, sql_rc, "write", err);
}

int prop_ledger_column(struct prop_ledger *l, sqlite3_stmt *st, int i, char **ret,
                       struct prop_err *err)
{
    if (sqlite3_column_type(st, i) == SQLITE_NULL) {
        *ret = NULL;
        return 0;
    }
    const unsigned char *text = sqlite3_column_text(st, i);
    if (text == NULL)
        return prop_ledger_fail(l, SQLITE_NOMEM, "read", err);
    char *copy = prop_strndup((const char *)text, (size_t)sqlite3_column_bytes(st, i));
    if (copy == NULL)
        return prop_err_nomem(err);
    *ret = copy;
    return 0;
}

int prop_ledger_rows(struct prop_ledger *l, sqlite3_stmt *st, json_t *(*row)(sqlite3_stmt *st),
                     json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *list = json_array();
    int rc = list != NULL ? 0 : prop_err_nomem(err);
    int sql = SQLITE_DONE;
    while (rc == 0 && (sql = sqlite3_step(st)) == SQLITE_ROW)
        if (json_array_append_new(list, row(st)) != 0)
            rc = prop_err_nomem(err);
    if (rc == 0 && sql != SQLITE_DONE)
        rc = prop_ledger_fail(l, sql, "read", err);
    (void)sqlite3_finalize(st);
    if (rc == 0)
        *ret = PROP_TAKE(list);
    return rc;
}

int prop_ledger_begin(struct prop_ledger *l, struct prop_err *err)
{
    return prop_ledger_exec(l, "BEGIN IMMEDIATE", "write", err);
}

int prop_ledger_commit(struct prop_ledger *l, int rc, struct prop_err *err)
{
    if (rc == 0)
        rc = prop_ledger_exec(l, "COMMIT", "write", err);
    if (rc != 0)
        (void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}
