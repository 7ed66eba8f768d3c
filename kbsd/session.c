/* Sessions live in the tables only, so a handshake survives a restart between its steps. */
#include "kbsd/session.h"

#include "crypto/random.h"
#include "kbsd/appraise.h"
#include "kbsd/token.h"
#include "kbsd/verify.h"
#include "util/encode.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define NONCE_BYTES 32
#define ERR_ATTESTATION "AttestationError"
#define AUTH_FAILED "Attestation error: RCAR handshake Auth failed: "
#define ATTEST_FAILED "Attestation error: RCAR handshake Attest failed"

/* A number without leading zeros that fits 64 bits; the end of it, or NULL. */
static const char *semver_number(const char *s, uint64_t *ret)
{
    uint64_t v = 0;
    const char *p = s;

    while (*p >= '0' && *p <= '9') {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return NULL;
        p++;
    }
    if (p == s || (*s == '0' && p - s > 1))
        return NULL;
    *ret = v;
    return p;
}

/* Dot-separated identifiers; numeric ones of a pre-release have no leading zero. */
static const char *semver_identifiers(const char *s, bool pre_release)
{
    for (;;) {
        const char *start = s;
        bool digits = true;
        while ((*s >= '0' && *s <= '9') || (*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z') ||
               *s == '-') {
            digits = digits && *s >= '0' && *s <= '9';
            s++;
        }
        if (s == start || (pre_release && digits && *start == '0' && s - start > 1))
            return NULL;
        if (*s != '.')
            return s;
        s++;
    }
}

bool prop_kbsd_version_matches(const char *version, bool *ret_parsed)
{
    uint64_t n[3] = { 0, 0, 0 };
    const char *p = version;
    bool pre = false;

    for (size_t i = 0; p != NULL && i < 3; i++) {
        p = semver_number(p, &n[i]);
        if (p != NULL && i < 2)
            p = *p == '.' ? p + 1 : NULL;
    }
    if (p != NULL && *p == '-') {
        pre = true;
        p = semver_identifiers(p + 1, true);
    }
    if (p != NULL && *p == '+')
        p = semver_identifiers(p + 1, false);
    *ret_parsed = p != NULL && *p == '\0';
    return *ret_parsed && !pre && n[0] == 0 && n[1] == 4 && n[2] == 0;
}

static int set_cookie(struct prop_kbsd_reply *r, const struct prop_kbsdb_session *s,
                      struct prop_err *err)
{
    char date[30];

    prop_http_date((time_t)s->expires_s, date);
    prop_free(r->cookie);
    r->cookie = prop_asprintf(PROP_KBSD_COOKIE "=%s; Expires=%s", s->id, date);
    return r->cookie != NULL ? 0 : prop_err_nomem(err);
}

/* Answer with a JSON object and the session's cookie. */
static int reply_json(struct prop_kbsd_reply *r, const json_t *doc,
                      const struct prop_kbsdb_session *s, struct prop_err *err)
{
    prop_auto_free char *text = doc != NULL ? prop_json_compact(doc) : NULL;

    if (text == NULL)
        return prop_err_nomem(err);
    prop_kbsd_reply_ok(r, "application/json", text, strlen(text));
    return set_cookie(r, s, err);
}

struct auth_request { const char *version, *tee; json_t *extra; };

static int open_session(struct prop_kbsd *k, const struct auth_request *in,
                        struct prop_kbsdb_session *s, struct prop_err *err)
{
    uint8_t id[16];
    uint8_t nonce[NONCE_BYTES];

    prop_random(id, sizeof(id));
    prop_random(nonce, sizeof(nonce));
    prop_hex_encode(id, sizeof(id), s->id);
    s->tee = prop_strdup(in->tee);
    s->nonce = prop_b64_encode(PROP_B64_STD, nonce, sizeof(nonce));
    s->expires_s = (int64_t)prop_wall_time() + (int64_t)k->session_minutes * 60;
    if (s->tee == NULL || s->nonce == NULL)
        return prop_err_nomem(err);
    return prop_kbsdb_session_put(k->db, s, err);
}

/* Read and judge the request; *ret_reason is what the answer says when it is refused. */
static int read_auth(const struct prop_kbsd_request *q, json_t **ret_doc,
                     struct auth_request *in, const char **ret_reason, struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "version", PROP_JSON_STRING, offsetof(struct auth_request, version),
          PROP_JSON_REQUIRED },
        { "tee", PROP_JSON_STRING, offsetof(struct auth_request, tee), PROP_JSON_REQUIRED },
    };
    enum prop_kbsd_tee kind = PROP_KBSD_TEE_UNKNOWN;
    bool parsed = false;

    *ret_reason = "deserialize Request";
    int rc = prop_json_parse(prop_buf_str(&q->body), q->body.len, "request", ret_doc, err);
    if (rc == 0)
        rc = prop_json_read(*ret_doc, "request", fields, PROP_ARRAY_LEN(fields), in, err);
    if (rc == 0)
        kind = prop_kbsd_tee_kind(in->tee);
    if (rc == 0 && (kind == PROP_KBSD_TEE_UNKNOWN ||
                    json_object_get(*ret_doc, "extra-params") == NULL))
        rc = prop_err_set(err, PROP_E_INPUT, "request: unknown tee, or no extra-params");
    if (rc != 0)
        return rc;
    if (!prop_kbsd_version_matches(in->version, &parsed)) {
        *ret_reason = parsed ? NULL : "failed to parse KBS version";
        return prop_err_set(err, PROP_E_UNSUPPORTED, "protocol version '%.60s'", in->version);
    }
    if (kind == PROP_KBSD_TEE_NO_CHALLENGE) {
        *ret_reason = "Attestation Service generate challenge failed";
        return prop_err_set(err, PROP_E_UNSUPPORTED, "no verifier for '%s' here", in->tee);
    }
    return 0;
}

