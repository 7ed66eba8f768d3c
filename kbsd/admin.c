/* Admin tokens: EdDSA under the one admin key, `exp` with 60 s of leeway, `role` always, `iss` and
 * `aud` when the configuration names them, then the ACL. The expressions are matched by the policy
 * engine, which has the same expression library as the real server. */
#include "kbsd/admin.h"

#include "jose/jws.h"
#include "util/text.h"

#include <string.h>

#define LEEWAY_S 60
#define DENIED "Admin access denied: "

static const char acl_policy[] =
    "package acl\n"
    "import rego.v1\n"
    "valid if every rule in data.rules { regex.is_valid(rule.pattern) }\n"
    "allow if {\n"
    "\tsome rule in data.rules\n"
    "\trule.role == input.role\n"
    "\tregex.match(rule.pattern, input.target)\n"
    "}\n";

static int acl_eval(struct prop_kbsd *k, const char *rule, bool *ret, struct prop_err *err)
{
    prop_auto_json json_t *value = NULL;
    int rc = prop_rego_eval_rule(k->acl, rule, &value, err);

    if (rc == 0)
        *ret = json_is_true(value);
    return rc;
}

static int add_rule(struct prop_kbsd *k, const char *text, struct prop_err *err)
{
    const char *eq = strchr(text, '=');

    if (eq == NULL || eq == text || !prop_starts_with(eq + 1, "^/kbs") ||
        !prop_ends_with(eq + 1, "$")) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "acl", "'%s' is not an ACL entry", text);
        return prop_err_hint(err, "write ROLE=REGEX, the expression beginning with ^/kbs and "
                                  "ending with $, such as 'uploader=^/kbs/v0/resource/.+$'");
    }
    json_t *rule = json_pack("{s:s%,s:s}", "role", text, (size_t)(eq - text), "pattern", eq + 1);
    if (rule == NULL || json_array_append_new(k->acl_rules, rule) != 0)
        return prop_err_set_id(err, PROP_E_USAGE, "acl", "'%s' is not valid UTF-8", text);
    return 0;
}

int prop_kbsd_admin_init(struct prop_kbsd *k, struct prop_err *err)
{
    const struct prop_kbsd_config *c = k->config;
    bool valid = false;
    int rc = 0;

    if (c->n_acls == 0)
        return 0;
    k->acl_rules = json_array();
    if (k->acl_rules == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < c->n_acls; i++)
        rc = add_rule(k, c->acls[i], err);
    if (rc == 0)
        rc = prop_rego_new("acl", acl_policy, strlen(acl_policy), &k->acl, NULL, err);
    prop_auto_json json_t *data = json_pack("{s:O}", "rules", k->acl_rules);
    if (rc == 0)
        rc = data != NULL ? prop_rego_set_data(k->acl, data, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = acl_eval(k, "data.acl.valid", &valid, err);
    if (rc == 0 && !valid)
        rc = prop_err_set_id(err, PROP_E_USAGE, "acl", "an ACL entry has no valid expression");
    return rc;
}

static int acl_allows(struct prop_kbsd *k, const char *role, const char *target, bool *ret,
                      struct prop_err *err)
{
    if (k->acl == NULL) { /* admin=^/kbs/.+$ */
        *ret = strcmp(role, "admin") == 0 && prop_starts_with(target, "/kbs/") &&
               strlen(target) > strlen("/kbs/");
        return 0;
    }
    prop_auto_json json_t *input = json_pack("{s:s,s:s}", "role", role, "target", target);
    if (input == NULL)
        return prop_err_nomem(err);
    int rc = prop_rego_set_input(k->acl, input, err);
    return rc == 0 ? acl_eval(k, "data.acl.allow", ret, err) : rc;
}

static bool audience_matches(const json_t *aud, const char *wanted)
{
    size_t i;
    json_t *one;

    if (json_is_string(aud))
        return strcmp(json_string_value(aud), wanted) == 0;
    json_array_foreach(aud, i, one) {
        if (json_is_string(one) && strcmp(json_string_value(one), wanted) == 0)
            return true;
    }
    return false;
}

static bool issued_for_us(const struct prop_kbsd_config *c, const json_t *claims)
{
    const char *iss = json_string_value(json_object_get(claims, "iss"));

    if (c->issuer != NULL && (iss == NULL || strcmp(iss, c->issuer) != 0))
        return false;
    return c->audience == NULL || audience_matches(json_object_get(claims, "aud"), c->audience);
}

static int give_reason(char *reason, char **ret, enum prop_code code, struct prop_err *err)
{
    *ret = reason;
    if (reason == NULL)
        return prop_err_nomem(err);
    return err != NULL && err->code == code ? (int)code : prop_err_set(err, code, "%.200s", reason);
}

int prop_kbsd_admin_check(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                          char **ret_reason, struct prop_err *err)
{
    prop_auto_json json_t *claims = NULL;
    bool allowed = false;

    if (k->config->deny_all)
        return give_reason(prop_strdup(DENIED "Admin access denied as DenyAll authorization_mode "
                                       "is enabled"), ret_reason, PROP_E_DENIED, err);
    const char *token = prop_kbsd_request_bearer(q);
    if (token == NULL)
        return give_reason(prop_strdup("Failed to parse HTTP Auth Bearer header"), ret_reason,
                           PROP_E_AUTH, err);
    int rc = prop_jws_verify(token, strlen(token), k->admin_pub, &claims, err);
    const json_t *exp = rc == 0 ? json_object_get(claims, "exp") : NULL;
    if (rc != 0 || !json_is_integer(exp) ||
        json_integer_value(exp) < (json_int_t)prop_wall_time() - LEEWAY_S)
        return give_reason(prop_strdup(DENIED "Cannot verify token with any of the issuers"),
                           ret_reason, PROP_E_AUTH, err);
    const char *role = json_string_value(json_object_get(claims, "role"));
    if (role == NULL)
        return give_reason(prop_strdup(DENIED "Failed to parse claims from token: "
                                       "AdminAccessDenied { reason: \"Missing required `role` "
                                       "claim in JWT\" }"), ret_reason, PROP_E_AUTH, err);
    if (!issued_for_us(k->config, claims))
        return give_reason(prop_strdup(DENIED "Cannot verify token with any of the issuers"),
                           ret_reason, PROP_E_AUTH, err);
    rc = acl_allows(k, role, q->target, &allowed, err);
    if (rc == 0 && allowed)
        return 0;
    return give_reason(prop_asprintf(DENIED "Role %s not allowed for path %s", role, q->target),
                       ret_reason, PROP_E_DENIED, err);
}
