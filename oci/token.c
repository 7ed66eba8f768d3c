/* The Bearer token flow (registry.md 3.2 to 3.5). Refuses token servers that would lead credentials
 * to a place the registry has no business naming. */
#include "oci/session.h"

#include "util/buf.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define TOKEN_SECONDS_MIN 60
#define TOKEN_SECONDS_MAX (24 * 3600)
#define REFRESH_EARLY_MS 5000u
#define USABLE_MS 1000u

static void wipe_buf(struct prop_buf *b)
{
    if (b->data != NULL)
        prop_wipe(b->data, b->cap);
    prop_buf_release(b);
}
#define auto_wiped_buf __attribute__((cleanup(wipe_buf)))

static void wipe_answer(struct prop_http_answer *a)
{
    if (a->body.data != NULL)
        prop_wipe(a->body.data, a->body.cap);
    prop_http_answer_release(a);
}
#define auto_wiped_answer __attribute__((cleanup(wipe_answer)))

static bool private_v4(uint32_t a)
{
    return a >> 24 == 10 || a >> 24 == 127 || a >> 24 == 0 || a >> 20 == 0xac1 ||
           a >> 16 == 0xc0a8 || a >> 16 == 0xa9fe || a >> 22 == (0x64400000u >> 22);
}

/* Loopback, link-local and private addresses: where a foreign registry must not send us. */
static bool is_inside(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (prop_host_is_loopback(host))
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return private_v4(ntohl(v4.s_addr));
    if (inet_pton(AF_INET6, host, &v6) != 1)
        return false;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
        uint32_t mapped;

        memcpy(&mapped, &v6.s6_addr[12], sizeof(mapped));
        return private_v4(ntohl(mapped));
    }
    return (v6.s6_addr[0] & 0xfe) == 0xfc || IN6_IS_ADDR_LINKLOCAL(&v6) ||
           IN6_IS_ADDR_UNSPECIFIED(&v6);
}

static int bad_realm(struct prop_err *err, const char *why)
{
    return prop_err_set_id(err, PROP_E_REMOTE, "bad-realm",
                           "the registry names a token server that is not trusted: %s", why);
}

static int check_realm(const struct prop_session *s, const char *realm, struct prop_err *err)
{
    char host[256], own[256];
    int rc = prop_url_host(realm, host, sizeof(host), err);

    if (rc < 0)
        return bad_realm(err, "no http or https URL");
    rc = prop_url_host(s->origin, own, sizeof(own), err);
    if (rc < 0)
        return rc;
    if (prop_starts_with(s->origin, "https:") && strncasecmp(realm, "https:", 6) != 0)
        return bad_realm(err, "plain http, while the registry is https");
    if (is_inside(host) && strcmp(host, own) != 0 &&
        !(prop_host_is_loopback(host) && prop_host_is_loopback(own)))
        return bad_realm(err, "a private address");
    return 0;
}

/* "name=value" with its separator, escaped. */
static int add_param(struct prop_buf *b, char separator, const char *name, const char *value,
                     struct prop_err *err)
{
    char *escaped = prop_url_escape(value);
    int rc;

    if (escaped == NULL)
        return prop_err_nomem(err);
    rc = prop_buf_printf(b, err, "%c%s=", separator, name);
    if (rc == 0)
        rc = prop_buf_puts(b, escaped, err);
    prop_wipe(escaped, strlen(escaped));
    prop_free(escaped);
    return rc;
}

/* The scopes of a list, each as a parameter of its own. */
static int add_scopes(struct prop_buf *b, char separator, const char *scopes, struct prop_err *err)
{
    prop_auto_free char *work = scopes != NULL ? prop_strdup(scopes) : NULL;
    char *rest = work;
    int rc = scopes != NULL && work == NULL ? prop_err_nomem(err) : 0;

    while (rc == 0 && rest != NULL && *rest != '\0') {
        char *one = strsep(&rest, " ");

        if (*one != '\0')
            rc = add_param(b, separator, "scope", one, err);
        separator = '&';
    }
    return rc;
}

