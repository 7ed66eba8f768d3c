/* The attestation handshake: request, challenge, attestation, response (kbs.md 2), and fetching
 * resources through the session it makes. */
#include "kbs/internal.h"

#include "jose/jwe.h"
#include "jose/jwk.h"
#include "tee/binding.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { COOKIE_MAX = 512, NONCE_MAX = 4096 };
static const char cookie_name[] = "kbs-session-id=";

void prop_kbs_session_release(struct prop_kbs_session *s)
{
    prop_secret_free(s->cookie);
    prop_pkey_free(s->own_key);
    prop_free(s->init_data);
    memset(s, 0, sizeof(*s));
}

/* What the server encrypts to (kbs.md 2.6); it would take other keys here and fail at the GET. */
static const char *key_alg(const struct prop_pkey *key)
{
    switch (prop_pkey_get_type(key)) {
    case PROP_PKEY_RSA:
        return "RSA-OAEP-256";
    case PROP_PKEY_P256:
    case PROP_PKEY_P521:
        return "ECDH-ES+A256KW";
    case PROP_PKEY_P384:
    case PROP_PKEY_ED25519:
        break;
    }
    return NULL;
}

static const struct prop_pkey *session_key(const struct prop_kbs *k,
                                           const struct prop_kbs_attest *how)
{
    return how->tee_key ? how->tee_key : k->session.own_key;
}

static int check_key(const struct prop_pkey *key, struct prop_err *err)
{
    if (key_alg(key) && prop_pkey_is_private(key))
        return 0;
    prop_err_set_id(err, PROP_E_UNSUPPORTED, "tee-key",
                    "key brokers do not encrypt to this kind of TEE key");
    (void)prop_err_hint(err, "use a private P-256, P-521 or RSA key");
    return PROP_E_UNSUPPORTED;
}

/* A new session, not attested yet. The TEE key is the same for all of it. */
static int session_begin(struct prop_kbs *k, const struct prop_kbs_attest *how,
                         struct prop_err *err)
{
    struct prop_kbs_session *s = &k->session;
    prop_kbs_session_release(s);
    int rc = how->tee_key ? check_key(how->tee_key, err)
                          : prop_pkey_generate(PROP_PKEY_P256, 0, &s->own_key, err);
    if (rc == 0)
        rc = prop_jwk_thumbprint(session_key(k, how), s->thumbprint, err);
    if (rc < 0)
        return rc;
    s->tee = how->tee;
    s->init_data = how->init_data ? prop_strdup(how->init_data) : NULL;
    return how->init_data && !s->init_data ? prop_err_nomem(err) : 0;
}

/* Is the session attested, and as this caller wants it? */
static bool session_fits(const struct prop_kbs *k, const struct prop_kbs_attest *how)
{
    const struct prop_kbs_session *s = &k->session;
    char thumbprint[44];
    if (!s->attested || s->tee != how->tee || !how->tee_key != !!s->own_key ||
        !how->init_data != !s->init_data)
        return false;
    if (how->init_data && strcmp(how->init_data, s->init_data) != 0)
        return false;
    return !how->tee_key || (prop_jwk_thumbprint(how->tee_key, thumbprint, NULL) == 0 &&
                             strcmp(thumbprint, s->thumbprint) == 0);
}

/* Set-Cookie: kbs-session-id=VALUE; Expires=... The value goes back as it came. */
static int take_cookie(struct prop_kbs *k, const struct prop_http_answer *a, struct prop_err *err)
{
    for (size_t i = 0;; i++) {
        const char *v = prop_http_header(a, "set-cookie", i);
        if (!v)
            return prop_err_set_id(err, PROP_E_REMOTE, "no-session-cookie",
                                   "the key broker gave no session cookie");
        size_t len = strcspn(v, ";, \t");
        if (!prop_starts_with(v, cookie_name) || len < sizeof(cookie_name) || len > COOKIE_MAX)
            continue;
        struct prop_secret *cookie = NULL;
        int rc = prop_secret_copy(v, len, &cookie, err);
        if (rc < 0)
            return rc;
        prop_secret_free(k->session.cookie);
        k->session.cookie = cookie;
        return 0;
    }
}

