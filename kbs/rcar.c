/* The attestation handshake: request, challenge, attestation, response (kbs.md 2), and fetching
 * resources through the session it makes. */
#include "kbs/internal.h"

#include "jose/jwe.h"
#include "jose/jwk.h"
#include "tee/binding.h"
#include "tee/check.h"
#include "util/encode.h"
#include "util/mem.h"

#include <string.h>
#include <strings.h>

enum { NONCE_MAX = 4096 };

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
    uint64_t sent = prop_kbs_clock_ms();
    int rc = prop_kbs_send(k, &rq, &a, err);
    if (rc < 0)
        return rc;
    if (call == PROP_KBS_AUTH)
        rc = prop_kbs_session_take_cookie(&k->session, &a, sent, err);
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

/* Evidence of the one device there is for tests: bound to nonce and key alone, since it cannot contain
 * its own hash (attestation.md 3.1). The text is hashed as it is sent. */
static int device_evidence(const char *nonce, const json_t *jwk, char **ret, struct prop_err *err)
{
    struct prop_digest bound;
    int rc = prop_tee_report_data(nonce, jwk, NULL, &bound, err);
    if (rc < 0)
        return rc;
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, bound.bytes, bound.len);
    prop_auto_json json_t *o = b64 ? json_pack("{s:{s:s,s:s}}", "sampledevice", "svn", "2",
                                               "report_data", b64) : NULL;
    *ret = o ? prop_json_compact(o) : NULL;
    return *ret ? 0 : prop_err_nomem(err);
}

/* What is bound to the evidence, and the evidence. */
struct attestation {
    json_t *jwk;
    char *additional;
    struct prop_tee_answer evidence;
};

static void attestation_release(struct attestation *t)
{
    json_decref(t->jwk);
    prop_free(t->additional);
    prop_tee_answer_release(&t->evidence);
}
#define auto_attestation __attribute__((cleanup(attestation_release)))

static int collect(const struct prop_kbs *k, const struct prop_kbs_attest *how,
                   const struct prop_initdata *pins, const char *nonce, struct attestation *t,
                   struct prop_err *err)
{
    struct prop_tee_ask ask = { .tee = how->tee, .allow_debug = how->allow_debug, .init_data = pins };
    const struct prop_pkey *key = prop_kbs_session_key(&k->session, how);
    struct prop_digest bound;
    int rc = prop_jwk_export(key, false, prop_kbs_key_alg(key), &t->jwk, err);
    if (rc == 0 && how->sample_device && how->tee == PROP_TEE_SAMPLE)
        rc = device_evidence(nonce, t->jwk, &t->additional, err);
    if (rc == 0)
        rc = prop_tee_report_data(nonce, t->jwk, t->additional ? t->additional : "", &bound, err);
    if (rc < 0)
        return rc;
    memcpy(ask.report_data, bound.bytes, sizeof(ask.report_data));
    rc = prop_tee_evidence(&ask, &t->evidence, err);
    return rc < 0 ? rc : prop_tee_checks_verdict(&t->evidence.checks, err);
}

/* The body of POST /attest. */
static int attestation_json(const struct prop_kbs_attest *how, const char *nonce,
                            const struct attestation *t, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *init =
        how->init_data ? json_pack("{s:s,s:s}", "format", "toml", "body", how->init_data)
                       : json_null();
    if (!init)
        return prop_err_set(err, PROP_E_INPUT, "the init-data is not UTF-8 text");
    json_t *o = json_pack("{s:O,s:{s:s,s:O},s:{s:O,s:s}}", "init-data", init, "runtime-data", "nonce",
                          nonce, "tee-pubkey", t->jwk, "tee-evidence", "primary_evidence",
                          t->evidence.json, "additional_evidence",
                          t->additional ? t->additional : "");
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

static int send_attestation(struct prop_kbs *k, const json_t *body, struct prop_buf *token,
                            struct prop_err *err)
{
    prop_auto_json json_t *answer = NULL;
    uint64_t sent = prop_kbs_clock_ms();
    int rc = post(k, PROP_KBS_ATTEST, "/attest", body, &answer, err);
    if (rc < 0)
        return rc;
    const char *text = json_string_value(json_object_get(answer, "token"));
    if (!is_token(text)) /* it goes to terminals and into headers: a JWT's characters, no others */
        return prop_err_set_id(err, PROP_E_REMOTE, "no-token",
                               "the key broker took the evidence and gave no token");
    rc = prop_kbs_session_take_token(&k->session, text, sent, err);
    if (rc == 0 && token)
        rc = prop_buf_puts(token, text, err);
    k->session.attested = rc == 0;
    return rc;
}

/* The server does not say why: what our own checks found wanting is the likeliest cause. */
static void explain_refusal(const struct prop_tee_checks *checks, int rc, struct prop_err *err)
{
    const char *warning = prop_tee_checks_warning(checks);
    if (rc != PROP_E_AUTH || !err || !warning)
        return;
    err->hint[0] = 0;
    (void)prop_err_hint(err, "its own checks are in the server's log; here, %s", warning);
}

/* Init-data is believed only when the launch bound it, and that is found out before anybody whom it may
 * name is spoken to. Sample evidence has no launch: the document goes along as it is. */
static int check_init_data(const struct prop_kbs_attest *how, struct prop_initdata *ret,
                           const struct prop_initdata **ret_pins, struct prop_err *err)
{
    if (!how->init_data || how->tee == PROP_TEE_SAMPLE)
        return 0;
    int rc = prop_initdata_read(how->init_data, strlen(how->init_data), "init-data", ret, err);
    if (rc == 0)
        rc = prop_tee_check_init_data(how->tee, ret, err);
    if (rc == 0)
        *ret_pins = ret;
    return rc;
}

static int handshake(struct prop_kbs *k, const struct prop_kbs_attest *how, struct prop_buf *token,
                     struct prop_err *err)
{
    prop_auto_json json_t *answer = NULL;
    prop_auto_json json_t *body = NULL;
    auto_attestation struct attestation t = { NULL, NULL, PROP_TEE_ANSWER_INIT };
    struct challenge c = { NULL, NULL };
    struct prop_initdata document;
    const struct prop_initdata *pins = NULL;
    int rc = check_init_data(how, &document, &pins, err);
    if (rc == 0)
        rc = prop_kbs_session_begin(&k->session, how, err);
    if (rc == 0)
        rc = request_challenge(k, how->tee, &answer, err);
    if (rc == 0)
        rc = read_challenge(answer, &c, err);
    if (rc == 0)
        rc = collect(k, how, pins, c.nonce, &t, err);
    if (rc == 0)
        rc = attestation_json(how, c.nonce, &t, &body, err);
    if (rc == 0) {
        rc = send_attestation(k, body, token, err);
        explain_refusal(&t.evidence.checks, rc, err);
    }
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
    bool reused = prop_kbs_session_fits(&k->session, how);
    for (;;) {
        const struct prop_secret *cookie = NULL, *bearer = NULL;
        int rc = reused ? 0 : handshake(k, how, NULL, err);
        if (rc == 0) {
            prop_kbs_session_proof(&k->session, &cookie, &bearer);
            rc = fetch(k, path, cookie, bearer, prop_kbs_session_key(&k->session, how), ret, err);
        }
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
