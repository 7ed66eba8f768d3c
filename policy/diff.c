/* Two documents are compared exactly; any policies by asking them. Without guests of the user's,
 * they are of every kind, tier and measurement the policies name, open to their host and not. */
#include "policy/diff.h"

#include "policy/compare.h"
#include "policy/document.h"
#include "policy/outline.h"
#include "policy/tee.h"
#include "policy/token.h"
#include "util/stop.h"

#include <stdint.h>
#include <string.h>

#define PINS_MAX 8
#define DIFFERENCES_MAX 2000

static const char *const statuses[] = { "affirming", "warning", "contraindicated", "none" };

static int put_guest(json_t *guests, const struct prop_policy_tee *tee, const char *status,
                     const char *pin, bool debug, struct prop_err *err)
{
    json_t *token = NULL;
    prop_auto_free char *name =
        prop_asprintf("%s, %s%s%.12s%s%s", tee->name, status, pin != NULL ? ", measurement " : "",
                      pin != NULL ? pin : "", pin != NULL ? "..." : "", debug ? ", debug" : "");
    if (name == NULL)
        return prop_err_nomem(err);
    int rc = prop_policy_token_new(tee->name, status, pin, debug, &token, err);
    if (rc != 0)
        return rc;
    return json_object_set_new(guests, name, token) == 0 ? 0 : prop_err_nomem(err);
}

static int put_guests(json_t *guests, const json_t *pins, struct prop_err *err)
{
    int rc = 0;
    for (const struct prop_policy_tee *t = prop_policy_tee_table(); t->name != NULL; t++) {
        size_t n = t->measurement != NULL ? json_array_size(pins) : 0;
        for (size_t i = 0; i < PROP_ARRAY_LEN(statuses); i++) {
            for (size_t k = 0; k <= n && k <= PINS_MAX; k++) {
                const char *pin = k > 0 ? json_string_value(json_array_get(pins, k - 1)) : NULL;
                if (rc == 0)
                    rc = put_guest(guests, t, statuses[i], pin, false, err);
                if (rc == 0 && t->debug != NULL)
                    rc = put_guest(guests, t, statuses[i], pin, true, err);
            }
        }
    }
    return rc;
}

