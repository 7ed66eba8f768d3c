/* A conversation with a registry: the answer to a 401, and what a refusal means. Credentials go to the
 * registry itself and to the token server it names, and nowhere else. */
#include "oci/session.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

static int fill(struct prop_session *s, const char *domain, const char *path,
                const struct prop_oci_options *opts, struct prop_err *err)
{
    s->domain = prop_strdup(domain);
    s->path = path != NULL ? prop_strdup(path) : NULL;
    s->authfile = opts->authfile != NULL ? prop_strdup(opts->authfile) : NULL;
    if (s->domain == NULL || (path != NULL && s->path == NULL) ||
        (opts->authfile != NULL && s->authfile == NULL))
        return prop_err_nomem(err);
    return prop_session_connect(s, opts, err);
}

int prop_session_new(const char *domain, const char *path, const struct prop_oci_options *opts,
                     struct prop_session **ret, struct prop_err *err)
{
    struct prop_session *s = prop_zalloc(sizeof(*s));
    int rc;

    if (s == NULL)
        return prop_err_nomem(err);
    if (pthread_mutex_init(&s->auth_lock, NULL) != 0 || pthread_mutex_init(&s->pool_lock, NULL) != 0) {
        prop_free(s);
        return prop_err_set(err, PROP_E_NOMEM, "no more locks");
    }
    rc = fill(s, domain, path, opts, err);
    if (rc < 0) {
        prop_session_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

static void release_token(struct prop_token *t)
{
    prop_free(t->scope);
    prop_secret_free(t->authorization);
}

void prop_session_free(struct prop_session *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_tokens; i++)
        release_token(&s->tokens[i]);
    prop_free(s->tokens);
    for (size_t i = 0; i < s->n_retired; i++)
        prop_secret_free(s->retired[i]);
    prop_free(s->retired);
    prop_secret_free(s->basic);
    prop_credentials_release(&s->cred);
    prop_session_disconnect(s);
    (void)pthread_mutex_destroy(&s->auth_lock);
    (void)pthread_mutex_destroy(&s->pool_lock);
    prop_free(s->domain);
    prop_free(s->origin);
    prop_free(s->path);
    prop_free(s->authfile);
    prop_free(s);
}

char *prop_session_url(const struct prop_session *s, const char *repository, const char *rest)
{
    return prop_asprintf("%s/v2/%s%s%s", s->origin, repository, repository[0] != '\0' ? "/" : "",
                         rest);
}

int prop_session_set_credentials(struct prop_session *s, const char *user,
                                 const struct prop_secret *password, struct prop_err *err)
{
    struct prop_credentials c = { PROP_CRED_PASSWORD, prop_strdup(user), NULL };
    int rc = c.user == NULL ? prop_err_nomem(err)
                            : prop_secret_copy(prop_secret_data(password),
                                               prop_secret_len(password), &c.secret, err);

    if (rc == 0)
        rc = prop_credentials_check(&c, err);
    if (rc < 0) {
        prop_credentials_release(&c);
        return rc;
    }
    prop_credentials_release(&s->cred);
    s->cred = c;
    s->cred_loaded = true;
    return 0;
}

static int load_credentials(struct prop_session *s, struct prop_err *err)
{
    int rc;

    if (s->cred_loaded)
        return 0;
    rc = prop_auth_lookup(s->authfile, s->domain, s->path, &s->cred, err);
    s->cred_loaded = rc == 0;
    return rc;
}

static struct prop_token *find_token(struct prop_session *s, const char *scope)
{
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (strcmp(s->tokens[i].scope, scope != NULL ? scope : "") == 0)
            return &s->tokens[i];
    }
    return NULL;
}

static const struct prop_secret *authorization(struct prop_session *s, const char *scope)
{
    const struct prop_token *t = find_token(s, scope);

    if (t != NULL && t->expires_ms > prop_now_ms())
        return t->authorization;
    return s->basic;
}

const struct prop_secret *prop_session_authorization(struct prop_session *s, const char *scope)
{
    const struct prop_secret *a;

    (void)pthread_mutex_lock(&s->auth_lock);
    a = authorization(s, scope);
    (void)pthread_mutex_unlock(&s->auth_lock);
    return a;
}