void prop_kbsd_auth(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                    struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    struct auth_request in = { NULL, NULL, NULL };
    prop_auto_kbsdb_session struct prop_kbsdb_session s = { .token = NULL };
    prop_auto_json json_t *doc = NULL;
    const char *reason = NULL;

    prop_kbsd_count(&k->metrics, PROP_KBSD_AUTH_REQUESTS);
    if (read_auth(q, &doc, &in, &reason, &err) != 0) {
        prop_kbsd_count(&k->metrics, PROP_KBSD_AUTH_ERRORS);
        if (reason != NULL)
            prop_kbsd_refuse(r, ERR_ATTESTATION, &err, AUTH_FAILED "%s", reason);
        else
            prop_kbsd_refuse(r, ERR_ATTESTATION, &err,
                             AUTH_FAILED "KBS Client Protocol Version Mismatch: expect =0.4.0 "
                             "while the request is %s", in.version);
        return;
    }
    int rc = open_session(k, &in, &s, &err);
    prop_auto_json json_t *out = json_pack("{s:s,s:s}", "nonce", s.nonce != NULL ? s.nonce : "",
                                           "extra-params", "");
    if (rc == 0)
        rc = reply_json(r, out, &s, &err);
    if (rc == 0)
        prop_kbsd_count(&k->metrics, PROP_KBSD_AUTH_SUCCESSES);
    else
        prop_kbsd_refuse(r, ERR_ATTESTATION, &err, AUTH_FAILED "store session");
}

/* The Attestation message, borrowed from its document but for the typed key. */
struct attestation {
    json_t *init_data; /* NULL = none */
    const char *nonce, *additional;
    json_t *primary;
    json_t *tee_pubkey; /* owned */
};

