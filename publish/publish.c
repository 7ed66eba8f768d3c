/* The transaction. Everything that can be checked is checked first; then each step makes the next
 * one safe: a KEK on disk before its ciphertext leaves, the rule before the key, proof before the
 * name. A run that ends anywhere in between leaves the name where it was; what it did is in the
 * journal, and is taken back at once, or by whoever finds the run open. */
#include "publish/publish.h"

#include "publish/image.h"
#include "publish/key.h"
#include "publish/plan.h"
#include "publish/policy.h"
#include "publish/record.h"
#include "publish/result.h"
#include "publish/resume.h"
#include "publish/state.h"
#include "publish/undo.h"
#include "util/mem.h"
#include "util/stop.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Rule and key: publishers on one machine wait for each other, so that none works from a policy
 * that another one is about to replace. */
static int guarded_steps(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = prop_ledger_lock(s->ledger, err);
    if (rc != 0)
        return rc;
    rc = prop_publish_policy_send(s, err);
    if (rc == 0)
        rc = prop_stop_check(err);
    if (rc == 0)
        rc = prop_publish_key_send(s, err);
    prop_ledger_unlock(s->ledger);
    return rc;
}

static int execute(struct prop_publish_state *s, struct prop_err *err)
{
    static int (*const steps[])(struct prop_publish_state *, struct prop_err *) = {
        prop_publish_record_plan, prop_publish_key_keep, prop_publish_image_send,
        guarded_steps,            prop_publish_prove,    prop_publish_image_tag,
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(steps); i++) {
        int rc = prop_stop_check(err);
        if (rc == 0)
            rc = steps[i](s, err);
        if (rc != 0)
            return rc;
    }
    return prop_publish_record_end(s, PROP_JOURNAL_DONE, err);
}

/* --- after a failure --------------------------------------------------------------------------- */

static int undo_new(struct prop_publish_undo *u, struct prop_err *err)
{
    u->taken = json_array();
    u->left = json_array();
    return u->taken != NULL && u->left != NULL ? 0 : prop_err_nomem(err);
}

static void undo_release(struct prop_publish_undo *u)
{
    json_decref(u->taken);
    json_decref(u->left);
}

static void add_hint(struct prop_err *err, const char *text)
{
    size_t n = strlen(err->hint);
    (void)snprintf(err->hint + n, sizeof err->hint - n, "%s%s", n > 0 ? "; " : "", text);
}

static void tell_open(const struct prop_publish_state *s, const char *why, struct prop_err *err)
{
    char text[300];
    (void)snprintf(text, sizeof text,
                   "%s: 'proppush publish --resume %lld' goes on, 'proppush publish --abort %lld' "
                   "takes it back",
                   why, (long long)s->run, (long long)s->run);
    add_hint(err, text);
}

/* What this run did and could not take back, as part of the hint. */
static void tell_left(const struct prop_publish_undo *u, struct prop_err *err)
{
    size_t i;
    json_t *text;
    if (json_array_size(u->left) > 0)
        add_hint(err, "left behind: ");
    json_array_foreach (u->left, i, text) {
        size_t n = strlen(err->hint);
        (void)snprintf(err->hint + n, sizeof err->hint - n, "%s%s", i > 0 ? "; " : "",
                       json_string_value(text));
    }
}

/* With a name that may have been moved everything must stay: an image without a key is worse. */
static void clean_up(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_publish_undo u = { NULL, NULL };
    if (s->run == 0)
        return;
    if (s->resumed || s->tag_unsure || s->tag_moved) {
        (void)prop_publish_record_flush(s, NULL);
        tell_open(s,
                  s->tag_moved    ? "the name is moved, the run is not ended"
                  : s->tag_unsure ? "whether the name was moved is not known, all of it stays"
                                  : "the run stays open",
                  err);
        return;
    }
    prop_stop_hold();
    int rc = undo_new(&u, NULL);
    if (rc == 0)
        rc = prop_publish_undo(s, &u, NULL);
    if (rc == 0)
        rc = prop_publish_record_end(s, PROP_JOURNAL_ABORTED, NULL);
    prop_stop_release();
    if (rc != 0)
        tell_open(s, "not all of it could be taken back", err);
    tell_left(&u, err);
    undo_release(&u);
}

int prop_publish_run(const struct prop_publish *p, json_t **ret, struct prop_err *err)
{
    struct prop_publish_state s;
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_publish_state_init(&s, p, &local);
    if (rc == 0)
        rc = prop_publish_record_open(&s, &local);
    if (rc == 0)
        rc = prop_publish_plan(&s, &local);
    if (rc == 0 && p->dry_run) {
        rc = prop_publish_plan_result(&s, ret, &local);
    } else if (rc == 0) {
        rc = execute(&s, &local);
        if (rc != 0)
            clean_up(&s, &local);
        else
            rc = prop_publish_result(&s, ret, &local);
    }
    prop_publish_state_release(&s);
    if (rc != 0 && err != NULL)
        *err = local;
    return rc;
}