/* A value that requests of other threads may still be sending; freed with the session. */
static int retire(struct prop_session *s, struct prop_secret *value, struct prop_err *err)
{
    struct prop_secret **grown;

    if (value == NULL)
        return 0;
    grown = prop_realloc_array(s->retired, s->n_retired + 1, sizeof(*grown));
    if (grown == NULL)
        return prop_err_nomem(err);
    s->retired = grown;
    s->retired[s->n_retired++] = value;
    return 0;
}

static struct prop_token *add_token(struct prop_session *s, const char *scope)
{
    struct prop_token *grown = prop_realloc_array(s->tokens, s->n_tokens + 1, sizeof(*grown));
    char *copy = prop_strdup(scope != NULL ? scope : "");

    if (grown != NULL)
        s->tokens = grown;
    if (grown == NULL || copy == NULL) {
        prop_free(copy);
        return NULL;
    }
    s->tokens[s->n_tokens] = (struct prop_token){ copy, NULL, 0 };
    return &s->tokens[s->n_tokens++];
}

/* Takes `value`. */
static int keep_token(struct prop_session *s, const char *scope, struct prop_secret *value,
                      uint64_t expires_ms, struct prop_err *err)
{
    struct prop_token *t = find_token(s, scope);
    int rc;

    if (t == NULL)
        t = add_token(s, scope);
    rc = t == NULL ? prop_err_nomem(err) : retire(s, t->authorization, err);
    if (rc < 0) {
        prop_secret_free(value);
        return rc;
    }
    t->authorization = value;
    t->expires_ms = expires_ms;
    return 0;
}

static int answer_bearer(struct prop_session *s, const struct prop_challenge *c, const char *scope,
                         struct prop_err *err)
{
    prop_auto_free char *wanted = prop_scope_unite(scope, c->scope);
    struct prop_secret *value = NULL;
    uint64_t expires = 0;
    int rc;

    if (wanted == NULL)
        return prop_err_nomem(err);
    if (s->cred.kind == PROP_CRED_REGISTRY_TOKEN) {
        rc = prop_secret_new(7 + prop_secret_len(s->cred.secret), &value, err);
        if (rc < 0)
            return rc;
        memcpy(prop_secret_bytes(value), "Bearer ", 7);
        memcpy(prop_secret_bytes(value) + 7, prop_secret_data(s->cred.secret),
               prop_secret_len(s->cred.secret));
        expires = UINT64_MAX;
    } else {
        rc = prop_session_fetch_token(s, c, wanted, &value, &expires, err);
        if (rc < 0)
            return rc;
    }
    return keep_token(s, scope, value, expires, err);
}

static int no_credentials(const struct prop_session *s, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_AUTH, "unauthorized",
                    "'%s' asks for credentials and none are known", s->domain);
    prop_err_hint(err, "proppush login %s", s->domain);
    if (err != NULL)
        err->http_status = 401;
    return PROP_E_AUTH;
}

static int answer_basic(struct prop_session *s, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *basic = NULL;
    int rc;

    if (s->cred.kind != PROP_CRED_PASSWORD)
        return no_credentials(s, err);
    rc = prop_credentials_basic(&s->cred, &basic, err);
    if (rc < 0)
        return rc;
    rc = retire(s, s->basic, err);
    if (rc == 0)
        s->basic = PROP_TAKE(basic);
    return rc;
}

static int answer_challenge(struct prop_session *s, const struct prop_http_answer *a,
                            const char *scope, struct prop_err *err)
{
    prop_auto_challenges struct prop_challenges all = PROP_CHALLENGES_INIT;
    const struct prop_challenge *c;
    const char *header;
    int rc = load_credentials(s, err);

    for (size_t i = 0; rc == 0 && (header = prop_http_header(a, "www-authenticate", i)) != NULL;
         i++)
        rc = prop_challenges_add(&all, header, err);
    if (rc < 0)
        return rc;
    c = prop_challenges_find(&all, "bearer");
    if (c != NULL)
        return answer_bearer(s, c, scope, err);
    if (prop_challenges_find(&all, "basic") != NULL)
        return answer_basic(s, err);
    return prop_err_set_id(err, PROP_E_AUTH, "unauthorized",
                           "'%s' answered 401 without a way to authenticate that is handled",
                           s->domain);
}

int prop_session_renew(struct prop_session *s, const struct prop_http_answer *a,
                       const struct prop_secret *sent, const char *scope, bool *ret,
                       struct prop_err *err)
{
    return prop_session_renew_by(s, NULL, a, sent, scope, ret, err);
}

