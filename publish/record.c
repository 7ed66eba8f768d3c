/* Notes are kept until something is begun: "kek done" and "image begun" are one moment, and one
 * write. What matters is that nothing is begun before its note is on the disk. */
#include "publish/record.h"

#include "publish/reference.h"
#include "publish/source.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

enum { notes_max = 16 };
static const uint64_t wait_ms = 15 * 60 * 1000;

int prop_publish_target(const struct prop_location *dst, char **ret, struct prop_err *err)
{
    return prop_publish_reference(dst, ret, err);
}

/* --- looking things up ------------------------------------------------------------------------- */

const json_t *prop_publish_record_of(const struct prop_publish_state *s, const char *step,
                                     bool done)
{
    return json_object_get(json_object_get(s->entries, step), done ? "done" : "begin");
}

bool prop_publish_record_tried(const struct prop_publish_state *s, const char *step)
{
    return prop_publish_record_of(s, step, false) != NULL &&
           !json_is_true(json_object_get(prop_publish_record_of(s, step, true), "refused"));
}

const char *prop_publish_record_text(const json_t *detail, const char *member)
{
    return json_string_value(json_object_get(detail, member));
}

bool prop_publish_record_digest(const json_t *detail, const char *member, struct prop_digest *ret)
{
    const char *text = prop_publish_record_text(detail, member);
    return text != NULL && prop_digest_parse(text, ret, NULL) == 0;
}

/* --- noting ------------------------------------------------------------------------------------ */

/* What this process notes is looked up like what an earlier one did. A step that is begun again is
 * not done. `detail` is taken over. */
static int keep(struct prop_publish_state *s, const char *step, bool done, json_t *detail,
                struct prop_err *err)
{
    json_t *of = json_object_get(s->entries, step);
    if (of == NULL) {
        of = json_object();
        if (json_object_set_new(s->entries, step, of) != 0) {
            json_decref(detail);
            return prop_err_nomem(err);
        }
    }
    if (!done)
        (void)json_object_del(of, "done");
    return json_object_set_new(of, done ? "done" : "begin", detail) == 0 ? 0 : prop_err_nomem(err);
}

static int queue(struct prop_publish_state *s, const char *step, bool done, json_t *detail,
                 struct prop_err *err)
{
    prop_auto_json json_t *note = json_pack("{s:s,s:b,s:O}", "step", step, "done", done, "detail",
                                            detail);
    int rc = note != NULL && json_array_append(s->pending, note) == 0 ? 0 : prop_err_nomem(err);
    if (rc == 0)
        return keep(s, step, done, detail, err);
    json_decref(detail);
    return rc;
}

static size_t pending_notes(const struct prop_publish_state *s, struct prop_journal_note *notes)
{
    size_t i, n = 0;
    json_t *note;
    json_array_foreach (s->pending, i, note)
        if (n < notes_max)
            notes[n++] = (struct prop_journal_note){
                json_string_value(json_object_get(note, "step")),
                json_is_true(json_object_get(note, "done")), json_object_get(note, "detail")
            };
    return n;
}

int prop_publish_record_flush(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_journal_note notes[notes_max];
    if (s->journal == NULL || s->run == 0)
        return 0;
    int rc = prop_journal_note(s->journal, s->run, notes, pending_notes(s, notes), err);
    if (rc == 0)
        (void)json_array_clear(s->pending);
    return rc;
}

int prop_publish_record_begin(struct prop_publish_state *s, const char *step, json_t *detail,
                              struct prop_err *err)
{
    if (s->journal == NULL || detail == NULL) {
        json_decref(detail);
        return detail == NULL ? prop_err_nomem(err) : 0;
    }
    int rc = queue(s, step, false, detail, err);
    return rc == 0 ? prop_publish_record_flush(s, err) : rc;
}

int prop_publish_record_done(struct prop_publish_state *s, const char *step, json_t *detail,
                             struct prop_err *err)
{
    if (s->journal == NULL || detail == NULL) {
        json_decref(detail);
        return detail == NULL ? prop_err_nomem(err) : 0;
    }
    return queue(s, step, true, detail, err);
}

void prop_publish_record_refused(struct prop_publish_state *s, const char *step)
{
    (void)prop_publish_record_done(s, step, json_pack("{s:b}", "refused", 1), NULL);
}

int prop_publish_record_end(struct prop_publish_state *s, enum prop_journal_state state,
                            struct prop_err *err)
{
    struct prop_journal_note notes[notes_max];
    if (s->journal == NULL || s->run == 0)
        return 0;
    int rc = prop_journal_end(s->journal, s->run, state, notes, pending_notes(s, notes), err);
    if (rc == 0)
        (void)json_array_clear(s->pending);
    return rc;
}

/* --- beginning --------------------------------------------------------------------------------- */

