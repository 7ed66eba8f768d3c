/* Every refusal that was recorded, and some that were not, mapped to code, id and hint. */
#include "test_kbs_shared.h"

#include "kbs/refusal.h"

/* The answer of a recorded exchange: status, and the body after the blank line. */
static int answer_of(const char *text, const char **ret_body)
{
    const char *p = strstr(text, "<<< RESPONSE\n");
    assert_non_null(p);
    p = strstr(p, "HTTP/1.1 ");
    assert_non_null(p);
    int status = (int)strtol(p + 9, NULL, 10);
    const char *body = strstr(p, "\n\n");
    *ret_body = body ? body + 2 : "";
    return status;
}

struct recorded {
    const char *file;
    enum prop_kbs_call call;
    enum prop_code code;
    const char *id;
};

static const struct recorded recorded[] = {
    { "rcar-auth-version-old", PROP_KBS_AUTH, PROP_E_UNSUPPORTED, "kbs-version" },
    { "rcar-auth-bad-json", PROP_KBS_AUTH, PROP_E_REMOTE, "attestation-error" },
    { "rcar-auth-bad-tee", PROP_KBS_AUTH, PROP_E_REMOTE, "attestation-error" },
    { "rcar-auth-missing-extra-params", PROP_KBS_AUTH, PROP_E_REMOTE, "attestation-error" },
    { "rcar-auth-get", PROP_KBS_AUTH, PROP_E_UNSUPPORTED, "plugin-not-found" },
    { "rcar-attest-bad-json", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "rcar-attest-wrong-nonce", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "rcar-attest-wrong-report-data", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "rcar-attest-extra-jwk-members", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "rcar-attest-initdata-json", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "rcar-attest-initdata-badtoml", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "rcar-attest-no-cookie", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "rcar-attest-unknown-cookie", PROP_KBS_ATTEST, PROP_E_AUTH, "attestation-error" },
    { "get-resource-no-session", PROP_KBS_GET_RESOURCE, PROP_E_AUTH, "token-not-found" },
    { "get-resource-authed-not-attested", PROP_KBS_GET_RESOURCE, PROP_E_AUTH, "token-not-found" },
    { "get-resource-bearer-garbage", PROP_KBS_GET_RESOURCE, PROP_E_AUTH, "token-verifier-error" },
    { "get-resource-bearer-expired", PROP_KBS_GET_RESOURCE, PROP_E_AUTH, "token-verifier-error" },
    { "get-resource-bearer-bad-signature", PROP_KBS_GET_RESOURCE, PROP_E_AUTH,
      "token-verifier-error" },
    { "get-resource-bearer-admin-token", PROP_KBS_GET_RESOURCE, PROP_E_AUTH,
      "token-verifier-error" },
    { "get-resource-bearer-no-tee-pubkey", PROP_KBS_GET_RESOURCE, PROP_E_AUTH,
      "token-verifier-error" },
    { "get-resource-policy-deny", PROP_KBS_GET_RESOURCE, PROP_E_DENIED, "policy-deny" },
    { "get-resource-not-found", PROP_KBS_GET_RESOURCE, PROP_E_NOTFOUND, "plugin-internal-error" },
    { "get-resource-bad-path", PROP_KBS_GET_RESOURCE, PROP_E_NOTFOUND, "plugin-internal-error" },
    { "get-resource-alg-unsupported", PROP_KBS_GET_RESOURCE, PROP_E_REMOTE, "jwe-error" },
    { "plugin-not-found", PROP_KBS_GET_RESOURCE, PROP_E_UNSUPPORTED, "plugin-not-found" },
    { "delete-resource-missing", PROP_KBS_DELETE_RESOURCE, PROP_E_NOTFOUND,
      "plugin-internal-error" },
    { "delete-resource-no-auth", PROP_KBS_DELETE_RESOURCE, PROP_E_AUTH,
      "admin-auth-initialization" },
    { "set-resource-no-auth", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "set-resource-basic-auth", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "set-resource-lowercase-bearer", PROP_KBS_SET_RESOURCE, PROP_E_AUTH,
      "admin-auth-initialization" },
    { "set-resource-wrong-key", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "set-resource-wrong-iss", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "set-resource-wrong-aud", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "set-resource-expired", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "set-resource-no-role", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "set-policy-role-not-allowed", PROP_KBS_SET_POLICY, PROP_E_AUTH, "admin-auth-access" },
    { "denyall-set-resource", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "admin-auth-initialization" },
    { "denyall-set-policy", PROP_KBS_SET_POLICY, PROP_E_AUTH, "admin-auth-access" },
    { "set-resource-policy-no-auth", PROP_KBS_SET_POLICY, PROP_E_AUTH, "admin-auth-access" },
    { "set-resource-bad-path", PROP_KBS_SET_RESOURCE, PROP_E_REMOTE, "plugin-internal-error" },
    { "set-resource-dotdot", PROP_KBS_SET_RESOURCE, PROP_E_REMOTE, "plugin-internal-error" },
    { "set-resource-too-big", PROP_KBS_SET_RESOURCE, PROP_E_LIMIT, "resource-too-big" },
    { "set-resource-put", PROP_KBS_SET_RESOURCE, PROP_E_AUTH, "token-not-found" },
    { "set-resource-policy-bad-rego", PROP_KBS_SET_POLICY, PROP_E_INPUT, "policy-engine-error" },
    { "set-resource-policy-bad-json", PROP_KBS_SET_POLICY, PROP_E_REMOTE, "parse-policy-error" },
    { "set-resource-policy-no-field", PROP_KBS_SET_POLICY, PROP_E_REMOTE, "parse-policy-error" },
    { "set-resource-policy-std-base64", PROP_KBS_SET_POLICY, PROP_E_REMOTE, "parse-policy-error" },
    { "set-attestation-policy-bad-rego", PROP_KBS_SET_ATTESTATION_POLICY, PROP_E_INPUT,
      "attestation-error" },
    { "set-attestation-policy-no-auth", PROP_KBS_SET_ATTESTATION_POLICY, PROP_E_AUTH,
      "admin-auth-access" },
    { "set-reference-value-bad-version", PROP_KBS_SET_REFERENCE, PROP_E_REMOTE, "rvps-error" },
    { "get-reference-value-missing", PROP_KBS_GET_REFERENCE, PROP_E_NOTFOUND, "rvps-error" },
    { "get-reference-value-no-auth", PROP_KBS_GET_REFERENCE, PROP_E_AUTH, "admin-auth-access" },
    { "root-404", PROP_KBS_GET_RESOURCE, PROP_E_REMOTE, "not-a-kbs" },
};

