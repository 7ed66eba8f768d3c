/* The transaction. Everything that can be checked is checked first; then each step makes the next
 * one safe: a KEK on disk before its ciphertext leaves, the rule before the key, proof before the
 * name. A run that ends anywhere in between leaves the name where it was. */
#include "publish/publish.h"

#include "publish/image.h"
#include "publish/key.h"
#include "publish/plan.h"
#include "publish/policy.h"
#include "publish/result.h"
#include "publish/state.h"
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
        prop_publish_key_keep, prop_publish_image_send, guarded_steps,
        prop_publish_prove,    prop_publish_image_tag,
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(steps); i++) {
        int rc = prop_stop_check(err);
        if (rc == 0)
            rc = steps[i](s, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- after a failure --------------------------------------------------------------------------- */

/* A KEK that nothing refers to is no use to anybody, and one secret less to keep. */
static void drop_kek(struct prop_publish_state *s)
{
    if (s->kek_kept && unlink(s->kek_path) == 0) {
        s->kek_kept = false;
        prop_free(s->kek_path);
        s->kek_path = NULL;
    }
}

static void add_left(char *out, size_t size, const char *text)
{
    size_t n = strlen(out);
    (void)snprintf(out + n, size - n, "%s%s", n > 0 ? "; " : "", text);
}

/* What this run did and could not take back, as part of the hint. */
static void tell_left(const struct prop_publish_state *s, bool key_gone, struct prop_err *err)
{
    char left[800] = "", text[400], digest[PROP_DIGEST_TEXT];
    if (s->tag_unsure)
        add_left(left, sizeof left, "whether the name was moved is not known: look at it");
    if (!key_gone && s->key_replaced)
        add_left(left, sizeof left, "the key in the KBS was overwritten");
    else if (!key_gone)
        add_left(left, sizeof left, "the key may be in the KBS");
    if ((s->policy.sent || s->policy.unsure) && s->policy.added > 0)
        add_left(left, sizeof left, s->policy.sent ? "the policy in the KBS has the new rule"
                                                   : "the policy in the KBS may have the new rule");
    if (s->image_sent && s->p->dst->transport == PROP_T_DOCKER) {
        (void)snprintf(text, sizeof text, "the registry holds %.19s... without a name",
                       prop_digest_format(&s->image.manifest, digest));
        add_left(left, sizeof left, text);
    }
    if (s->kek_kept) {
        (void)snprintf(text, sizeof text, "the KEK is kept in '%.300s'", s->kek_path);
        add_left(left, sizeof left, text);
    }
    if (left[0] == 0)
        return;
    size_t n = strlen(err->hint);
    (void)snprintf(err->hint + n, sizeof err->hint - n, "%sleft behind: %.300s", n > 0 ? "; " : "",
                   left);
}

static void clean_up(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_err unused = PROP_ERR_INIT;
    bool key_gone = false;
    /* With a name that may have been moved the key must stay: an image without a key is worse. */
    if (!s->tag_unsure) {
        prop_stop_hold();
        key_gone = prop_publish_key_take_back(s) == 0;
        prop_stop_release();
    }
    if (key_gone && !s->tag_tried)
        drop_kek(s);
    tell_left(s, key_gone, err != NULL ? err : &unused);
}

int prop_publish_run(const struct prop_publish *p, json_t **ret, struct prop_err *err)
{
    struct prop_publish_state s;
    prop_publish_state_init(&s, p);
    int rc = s.steps == NULL || s.proof == NULL ? prop_err_nomem(err) : prop_publish_plan(&s, err);
    if (rc == 0 && p->dry_run) {
        rc = prop_publish_plan_result(&s, ret, err);
    } else if (rc == 0) {
        rc = execute(&s, err);
        if (rc != 0)
            clean_up(&s, err);
        else
            rc = prop_publish_result(&s, ret, err);
    }
    prop_publish_state_release(&s);
    return rc;
}
