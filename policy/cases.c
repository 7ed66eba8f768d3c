/* Cases are asked in the order of what is asked for: another resource makes the engine look at the
 * whole policy again, another guest does not. */
#include "policy/cases.h"

#include "policy/cases_guest.h"
#include "policy/explain.h"
#include "policy/outline.h"
#include "util/limits.h"
#include "util/stop.h"

#include <stdlib.h>
#include <string.h>

struct turn {
    size_t i;
    char *key;
};

static int by_key(const void *a, const void *b)
{
    const struct turn *x = a;
    const struct turn *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->i > y->i) - (x->i < y->i);
}

static void question(const json_t *one, struct prop_policy_question *ret)
{
    *ret = (struct prop_policy_question){
        .plugin = json_string_value(json_object_get(one, "plugin")),
        .path = prop_outline_text(one, "resource"),
        .query = json_object_get(one, "query"),
        .old_server = strcmp(prop_outline_text(one, "server"), "v0.16") == 0,
    };
}

/* The order in which to ask; owned. */
static int turns(const json_t *cases, struct turn **ret, struct prop_err *err)
{
    size_t n = json_array_size(cases);
    size_t i;
    json_t *one;
    struct turn *t = prop_realloc_array(NULL, n + 1, sizeof *t);
    bool ok = t != NULL;
    json_array_foreach(cases, i, one) {
        struct prop_policy_question q;
        if (!ok)
            break;
        question(one, &q);
        prop_auto_json json_t *data = prop_policy_data(&q);
        t[i] = (struct turn){ i, data != NULL ? prop_json_sorted(data) : NULL };
        ok = t[i].key != NULL;
        n = i + 1;
    }
    if (!ok) {
        for (i = 0; t != NULL && i < n; i++)
            prop_free(t[i].key);
        prop_free(t);
        return prop_err_nomem(err);
    }
    qsort(t, n, sizeof *t, by_key);
    *ret = t;
    return 0;
}

/* The rule that let it in, in one line. */
static int put_holding(const json_t *why, struct prop_buf *out, struct prop_err *err)
{
    size_t i;
    json_t *one;
    json_array_foreach(why, i, one) {
        const char *comment = prop_outline_text(one, "comment");
        if (!json_is_true(json_object_get(one, "holds")))
            continue;
        int rc = prop_buf_printf(out, err, "rule '%s', line %zu", prop_outline_text(one, "rule"),
                                 prop_outline_line(one));
        if (rc == 0 && *comment != '\0')
            rc = prop_buf_printf(out, err, " (%.*s)", (int)strcspn(comment, "\n"), comment);
        return rc;
    }
    return prop_buf_puts(out, "a default", err);
}

int prop_cases_explain(struct prop_policy_judge *j, const char *path, bool allow,
                       const json_t *value, size_t most, json_t *result, struct prop_err *err)
{
    prop_auto_json json_t *why = NULL;
    prop_auto_buf struct prop_buf reason = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    size_t left = 0;
    int rc = prop_policy_explain(j, "allow", path, allow ? 0 : most, &why, &left, err);

    for (size_t i = json_array_size(why); allow && i-- > 0;)
        if (!json_is_true(json_object_get(json_array_get(why, i), "holds")))
            (void)json_array_remove(why, i); /* of no matter then */
    if (rc == 0 && value != NULL && !json_is_boolean(value)) {
        prop_auto_free char *text = prop_json_compact(value);
        rc = text != NULL ? prop_buf_printf(&reason, err, "allow is %.80s, which is not true", text)
                          : prop_err_nomem(err);
    } else if (rc == 0) {
        rc = allow ? put_holding(why, &reason, err) : prop_policy_explain_line(why, &reason, err);
    }
    if (rc == 0 && reason.len == 0)
        rc = prop_buf_puts(&reason, "no rule 'allow' fits", err);
    if (rc == 0 &&
        (json_object_set_new(result, "reason", json_string(prop_buf_str(&reason))) != 0 ||
         json_object_set(result, "why", why) != 0 ||
         (left > 0 &&
          json_object_set_new(result, "left", json_integer((json_int_t)left)) != 0)))
        rc = prop_err_nomem(err);
    return rc;
}

