/* The journal of publishes (SQLite, user's state folder): each step of a run is recorded before it is
 * begun and after it is done, so that a run that was killed can be finished or taken back. What is
 * recorded is on the disk when a call returns. Never a secret: keys are named by fingerprint.
 *
 * Publishers of one destination wait for each other: the lock of a target is held by the process
 * itself and goes with it, so an open run whose target nobody holds was killed.
 */
#ifndef PROP_STORE_JOURNAL_H
#define PROP_STORE_JOURNAL_H

#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_journal;
/* Open (path NULL = $XDG_STATE_HOME/prop/journal.db, made 0600).
 * Fails: PROP_E_DENIED (id "journal-mode") others can write to it, PROP_E_INPUT (id
 * "journal-damaged"), PROP_E_UNSUPPORTED (id "journal-version"), PROP_E_IO (id "journal"). */
int prop_journal_open(const char *path, struct prop_journal **ret, struct prop_err *err);
/* As prop_journal_open, but makes nothing: *ret is NULL when there is none yet. */
int prop_journal_open_existing(const char *path, struct prop_journal **ret, struct prop_err *err);
/* Lets go of the target too. */
void prop_journal_close(struct prop_journal *j);
PROP_DEFINE_AUTO(struct prop_journal *, prop_journal_close)
#define prop_auto_journal __attribute__((cleanup(prop_journal_close_p)))

/* Become the one publisher of `target` on this machine, until prop_journal_close. `wait_ms` is how
 * long to wait for another one, which may be sending gigabytes; 0 = not at all, else
 * $PROP_LOCK_TIMEOUT counts instead. Fails: PROP_E_EXISTS (id "publish-running"), PROP_E_INTERRUPTED. */
int prop_journal_lock(struct prop_journal *j, const char *target, uint64_t wait_ms,
                      struct prop_err *err);

/* One entry: a step that is about to be begun, or is done, and what resuming and taking back need to
 * know of it (an object; NULL = nothing). */
struct prop_journal_note {
    const char *step;
    bool done;
    const json_t *detail;
};

/* A new run with its plan (an object) and first entries, all of it at once. Old runs that are over
 * are dropped, all but the last hundred. */
int prop_journal_begin(struct prop_journal *j, const char *target, const json_t *plan,
                       const struct prop_journal_note *notes, size_t n, int64_t *ret_run,
                       struct prop_err *err);
/* The run goes on in this process; `plan` replaces the old one where it is not NULL. */
int prop_journal_go_on(struct prop_journal *j, int64_t run, const json_t *plan,
                       struct prop_err *err);
/* Entries, in order, as one write. */
int prop_journal_note(struct prop_journal *j, int64_t run, const struct prop_journal_note *notes,
                      size_t n, struct prop_err *err);
enum prop_journal_state { PROP_JOURNAL_OPEN, PROP_JOURNAL_DONE, PROP_JOURNAL_ABORTED };
/* Last entries (n may be 0) and the end of the run, as one write. */
int prop_journal_end(struct prop_journal *j, int64_t run, enum prop_journal_state state,
                     const struct prop_journal_note *notes, size_t n, struct prop_err *err);

/* Runs, newest first: an array of {"run","target","time" (seconds of the epoch),"pid","pid_start"
 * (clock ticks since boot),"state":"open"|"done"|"aborted","running" (its target is held by a
 * process now),"plan","entries" (how many),"last" (its last entry's step, absent for none)}.
 * Owned. */
int prop_journal_runs(struct prop_journal *j, bool only_open, json_t **ret, struct prop_err *err);
/* One open run: by its number, by its target, or (NULL) the only one there is. j NULL: there is none.
 * An object as above, owned. Fails: PROP_E_NOTFOUND (id "no-such-run"), PROP_E_USAGE (id
 * "which-run") when there are several. */
int prop_journal_find(struct prop_journal *j, const char *which, json_t **ret,
                      struct prop_err *err);
/* The entries of a run in order: an array of {"step","phase":"begin"|"done","time","detail"}.
 * Owned. */
int prop_journal_entries(struct prop_journal *j, int64_t run, json_t **ret, struct prop_err *err);

#endif