static int read_attestation(const json_t *doc, struct attestation *a, struct prop_err *err)
{
    struct { json_t *runtime, *evidence, *pubkey; } p = { NULL, NULL, NULL };
    static const struct prop_json_field top[] = {
        { "runtime-data", PROP_JSON_OBJECT, 0, PROP_JSON_REQUIRED },
        { "tee-evidence", PROP_JSON_OBJECT, sizeof(json_t *), PROP_JSON_REQUIRED },
    };
    static const struct prop_json_field init[] = {
        { "init-data", PROP_JSON_OBJECT, offsetof(struct attestation, init_data),
          PROP_JSON_NULLABLE },
    };
    static const struct prop_json_field runtime[] = {
        { "nonce", PROP_JSON_STRING, offsetof(struct attestation, nonce), PROP_JSON_REQUIRED },
    };
    static const struct prop_json_field evidence[] = {
        { "additional_evidence", PROP_JSON_STRING, offsetof(struct attestation, additional),
          PROP_JSON_REQUIRED },
    };

    int rc = prop_json_read(doc, "attestation", top, PROP_ARRAY_LEN(top), &p, err);
    if (rc == 0)
        rc = prop_json_read(doc, "attestation", init, PROP_ARRAY_LEN(init), a, err);
    if (rc == 0)
        rc = prop_json_read(p.runtime, "runtime-data", runtime, PROP_ARRAY_LEN(runtime), a, err);
    if (rc == 0)
        rc = prop_json_read(p.evidence, "tee-evidence", evidence, PROP_ARRAY_LEN(evidence), a, err);
    if (rc != 0)
        return rc;
    a->primary = json_object_get(p.evidence, "primary_evidence");
    p.pubkey = json_object_get(p.runtime, "tee-pubkey");
    if (a->primary == NULL || p.pubkey == NULL)
        return prop_err_set(err, PROP_E_INPUT, "attestation: no evidence, or no tee-pubkey");
    if (a->init_data != NULL && (!json_is_string(json_object_get(a->init_data, "format")) ||
                                 !json_is_string(json_object_get(a->init_data, "body"))))
        return prop_err_set(err, PROP_E_INPUT, "attestation: init-data is malformed");
    return prop_kbsd_tee_pubkey(p.pubkey, &a->tee_pubkey, err);
}

static const char *const class_names[PROP_KBSD_CLASSES] = { "cpu", "gpu" };

/* Check one piece of evidence and add its appraisal to the submodules. */
static int add_evidence(struct prop_kbsd *k, const char *tee, const json_t *evidence,
                        const json_t *runtime, const json_t *init_data,
                        unsigned used[PROP_KBSD_CLASSES], json_t *submods, bool *ret_crash,
                        struct prop_err *err)
{
    prop_auto_json json_t *annotated = NULL;
    prop_auto_json json_t *submod = NULL;
    enum prop_kbsd_class class = PROP_KBSD_CPU;
    char name[16];

    int rc = prop_kbsd_verify(tee, evidence, runtime, init_data, &annotated, &class, err);
    if (rc == 0)
        rc = prop_kbsd_appraise(k, class, annotated, &submod, ret_crash, err);
    if (rc != 0)
        return rc;
    (void)snprintf(name, sizeof(name), "%s%u", class_names[class], used[class]++);
    return json_object_set(submods, name, submod) == 0 ? 0 : prop_err_nomem(err);
}

static int add_devices(struct prop_kbsd *k, const struct attestation *a,
                       unsigned used[PROP_KBSD_CLASSES], json_t *submods, bool *ret_crash,
                       struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    prop_auto_json json_t *runtime = json_pack("{s:s,s:O}", "nonce", a->nonce, "tee-pubkey",
                                               a->tee_pubkey);
    const char *tee;
    json_t *evidence;

    if (a->additional[0] == '\0')
        return 0;
    if (runtime == NULL)
        return prop_err_nomem(err);
    int rc = prop_json_parse(a->additional, strlen(a->additional), "additional_evidence", &doc,
                             err);
    if (rc == 0 && !json_is_object(doc))
        rc = prop_err_set(err, PROP_E_INPUT, "additional_evidence is not an object");
    json_object_foreach(doc, tee, evidence) {
        if (rc == 0)
            rc = add_evidence(k, tee, evidence, runtime, NULL, used, submods, ret_crash, err);
    }
    return rc;
}

/* The submodules in the order of their names, whatever evidence came first. */
static json_t *order_submods(const json_t *submods, const unsigned used[PROP_KBSD_CLASSES])
{
    prop_auto_json json_t *out = json_object();
    char name[16];

    for (size_t class = 0; class < PROP_KBSD_CLASSES; class++) {
        for (unsigned i = 0; i < used[class]; i++) {
            (void)snprintf(name, sizeof(name), "%s%u", class_names[class], i);
            if (out == NULL || json_object_set(out, name, json_object_get(submods, name)) != 0)
                return NULL;
        }
    }
    return PROP_TAKE(out);
}