static int ask(struct prop_session *s, const struct prop_http_request *rq,
               struct prop_http_answer *ret, struct prop_err *err)
{
    struct prop_http *h = NULL;
    int rc;

    if (s->via != NULL)
        return prop_http_do(s->via, rq, ret, err);
    rc = prop_session_take_http(s, &h, err);
    if (rc == 0)
        rc = prop_http_do(h, rq, ret, err);
    prop_session_give_http(s, h);
    return rc;
}

static int token_by_get(struct prop_session *s, const struct prop_challenge *c, const char *scope,
                        struct prop_http_answer *ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf url = PROP_BUF_INIT(16384);
    prop_auto_secret struct prop_secret *basic = NULL;
    char sep = strchr(c->realm, '?') != NULL ? '&' : '?';
    struct prop_http_request rq = { .method = "GET", .max_body = PROP_LIMIT_TOKEN_ANSWER,
                                    .idempotent = true, .follow = true };
    int rc = prop_buf_puts(&url, c->realm, err);

    if (rc == 0 && c->service != NULL) {
        rc = add_param(&url, sep, "service", c->service, err);
        sep = '&';
    }
    if (rc == 0)
        rc = add_scopes(&url, sep, scope, err);
    if (rc == 0 && s->cred.kind == PROP_CRED_PASSWORD) {
        rc = add_param(&url, strchr(prop_buf_str(&url), '?') != NULL ? '&' : '?', "account",
                       s->cred.user, err);
        if (rc == 0)
            rc = prop_credentials_basic(&s->cred, &basic, err);
    }
    if (rc < 0)
        return rc;
    rq.url = prop_buf_str(&url);
    rq.authorization = basic;
    return ask(s, &rq, ret, err);
}

static int token_by_post(struct prop_session *s, const struct prop_challenge *c, const char *scope,
                         struct prop_http_answer *ret, struct prop_err *err)
{
    static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded",
                                           NULL };
    auto_wiped_buf struct prop_buf form = PROP_BUF_INIT(PROP_LIMIT_TOKEN_ANSWER);
    struct prop_http_request rq = { .method = "POST", .url = c->realm, .headers = headers,
                                    .max_body = PROP_LIMIT_TOKEN_ANSWER, .idempotent = true };
    int rc = prop_buf_puts(&form, "grant_type=refresh_token&client_id=proppush", err);

    if (rc == 0 && c->service != NULL)
        rc = add_param(&form, '&', "service", c->service, err);
    if (rc == 0)
        rc = add_scopes(&form, '&', scope, err);
    if (rc == 0)
        rc = add_param(&form, '&', "refresh_token", (const char *)prop_secret_data(s->cred.secret),
                       err);
    if (rc < 0)
        return rc;
    rq.body = form.data;
    rq.body_len = form.len;
    return ask(s, &rq, ret, err);
}

static int token_refused(const struct prop_session *s, const struct prop_http_answer *a,
                         struct prop_err *err)
{
    bool identity = s->cred.kind == PROP_CRED_IDENTITY_TOKEN;

    if (identity && (a->status == 404 || a->status == 405))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "identity-token",
                               "the token server of '%s' cannot use an identity token", s->domain);
    if (a->status == 400 || a->status == 401) {
        prop_err_set_id(err, PROP_E_AUTH, "unauthorized", "'%s' did not accept the credentials%s",
                        s->domain, s->cred.kind == PROP_CRED_NONE ? " (none are known)" : "");
        prop_err_hint(err, "proppush login %s", s->domain);
        if (err != NULL)
            err->http_status = a->status;
        return PROP_E_AUTH;
    }
    return prop_session_refused(s, a, "token server", "token-server", err);
}

struct token_answer {
    const char *token, *access_token;
    json_t *expires_in, *issued_at;
};

