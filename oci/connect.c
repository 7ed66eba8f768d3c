/* Reaching a registry: plain HTTP or TLS, its certificates, and the connections of a session. Each
 * thread that works on a blob takes a handle, with the connections it keeps open, and gives it back: the
 * one given back last is taken first, so that a single thread goes on with the connection it has. */
#include "oci/session.h"

#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRIES 3
#define WARNINGS_MAX 16

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

static int keep_text(char **to, const char *text, struct prop_err *err)
{
    *to = text != NULL ? prop_strdup(text) : NULL;
    return text != NULL && *to == NULL ? prop_err_nomem(err) : 0;
}

/* The texts of the options may not live as long as the session. */
static int configure(struct prop_session *s, const struct prop_oci_options *o, struct prop_err *err)
{
    int rc = o->cert_dir == NULL ? find_cert_dir(s->domain, &s->cert_dir, err)
                                 : keep_text(&s->cert_dir, o->cert_dir, err);

    if (rc == 0)
        rc = keep_text(&s->ca_cert, o->ca_cert, err);
    if (rc == 0)
        rc = keep_text(&s->user_agent, o->user_agent, err);
    s->config = (struct prop_http_config){ .user_agent = s->user_agent, .no_proxy = o->no_proxy,
                                           .extra_ca = s->ca_cert, .extra_ca_dir = s->cert_dir,
                                           .stall_timeout_ms = o->stall_timeout_ms,
                                           .deadline_ms = o->deadline_ms,
                                           .cancel = &s->cancelled, .max_retries = RETRIES };
    s->warn = o->warn;
    s->warn_ctx = o->warn_ctx;
    return rc;
}

int prop_session_connect(struct prop_session *s, const struct prop_oci_options *o,
                         struct prop_err *err)
{
    const char *wire = strcmp(s->domain, "docker.io") == 0 ? "registry-1.docker.io" : s->domain;
    struct prop_http *first = NULL;
    char host[256];
    bool plain;
    int rc = configure(s, o, err);

    if (rc < 0)
        return rc;
    host_of(s->domain, host, sizeof(host));
    s->config.allow_http = listed_insecure(o, s->domain, host);
    /* loopback speaks plain HTTP unless certificates were named for it */
    plain = s->config.allow_http ||
            (prop_host_is_loopback(host) && s->cert_dir == NULL && s->ca_cert == NULL);
    s->origin = prop_asprintf("%s://%s", plain ? "http" : "https", wire);
    if (s->origin == NULL)
        return prop_err_nomem(err);
    /* wrong certificates are told now, not with the first request */
    rc = prop_http_new(&s->config, &first, err);
    if (rc == 0)
        prop_session_give_http(s, first);
    return rc;
}

void prop_session_disconnect(struct prop_session *s)
{
    for (size_t i = 0; i < s->n_idle; i++)
        prop_http_free(s->idle[i]);
    prop_free(s->idle);
    for (size_t i = 0; i < s->n_warned; i++)
        prop_free(s->warned[i]);
    prop_free(s->warned);
    prop_free(s->cert_dir);
    prop_free(s->ca_cert);
    prop_free(s->user_agent);
}

int prop_session_take_http(struct prop_session *s, struct prop_http **ret, struct prop_err *err)
{
    struct prop_http *h = NULL;

    (void)pthread_mutex_lock(&s->pool_lock);
    if (s->n_idle > 0)
        h = s->idle[--s->n_idle];
    (void)pthread_mutex_unlock(&s->pool_lock);
    if (h == NULL)
        return prop_http_new(&s->config, ret, err);
    *ret = h;
    return 0;
}

void prop_session_give_http(struct prop_session *s, struct prop_http *h)
{
    struct prop_http **grown;

    if (h == NULL)
        return;
    (void)pthread_mutex_lock(&s->pool_lock);
    grown = prop_realloc_array(s->idle, s->n_idle + 1, sizeof(*grown));
    if (grown != NULL) {
        s->idle = grown;
        s->idle[s->n_idle++] = h;
    }
    (void)pthread_mutex_unlock(&s->pool_lock);
    if (grown == NULL)
        prop_http_free(h);
}

/* The text of `299 - "text" [date]` (RFC 7234 section 5.5), unquoted; false for other warnings. */
static bool warning_text(const char *value, char *out, size_t size)
{
    const char *p = value;
    size_t n = 0;

    if (strncmp(p, "299 ", 4) != 0 || (p = strchr(p + 4, '"')) == NULL)
        return false;
    for (p++; *p != '\0' && *p != '"' && n + 1 < size; p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        out[n++] = *p;
    }
    out[n] = '\0';
    return n > 0;
}

/* Was it said before? Else it is kept, and room made for so many. */
static bool said_before(struct prop_session *s, const char *text)
{
    char **grown, *copy;

    for (size_t i = 0; i < s->n_warned; i++)
        if (strcmp(s->warned[i], text) == 0)
            return true;
    if (s->n_warned == WARNINGS_MAX)
        return true;
    copy = prop_strdup(text);
    grown = prop_realloc_array(s->warned, s->n_warned + 1, sizeof(*grown));
    if (grown != NULL)
        s->warned = grown;
    if (copy == NULL || grown == NULL) {
        prop_free(copy);
        return true;
    }
    s->warned[s->n_warned++] = copy;
    return false;
}

void prop_session_heed(struct prop_session *s, const struct prop_http_answer *a)
{
    char text[512], shown[1024];
    const char *value;

    if (s->warn == NULL)
        return;
    for (size_t i = 0; (value = prop_http_header(a, "warning", i)) != NULL; i++) {
        if (!warning_text(value, text, sizeof(text)))
            continue;
        (void)pthread_mutex_lock(&s->pool_lock);
        if (!said_before(s, text))
            s->warn(s->warn_ctx, s->domain, prop_printable(text, strlen(text), shown, sizeof(shown)));
        (void)pthread_mutex_unlock(&s->pool_lock);
    }
}