/* --- on request -------------------------------------------------------------------------------- */

static int told(const struct prop_publish_state *s, const struct prop_publish_undo *u, json_t **ret,
                struct prop_err *err)
{
    json_t *doc = json_pack("{s:I,s:s,s:O,s:O}", "run", (json_int_t)s->run, "reference",
                            s->p->dst->text, "taken_back", u->taken, "left", u->left);
    if (doc == NULL)
        return prop_err_nomem(err);
    *ret = doc;
    return 0;
}

/* Opening a local place makes it; one that is not there names nothing. */
static int open_destination(struct prop_publish_state *s, struct prop_err *err)
{
    const char *path = s->p->dst->path;
    if (path != NULL && access(path, F_OK) != 0)
        return 0;
    return prop_dst_open(s->p->dst, s->p->oci, &s->dst, err);
}

static int take_back(struct prop_publish_state *s, json_t **ret, struct prop_err *err)
{
    struct prop_publish_undo u = { NULL, NULL };
    int rc = undo_new(&u, err);
    if (rc == 0)
        rc = prop_publish_resume_facts(s, err);
    if (rc == 0)
        rc = prop_publish_open_ledger(s, err);
    if (rc == 0)
        rc = open_destination(s, err);
    if (rc == 0)
        rc = prop_publish_undo(s, &u, err);
    if (rc == 0)
        rc = prop_publish_record_end(s, PROP_JOURNAL_ABORTED, err);
    if (rc == 0)
        rc = told(s, &u, ret, err);
    else if (rc != PROP_E_USAGE && err != NULL)
        add_hint(err, "the run stays open: say --abort again, or --forget to give it up");
    undo_release(&u);
    return rc;
}

int prop_publish_abort(const struct prop_publish *p, json_t **ret, struct prop_err *err)
{
    struct prop_publish_state s;
    int rc = prop_publish_state_init(&s, p, err);
    if (rc == 0)
        rc = prop_publish_record_open(&s, err);
    if (rc == 0)
        rc = take_back(&s, ret, err);
    prop_publish_state_release(&s);
    return rc;
}

/* Everything that was begun may be there. */
static int list_begun(const struct prop_publish_state *s, json_t *left, struct prop_err *err)
{
    static const struct {
        const char *step, *text;
    } all[] = { { "kek", "the KEK on this machine" },
                { "image", "blobs and a manifest without a name at the destination" },
                { "policy", "the new rule in the policy of the KBS" },
                { "document", "the new rule in the policy document" },
                { "key", "the key in the KBS" },
                { "tag", "the name at the destination" } };
    for (size_t i = 0; i < PROP_ARRAY_LEN(all); i++)
        if (prop_publish_record_tried(s, all[i].step) &&
            json_array_append_new(left, json_string(all[i].text)) != 0)
            return prop_err_nomem(err);
    return 0;
}

int prop_publish_forget(const struct prop_publish *p, json_t **ret, struct prop_err *err)
{
    struct prop_publish_state s;
    struct prop_publish_undo u = { NULL, NULL };
    int rc = prop_publish_state_init(&s, p, err);
    if (rc == 0)
        rc = undo_new(&u, err);
    if (rc == 0)
        rc = prop_publish_record_open(&s, err);
    if (rc == 0)
        rc = list_begun(&s, u.left, err);
    if (rc == 0)
        rc = prop_publish_record_end(&s, PROP_JOURNAL_ABORTED, err);
    if (rc == 0)
        rc = told(&s, &u, ret, err);
    undo_release(&u);
    prop_publish_state_release(&s);
    return rc;
}

int prop_publish_runs(const char *journal, json_t **ret, struct prop_err *err)
{
    prop_auto_journal struct prop_journal *j = NULL;
    int rc = prop_journal_open_existing(journal, &j, err);
    if (rc != 0 || j != NULL)
        return rc != 0 ? rc : prop_journal_runs(j, true, ret, err);
    *ret = json_array();
    return *ret != NULL ? 0 : prop_err_nomem(err);
}

int prop_publish_find_run(const char *journal, const char *which, json_t **ret,
                          struct prop_err *err)
{
    prop_auto_journal struct prop_journal *j = NULL;
    prop_auto_free char *target = NULL;
    struct prop_location loc;
    bool number = which != NULL && which[strspn(which, "0123456789")] == 0;
    int rc = prop_journal_open_existing(journal, &j, err);
    if (rc == 0 && which != NULL && !number) {
        rc = prop_location_parse(which, &loc, err);
        if (rc == 0) {
            rc = prop_publish_target(&loc, &target, err);
            prop_location_release(&loc);
        }
    }
    return rc == 0 ? prop_journal_find(j, target != NULL ? target : which, ret, err) : rc;
}
