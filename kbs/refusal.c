/* One row per error type that any release is known to send. */
#include "kbs/refusal.h"

#include "util/json.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { DETAIL_MAX = 400, NAME_MAX_LEN = 64 };

static const char hint_admin[] =
    "name the administrator with --admin-key or --admin-token; the server must know the key";
static const char hint_policy_breaks[] =
    "the resource policy fails when it is evaluated: propkey policy lint, and the server's log";
static const char hint_attest_again[] = "attest again: the session or token is unknown or too old";

static const char hint_url[] = "check the URL: --kbs takes it without /kbs/v0";

struct row {
    const char *name, *id;
    enum prop_code code;
    const char *hint;
};

static const struct row rows[] = {
    { "TokenNotFound", "token-not-found", PROP_E_AUTH, hint_attest_again },
    { "TokenVerifierError", "token-verifier-error", PROP_E_AUTH, hint_attest_again },
    { "PolicyDeny", "policy-deny", PROP_E_DENIED,
      "the policy of the KBS does not admit this evidence: see propkey policy --help" },
    { "PolicyEngineError", "policy-engine-error", PROP_E_REMOTE, hint_policy_breaks },
    { "PolicyEngine", "policy-engine", PROP_E_REMOTE, hint_policy_breaks },
    { "PluginInternalError", "plugin-internal-error", PROP_E_REMOTE,
      "only the server's log tells the cause: its store, or the name" },
    { "PluginNotFound", "plugin-not-found", PROP_E_UNSUPPORTED,
      "this server does not have that call, or not the resource plugin" },
    { "InvalidRequestPath", "invalid-request-path", PROP_E_REMOTE, hint_url },
    { "JweError", "jwe-error", PROP_E_REMOTE, "the server cannot encrypt to this kind of TEE key" },
    { "AttestationError", "attestation-error", PROP_E_REMOTE,
      "the server does not begin an attestation of this kind; its log tells more" },
    { "ParsePolicyError", "parse-policy-error", PROP_E_REMOTE,
      "the server does not understand the upload: is it a release since v0.14?" },
    { "RvpsError", "rvps-error", PROP_E_REMOTE,
      "only the log of the server's reference value service tells the cause" },
    { "AdminAuthAccess", "admin-auth-access", PROP_E_AUTH, hint_admin },
    { "AdminAuthInitialization", "admin-auth-initialization", PROP_E_AUTH, hint_admin },
    { "AdminAuth", "admin-auth", PROP_E_AUTH, hint_admin },
    /* Before v0.11. */
    { "ReadSecretFailed", "read-secret-failed", PROP_E_NOTFOUND,
      "the server does not tell a missing resource from a bad name: was it uploaded?" },
    { "SetSecretFailed", "set-secret-failed", PROP_E_REMOTE,
      "only the server's log tells the cause: its store, or the name" },
    { "PolicyReject", "policy-reject", PROP_E_DENIED,
      "the policy of the KBS does not admit this evidence" },
    { "MissingCookie", "missing-cookie", PROP_E_AUTH, hint_attest_again },
    { "InvalidCookie", "invalid-cookie", PROP_E_AUTH, hint_attest_again },
    { "ExpiredCookie", "expired-cookie", PROP_E_AUTH, hint_attest_again },
    { "UnAuthenticatedCookie", "unauthenticated-cookie", PROP_E_AUTH, hint_attest_again },
    { "FailedAuthentication", "failed-authentication", PROP_E_REMOTE,
      "this tool speaks protocol 0.4.0, as Trustee does since v0.14: update the server" },
    { "AttestationFailed", "attestation-failed", PROP_E_AUTH,
      "the server does not take this evidence; only its log tells why" },
    { "TokenParseFailed", "token-parse-failed", PROP_E_AUTH, hint_attest_again },
};

/* Same type, other meaning: rows of one call that go before the ones above. */
static const struct {
    enum prop_kbs_call call;
    const char *detail;  /* must occur in the detail; NULL = any */
    struct row row;
} special[] = {
    { PROP_KBS_AUTH, "Version Mismatch",
      { "AttestationError", "kbs-version", PROP_E_UNSUPPORTED,
        "this tool speaks protocol 0.4.0, as Trustee does since v0.14: update the server" } },
    { PROP_KBS_AUTH, "ersion",
      { "FailedAuthentication", "kbs-version", PROP_E_UNSUPPORTED,
        "this tool speaks protocol 0.4.0, as Trustee does since v0.14: update the server" } },
    { PROP_KBS_ATTEST, NULL,
      { "AttestationError", "attestation-error", PROP_E_AUTH,
        "the server does not take this evidence; only its log tells why" } },
    { PROP_KBS_GET_RESOURCE, NULL,
      { "PluginInternalError", "plugin-internal-error", PROP_E_NOTFOUND,
        "the server does not tell a missing resource from a bad name: was it uploaded?" } },
    { PROP_KBS_DELETE_RESOURCE, NULL,
      { "PluginInternalError", "plugin-internal-error", PROP_E_NOTFOUND,
        "the server does not tell a missing resource from a bad name" } },
    { PROP_KBS_DELETE_RESOURCE, NULL,
      { "PluginNotFound", "plugin-not-found", PROP_E_UNSUPPORTED,
        "Trustee deletes resources since v0.20" } },
    { PROP_KBS_SET_POLICY, "Failed to load policy",
      { "PolicyEngineError", "policy-engine-error", PROP_E_INPUT,
        "the server cannot parse this policy" } },
    { PROP_KBS_SET_POLICY, NULL,
      { "PolicyEngine", "policy-engine", PROP_E_INPUT, "the server cannot parse this policy" } },
    { PROP_KBS_SET_ATTESTATION_POLICY, NULL,
      { "AttestationError", "attestation-error", PROP_E_INPUT,
        "the server does not take this policy: its syntax, or its id" } },
    { PROP_KBS_GET_REFERENCE, "No reference value found",
      { "RvpsError", "rvps-error", PROP_E_NOTFOUND,
        "nobody set that name; propkey reference-value get --all-known shows what is there" } },
};

