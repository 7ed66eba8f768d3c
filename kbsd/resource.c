/* Reading, writing and deleting resources. */
#include "kbsd/resource.h"

#include "jose/jwe.h"
#include "jose/jwk.h"
#include "kbsd/policy.h"
#include "kbsd/session.h"
#include "kbsd/token.h"

#include <string.h>

#define PLUGIN_ERROR "PluginInternalError", &err, "Plugin internal error"

bool prop_kbsd_resource_path_ok(const char *path)
{
    unsigned slashes = 0;
    const char *segment = path;

    if (!prop_kbsd_key_fits(path, 0))
        return false;
    for (const char *p = path;; p++) {
        if (*p == '/' || *p == '\0') {
            if (p == segment || *segment == '.')
                return false;
            if (*p == '\0')
                return slashes == 2;
            slashes++;
            segment = p + 1;
        }
    }
}

void prop_kbsd_resource_admin(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                              struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    bool post = strcmp(q->method, "POST") == 0;
    int rc;

    if (!prop_kbsd_resource_path_ok(q->rest)) {
        (void)prop_err_set(&err, PROP_E_INPUT, "'%.100s' is not a resource path", q->rest);
        prop_kbsd_refuse(r, PLUGIN_ERROR);
        return;
    }
    prop_kbsd_count_label(&k->metrics, post ? PROP_KBSD_RESOURCE_WRITES
                                            : PROP_KBSD_RESOURCE_DELETES, q->rest);
    if (post)
        rc = prop_kbsdb_put(k->db, PROP_KBSDB_RESOURCE, q->rest, prop_buf_str(&q->body),
                            q->body.len, &err);
    else
        rc = prop_kbsdb_delete(k->db, PROP_KBSDB_RESOURCE, q->rest, &err);
    if (rc == 0)
        prop_kbsd_reply_ok(r, "text/xml", NULL, 0);
    else
        prop_kbsd_refuse(r, PLUGIN_ERROR);
}

/* The claims of whoever asks: the session's token first, then the header (kbs.md 2.7). */
static int find_claims(struct prop_kbsd *k, const struct prop_kbsd_request *q, json_t **ret,
                       struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_free char *token = NULL;

    if (prop_kbsd_session_token(k, q, &token, &err) != 0) {
        const char *bearer = prop_kbsd_request_bearer(q);
        token = bearer != NULL ? prop_strdup(bearer) : NULL;
    }
    if (token == NULL) {
        prop_kbsd_refuse(r, "TokenNotFound", &err, "Attestation Token not found");
        return -1;
    }
    prop_err_clear(&err);
    if (prop_kbsd_token_verify(k, token, ret, &err) != 0) {
        prop_kbsd_refuse(r, "TokenVerifierError", &err, "Token Verifier error");
        return -1;
    }
    return 0;
}

static int ask_policy(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                      const json_t *claims, struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    bool allowed = false;
    bool broken = false;
    prop_auto_json json_t *data = json_pack("{s:s,s:O,s:O}", "plugin", q->plugin, "resource-path",
                                            q->segments, "query", q->query);

    prop_kbsd_count(&k->metrics, PROP_KBSD_POLICY_EVALUATIONS);
    int rc = data != NULL ? prop_kbsd_policy_allows(k, claims, data, &allowed, &broken, &err)
                          : prop_err_nomem(&err);
    if (rc != 0 || broken)
        prop_kbsd_count(&k->metrics, PROP_KBSD_POLICY_ERRORS);
    if (rc != 0) {
        prop_kbsd_refuse(r, "PolicyEngineError", &err,
                         "Policy engine error: Failed to eval policy: %s", err.message);
        return -1;
    }
    if (!allowed) {
        prop_kbsd_count(&k->metrics, PROP_KBSD_POLICY_VIOLATIONS);
        prop_kbsd_refuse(r, "PolicyDeny", NULL, "Access denied by policy");
        return -1;
    }
    prop_kbsd_count(&k->metrics, PROP_KBSD_POLICY_APPROVALS);
    return 0;
}

/* Only what the real server wraps to; everything else attests and fails here (kbs.md 2.6). */
static bool wrap_supported(const json_t *jwk)
{
    const char *kty = json_string_value(json_object_get(jwk, "kty"));
    const char *alg = json_string_value(json_object_get(jwk, "alg"));
    const char *crv = json_string_value(json_object_get(jwk, "crv"));

    if (strcmp(kty, "EC") == 0)
        return strcmp(alg, "ECDH-ES+A256KW") == 0 &&
               (strcmp(crv, "P-256") == 0 || strcmp(crv, "P-521") == 0);
    return strcmp(kty, "RSA") == 0 &&
           (strcmp(alg, "RSA-OAEP-256") == 0 || strcmp(alg, "RSA1_5") == 0);
}

static void send_wrapped(const struct prop_secret *resource, const json_t *claims,
                         struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_pkey struct prop_pkey *key = NULL;
    const json_t *jwk = NULL;

    if (prop_kbsd_token_tee_pubkey(claims, &jwk, &err) != 0) {
        prop_kbsd_refuse(r, "TokenVerifierError", &err, "Token Verifier error");
        return;
    }
    prop_kbsd_reply_ok(r, "application/json", NULL, 0);
    const char *alg = json_string_value(json_object_get(jwk, "alg"));
    int rc = wrap_supported(jwk) ? 0
             : prop_err_set(&err, PROP_E_UNSUPPORTED, "no wrapping to a key for '%.40s'", alg);
    if (rc == 0)
        rc = prop_jwk_import(jwk, "tee-pubkey", &key, &err);
    if (rc == 0)
        rc = prop_jwe_encrypt(resource, key, alg, NULL, PROP_JWE_FLATTENED | PROP_JWE_ALLOW_RSA1_5,
                              &r->body, &err);
    if (rc != 0)
        prop_kbsd_refuse(r, "JweError", &err, "JWE failed");
}

void prop_kbsd_resource(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                        struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *claims = NULL;
    prop_auto_secret struct prop_secret *resource = NULL;
    int rc;

    if (find_claims(k, q, &claims, r) != 0 || ask_policy(k, q, claims, r) != 0)
        return;
    if (strcmp(q->method, "GET") != 0) {
        rc = prop_err_set(&err, PROP_E_UNSUPPORTED, "method %s on a resource", q->method);
    } else if (!prop_kbsd_resource_path_ok(q->rest)) {
        rc = prop_err_set(&err, PROP_E_INPUT, "'%.100s' is not a resource path", q->rest);
    } else {
        prop_kbsd_count_label(&k->metrics, PROP_KBSD_RESOURCE_READS, q->rest);
        rc = prop_kbsdb_get(k->db, PROP_KBSDB_RESOURCE, q->rest, &resource, &err);
    }
    if (rc == 0)
        send_wrapped(resource, claims, r);
    else
        prop_kbsd_refuse(r, PLUGIN_ERROR);
}
