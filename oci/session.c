/* Reaching a registry: plain HTTP or TLS, its certificates, and the answer to a 401. Credentials go
 * to the registry itself and to the token server it names, and nowhere else. */
#include "oci/session.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRIES 3

/* "host[:port]" without its port. */
static void host_of(const char *domain, char *out, size_t size)
{
    const char *colon = strrchr(domain, ':');
    const char *start = domain;
    size_t len = strlen(domain);

    if (colon != NULL && strchr(colon, ']') == NULL)
        len = (size_t)(colon - domain);
    if (start[0] == '[' && len >= 2 && start[len - 1] == ']') {
        start++;
        len -= 2;
    }
    snprintf(out, size, "%.*s", (int)len, start);
}

static bool listed_insecure(const struct prop_oci_options *o, const char *domain, const char *host)
{
    for (size_t i = 0; i < o->n_insecure; i++) {
        if (strcmp(o->insecure_registries[i], domain) == 0 ||
            strcmp(o->insecure_registries[i], host) == 0)
            return true;
    }
    return false;
}

/* The certs.d folder of a host, the first that exists; NULL when there is none. */
static int find_cert_dir(const char *domain, char **ret, struct prop_err *err)
{
    static const char *const roots[] = { "/etc/containers/certs.d", "/etc/docker/certs.d" };
    const char *home = getenv("HOME");

    for (size_t i = 0; i <= PROP_ARRAY_LEN(roots); i++) {
        prop_auto_free char *dir = NULL;

        if (i == 0 && home == NULL)
            continue;
        dir = i == 0 ? prop_asprintf("%s/.config/containers/certs.d/%s", home, domain)
                     : prop_asprintf("%s/%s", roots[i - 1], domain);
        if (dir == NULL)
            return prop_err_nomem(err);
        if (access(dir, X_OK) == 0) {
            *ret = PROP_TAKE(dir);
            return 0;
        }
    }
    return 0;
}

static int open_http(struct prop_session *s, const struct prop_oci_options *o, struct prop_err *err)
{
    struct prop_http_config c = { .user_agent = o->user_agent, .no_proxy = o->no_proxy,
                                  .extra_ca = o->ca_cert, .extra_ca_dir = o->cert_dir,
                                  .stall_timeout_ms = o->stall_timeout_ms,
                                  .max_retries = RETRIES };
    prop_auto_free char *found = NULL;
    char host[256];
    const char *wire = strcmp(s->domain, "docker.io") == 0 ? "registry-1.docker.io" : s->domain;
    bool plain;
    int rc = 0;

    host_of(s->domain, host, sizeof(host));
    if (c.extra_ca_dir == NULL)
        rc = find_cert_dir(s->domain, &found, err);
    if (rc < 0)
        return rc;
    if (c.extra_ca_dir == NULL)
        c.extra_ca_dir = found;
    c.allow_http = listed_insecure(o, s->domain, host);
    /* loopback speaks plain HTTP unless certificates were named for it */
    plain = c.allow_http ||
            (prop_host_is_loopback(host) && c.extra_ca_dir == NULL && c.extra_ca == NULL);
    s->origin = prop_asprintf("%s://%s", plain ? "http" : "https", wire);
    if (s->origin == NULL)
        return prop_err_nomem(err);
    return prop_http_new(&c, &s->http, err);
}

static int fill(struct prop_session *s, const char *domain, const char *path,
                const struct prop_oci_options *opts, struct prop_err *err)
{
    s->domain = prop_strdup(domain);
    s->path = path != NULL ? prop_strdup(path) : NULL;
    s->authfile = opts->authfile != NULL ? prop_strdup(opts->authfile) : NULL;
    if (s->domain == NULL || (path != NULL && s->path == NULL) ||
        (opts->authfile != NULL && s->authfile == NULL))
        return prop_err_nomem(err);
    return open_http(s, opts, err);
}

int prop_session_new(const char *domain, const char *path, const struct prop_oci_options *opts,
                     struct prop_session **ret, struct prop_err *err)
{
    struct prop_session *s = prop_zalloc(sizeof(*s));
    int rc;

    if (s == NULL)
        return prop_err_nomem(err);
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
    prop_secret_free(s->basic);
    prop_credentials_release(&s->cred);
    prop_http_free(s->http);
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

const struct prop_secret *prop_session_authorization(struct prop_session *s, const char *scope)
{
    const struct prop_token *t = find_token(s, scope);

    if (t != NULL && t->expires_ms > prop_now_ms())
        return t->authorization;
    return s->basic;
}

static int keep_token(struct prop_session *s, const char *scope, struct prop_secret *value,
                      uint64_t expires_ms, struct prop_err *err)
{
    struct prop_token *t = find_token(s, scope), fresh;

    if (t == NULL) {
        t = prop_realloc_array(s->tokens, s->n_tokens + 1, sizeof(*t));
        fresh.scope = prop_strdup(scope != NULL ? scope : "");
        fresh.authorization = NULL;
        if (t != NULL)
            s->tokens = t;
        if (t == NULL || fresh.scope == NULL) {
            prop_free(fresh.scope);
            prop_secret_free(value);
            return prop_err_nomem(err);
        }
        t = &s->tokens[s->n_tokens++];
        *t = fresh;
    }
    prop_secret_free(t->authorization);
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
    prop_secret_free(s->basic);
    s->basic = PROP_TAKE(basic);
    return 0;
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

int prop_session_do(struct prop_session *s, struct prop_http_request *rq, const char *scope,
                    struct prop_http_answer *ret, struct prop_err *err)
{
    const struct prop_secret *sent = prop_session_authorization(s, scope);
    bool sent_basic = sent != NULL && sent == s->basic;
    int rc;

    rq->authorization = sent;
    rc = prop_http_do(s->http, rq, ret, err);
    /* a 401 from elsewhere (after a redirect) is never answered with our credentials */
    if (rc < 0 || ret->status != 401 || sent_basic ||
        prop_http_header(ret, "www-authenticate", 0) == NULL ||
        !prop_url_same_origin(ret->effective_url, s->origin))
        return rc;
    rc = answer_challenge(s, ret, scope, err);
    if (rc < 0)
        return rc;
    rq->authorization = prop_session_authorization(s, scope);
    return prop_http_do(s->http, rq, ret, err);
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