static int unfinished(const struct prop_publish_state *s, const json_t *run, struct prop_err *err)
{
    long long number = (long long)json_integer_value(json_object_get(run, "run"));
    (void)prop_err_set_id(err, PROP_E_USAGE, "unfinished-run",
                          "a publish to '%s' was not finished (run %lld)", s->p->dst->text, number);
    return prop_err_hint(err, "'proppush publish --resume %lld' finishes it, 'proppush publish "
                              "--abort %lld' takes back what it did",
                         number, number);
}

/* An open run of this destination that nobody works on. */
static int check_open(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_json json_t *runs = NULL;
    size_t i;
    json_t *run;
    int rc = prop_journal_runs(s->journal, true, &runs, err);
    json_array_foreach (runs, i, run) {
        bool alive = s->p->dry_run && json_is_true(json_object_get(run, "running"));
        if (rc == 0 && !alive &&
            strcmp(json_string_value(json_object_get(run, "target")), s->target) == 0)
            rc = unfinished(s, run, err);
    }
    return rc;
}

static int load_entries(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_json json_t *entries = NULL;
    size_t i;
    json_t *entry;
    int rc = prop_journal_entries(s->journal, s->run, &entries, err);
    json_array_foreach (entries, i, entry) {
        const char *step = json_string_value(json_object_get(entry, "step"));
        const char *phase = json_string_value(json_object_get(entry, "phase"));
        if (rc == 0)
            rc = keep(s, step, strcmp(phase, "done") == 0,
                      json_incref(json_object_get(entry, "detail")), err);
    }
    return rc;
}

/* The run that is to be gone on with: under the lock nobody else does. */
static int load_run(struct prop_publish_state *s, struct prop_err *err)
{
    char number[24];
    prop_auto_json json_t *run = NULL;
    (void)snprintf(number, sizeof number, "%lld", (long long)s->p->run);
    int rc = prop_journal_find(s->journal, number, &run, err);
    if (rc != 0)
        return rc;
    s->plan = json_incref(json_object_get(run, "plan"));
    s->run = s->p->run;
    s->resumed = true;
    return load_entries(s, err);
}

/* A new run waits for another publisher of the destination; one that is to be gone on with does not:
 * who holds it is at work on it. */
static int lock(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_journal_lock(s->journal, s->target, 0, &inner);
    if (rc == PROP_E_EXISTS && s->p->run == 0) {
        prop_publish_warn(s, "another process publishes '%s': waiting for it", s->p->dst->text);
        return prop_journal_lock(s->journal, s->target, wait_ms, err);
    }
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

int prop_publish_record_open(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = s->p->dry_run ? prop_journal_open_existing(s->p->journal, &s->journal, err)
                           : prop_journal_open(s->p->journal, &s->journal, err);
    if (rc == 0)
        rc = prop_publish_target(s->p->dst, &s->target, err);
    if (rc == 0 && s->journal != NULL && !s->p->dry_run)
        rc = lock(s, err);
    if (rc == 0 && s->journal != NULL)
        rc = s->p->run != 0 ? load_run(s, err) : check_open(s, err);
    if (s->p->dry_run) { /* it has looked, and notes nothing */
        prop_journal_close(s->journal);
        s->journal = NULL;
    }
    return rc;
}

static int new_plan(const struct prop_publish_state *s, json_t **ret, struct prop_err *err)
{
    char before[PROP_DIGEST_TEXT];
    prop_auto_json json_t *source = NULL;
    int rc = prop_publish_source_stamp(s, &source, err);
    if (rc != 0)
        return rc;
    json_t *plan = json_pack(
        "{s:O*,s:O,s:O*,s:s,s:s,s:s,s:s,s:b,s:b,s:b,s:s*,s:b}", "options", s->p->options, "source",
        source, "measured", s->measured, "destination", s->p->dst->text, "kbs", prop_kbs_url(s->p->kbs), "kid", s->kid_path,
        "fingerprint", s->fingerprint, "kek_fresh", s->kek_fresh, "key_known", s->key_known,
        "key_replaced", s->key_replaced, "before",
        s->had_tag ? prop_digest_format(&s->before, before) : NULL, "unchanged", s->unchanged);
    if (plan == NULL)
        return prop_err_nomem(err);
    *ret = plan;
    return 0;
}

/* The first step's beginning goes with the plan: the KEK's where one is made, else the image's. */
int prop_publish_record_plan(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_journal_note notes[notes_max];
    if (s->journal == NULL)
        return 0;
    if (s->run != 0)
        return prop_journal_go_on(s->journal, s->run, NULL, err);
    prop_auto_json json_t *plan = NULL;
    int rc = new_plan(s, &plan, err);
    if (rc == 0)
        rc = prop_publish_record_begin(
            s, s->kek_fresh ? "kek" : "image",
            s->kek_fresh ? json_pack("{s:s}", "fingerprint", s->fingerprint) : json_object(), err);
    if (rc == 0)
        rc = prop_journal_begin(s->journal, s->target, plan, notes, pending_notes(s, notes),
                                &s->run, err);
    if (rc == 0) {
        (void)json_array_clear(s->pending);
        s->plan = PROP_TAKE(plan);
    }
    return rc;
}
