/* The way every resource policy takes to the server. */
#include "cmd/propkey/policy_upload.h"

#include "cmd/propkey/keyout.h"
#include "cmd/propkey/ledger.h"
#include "crypto/digest.h"
#include "engine/rego.h"
#include "policy/document.h"
#include "util/mem.h"

#include <string.h>

/* Does the policy define what the server asks for? Anything else denies everybody, silently. */
static void check_rule(struct prop_cli *cli, struct prop_rego *r)
{
    prop_auto_json json_t *d = NULL;
    size_t i;
    json_t *rule;
    if (prop_rego_describe(r, &d, NULL) < 0)
        return;
    const char *package = json_string_value(json_object_get(d, "package"));
    bool found = false;
    json_array_foreach(json_object_get(d, "rules"), i, rule)
        found = found || (json_is_string(rule) && strcmp(json_string_value(rule), "allow") == 0);
    if (!package || strcmp(package, "data.policy") != 0)
        prop_cli_warn(cli, "the package is '%s', not 'policy': the key broker will deny everybody",
                      package ? package : "");
    else if (!found)
        prop_cli_warn(cli, "there is no rule 'allow': the key broker will deny everybody");
}

/* Parse with the engine the server uses; a build without it leaves that to the server. */
static int check_syntax(struct prop_cli *cli, const char *name, const char *rego, size_t len,
                        struct prop_err *err)
{
    prop_auto_rego struct prop_rego *r = NULL;
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_rego_new(name, rego, len, &r, NULL, &local);
    if (rc == 0) {
        check_rule(cli, r);
        return 0;
    }
    if (strcmp(prop_err_id(&local), "no-engine") == 0) {
        prop_cli_note(cli, "this build cannot parse Rego: the key broker will");
        return 0;
    }
    if (err)
        *err = local;
    return rc;
}

static bool is_text(const char *a, const char *b, size_t len)
{
    return a && strlen(a) == len && memcmp(a, b, len) == 0;
}

static int check_width(struct prop_ledger *l, const char *url, const char *rego, size_t len,
                       struct prop_err *err)
{
    prop_auto_free char *last = NULL;
    prop_auto_free char *document = NULL;
    if (is_text(prop_policy_preset("deny-all"), rego, len))
        return 0;
    if (l && prop_ledger_last_policy(l, url, &last, &document, NULL) == 0 &&
        is_text(last, rego, len))
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "policy-wider",
                    "this policy may let in more than the one it replaces");
    return prop_err_hint(err, "a key broker has one policy for all keys; if that is meant, "
                              "--allow-wider");
}

int propkey_policy_upload(struct prop_cli *cli, const struct propkey_policy_opts *o,
                          const char *name, const char *rego, size_t len, bool may_widen,
                          struct prop_err *err)
{
    struct prop_digest d;
    char digest[PROP_DIGEST_TEXT];
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_ledger struct prop_ledger *l = NULL;
    int rc = prop_kbs_opts_open(&o->kbs, &k, err);
    if (rc == 0)
        rc = check_syntax(cli, name, rego, len, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, rego, len, &d, err);
    if (rc < 0)
        return rc;
    l = propkey_ledger_open(cli);
    if (!may_widen)
        rc = check_width(l, prop_kbs_url(k), rego, len, err);
    if (rc == 0 && !o->dry_run)
        rc = prop_kbs_set_policy(k, rego, len, err);
    if (rc < 0)
        return rc;
    struct prop_err noted = PROP_ERR_INIT;
    if (l && !o->dry_run && prop_ledger_add_policy(l, prop_kbs_url(k), rego, NULL, &noted) < 0)
        prop_cli_warn(cli, "the upload is not in this machine's ledger: %s", noted.message);
    prop_auto_json json_t *doc =
        json_pack("{s:o,s:s,s:s,s:b}", "policy", propkey_name(name), "kbs", prop_kbs_url(k), "digest",
                  prop_digest_format(&d, digest), "uploaded", !o->dry_run);
    return doc ? prop_cli_result(cli, doc, NULL, err) : prop_err_nomem(err);
}