static int put_answer(json_t *result, const char *got, struct prop_err *err)
{
    bool ok = strcmp(got, prop_outline_text(result, "expect")) == 0;
    return json_object_set_new(result, "got", json_string(got)) == 0 &&
                   json_object_set_new(result, "ok", json_boolean(ok)) == 0
               ? 0
               : prop_err_nomem(err);
}

static int decide(struct prop_policy_judge *j, struct prop_guests *g, const json_t *one,
                  json_t *result, struct prop_err *err)
{
    struct prop_policy_question q;
    struct prop_err local = PROP_ERR_INIT;
    prop_auto_json json_t *token = NULL;
    prop_auto_json json_t *value = NULL;
    prop_auto_free char *refused = NULL;
    bool allow = false;
    int rc = prop_guests_token(g, one, &token, &refused, err);

    if (rc != 0)
        return rc;
    if (refused != NULL)
        return json_object_set_new(result, "reason", json_string(refused)) == 0
                   ? put_answer(result, "deny", err)
                   : prop_err_nomem(err);
    question(one, &q);
    q.token = token;
    rc = prop_policy_judge_ask(j, &q, &allow, &value, &local);
    if (rc == PROP_E_INPUT)
        return json_object_set_new(result, "reason", json_string(local.message)) == 0
                   ? put_answer(result, "error", err)
                   : prop_err_nomem(err);
    if (rc != 0) {
        if (err != NULL)
            *err = local;
        return rc;
    }
    rc = put_answer(result, allow ? "allow" : "deny", err);
    if (rc == 0 && (g->options->explain_all || json_is_false(json_object_get(result, "ok"))))
        rc = prop_cases_explain(j, q.path, allow, value, g->options->most, result, err);
    return rc;
}

/* A result for each case, still without its answer. */
static int blank(const json_t *cases, bool decisions, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *out = json_array();
    size_t i;
    json_t *one;
    json_array_foreach(cases, i, one) {
        const char *server = prop_outline_text(one, "server");
        json_t *r = json_pack("{s:O, s:O*}", "name", json_object_get(one, "name"), "line",
                              json_object_get(one, "line"));
        if (r == NULL || json_array_append_new(out, r) != 0)
            return prop_err_nomem(err);
        if (decisions &&
            (json_object_set(r, "resource", json_object_get(one, "resource")) != 0 ||
             json_object_set_new(r, "server", json_string(*server ? server : "current")) != 0 ||
             json_object_set(r, "expect", json_object_get(one, "expect")) != 0))
            return prop_err_nomem(err);
    }
    if (out == NULL)
        return prop_err_nomem(err);
    *ret = PROP_TAKE(out);
    return 0;
}

int prop_cases_decide(struct prop_policy_judge *j, const char *file, const json_t *cases,
                      const struct prop_cases_options *o, json_t **ret, struct prop_err *err)
{
    struct prop_guests g;
    struct turn *order = NULL;
    prop_auto_json json_t *out = NULL;
    size_t n = json_array_size(cases);
    int rc = prop_guests_init(&g, file, o, err);

    if (rc == 0)
        rc = blank(cases, true, &out, err);
    if (rc == 0)
        rc = turns(cases, &order, err);
    for (size_t k = 0; rc == 0 && k < n; k++) {
        rc = prop_stop_check(err);
        if (rc == 0)
            rc = decide(j, &g, json_array_get(cases, order[k].i), json_array_get(out, order[k].i),
                        err);
    }
    for (size_t k = 0; order != NULL && k < n; k++)
        prop_free(order[k].key);
    prop_free(order);
    prop_guests_release(&g);
    if (rc == 0)
        *ret = PROP_TAKE(out);
    return rc;
}

/* --- attestation policies --------------------------------------------------------------------- */

