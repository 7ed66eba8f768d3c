/* What the journal's two files share. */
#ifndef PROP_STORE_JOURNAL_INTERNAL_H
#define PROP_STORE_JOURNAL_INTERNAL_H

#include "store/journal.h"

#include <sqlite3.h>

struct prop_journal {
    sqlite3 *db;
    char *path;
    int lock_fd;  /* of the file beside it; -1 = not opened yet */
};

/* SQLite's result as our failure; `what` is the verb ("read"). */
int prop_journal_fail(const struct prop_journal *j, int sql_rc, const char *what,
                      struct prop_err *err);
int prop_journal_exec(struct prop_journal *j, const char *sql, const char *what,
                      struct prop_err *err);
/* Does some process, this one or another, hold the target? */
bool prop_journal_is_held(struct prop_journal *j, const char *target);

#endif
