/* propkey policy get: the policy's text, from the server where it gives it, else as this machine
 * uploaded it. */
#include "cmd/propkey/policy_upload.h"
#include "cmd/propkey/verbs.h"

#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct policy_get_opts {
    struct prop_kbs_opts kbs;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct policy_get_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct policy_get_opts, kbs),
    PROP_OPT_END
};

static void print_policy(const json_t *doc, void *stream)
{
    (void)fputs(json_string_value(json_object_get(doc, "rego")), stream);
}

static int from_ledger(const char *url, char **ret, struct prop_err *err)
{
    prop_auto_free char *document = NULL;
    prop_auto_ledger struct prop_ledger *l = NULL;
    int rc = prop_ledger_open_existing(NULL, &l, err);
    if (rc == 0)
        rc = l ? prop_ledger_last_policy(l, url, ret, &document, err)
               : prop_err_set_id(err, PROP_E_NOTFOUND, "policy-unknown", "no ledger on this machine");
    if (rc < 0)
        (void)prop_err_hint(err, "servers since v0.19 do not give their policy's text back; keep "
                                 "the policy in version control");
    return rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct policy_get_opts *o = opts;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_buf struct prop_buf answer = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    prop_auto_free char *known = NULL;
    int rc = prop_kbs_opts_open(&o->kbs, &k, err);
    if (rc == 0)
        rc = prop_kbs_get_policy(k, &answer, err);
    if (rc < 0)
        return rc;
    /* A list of ids since v0.19, base64url of the text before. */
    bool list = prop_buf_str(&answer)[0] == '[';
    if (list) {
        rc = from_ledger(prop_kbs_url(k), &known, err);
        if (rc == 0)
            prop_cli_note(cli, "as uploaded last from this machine; the server does not tell");
    } else {
        rc = prop_b64_decode(PROP_B64_URL, prop_buf_str(&answer), answer.len,
                             "the key broker's policy", &text, err);
    }
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc = json_pack("{s:s,s:s,s:s}", "kbs", prop_kbs_url(k), "source",
                                           list ? "ledger" : "server", "rego",
                                           list ? known : prop_buf_str(&text));
    return doc ? prop_cli_result(cli, doc, print_policy, err)
               : prop_err_set(err, PROP_E_REMOTE, "the key broker's policy is not text");
}

const struct prop_verb propkey_verb_policy_get = {
    "policy get", "", "print the policy of the key broker, as far as it is known",
    "Servers since v0.19 do not give the text back; then it is the one this machine uploaded last.",
    options, sizeof(struct policy_get_opts), 0, 0, run
};