static int post(struct prop_kbs *k, enum prop_kbs_call call, const char *path, const json_t *body,
                json_t **ret, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *text = body ? prop_json_compact(body) : NULL;
    if (!text)
        return prop_err_nomem(err);
    struct prop_kbs_request rq = {
        .call = call,
        .method = "POST",
        .path = path,
        .content_type = "application/json",
        .body = text,
        .body_len = strlen(text),
        .cookie = k->session.cookie,
    };
    int rc = prop_kbs_send(k, &rq, &a, err);
    if (rc < 0)
        return rc;
    rc = call == PROP_KBS_AUTH ? take_cookie(k, &a, err) : 0;
    prop_auto_json json_t *answer = NULL;
    if (rc == 0)
        rc = prop_json_parse(prop_buf_str(&a.body), a.body.len, "the key broker's answer", &answer,
                             err);
    if (rc == PROP_E_INPUT || rc == PROP_E_LIMIT) {
        if (err)
            err->code = PROP_E_REMOTE;
        return PROP_E_REMOTE;
    }
    if (rc == 0)
        *ret = PROP_TAKE(answer);
    return rc;
}

struct challenge {
    const char *nonce;
    const json_t *extra;
};

static int read_challenge(const json_t *answer, struct challenge *c, struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "nonce", PROP_JSON_STRING, offsetof(struct challenge, nonce), PROP_JSON_REQUIRED },
        { "extra-params", PROP_JSON_ANY, offsetof(struct challenge, extra), PROP_JSON_OPTIONAL },
    };
    int rc = prop_json_read(answer, "challenge", fields, PROP_ARRAY_LEN(fields), c, err);
    if (rc < 0) {
        if (err)
            err->code = PROP_E_REMOTE;
        return PROP_E_REMOTE;
    }
    if (strlen(c->nonce) > NONCE_MAX)
        return prop_err_set(err, PROP_E_REMOTE, "challenge: the nonce is too long");
    /* Only IBM's TEE negotiates another hash (kbs.md 2.2). */
    const char *hash = json_string_value(json_object_get(c->extra, "selected-hash-algorithm"));
    if (hash && strcasecmp(hash, "sha384") != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "hash-algorithm",
                               "the key broker asks for another hash than SHA-384");
    return 0;
}

static int request_challenge(struct prop_kbs *k, enum prop_tee tee, json_t **ret,
                             struct prop_err *err)
{
    prop_auto_json json_t *body =
        json_pack("{s:s,s:s,s:{s:[s,s,s,s]}}", "version", "0.4.0", "tee", prop_tee_name(tee),
                  "extra-params", "supported-hash-algorithms", "sha256", "sha384", "sha512", "sm3");
    return post(k, PROP_KBS_AUTH, "/auth", body, ret, err);
}

/* The attestation: evidence bound to nonce and TEE key. */
static int make_attestation(const struct prop_kbs *k, const struct prop_kbs_attest *how,
                            const char *nonce, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *jwk = NULL;
    prop_auto_json json_t *evidence = NULL;
    prop_auto_json json_t *init = NULL;
    struct prop_digest bound;
    const struct prop_pkey *key = session_key(k, how);
    int rc = prop_jwk_export(key, false, key_alg(key), &jwk, err);
    if (rc == 0)
        rc = prop_tee_report_data(nonce, jwk, "", &bound, err);
    if (rc == 0)
        rc = prop_tee_evidence(how->tee, bound.bytes, bound.len, &evidence, err);
    if (rc < 0)
        return rc;
    init = how->init_data ? json_pack("{s:s,s:s}", "format", "toml", "body", how->init_data)
                          : json_null();
    if (!init)
        return prop_err_set(err, PROP_E_INPUT, "the init-data is not UTF-8 text");
    json_t *o = json_pack("{s:O,s:{s:s,s:O},s:{s:O,s:s}}", "init-data", init, "runtime-data",
                          "nonce", nonce, "tee-pubkey", jwk, "tee-evidence", "primary_evidence",
                          evidence, "additional_evidence", "");
    if (!o)
        return prop_err_nomem(err);
    *ret = o;
    return 0;
}

