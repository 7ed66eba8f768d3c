/* The order is from cheap to dear: options, files of this machine, the KBS, the destination. */
#include "publish/plan.h"

#include "publish/image.h"
#include "publish/key.h"
#include "publish/policy.h"
#include "publish/present.h"
#include "publish/resume.h"
#include "publish/server_policy.h"
#include "publish/source.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <string.h>
#include <unistd.h>

static int refuse(struct prop_err *err, const char *id, const char *text, const char *hint)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, id, "%s", text);
    return prop_err_hint(err, "%s", hint);
}

static int check_options(const struct prop_publish *p, struct prop_err *err)
{
    if (p->dst->transport == PROP_T_SINK || p->dst->transport == PROP_T_FILE)
        return refuse(err, "bad-location", "an image cannot be published there",
                      "name the destination docker://HOST/NAME:TAG, oci:FOLDER:TAG or dir:FOLDER");
    if (p->dst->transport == PROP_T_DOCKER && p->dst->ref.digest.len > 0)
        return refuse(err, "bad-location", "the destination names a digest, which is not known yet",
                      "name a tag");
    if (!prop_publish_has_rules(p) && (p->policy_doc != NULL || p->replace_policy))
        return refuse(err, "no-allow", "--policy-doc and --replace-policy go with --allow or --measured",
                      "without --allow the policy of the KBS is left alone");
    if (p->replace_key && p->kid == NULL)
        return refuse(err, "no-kid", "--replace-key goes with --kid",
                      "without --kid the key gets a name of its own");
    return 0;
}

/* A name that says which KBS must say ours: guests refuse the image otherwise. */
static int check_kid_host(const struct prop_publish *p, struct prop_err *err)
{
    struct prop_resource_id id;
    if (p->kid == NULL)
        return 0;
    int rc = prop_resource_id_parse(p->kid, false, &id, err);
    if (rc != 0 || id.host[0] == 0)
        return rc;
    const char *url = prop_kbs_url(p->kbs);
    const char *authority = strstr(url, "://");
    authority = authority != NULL ? authority + 3 : url;
    size_t len = strcspn(authority, "/");
    size_t host_len = strlen(id.host);
    bool same = strncmp(authority, id.host, host_len) == 0 &&
                (host_len == len || (host_len < len && authority[host_len] == ':'));
    if (same)
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "foreign-kbs",
                          "--kid names the key broker '%s', --kbs is '%s'", id.host, url);
    return prop_err_hint(err, "leave the host out: kbs:///%s/%s/%s", id.repo, id.type, id.tag);
}

int prop_publish_check_kbs(struct prop_publish_state *s, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    int rc = prop_kbs_health(s->p->kbs, err);
    if (rc != 0)
        return rc;
    rc = prop_publish_server_policy_ask(s, &s->server_policy, &inner);
    if (rc == PROP_E_UNSUPPORTED)
        return 0; /* an older server that cannot be asked */
    /* A role that may upload keys but not touch the policy: the token itself was accepted. */
    if (rc == PROP_E_AUTH && !prop_publish_has_rules(s->p) &&
        strstr(inner.message, "not allowed for path") != NULL)
        return 0;
    if (rc != 0 && err != NULL)
        *err = inner;
    return rc;
}

static void tell_wait(void *ctx, const char *holder)
{
    prop_publish_warn(ctx, "this machine's ledger is held by %s: waiting for it",
                      holder != NULL ? holder : "another process");
}

int prop_publish_open_ledger(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = s->p->dry_run ? prop_ledger_open_existing(s->p->ledger, &s->ledger, err)
                           : prop_ledger_open(s->p->ledger, &s->ledger, err);
    if (rc == 0)
        prop_ledger_on_wait(s->ledger, tell_wait, s);
    return rc;
}

static int check_image(const struct prop_publish_state *s, const struct prop_images *all, size_t at,
                       struct prop_err *err)
{
    const struct prop_manifest *m = &all->all[at].m;
    char label[200];
    for (size_t i = 0; i < m->n_layers; i++) {
        if (!prop_layer_is_encrypted(&m->layers[i]))
            continue;
        (void)prop_images_label(all, at, label);
        (void)prop_err_set_id(err, PROP_E_USAGE, "already-encrypted",
                              "layer %zu of '%s' is encrypted already%s%s", i + 1, s->p->src->text,
                              *label ? ": " : "", label);
        return prop_err_hint(err, "proppush copy moves an encrypted image as it is");
    }
    return 0;
}

static int check_images(const struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_images struct prop_images all = { .n = 0 };
    int rc = prop_images_read(s->src, "the source's manifest", &all, err);
    if (rc != 0)
        return rc;
    if (all.nested)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "nested-index",
                               "the index holds another index: name that one by its digest");
    for (size_t i = 0; rc == 0 && i < all.n; i++)
        rc = check_image(s, &all, i, err);
    /* A tag that is moved while this runs must not give another image than was looked at. */
    return rc == 0 ? prop_src_expect(s->src, &all.digest, err) : rc;
}