/* RFC 3339 section 5.6; false for anything else. */
static bool read_time(const char *text, time_t *ret)
{
    struct tm tm = { 0 };
    int n = 0, hours = 0, minutes = 0;
    char sign = 'Z';

    if (text == NULL || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &n) != 6)
        return false;
    text += n;
    if (*text == '.')
        text += 1 + strspn(text + 1, "0123456789");
    if (*text != 'Z' && *text != 'z' &&
        sscanf(text, "%c%2d:%2d", &sign, &hours, &minutes) != 3)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret = timegm(&tm) - (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

/* How long it has been valid, by the server's clock and ours: what lies in the future counts from now. */
static uint64_t age_ms(const struct token_answer *t)
{
    time_t issued, now = prop_wall_time();

    if (!read_time(json_string_value(t->issued_at), &issued) || issued >= now)
        return 0;
    return (uint64_t)(now - issued) * 1000;
}

static int read_token(const struct prop_http_answer *a, struct prop_secret **ret,
                      uint64_t *ret_expires_ms, struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "token", PROP_JSON_STRING, offsetof(struct token_answer, token), PROP_JSON_NULLABLE },
        { "access_token", PROP_JSON_STRING, offsetof(struct token_answer, access_token),
          PROP_JSON_NULLABLE },
        { "expires_in", PROP_JSON_ANY, offsetof(struct token_answer, expires_in),
          PROP_JSON_NULLABLE },
        { "issued_at", PROP_JSON_ANY, offsetof(struct token_answer, issued_at),
          PROP_JSON_NULLABLE },
    };
    struct token_answer t = { NULL, NULL, NULL, NULL };
    prop_auto_json json_t *json = NULL;
    prop_auto_secret struct prop_secret *value = NULL;
    json_int_t seconds;
    uint64_t life;
    int rc = prop_json_parse(prop_buf_str(&a->body), a->body.len, "the token server's answer",
                             &json, err);

    if (rc == 0)
        rc = prop_json_read(json, "the token server's answer", fields, PROP_ARRAY_LEN(fields), &t,
                            err);
    if (rc == 0 && t.token == NULL)
        t.token = t.access_token;
    if (rc < 0 || t.token == NULL || t.token[0] == '\0')
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-token-answer",
                               "the token server's answer holds no token");
    rc = prop_secret_new(strlen("Bearer ") + strlen(t.token), &value, err);
    if (rc < 0)
        return rc;
    memcpy(prop_secret_bytes(value), "Bearer ", 7);
    memcpy(prop_secret_bytes(value) + 7, t.token, strlen(t.token));
    seconds = json_is_number(t.expires_in) ? (json_int_t)json_number_value(t.expires_in) : 0;
    if (seconds < TOKEN_SECONDS_MIN)
        seconds = TOKEN_SECONDS_MIN;
    if (seconds > TOKEN_SECONDS_MAX)
        seconds = TOKEN_SECONDS_MAX;
    life = (uint64_t)seconds * 1000 - REFRESH_EARLY_MS;
    /* a clock that is wrong must not make it useless for the request that it was asked for */
    life = age_ms(&t) + USABLE_MS < life ? life - age_ms(&t) : USABLE_MS;
    *ret_expires_ms = prop_now_ms() + life;
    *ret = PROP_TAKE(value);
    return 0;
}

int prop_session_fetch_token(struct prop_session *s, const struct prop_challenge *c,
                             const char *scope, struct prop_secret **ret, uint64_t *ret_expires_ms,
                             struct prop_err *err)
{
    auto_wiped_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    int rc;

    if (c->realm == NULL)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-challenge",
                               "the registry's Bearer challenge names no realm");
    rc = check_realm(s, c->realm, err);
    if (rc < 0)
        return rc;
    rc = s->cred.kind == PROP_CRED_IDENTITY_TOKEN ? token_by_post(s, c, scope, &a, err)
                                                  : token_by_get(s, c, scope, &a, err);
    if (rc == PROP_E_USAGE) /* http's own refusal, though nobody here asked for it */
        return bad_realm(err, "plain http to a host that was not allowed it");
    if (rc < 0)
        return prop_err_wrap(err, "token server");
    if (a.status != 200)
        return token_refused(s, &a, err);
    return read_token(&a, ret, ret_expires_ms, err);
}
