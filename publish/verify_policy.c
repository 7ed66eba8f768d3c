#include "publish/verify_policy.h"

#include "policy/cases.h"
#include "policy/judge.h"
#include "policy/token.h"
#include "util/file.h"
#include "util/mem.h"

#include <string.h>

enum { token_max = 256 << 10 };

/* The text that was named, or what this machine uploaded last. *ret stays NULL where neither is
 * known. */
static int open_policy(const struct prop_verify_state *s, struct prop_policy_judge **ret,
                       struct prop_err *err)
{
    prop_auto_free char *rego = NULL;
    prop_auto_free char *document = NULL;
    struct prop_err inner = PROP_ERR_INIT;
    if (s->v->policy != NULL)
        return prop_policy_judge_load(s->v->policy, ret, err);
    if (s->ledger == NULL || s->v->kbs == NULL)
        return 0;
    int rc = prop_ledger_last_policy(s->ledger, prop_kbs_url(s->v->kbs), &rego, &document, &inner);
    if (rc == PROP_E_NOTFOUND)
        return 0;
    if (rc == 0)
        return prop_policy_judge_new_rego("the policy uploaded last", rego, strlen(rego), ret, err);
    if (err != NULL)
        *err = inner;
    return rc;
}

static int ask(struct prop_verify_state *s, struct prop_policy_judge *j, const json_t *token,
               const char *path, bool want, const char *who, struct prop_err *err)
{
    const struct prop_policy_question q = { .token = token, .path = path };
    struct prop_err why = PROP_ERR_INIT;
    bool allow = false;
    int rc = prop_policy_judge_ask(j, &q, &allow, NULL, err);
    if (rc != 0)
        return rc;
    if (allow == want) {
        prop_verify_answer(s, "policy", "yes", "%s %s '%s'", who,
                           want ? "may have" : "may not have", path);
        return 0;
    }
    (void)prop_err_set_id(&why, PROP_E_NO, allow ? "policy-too-wide" : "policy-too-narrow",
                          "the policy %s %s have '%s'", allow ? "lets" : "does not let", who, path);
    prop_verify_no(s, "policy", &why);
    return 0;
}

static int read_token(const char *path, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(token_max);
    int rc = prop_file_read(path, &text, err);
    return rc == 0 ? prop_cases_token(prop_buf_str(&text), text.len, path, ret, err) : rc;
}

static int ask_file(struct prop_verify_state *s, struct prop_policy_judge *j, const char *file,
                    bool want, struct prop_err *err)
{
    prop_auto_json json_t *token = NULL;
    prop_auto_free char *who = prop_asprintf("the guest of '%s'", file);
    size_t i;
    json_t *kid;
    int rc = who != NULL ? read_token(file, &token, err) : prop_err_nomem(err);
    json_array_foreach (s->kids, i, kid) {
        if (rc == 0)
            rc = ask(s, j, token, json_string_value(kid), want, who, err);
    }
    return rc;
}

/* Anybody can make sample evidence: a policy that lets it in guards nothing. */
static int ask_sample(struct prop_verify_state *s, struct prop_policy_judge *j, struct prop_err *err)
{
    static const char *const statuses[] = { "affirming", "warning", "contraindicated" };
    size_t i;
    json_t *kid;
    for (size_t n = 0; n < PROP_ARRAY_LEN(statuses); n++) {
        prop_auto_json json_t *token = NULL;
        prop_auto_free char *who = prop_asprintf("sample evidence (%s)", statuses[n]);
        int rc = who != NULL ? prop_policy_token_sample(statuses[n], &token, err)
                             : prop_err_nomem(err);
        json_array_foreach (s->kids, i, kid) {
            if (rc == 0)
                rc = ask(s, j, token, json_string_value(kid), false, who, err);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

int prop_verify_policy(struct prop_verify_state *s, struct prop_err *err)
{
    prop_auto_policy_judge struct prop_policy_judge *j = NULL;
    int rc = open_policy(s, &j, err);
    if (rc != 0)
        return rc;
    if (j == NULL && s->v->n_tokens + s->v->n_denied > 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "policy-unknown",
                              "what policy the KBS has is not known here");
        return prop_err_hint(err, "name it: --policy FILE, Rego or a policy document");
    }
    if (j == NULL || json_array_size(s->kids) == 0) {
        prop_verify_answer(s, "policy", "unknown",
                           j == NULL ? "what policy the KBS has is not known here (--policy)"
                                     : "no key of a key broker to ask about");
        return 0;
    }
    for (size_t i = 0; rc == 0 && i < s->v->n_tokens; i++)
        rc = ask_file(s, j, s->v->tokens[i], true, err);
    for (size_t i = 0; rc == 0 && i < s->v->n_denied; i++)
        rc = ask_file(s, j, s->v->denied[i], false, err);
    return rc == 0 && !s->v->sample_is_fine ? ask_sample(s, j, err) : rc;
}
