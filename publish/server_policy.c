#include "publish/server_policy.h"

#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

/* The policy in base64url, or a list of ids. */
static int read_answer(const struct prop_buf *answer, char **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    if (answer->len == 0 || prop_buf_str(answer)[0] == '[' ||
        prop_b64_decode(PROP_B64_URL, prop_buf_str(answer), answer->len, "policy", &text, NULL) != 0)
        return 0;
    char *copy = prop_strdup(prop_buf_str(&text));
    if (copy == NULL)
        return prop_err_nomem(err);
    *ret = copy;
    return 0;
}

int prop_publish_server_policy_ask(const struct prop_publish_state *s, char **ret,
                                   struct prop_err *err)
{
    prop_auto_buf struct prop_buf answer = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    int rc = prop_kbs_get_policy(s->p->kbs, &answer, err);
    return rc == 0 ? read_answer(&answer, ret, err) : rc;
}

int prop_publish_server_policy_renew(struct prop_publish_state *s, struct prop_err *err)
{
    char *now = NULL;
    if (s->server_policy == NULL)
        return 0;
    int rc = prop_publish_server_policy_ask(s, &now, err);
    if (rc != 0)
        return prop_err_wrap(err, "read the policy of the KBS again");
    prop_free(s->server_policy);
    s->server_policy = now;
    return 0;
}

int prop_publish_server_policy_kept(struct prop_publish_state *s, struct prop_err *err)
{
    prop_auto_free char *now = NULL;
    if (s->server_policy == NULL || !s->policy.sent)
        return 0;
    int rc = prop_publish_server_policy_ask(s, &now, err);
    if (rc != 0)
        return prop_err_wrap(err, "read the policy of the KBS back");
    if (now == NULL || strcmp(now, prop_buf_str(&s->policy.rego)) == 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_EXISTS, "policy-changed",
                          "the policy on %s is not the one this run uploaded",
                          prop_kbs_url(s->p->kbs));
    return prop_err_hint(err, "somebody else uploaded at the same time: get their document, add the "
                              "rule to it, publish again");
}
