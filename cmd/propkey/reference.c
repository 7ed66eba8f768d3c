/* Read, merge, post, read back, compare. */
#include "cmd/propkey/reference.h"

#include "cmd/propkey/ledger.h"
#include "kbs/reference.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct change {
    struct prop_kbs *k;
    const struct propkey_reference_opts *o;
    const char *const *may_stay;
    json_t *values;   /* name -> {"before","after","changed","dropped"?,"kept"?} */
    json_t *post;     /* what has to be sent: name -> value */
};

static void change_release(struct change *c)
{
    json_decref(c->values);
    json_decref(c->post);
}
#define auto_change __attribute__((cleanup(change_release)))

static int check_all(const json_t *values, bool force_shape, struct prop_err *err)
{
    const char *name;
    json_t *v;
    if (!json_is_object(values) || json_object_size(values) == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "no-reference-values",
                               "there is no reference value in there");
    json_object_foreach((json_t *)(uintptr_t)values, name, v) {
        if (!prop_reference_is_name(name)) {
            prop_err_set_id(err, PROP_E_INPUT, "bad-reference-name",
                            "'%s' is no name of a reference value", name);
            return prop_err_hint(err, "letters, digits and . _ / -");
        }
        int rc = force_shape ? 0 : prop_reference_check(name, v, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What is there now; *ret is NULL when nothing is. */
static int read_value(struct prop_kbs *k, const char *name, json_t **ret, struct prop_err *err)
{
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_kbs_get_reference_value(k, name, ret, &local);
    if (rc == PROP_E_NOTFOUND) {
        *ret = NULL;
        return 0;
    }
    if (rc < 0 && err)
        *err = local;
    return rc;
}

static bool may_stay(const struct change *c, const char *name)
{
    for (const char *const *p = c->may_stay; p && *p; p++)
        if (strcmp(*p, name) == 0)
            return true;
    return false;
}

static int plan_one(struct change *c, const char *name, const json_t *add, struct prop_err *err)
{
    prop_auto_json json_t *old = NULL;
    prop_auto_json json_t *now = NULL;
    prop_auto_json json_t *dropped = NULL;
    struct prop_err local = PROP_ERR_INIT;
    bool kept = false;
    int rc = read_value(c->k, name, &old, err);
    if (rc < 0)
        return rc;
    rc = prop_reference_merge(name, old, add, c->o->replace ? PROP_REFERENCE_REPLACE : 0, &now,
                              &dropped, &local);
    if (rc == PROP_E_EXISTS && may_stay(c, name)) {
        kept = true;
        now = json_incref(old);
        rc = 0;
    }
    if (rc < 0) {
        if (err)
            *err = local;
        return rc;
    }
    bool changed = !old || !prop_reference_equal(old, now);
    json_t *entry = json_pack("{s:O*,s:O,s:b}", "before", old, "after", now, "changed", changed);
    if (!entry || json_object_set_new(c->values, name, entry) != 0 ||
        (json_array_size(dropped) && json_object_set(entry, "dropped", dropped) != 0) ||
        (kept && json_object_set_new(entry, "kept", json_true()) != 0) ||
        (changed && json_object_set(c->post, name, now) != 0))
        return prop_err_nomem(err);
    return 0;
}

static int plan(struct change *c, const json_t *values, struct prop_err *err)
{
    const char *name;
    json_t *v;
    c->values = json_object();
    c->post = json_object();
    int rc = c->values && c->post ? 0 : prop_err_nomem(err);
    json_object_foreach((json_t *)(uintptr_t)values, name, v)
        if (rc == 0)
            rc = plan_one(c, name, v, err);
    return rc;
}

/* After a change that failed midway: what the server has, name by name. */
static void tell_state(const struct change *c, struct prop_err *err)
{
    char there[200] = "", not_there[200] = "";
    size_t a = 0, b = 0;
    const char *name;
    json_t *want;
    json_object_foreach(c->post, name, want) {
        prop_auto_json json_t *got = NULL;
        if (read_value(c->k, name, &got, NULL) < 0) {
            err->hint[0] = 0;
            (void)prop_err_hint(err, "whether values arrived is not known; doing it again does no "
                                     "harm");
            return;
        }
        bool arrived = got && prop_reference_equal(got, want);
        char *list = arrived ? there : not_there;
        size_t *n = arrived ? &a : &b;
        int wrote = snprintf(list + *n, sizeof(there) - *n, "%s%s", *n ? ", " : "", name);
        if (wrote > 0)
            *n = *n + (size_t)wrote < sizeof(there) ? *n + (size_t)wrote : sizeof(there) - 1;
    }
    err->hint[0] = 0;
    (void)prop_err_hint(err, "on the key broker now: %s; not there: %s", a ? there : "none of them",
                        b ? not_there : "none");
}

static int read_back(const struct change *c, struct prop_err *err)
{
    const char *name;
    json_t *want;
    json_object_foreach(c->post, name, want) {
        prop_auto_json json_t *got = NULL;
        int rc = read_value(c->k, name, &got, err);
        if (rc < 0)
            return prop_err_wrap(err, "the values were sent; reading them back");
        if (got && prop_reference_equal(got, want))
            continue;
        prop_err_set_id(err, PROP_E_VERIFY, "reference-readback",
                        "the key broker gives another value of '%s' back than was sent", name);
        return prop_err_hint(err, "somebody else may have changed it at the same moment: look with "
                                  "reference-value get");
    }
    return 0;
}

static int send(const struct change *c, struct prop_err *err)
{
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_kbs_set_reference_values(c->k, c->post, &local);
    if (rc == 0)
        return read_back(c, err);
    if (local.code == PROP_E_NETWORK || local.code == PROP_E_REMOTE)
        tell_state(c, &local);
    if (err)
        *err = local;
    return rc;
}

static void print_value(FILE *out, const char *sign, const char *name, const json_t *v)
{
    prop_auto_free char *text = v ? prop_json_compact(v) : NULL;
    (void)fprintf(out, "%s %s=%s\n", sign, name, text ? text : "");
}

static void print_change(const json_t *doc, void *stream)
{
    const char *name;
    json_t *e;
    json_object_foreach(json_object_get(doc, "values"), name, e) {
        const json_t *before = json_object_get(e, "before");
        if (!json_is_true(json_object_get(e, "changed"))) {
            print_value(stream, " ", name, json_object_get(e, "after"));
            continue;
        }
        if (before)
            print_value(stream, "-", name, before);
        print_value(stream, "+", name, json_object_get(e, "after"));
    }
}

static int give(struct prop_cli *cli, const struct change *c, struct prop_err *err)
{
    const char *name;
    json_t *e;
    bool sent = !c->o->dry_run && json_object_size(c->post) > 0;
    json_object_foreach(c->values, name, e) {
        if (json_object_get(e, "kept"))
            prop_cli_warn(cli, "'%s' stays as it is: it holds one value, and another image's is "
                               "there", name);
        if (json_object_get(e, "dropped"))
            prop_cli_warn(cli, "values of '%s' %s dropped", name, sent ? "were" : "would be");
    }
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:O,s:b,s:b}", "kbs", prop_kbs_url(c->k), "values", c->values, "uploaded",
                  sent, "read_back", sent);
    if (!doc)
        return prop_err_nomem(err);
    prop_kbs_opts_say_form(cli, c->k, doc);
    if (!prop_cli_json(cli) && json_object_size(c->post) == 0)
        prop_cli_note(cli, "everything is there already");
    return prop_cli_result(cli, doc, print_change, err);
}

int propkey_reference_apply(struct prop_cli *cli, const struct propkey_reference_opts *o,
                            const json_t *values, const char *const *may_stay_names,
                            struct prop_err *err)
{
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_ledger struct prop_ledger *lock = NULL;
    auto_change struct change c = { NULL, o, may_stay_names, NULL, NULL };
    int rc = check_all(values, o->force_shape, err);
    if (rc == 0)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &k, err);
    if (rc < 0)
        return rc;
    c.k = k;
    rc = propkey_ledger_open(cli, &lock, err);
    if (rc == 0)
        rc = plan(&c, values, err);
    if (rc == 0 && !o->dry_run && json_object_size(c.post) > 0)
        rc = send(&c, err);
    prop_ledger_unlock(lock);
    return rc < 0 ? rc : give(cli, &c, err);
}