static bool is_token(const char *text)
{
    static const char ok[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    return text && *text && strspn(text, ok) == strlen(text);
}

static int send_attestation(struct prop_kbs *k, const json_t *attestation, struct prop_buf *token,
                            struct prop_err *err)
{
    prop_auto_json json_t *answer = NULL;
    int rc = post(k, PROP_KBS_ATTEST, "/attest", attestation, &answer, err);
    if (rc < 0)
        return rc;
    const char *text = json_string_value(json_object_get(answer, "token"));
    if (!is_token(text)) /* it goes to terminals and into headers: a JWT's characters, no others */
        return prop_err_set_id(err, PROP_E_REMOTE, "no-token",
                               "the key broker took the evidence and gave no token");
    k->session.attested = true;
    return token ? prop_buf_puts(token, text, err) : 0;
}

static int handshake(struct prop_kbs *k, const struct prop_kbs_attest *how, struct prop_buf *token,
                     struct prop_err *err)
{
    prop_auto_json json_t *answer = NULL;
    prop_auto_json json_t *attestation = NULL;
    struct challenge c = { NULL, NULL };
    int rc = session_begin(k, how, err);
    if (rc == 0)
        rc = request_challenge(k, how->tee, &answer, err);
    if (rc == 0)
        rc = read_challenge(answer, &c, err);
    if (rc == 0)
        rc = make_attestation(k, how, c.nonce, &attestation, err);
    if (rc == 0)
        rc = send_attestation(k, attestation, token, err);
    return PROP_KBS_WRAP(rc, err, "attest as '%s'", prop_tee_name(how->tee));
}

int prop_kbs_attest(struct prop_kbs *k, const struct prop_kbs_attest *how, struct prop_buf *token,
                    struct prop_err *err)
{
    return handshake(k, how, token, err);
}

/* GET one resource and open it. */
static int fetch(struct prop_kbs *k, const char *path, const struct prop_secret *cookie,
                 const struct prop_secret *bearer, const struct prop_pkey *key,
                 struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_kbs_request rq = { .call = PROP_KBS_GET_RESOURCE, .method = "GET", .path = path,
                                   .cookie = cookie, .authorization = bearer };
    int rc = prop_kbs_send(k, &rq, &a, err);
    if (rc == 0) {
        rc = prop_jwe_decrypt(prop_buf_str(&a.body), a.body.len, key, ret, err);
        if (rc == PROP_E_INPUT) {
            if (err)
                err->code = PROP_E_REMOTE;
            rc = PROP_E_REMOTE;
        }
    }
    return rc;
}

static bool session_lost(const struct prop_err *err)
{
    return err->id && (strcmp(err->id, "token-not-found") == 0 ||
                       strcmp(err->id, "token-verifier-error") == 0);
}

/* A denial of sample evidence is what nearly every newcomer meets first. */
static void explain_denial(const struct prop_kbs_attest *how, struct prop_err *err)
{
    if (err->code != PROP_E_DENIED || how->tee != PROP_TEE_SAMPLE || !err->id ||
        strcmp(err->id, "policy-deny") != 0)
        return;
    err->hint[0] = 0;
    (void)prop_err_hint(err, "a KBS denies sample evidence by default, and everybody a key that no rule "
                             "names; on a test server add a rule with tee = \"sample\" for this key "
                             "(propkey policy build, policy set)");
}

static int fetch_attested(struct prop_kbs *k, const struct prop_kbs_attest *how, const char *path,
                          struct prop_secret **ret, struct prop_err *err)
{
    bool reused = session_fits(k, how);
    for (;;) {
        int rc = reused ? 0 : handshake(k, how, NULL, err);
        if (rc == 0)
            rc = fetch(k, path, k->session.cookie, NULL, session_key(k, how), ret, err);
        /* An old session may have run out on the server: one new one, then the answer counts. */
        if (rc == 0 || !reused || !session_lost(err))
            return rc;
        prop_err_clear(err);
        reused = false;
    }
}

int prop_kbs_get_resource(struct prop_kbs *k, const struct prop_kbs_attest *how,
                          const struct prop_resource_id *id, struct prop_secret **ret,
                          struct prop_err *err)
{
    struct prop_err local = PROP_ERR_INIT;
    prop_auto_free char *path = NULL;
    int rc = prop_kbs_resource_path(k, id, &path, &local);
    if (rc == 0)
        rc = fetch_attested(k, how, path, ret, &local);
    if (rc < 0) {
        explain_denial(how, &local);
        (void)prop_err_wrap(&local, "get '%s/%s/%s'", id->repo, id->type, id->tag);
        if (err)
            *err = local;
    }
    return rc;
}

int prop_kbs_get_resource_with_token(struct prop_kbs *k, const char *token,
                                     const struct prop_pkey *tee_key,
                                     const struct prop_resource_id *id, struct prop_secret **ret,
                                     struct prop_err *err)
{
    static const char prefix[] = "Bearer ";
    prop_auto_free char *path = NULL;
    prop_auto_secret struct prop_secret *bearer = NULL;
    int rc = prop_kbs_resource_path(k, id, &path, err);
    if (rc == 0)
        rc = prop_secret_new(sizeof(prefix) - 1 + strlen(token), &bearer, err);
    if (rc == 0) {
        memcpy(prop_secret_bytes(bearer), prefix, sizeof(prefix) - 1);
        memcpy(prop_secret_bytes(bearer) + sizeof(prefix) - 1, token, strlen(token));
        rc = fetch(k, path, NULL, bearer, tee_key, ret, err);
    }
    return PROP_KBS_WRAP(rc, err, "get '%s/%s/%s'", id->repo, id->type, id->tag);
}
