/* What the ledger's files share: the connection, and one way to run a statement. */
#ifndef PROP_STORE_LEDGER_INTERNAL_H
#define PROP_STORE_LEDGER_INTERNAL_H

#include "store/ledger.h"

#include <sqlite3.h>

struct prop_ledger {
    sqlite3 *db;
    char *path;
    char *lock_path;
    int lock_fd; /* -1 = not held */
    prop_lock_wait_fn tell;
    void *tell_ctx;
};

/* SQLite's result as our failure; `what` is the verb ("read"). */
int prop_ledger_fail(const struct prop_ledger *l, int sql_rc, const char *what,
                     struct prop_err *err);
/* Statements without values and rows. */
int prop_ledger_exec(struct prop_ledger *l, const char *sql, const char *what,
                     struct prop_err *err);
/* Prepare `sql` and bind `n` texts to its first places (NULL binds SQL's NULL); they must live as
 * long as the statement. The caller finalizes it. */
int prop_ledger_prepare(struct prop_ledger *l, const char *sql, const char *const *texts, int n,
                        sqlite3_stmt **ret, struct prop_err *err);
/* A statement that gives no rows. With `with_time` the wall clock is bound behind the texts. */
int prop_ledger_change(struct prop_ledger *l, const char *sql, const char *const *texts, int n,
                       bool with_time, struct prop_err *err);
/* Text of a column into fresh memory; NULL for SQL's NULL. */
int prop_ledger_column(struct prop_ledger *l, sqlite3_stmt *st, int i, char **ret,
                       struct prop_err *err);
/* Read all rows of a statement into an array, each as an object that `row` makes (NULL: out of
 * memory, or text that is not UTF-8). Finalizes the statement. */
int prop_ledger_rows(struct prop_ledger *l, sqlite3_stmt *st, json_t *(*row)(sqlite3_stmt *st),
                     json_t **ret, struct prop_err *err);
/* Several changes as one: begin, then commit when `rc` is 0, else take back. commit returns rc, or
 * what the commit failed with. */
int prop_ledger_begin(struct prop_ledger *l, struct prop_err *err);
int prop_ledger_commit(struct prop_ledger *l, int rc, struct prop_err *err);

/* A reference as it is kept: "host/app:1@sha256:..." is the image "host/app:1" with that digest.
 * *ret_digest is NULL when there is none. Both owned. */
int prop_ledger_split_image(const char *reference, char **ret_image, char **ret_digest,
                            struct prop_err *err);

/* Make or renew the tables. */
int prop_ledger_set_up(struct prop_ledger *l, struct prop_err *err);

#endif