static void check_recorded(const struct recorded *r)
{
    struct prop_buf b = PROP_BUF_INIT(1u << 20);
    struct prop_err err = PROP_ERR_INIT;
    char name[128];
    const char *body = NULL;
    (void)snprintf(name, sizeof(name), "kbs-%s.http", r->file);
    shared_read(TRANSCRIPTS, name, &b);
    int status = answer_of(prop_buf_str(&b), &body);
    int rc = prop_kbs_refusal(r->call, status, body, strlen(body), &err);
    if (rc != (int)r->code || strcmp(prop_err_id(&err), r->id) != 0)
        fail_msg("%s: code %d, id %s, message '%s'", name, rc, prop_err_id(&err), err.message);
    assert_int_equal(err.code, r->code);
    assert_int_equal(err.http_status, status);
    assert_true(err.hint[0] != 0);
    assert_null(strstr(err.message, "\\x"));
    prop_buf_release(&b);
}

static void test_recorded_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(recorded); i++)
        check_recorded(&recorded[i]);
}

static void check(enum prop_kbs_call call, int status, const char *body, enum prop_code code,
                  const char *id, const char *in_hint)
{
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_kbs_refusal(call, status, body, strlen(body), &err), code);
    assert_string_equal(prop_err_id(&err), id);
    if (in_hint)
        assert_non_null(strstr(err.hint, in_hint));
}

#define ERRORS "https://github.com/confidential-containers/kbs/errors/"