static int differ(json_t *list, const char *what, const json_t *got, const json_t *wanted,
                  struct prop_err *err)
{
    prop_auto_free char *a = got != NULL ? prop_json_compact(got) : prop_strdup("absent");
    prop_auto_free char *b = wanted != NULL ? prop_json_compact(wanted) : prop_strdup("absent");
    prop_auto_free char *text =
        a != NULL && b != NULL ? prop_asprintf("%s is %s, expected %s", what, a, b) : NULL;
    return text != NULL && json_array_append_new(list, json_string(text)) == 0
               ? 0
               : prop_err_nomem(err);
}

static int compare(const json_t *got, const json_t *expect, json_t *list, struct prop_err *err)
{
    static const char *const members[] = { "outcome", "status", "extensions" };
    const char *name;
    json_t *v;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(members); i++) {
        const json_t *wanted = json_object_get(expect, members[i]);
        const json_t *have = json_object_get(got, members[i]);
        if (wanted != NULL && !json_equal(have, wanted))
            rc = differ(list, members[i], have, wanted, err);
    }
    json_object_foreach(json_object_get(expect, "vector"), name, v) {
        const json_t *have = json_object_get(json_object_get(got, "vector"), name);
        if (rc == 0 && !json_equal(have, v))
            rc = differ(list, name, have, v, err);
    }
    return rc;
}

/* Why the vector is not as expected: the rules that its values come from. */
static int explain_vector(struct prop_attestation *a, const struct prop_cases_options *o,
                          json_t *result, struct prop_err *err)
{
    static const char *const rules[] = { "trust_claims", "executables", "hardware",
                                         "configuration" };
    prop_auto_json json_t *all = json_array();
    int rc = all != NULL ? 0 : prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(rules); i++) {
        prop_auto_json json_t *why = NULL;
        rc = prop_policy_explain(prop_attestation_judge(a), rules[i], NULL, o->most, &why, NULL,
                                 err);
        if (rc == 0 && json_array_extend(all, why) != 0)
            rc = prop_err_nomem(err);
    }
    if (rc == 0 && json_object_set(result, "why", all) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

static int appraise(struct prop_attestation *a, struct prop_guests *g, const json_t *one,
                    json_t *result, struct prop_err *err)
{
    prop_auto_json json_t *evidence = NULL;
    prop_auto_json json_t *references = NULL;
    prop_auto_json json_t *got = NULL;
    prop_auto_json json_t *differences = json_array();
    int rc = differences == NULL ? prop_err_nomem(err)
                                 : prop_guests_evidence(g, one, &evidence, err);
    if (rc == 0)
        rc = prop_guests_references(g, one, &references, err);
    if (rc == 0)
        rc = prop_attestation_appraise(a, evidence, references, &got, err);
    if (rc == 0)
        rc = compare(got, json_object_get(one, "expect"), differences, err);
    if (rc != 0)
        return rc;
    bool ok = json_array_size(differences) == 0;
    if (json_object_set_new(result, "ok", json_boolean(ok)) != 0 ||
        json_object_set(result, "got", got) != 0 ||
        json_object_set(result, "differences", differences) != 0)
        return prop_err_nomem(err);
    return ok && !g->options->explain_all ? 0 : explain_vector(a, g->options, result, err);
}

int prop_cases_appraise(struct prop_attestation *a, const char *file, const json_t *cases,
                        const struct prop_cases_options *o, json_t **ret, struct prop_err *err)
{
    struct prop_guests g;
    prop_auto_json json_t *out = NULL;
    size_t i;
    json_t *one;
    int rc = prop_guests_init(&g, file, o, err);
    if (rc == 0)
        rc = blank(cases, false, &out, err);
    json_array_foreach(cases, i, one)
        if (rc == 0)
            rc = appraise(a, &g, one, json_array_get(out, i), err);
    prop_guests_release(&g);
    if (rc == 0)
        *ret = PROP_TAKE(out);
    return rc;
}
