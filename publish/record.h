/* A publish's own journal: each step noted before and after, and what an earlier process noted when a
 * run is gone on with. Without a journal (a rotation, a dry run) all of it does nothing. */
#ifndef PROP_PUBLISH_RECORD_H
#define PROP_PUBLISH_RECORD_H

#include "publish/state.h"

/* Where the destination's name is known by: the journal's target. Owned. */
int prop_publish_target(const struct prop_location *dst, char **ret, struct prop_err *err);

/* Open the journal and become the destination's one publisher on this machine. A dry run only looks.
 * Fails: PROP_E_USAGE (id "unfinished-run") an earlier publish there was killed; PROP_E_EXISTS (id
 * "publish-running") after a long wait; with p->run, as prop_journal_find. */
int prop_publish_record_open(struct prop_publish_state *s, struct prop_err *err);
/* Note the plan and the first step's beginning; or, when a run is gone on with, that it is. */
int prop_publish_record_plan(struct prop_publish_state *s, struct prop_err *err);

/* `step` is about to be begun: on the disk, with what was done before it, when this returns. `detail`
 * is taken over, also on failure (NULL = out of memory, which fails). */
int prop_publish_record_begin(struct prop_publish_state *s, const char *step, json_t *detail,
                              struct prop_err *err);
/* `step` is done: written with whatever is noted next. */
int prop_publish_record_done(struct prop_publish_state *s, const char *step, json_t *detail,
                             struct prop_err *err);
/* The server refused the step: nothing came of it. */
void prop_publish_record_refused(struct prop_publish_state *s, const char *step);
/* Write what waits for the next note: the process ends, the run does not. */
int prop_publish_record_flush(struct prop_publish_state *s, struct prop_err *err);
/* The run is over. */
int prop_publish_record_end(struct prop_publish_state *s, enum prop_journal_state state,
                            struct prop_err *err);

/* What was noted at a step's beginning or end, by this process or an earlier one; NULL = nothing.
 * Borrowed. */
const json_t *prop_publish_record_of(const struct prop_publish_state *s, const char *step,
                                     bool done);
/* Was the step begun, and not refused? */
bool prop_publish_record_tried(const struct prop_publish_state *s, const char *step);

/* The members of a detail: text (NULL = none) and digests. */
const char *prop_publish_record_text(const json_t *detail, const char *member);
bool prop_publish_record_digest(const json_t *detail, const char *member, struct prop_digest *ret);

#endif