/* Better hints for what the admin types say (kbs.md 1.1). */
static const struct {
    const char *detail, *hint;
} admin_hints[] = {
    { "Failed to parse HTTP Auth Bearer header",
      "the server wants an administrator: --admin-key or --admin-token" },
    { "Cannot verify token with any of the issuers",
      "the server does not know this key, or the token is too old or has another --issuer or "
      "--audience than the server wants" },
    { "Missing required `role` claim",
      "the token names no role: sign with --admin-key, or put `role` into the token" },
    { "not allowed for path", "the server's list of roles does not let this one do that: --role" },
    { "DenyAll", "this server refuses every administrator" },
};

/* {"type":"https://.../errors/Name","detail":"..."}, in whatever state it arrives. */
static bool parse_error(const char *body, size_t len, char name[NAME_MAX_LEN],
                        char detail[DETAIL_MAX])
{
    struct {
        const char *type, *detail;
    } e = { NULL, "" };
    static const struct prop_json_field fields[] = {
        { "type", PROP_JSON_STRING, 0, PROP_JSON_REQUIRED },
        { "detail", PROP_JSON_STRING, sizeof(const char *), PROP_JSON_OPTIONAL },
    };
    prop_auto_json json_t *root = NULL;
    if (len == 0 || prop_json_parse(body, len, "refusal", &root, NULL) < 0 ||
        prop_json_read(root, "refusal", fields, PROP_ARRAY_LEN(fields), &e, NULL) < 0)
        return false;
    const char *last = strrchr(e.type, '/');
    (void)snprintf(name, NAME_MAX_LEN, "%s", last ? last + 1 : e.type);
    /* A parser's text has many lines; a message has one. */
    size_t n = 0;
    for (const char *p = e.detail; *p && n + 1 < DETAIL_MAX; p++) {
        bool blank = *p == ' ' || *p == '\n' || *p == '\t' || *p == '\r';
        if (!blank)
            detail[n++] = *p;
        else if (n && detail[n - 1] != ' ')
            detail[n++] = ' ';
    }
    while (n && detail[n - 1] == ' ')
        n--;
    detail[n] = 0;
    return name[0] != 0;
}

static const struct row *find_row(enum prop_kbs_call call, const char *name, const char *detail)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(special); i++)
        if (special[i].call == call && strcmp(special[i].row.name, name) == 0 &&
            (!special[i].detail || strstr(detail, special[i].detail)))
            return &special[i].row;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static const char *choose_hint(const struct row *row, const char *detail)
{
    if (strcmp(row->name, "PluginNotFound") == 0 && strstr(detail, "Plugin kbs not found"))
        return hint_url; /* /kbs/v0/kbs/v0/... was asked for */
    if (row->hint == hint_admin)
        for (size_t i = 0; i < PROP_ARRAY_LEN(admin_hints); i++)
            if (strstr(detail, admin_hints[i].detail))
                return admin_hints[i].hint;
    return row->hint;
}

/* Answers that do not come from the key broker's own code. */
static int other_answer(int status, struct prop_err *err)
{
    int rc = 0;
    switch (status) {
    case 413:
        rc = prop_err_set_id(err, PROP_E_LIMIT, "resource-too-big",
                             "the key broker takes no body of this size (HTTP 413)");
        (void)prop_err_hint(err, "its limit is 2 MiB by default: payload_request_size");
        break;
    case 404:
    case 405:
        rc = prop_err_set_id(err, PROP_E_REMOTE, "not-a-kbs",
                             "there is no key broker at this address (HTTP %d)", status);
        (void)prop_err_hint(err, "%s", hint_url);
        break;
    case 401:
    case 403: /* a proxy's words, since the key broker's own name the cause */
        rc = prop_err_set_id(err, status == 401 ? PROP_E_AUTH : PROP_E_DENIED, "refused-on-the-way",
                             "the way to the key broker is refused (HTTP %d)", status);
        (void)prop_err_hint(err, "the answer is not the key broker's: is a proxy between?");
        break;
    default:
        rc = prop_err_set_id(err, PROP_E_REMOTE, "unexpected-answer",
                             "the key broker answered with HTTP %d", status);
        break;
    }
    return rc;
}

int prop_kbs_refusal(enum prop_kbs_call call, int status, const char *body, size_t len,
                     struct prop_err *err)
{
    char name[NAME_MAX_LEN], detail[DETAIL_MAX];
    int rc = 0;
    if (!parse_error(body, len, name, detail)) {
        rc = other_answer(status, err);
    } else {
        const struct row *row = find_row(call, name, detail);
        const char *hint = row ? choose_hint(row, detail) : NULL;
        if (row)
            rc = prop_err_set_id(err, row->code, row->id, "the key broker says %s: %s", name,
                                 detail);
        else
            rc = prop_err_set_id(err, PROP_E_REMOTE, "unknown-refusal",
                                 "the key broker says '%s': %s", name, detail);
        if (hint)
            (void)prop_err_hint(err, "%s", hint);
    }
    if (err)
        err->http_status = status;
    return rc;
}