/* Layers that cannot be encrypted are found before the KEK is made. */
static int check_source(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = prop_src_open(s->p->src, s->p->oci, &s->src, err);
    if (rc != 0)
        return rc;
    if (prop_src_is_bare(s->src)) {
        const char *path = s->p->src->path;
        if (path != NULL && strcmp(path, "-") != 0 && access(path, R_OK) != 0)
            return prop_err_sys(err, PROP_E_IO, "'%s'", path);
        return 0;
    }
    return check_images(s, err);
}

static int open_destination(struct prop_publish_state *s, struct prop_err *err)
{
    /* Opening a local place makes it, and a dry run makes nothing. */
    const char *path = s->p->dst->path;
    if (s->p->dry_run && path != NULL && access(path, F_OK) != 0)
        return 0;
    int rc = prop_dst_open(s->p->dst, s->p->oci, &s->dst, err);
    return rc == 0 ? prop_publish_present_read(s, err) : rc;
}

static int plan_key(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = prop_publish_present_adopt(s, err);
    if (rc == 0)
        rc = prop_publish_key_choose(s, err);
    if (rc == 0)
        rc = prop_publish_key_check(s, err);
    if (rc == 0)
        rc = prop_publish_recipients(s, &s->recipients, err);
    return rc;
}

static int warn_all(struct prop_publish_state *s)
{
    size_t i;
    json_t *text;
    json_array_foreach (prop_recipients_warnings(s->recipients), i, text)
        prop_publish_warn(s, "%s", json_string_value(text));
    if (s->insecure)
        prop_publish_warn(s, "sample evidence may have the key: anybody can make it, this is for "
                             "tests only");
    if (s->key_replaced)
        prop_publish_warn(s, "the key under '%s' is overwritten: images under the old one can then "
                             "not be opened any more",
                          s->kid_uri);
    return 0;
}

/* --- a run that was begun before ---------------------------------------------------------------- */

static int reopen_destination(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = prop_dst_open(s->p->dst, s->p->oci, &s->dst, err);
    if (rc == 0)
        rc = prop_publish_image_sent(s, err);
    return rc == 0 ? prop_publish_image_unmoved(s, err) : rc;
}

static int recheck_source(struct prop_publish_state *s, struct prop_err *err)
{
    bool sent = s->image_sent || s->unchanged;
    int rc = prop_publish_source_check(s, sent, err);
    return rc == 0 && !sent ? check_source(s, err) : rc;
}

/* Whose the name was is what the first process found out; here it only must not be another's now. */
static int replan_key(struct prop_publish_state *s, struct prop_err *err)
{
    bool known = s->key_known, replaced = s->key_replaced;
    int rc = prop_publish_resume_key(s, err);
    if (rc == 0)
        rc = prop_publish_key_check(s, err);
    s->key_known = known;
    s->key_replaced = replaced;
    return rc == 0 ? prop_publish_recipients(s, &s->recipients, err) : rc;
}

/* Nothing but key and policy were to be sent again: that is planned like the first time. */
static int replan_unchanged(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = check_source(s, err);
    if (rc == 0)
        rc = open_destination(s, err);
    if (rc == 0)
        rc = plan_key(s, err);
    if (rc == 0 && !s->unchanged)
        rc = prop_err_set_id(err, PROP_E_EXISTS, "tag-changed",
                             "'%s' is not what it was when run %lld began", s->p->dst->text,
                             (long long)s->run);
    return rc;
}

static int replan(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = prop_publish_open_ledger(s, err);
    if (rc == 0)
        rc = prop_publish_check_kbs(s, err);
    if (rc == 0 && json_is_true(json_object_get(s->plan, "unchanged")))
        return replan_unchanged(s, err);
    if (rc == 0)
        rc = prop_publish_resume_facts(s, err);
    if (rc == 0)
        rc = reopen_destination(s, err);
    if (rc == 0)
        rc = recheck_source(s, err);
    return rc == 0 ? replan_key(s, err) : rc;
}

static int plan(struct prop_publish_state *s, struct prop_err *err)
{
    static int (*const steps[])(struct prop_publish_state *, struct prop_err *) = {
        prop_publish_open_ledger, check_source, prop_publish_check_kbs, open_destination, plan_key,
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(steps); i++) {
        rc = prop_stop_check(err);
        if (rc == 0)
            rc = steps[i](s, err);
    }
    return rc;
}

int prop_publish_plan(struct prop_publish_state *s, struct prop_err *err)
{
    int rc = check_options(s->p, err);
    if (rc == 0)
        rc = check_kid_host(s->p, err);
    if (rc == 0)
        rc = prop_publish_policy_rules(s, err);
    if (rc == 0)
        rc = s->resumed ? replan(s, err) : plan(s, err);
    if (rc == 0)
        rc = prop_publish_policy_rules(s, err);
    if (rc == 0)
        rc = prop_publish_policy_prepare(s, err);
    return rc == 0 ? warn_all(s) : rc;
}