/* The guest that each rule of a document means. */
static int put_meant(json_t *guests, const struct prop_policy_judge *j, const char *which,
                     struct prop_err *err)
{
    const struct prop_policy_doc *doc = prop_policy_judge_doc(j);
    size_t i;
    json_t *rule;
    json_array_foreach(doc != NULL ? prop_policy_doc_rules(doc) : NULL, i, rule) {
        json_t *token = NULL;
        prop_auto_free char *name =
            prop_asprintf("as rule %zu of the %s policy means", i + 1, which);
        int rc = name != NULL ? prop_policy_token_for_rule(rule, &token, err) : prop_err_nomem(err);
        if (rc != 0)
            return rc;
        if (json_object_set_new(guests, name, token) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

static int unite(json_t *list, const json_t *more, struct prop_err *err)
{
    size_t i;
    size_t k;
    json_t *one;
    json_t *there;
    json_array_foreach(more, i, one) {
        bool known = false;
        json_array_foreach(list, k, there)
            known = known || json_equal(there, one);
        if (!known && json_array_append(list, one) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

struct questions {
    json_t *guests, *resources;
};

/* What the caller gave; else what both policies suggest. */
static int choose(struct prop_policy_judge *before, struct prop_policy_judge *after,
                  const struct prop_diff_options *o, struct questions *q, struct prop_err *err)
{
    prop_auto_json json_t *pins = json_array();
    int rc = pins == NULL || q->guests == NULL || q->resources == NULL ? prop_err_nomem(err) : 0;
    for (unsigned i = 0; rc == 0 && i < 2; i++) {
        prop_auto_json json_t *paths = NULL;
        prop_auto_json json_t *mine = NULL;
        rc = prop_policy_named(i == 0 ? before : after, &paths, &mine, err);
        if (rc == 0)
            rc = unite(pins, mine, err);
        if (rc == 0 && o->resources == NULL)
            rc = unite(q->resources, paths, err);
    }
    if (rc == 0)
        rc = unite(q->resources, o->resources != NULL ? o->resources : o->published, err);
    if (rc == 0 && o->guests != NULL)
        return json_object_update(q->guests, (json_t *)(uintptr_t)o->guests) == 0
                   ? 0
                   : prop_err_nomem(err);
    if (rc == 0)
        rc = put_guests(q->guests, pins, err);
    if (rc == 0)
        rc = put_meant(q->guests, before, "old", err);
    return rc == 0 ? put_meant(q->guests, after, "new", err) : rc;
}

static int ask(struct prop_policy_judge *j, const struct prop_policy_question *q, const char **ret,
               struct prop_err *err)
{
    struct prop_err local = PROP_ERR_INIT;
    bool allow = false;
    int rc = prop_policy_judge_ask(j, q, &allow, NULL, &local);
    if (rc != 0 && rc != PROP_E_INPUT) {
        if (err != NULL)
            *err = local;
        return rc;
    }
    *ret = rc != 0 ? "error" : allow ? "allow" : "deny";
    return 0;
}

static int ask_all(struct prop_policy_judge *before, struct prop_policy_judge *after,
                   const struct prop_diff_options *o, const struct questions *all, json_t *out,
                   struct prop_err *err)
{
    size_t i;
    json_t *path;
    const char *name;
    json_t *token;
    json_array_foreach(all->resources, i, path) {
        json_object_foreach(all->guests, name, token) {
            struct prop_policy_question q = { .token = token, .path = json_string_value(path),
                                              .old_server = o->old_server };
            const char *a = NULL;
            const char *b = NULL;
            int rc = prop_stop_check(err);
            if (rc == 0)
                rc = ask(before, &q, &a, err);
            if (rc == 0)
                rc = ask(after, &q, &b, err);
            if (rc != 0)
                return rc;
            if (strcmp(a, b) == 0 || json_array_size(out) >= DIFFERENCES_MAX)
                continue;
            json_t *one = json_pack("{s:s, s:O, s:s, s:s}", "guest", name, "resource", path, "old",
                                    a, "new", b);
            if (one == NULL || json_array_append_new(out, one) != 0)
                return prop_err_nomem(err);
        }
    }
    return 0;
}

/* Exact, for two documents; absent when there are too many rules for that. */
static int compare(const struct prop_policy_judge *before, const struct prop_policy_judge *after,
                   json_t **ret, struct prop_err *err)
{
    const struct prop_policy_doc *a = prop_policy_judge_doc(before);
    const struct prop_policy_doc *b = prop_policy_judge_doc(after);
    struct prop_err local = PROP_ERR_INIT;
    json_t *examples = NULL;
    unsigned change = PROP_POLICY_SAME;
    if (a == NULL || b == NULL)
        return 0;
    int rc = prop_policy_compare(prop_policy_doc_rules(a), prop_policy_doc_rules(b), &change,
                                 &examples, &local);
    if (rc == PROP_E_LIMIT)
        return 0;
    if (rc != 0) {
        if (err != NULL)
            *err = local;
        return rc;
    }
    *ret = json_pack("{s:b, s:b, s:b, s:o*}", "same", change == PROP_POLICY_SAME, "wider",
                     (change & PROP_POLICY_WIDER) != 0, "narrower",
                     (change & PROP_POLICY_NARROWER) != 0, "examples", examples);
    return *ret != NULL ? 0 : prop_err_nomem(err);
}

int prop_policy_diff(struct prop_policy_judge *before, struct prop_policy_judge *after,
                     const struct prop_diff_options *o, json_t **ret, struct prop_err *err)
{
    struct questions q = { json_object(), json_array() };
    prop_auto_json json_t *out = json_array();
    prop_auto_json json_t *documents = NULL;
    int rc = out == NULL ? prop_err_nomem(err) : choose(before, after, o, &q, err);

    if (rc == 0)
        rc = ask_all(before, after, o, &q, out, err);
    if (rc == 0)
        rc = compare(before, after, &documents, err);
    if (rc == 0) {
        size_t asked = json_array_size(q.resources) * json_object_size(q.guests);
        bool same = json_array_size(out) == 0 &&
                    (documents == NULL || json_is_true(json_object_get(documents, "same")));
        *ret = json_pack("{s:b, s:I, s:O, s:O*}", "same", same, "asked", (json_int_t)asked,
                         "differences", out, "documents", documents);
        rc = *ret != NULL ? 0 : prop_err_nomem(err);
    }
    json_decref(q.guests);
    json_decref(q.resources);
    return rc;
}