static void test_hints(void **state)
{
    (void)state;
    check(PROP_KBS_SET_RESOURCE, 401,
          "{\"type\":\"" ERRORS "AdminAuthInitialization\",\"detail\":\"failed to initialize [admin] "
          "configuration: Admin access denied: Cannot verify token with any of the issuers\"}",
          PROP_E_AUTH, "admin-auth-initialization", "--audience");
    check(PROP_KBS_SET_POLICY, 401,
          "{\"type\":\"" ERRORS "AdminAuthAccess\",\"detail\":\"x: Failed to parse HTTP Auth Bearer "
          "header\"}", PROP_E_AUTH, "admin-auth-access", "--admin-key");
    check(PROP_KBS_GET_RESOURCE, 401,
          "{\"type\":\"" ERRORS "PolicyDeny\",\"detail\":\"Access denied by policy\"}",
          PROP_E_DENIED, "policy-deny", "propkey policy");
}

static void test_other_releases(void **state)
{
    (void)state;
    check(PROP_KBS_GET_RESOURCE, 404,
          "{\"type\":\"" ERRORS "ReadSecretFailed\",\"detail\":\"x\"}", PROP_E_NOTFOUND,
          "read-secret-failed", NULL);
    check(PROP_KBS_SET_RESOURCE, 401, "{\"type\":\"" ERRORS "AdminAuth\",\"detail\":\"x\"}",
          PROP_E_AUTH, "admin-auth", NULL);
    check(PROP_KBS_AUTH, 401,
          "{\"type\":\"" ERRORS "AttestationError\",\"detail\":\"Attestation error: RCAR handshake "
          "Auth failed: KBS Client Protocol Version Mismatch: expect =0.2.0 while the request is "
          "0.4.0\"}", PROP_E_UNSUPPORTED, "kbs-version", "v0.14");
    check(PROP_KBS_GET_RESOURCE, 401, "{\"type\":\"" ERRORS "BrandNew\",\"detail\":\"x\"}",
          PROP_E_REMOTE, "unknown-refusal", NULL);
}

/* What does not come from a key broker, or is broken, is refused all the same. */
static void test_anything_else(void **state)
{
    (void)state;
    static const char *const bodies[] = { "", "{", "[]", "null", "<html>", "{\"type\":7}",
                                          "{\"type\":\"\",\"detail\":\"x\"}",
                                          "{\"type\":\"a/\",\"detail\":\"x\"}",
                                          "{\"type\":\"" ERRORS "PolicyDeny\",\"detail\":[]}" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(bodies); i++) {
        check(PROP_KBS_GET_RESOURCE, 500, bodies[i], PROP_E_REMOTE, "unexpected-answer", NULL);
        check(PROP_KBS_GET_RESOURCE, 404, bodies[i], PROP_E_REMOTE, "not-a-kbs", "--kbs");
        check(PROP_KBS_SET_RESOURCE, 413, bodies[i], PROP_E_LIMIT, "resource-too-big", NULL);
        check(PROP_KBS_SET_RESOURCE, 401, bodies[i], PROP_E_AUTH, "refused-on-the-way", "proxy");
        check(PROP_KBS_GET_RESOURCE, 403, bodies[i], PROP_E_DENIED, "refused-on-the-way", "proxy");
    }
}

static void test_long_details_stay_one_line(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *o = json_object();
    char detail[2000];
    memset(detail, '\n', sizeof(detail));
    memset(detail + 1000, 'x', 900);
    detail[sizeof(detail) - 1] = 0;
    assert_int_equal(json_object_set_new(o, "type", json_string(ERRORS "PolicyDeny")), 0);
    assert_int_equal(json_object_set_new(o, "detail", json_string(detail)), 0);
    prop_auto_free char *text = prop_json_compact(o);
    assert_int_equal(prop_kbs_refusal(PROP_KBS_GET_RESOURCE, 401, text, strlen(text), &err),
                     PROP_E_DENIED);
    assert_null(strchr(err.message, '\n'));
    assert_null(strstr(err.message, "\\x0a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_refusals),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_other_releases),
        cmocka_unit_test(test_anything_else),
        cmocka_unit_test(test_long_details_stay_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
