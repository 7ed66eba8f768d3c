/* Who may have the key: the rules of --allow, pinned to what --measured says was measured. */
#include "policy/allow.h"
#include "policy/measured.h"
#include "policy/rule.h"
#include "publish/policy.h"
#include "util/mem.h"

#include <string.h>

static const char unnamed[] = "default/key/unnamed";

bool prop_publish_has_rules(const struct prop_publish *p)
{
    return p->n_allow > 0 || p->n_measured > 0;
}

/* What the files say, once: a run that is gone on with keeps what it read when it began. */
static int read_measured(struct prop_publish_state *s, struct prop_err *err)
{
    json_t *noted = json_object_get(s->plan, "measured");
    if (s->measured != NULL)
        return 0;
    s->measured = noted != NULL ? json_incref(noted) : json_array();
    if (s->measured == NULL)
        return prop_err_nomem(err);
    int rc = 0;
    for (size_t i = 0; rc == 0 && noted == NULL && i < s->p->n_measured; i++)
        rc = prop_policy_measured_read(s->measured, s->p->measured[i], err);
    return rc;
}

static bool is_measured(const struct prop_publish_state *s, const char *tee)
{
    size_t i;
    json_t *entry;
    json_array_foreach (s->measured, i, entry)
        if (tee != NULL && strcmp(json_string_value(json_object_get(entry, "tee")), tee) == 0)
            return true;
    return false;
}

/* A rule with the values of every entry for its tee. Takes `rule` over. */
static int add_measured(const struct prop_publish_state *s, json_t *rule, const char *what,
                        json_t *rules, struct prop_err *err)
{
    prop_auto_json json_t *open = rule;
    json_t *filled = NULL;
    if (open == NULL || json_object_set_new(open, "measured", json_true()) != 0)
        return prop_err_nomem(err);
    (void)json_object_del(open, "allow_any_guest"); /* it is a certain guest now */
    int rc = prop_policy_measured_fill(open, what, s->measured, &filled, err);
    if (rc == 0 && json_array_append_new(rules, filled) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

static int add_allowed(struct prop_publish_state *s, const char *allow, unsigned flags,
                       json_t *rules, struct prop_err *err)
{
    json_t *rule = NULL;
    bool insecure = false;
    struct prop_err inner = PROP_ERR_INIT;
    const char *path = s->kid_path != NULL ? s->kid_path : unnamed;
    int rc = prop_policy_rule_parse(allow, path, flags, &rule, &insecure, &inner);
    if (rc != 0) { /* perhaps it is too wide only until it is pinned */
        rc = prop_policy_rule_parse(allow, path, flags | PROP_ALLOW_ANY_GUEST, &rule, &insecure, NULL);
        if (rc == 0 && !is_measured(s, json_string_value(json_object_get(rule, "tee")))) {
            json_decref(rule);
            rc = PROP_E_USAGE;
        }
    }
    if (rc != 0) {
        if (err != NULL)
            *err = inner;
        return inner.code;
    }
    s->insecure = s->insecure || insecure;
    if (json_object_get(rule, "measurement") == NULL &&
        is_measured(s, json_string_value(json_object_get(rule, "tee"))))
        return add_measured(s, rule, "--allow", rules, err);
    return json_array_append_new(rules, rule) == 0 ? 0 : prop_err_nomem(err);
}

/* A tee that was measured and that no --allow speaks of gets a rule of its own. */
static int add_rest(const struct prop_publish_state *s, json_t *rules, struct prop_err *err)
{
    static const char *const tees[] = { "snp", "tdx" };
    int rc = 0;
    for (size_t n = 0; rc == 0 && n < PROP_ARRAY_LEN(tees); n++) {
        size_t i;
        json_t *rule;
        bool spoken_of = false;
        json_array_foreach (rules, i, rule) {
            const char *tee = json_string_value(json_object_get(rule, "tee"));
            spoken_of = spoken_of || (tee != NULL && strcmp(tee, tees[n]) == 0);
        }
        if (!spoken_of && is_measured(s, tees[n]))
            rc = add_measured(s,
                              json_pack("{s:s,s:s}", "resource",
                                        s->kid_path != NULL ? s->kid_path : unnamed, "tee", tees[n]),
                              "--measured", rules, err);
    }
    return rc;
}

int prop_publish_policy_rules(struct prop_publish_state *s, struct prop_err *err)
{
    unsigned flags = (s->p->allow_any_guest ? PROP_ALLOW_ANY_GUEST : 0u) |
                     (s->p->this_is_a_test ? PROP_ALLOW_TEST : 0u) |
                     (prop_publish_is_loopback(prop_kbs_url(s->p->kbs)) ? PROP_ALLOW_LOOPBACK : 0u);
    prop_auto_json json_t *rules = json_array();
    int rc = rules != NULL ? read_measured(s, err) : prop_err_nomem(err);
    s->insecure = false;
    for (size_t i = 0; rc == 0 && i < s->p->n_allow; i++)
        rc = add_allowed(s, s->p->allow[i], flags, rules, err);
    if (rc == 0)
        rc = add_rest(s, rules, err);
    if (rc != 0)
        return rc;
    json_decref(s->rules);
    s->rules = PROP_TAKE(rules);
    return 0;
}
