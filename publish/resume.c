#include "publish/resume.h"

#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "publish/key.h"
#include "publish/record.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

static int damaged(struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "journal-damaged",
                           "the journal's plan of this run is damaged");
}

/* Another KBS would be another run. */
static int check_kbs(const struct prop_publish_state *s, struct prop_err *err)
{
    const char *url = prop_publish_record_text(s->plan, "kbs");
    if (url != NULL && strcmp(url, prop_kbs_url(s->p->kbs)) == 0)
        return 0;
    return prop_err_set_id(err, PROP_E_USAGE, "foreign-kbs",
                           "the run is one of the key broker '%s', not of '%s'",
                           url != NULL ? url : "?", prop_kbs_url(s->p->kbs));
}

int prop_publish_resume_facts(struct prop_publish_state *s, struct prop_err *err)
{
    const char *kid = prop_publish_record_text(s->plan, "kid");
    const char *fingerprint = prop_publish_record_text(s->plan, "fingerprint");
    int rc = check_kbs(s, err);
    if (rc != 0)
        return rc;
    if (kid == NULL || fingerprint == NULL || strlen(fingerprint) != 16)
        return damaged(err);
    memcpy(s->fingerprint, fingerprint, 17);
    s->kek_fresh = json_is_true(json_object_get(s->plan, "kek_fresh"));
    s->key_known = json_is_true(json_object_get(s->plan, "key_known"));
    s->key_replaced = json_is_true(json_object_get(s->plan, "key_replaced"));
    s->had_tag = prop_publish_record_digest(s->plan, "before", &s->before);
    if (s->kek_fresh)
        (void)prop_kek_store_path(s->fingerprint, &s->kek_path, NULL);
    return prop_publish_key_name(s, kid, err);
}

/* The process was killed before the KEK was on the disk: nothing was encrypted for it. */
static int make_anew(struct prop_publish_state *s, struct prop_err *err)
{
    prop_free(s->kek_path);
    s->kek_path = NULL;
    if (s->p->kid == NULL) {
        prop_free(s->kid_path);
        s->kid_path = NULL;
    }
    int rc = prop_publish_key_choose(s, err);
    prop_auto_json json_t *plan = rc == 0 ? json_deep_copy(s->plan) : NULL;
    if (rc == 0 && (plan == NULL ||
                    json_object_set_new(plan, "kid", json_string(s->kid_path)) != 0 ||
                    json_object_set_new(plan, "fingerprint", json_string(s->fingerprint)) != 0))
        rc = prop_err_nomem(err);
    if (rc == 0)
        rc = prop_publish_record_begin(s, "kek", json_pack("{s:s}", "fingerprint", s->fingerprint),
                                       err);
    return rc == 0 ? prop_journal_go_on(s->journal, s->run, plan, err) : rc;
}

static int find_kept(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kek_store_find(s->fingerprint, &s->kek, &inner);
    if (rc == PROP_E_NOTFOUND && s->kek_fresh &&
        prop_publish_record_of(s, "kek", true) == NULL)
        return make_anew(s, err);
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

static int read_named(struct prop_publish_state *s, struct prop_err *err)
{
    char fingerprint[17];
    int rc = prop_kek_read(s->p->kek_file, &s->kek, err);
    if (rc == 0)
        rc = prop_kek_fingerprint(s->kek, fingerprint, err);
    if (rc == 0 && strcmp(fingerprint, s->fingerprint) != 0)
        rc = prop_err_set_id(err, PROP_E_VERIFY, "kek-wrong",
                             "'%s' holds the KEK %s, the run was begun with %s", s->p->kek_file,
                             fingerprint, s->fingerprint);
    if (rc != 0)
        return rc;
    s->kek_path = prop_strdup(s->p->kek_file);
    return s->kek_path != NULL ? 0 : prop_err_nomem(err);
}

int prop_publish_resume_key(struct prop_publish_state *s, struct prop_err *err)
{
    if (s->p->kek_file != NULL)
        return read_named(s, err);
    return find_kept(s, err);
}