int prop_session_renew_by(struct prop_session *s, struct prop_http *h,
                          const struct prop_http_answer *a, const struct prop_secret *sent,
                          const char *scope, bool *ret, struct prop_err *err)
{
    int rc = 0;

    *ret = false;
    /* a 401 from elsewhere (after a redirect) is never answered with our credentials */
    if (a->status != 401 || prop_http_header(a, "www-authenticate", 0) == NULL ||
        !prop_url_same_origin(a->effective_url, s->origin))
        return 0;
    (void)pthread_mutex_lock(&s->auth_lock);
    s->via = h;
    /* somebody else may have got a new one meanwhile */
    if (authorization(s, scope) != NULL && authorization(s, scope) != sent)
        *ret = true;
    else if (sent == NULL || sent != s->basic) {
        rc = answer_challenge(s, a, scope, err);
        *ret = rc == 0;
    }
    s->via = NULL;
    (void)pthread_mutex_unlock(&s->auth_lock);
    return rc;
}

int prop_session_do(struct prop_session *s, struct prop_http_request *rq, const char *scope,
                    struct prop_http_answer *ret, struct prop_err *err)
{
    struct prop_http *h = NULL;
    bool again = false;
    int rc = prop_session_take_http(s, &h, err);

    if (rc < 0)
        return rc;
    rq->authorization = prop_session_authorization(s, scope);
    rc = prop_http_do(h, rq, ret, err);
    if (rc == 0)
        rc = prop_session_renew(s, ret, rq->authorization, scope, &again, err);
    if (again) {
        rq->authorization = prop_session_authorization(s, scope);
        rc = prop_http_do(h, rq, ret, err);
    }
    prop_session_give_http(s, h);
    if (rc == 0)
        prop_session_heed(s, ret);
    return rc;
}

/* --- refusals --- */

/* The registry's own words: the first of errors[], OAuth2's, or the body's first line. */
static void words_of(const struct prop_http_answer *a, char *out, size_t size)
{
    prop_auto_json json_t *json = NULL;
    const char *body = prop_buf_str(&a->body), *code, *message;
    json_t *first;

    out[0] = '\0';
    if (prop_json_parse(body, a->body.len, "", &json, NULL) < 0) {
        size_t len = strcspn(body, "\r\n");

        /* pages of markup say nothing to a person */
        if (body[0] != '<')
            prop_printable(body, len < 160 ? len : 160, out, size);
        return;
    }
    first = json_array_get(json_object_get(json, "errors"), 0);
    code = json_string_value(json_object_get(first, "code"));
    message = json_string_value(json_object_get(first, "message"));
    if (first == NULL) {
        code = json_string_value(json_object_get(json, "error"));
        message = json_string_value(json_object_get(json, "error_description"));
        if (message == NULL)
            message = json_string_value(json_object_get(json, "details"));
    }
    snprintf(out, size, "%.60s%s%.160s", code != NULL ? code : "",
             code != NULL && message != NULL ? ": " : "", message != NULL ? message : "");
}

static enum prop_code code_of(int status)
{
    return status == 401   ? PROP_E_AUTH
           : status == 403 ? PROP_E_DENIED
           : status == 404 ? PROP_E_NOTFOUND
                           : PROP_E_REMOTE;
}

int prop_session_refused(const struct prop_session *s, const struct prop_http_answer *a,
                         const char *what, const char *not_found, struct prop_err *err)
{
    enum prop_code code = code_of(a->status);
    const char *id = code == PROP_E_AUTH       ? "unauthorized"
                     : code == PROP_E_DENIED   ? "denied"
                     : code == PROP_E_NOTFOUND ? not_found
                     : a->status == 429        ? "rate-limited"
                     : a->status >= 500        ? "registry-error"
                                               : "registry-refused";
    char words[256];

    words_of(a, words, sizeof(words));
    prop_err_set_id(err, code, id, "%s: '%s' answered %d%s%s%s", what, s->domain, a->status,
                    words[0] != '\0' ? " (" : "", words, words[0] != '\0' ? ")" : "");
    if (code == PROP_E_AUTH)
        prop_err_hint(err, "proppush login %s", s->domain);
    if (a->status == 400 && strstr(words, "HTTP request to an HTTPS server") != NULL)
        prop_err_hint(err, "it speaks TLS: give its certificate with --registry-ca FILE");
    if (err != NULL)
        err->http_status = a->status;
    return code;
}