/* All evidence of one message to one token. */
static int evaluate(struct prop_kbsd *k, const struct prop_kbsdb_session *s,
                    const struct attestation *a, char **ret_token, bool *ret_crash,
                    struct prop_err *err)
{
    unsigned used[PROP_KBSD_CLASSES] = { 0, 0 };
    prop_auto_json json_t *submods = json_object();
    prop_auto_json json_t *runtime = json_pack(
        "{s:s,s:s,s:O}", "additional-evidence", a->additional, "nonce", a->nonce, "tee-pubkey",
        a->tee_pubkey);

    if (submods == NULL || runtime == NULL)
        return prop_err_nomem(err);
    int rc = add_evidence(k, s->tee, a->primary, runtime, a->init_data, used, submods, ret_crash,
                          err);
    if (rc == 0)
        rc = add_devices(k, a, used, submods, ret_crash, err);
    if (rc != 0)
        return rc;
    prop_auto_json json_t *ordered = order_submods(submods, used);
    return ordered != NULL ? prop_kbsd_token_issue(k, ordered, ret_token, err)
                           : prop_err_nomem(err);
}

static int attest_session(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                          const struct attestation *a, struct prop_kbsdb_session *s,
                          bool *ret_crash, struct prop_err *err)
{
    if (q->session_id == NULL)
        return prop_err_set(err, PROP_E_NOTFOUND, "no session cookie");
    int rc = prop_kbsdb_session_get(k->db, q->session_id, (int64_t)prop_wall_time(), s, err);
    if (rc == 0 && s->token != NULL)
        return 0;
    if (rc == 0 && strcmp(s->nonce, a->nonce) != 0)
        rc = prop_err_set(err, PROP_E_VERIFY, "nonce is not the one of the challenge");
    if (rc != 0)
        return rc;
    rc = evaluate(k, s, a, &s->token, ret_crash, err);
    if (rc != 0) {
        prop_kbsd_count_label(&k->metrics, PROP_KBSD_ATTEST_FAILURES, s->tee);
        return rc;
    }
    prop_kbsd_count_label(&k->metrics, PROP_KBSD_ATTEST_SUCCESSES, s->tee);
    return prop_kbsdb_session_put(k->db, s, err);
}

void prop_kbsd_attest(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                      struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    struct attestation a = { NULL, NULL, NULL, NULL, NULL };
    prop_auto_kbsdb_session struct prop_kbsdb_session s = { .token = NULL };
    prop_auto_json json_t *doc = NULL;
    bool crash = false;

    prop_kbsd_count(&k->metrics, PROP_KBSD_ATTEST_REQUESTS);
    int rc = prop_json_parse(prop_buf_str(&q->body), q->body.len, "attestation", &doc, &err);
    if (rc == 0)
        rc = read_attestation(doc, &a, &err);
    if (rc == 0)
        rc = attest_session(k, q, &a, &s, &crash, &err);
    if (rc == 0) {
        prop_auto_json json_t *out = json_pack("{s:s}", "token", s.token);
        rc = reply_json(r, out, &s, &err);
    }
    if (rc != 0) {
        if (s.tee == NULL) /* not even a session: an error, no failed attestation */
            prop_kbsd_count(&k->metrics, PROP_KBSD_ATTEST_ERRORS);
        prop_kbsd_refuse(r, ERR_ATTESTATION, &err, ATTEST_FAILED);
        r->drop = r->drop || crash;
    }
    json_decref(a.tee_pubkey);
}

int prop_kbsd_session_token(struct prop_kbsd *k, const struct prop_kbsd_request *q, char **ret,
                            struct prop_err *err)
{
    prop_auto_kbsdb_session struct prop_kbsdb_session s = { .token = NULL };

    if (q->session_id == NULL)
        return prop_err_set(err, PROP_E_NOTFOUND, "no session cookie");
    int rc = prop_kbsdb_session_get(k->db, q->session_id, (int64_t)prop_wall_time(), &s, err);
    if (rc == 0 && s.token == NULL)
        rc = prop_err_set(err, PROP_E_NOTFOUND, "session is not attested");
    if (rc == 0)
        *ret = PROP_TAKE(s.token);
    return rc;
}
