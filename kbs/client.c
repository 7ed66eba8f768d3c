/* The client object: which server, over what, and how a request goes out. */
#include "kbs/internal.h"

#include "keys/keyfile.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A change on its way may still be made after a signal, and then behind the back of whoever takes it
 * back: its answer is waited for. */
enum { CHANGE_GRACE_MS = 800 };

enum { HOST_MAX = 256, RETRIES = 2, MAX_HEADERS = 5, COOKIE_HEADER_MAX = 1024 };

/* https, or http where nobody can listen, or where the user said so. */
static int check_url(const char *url, bool insecure_http, struct prop_err *err)
{
    char host[HOST_MAX], shown[HOST_MAX];
    if (strchr(url, '?') || strchr(url, '#')) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-url",
                        "the key broker's URL has a query or fragment");
        return prop_err_hint(err, "write it as https://host[:port]");
    }
    int rc = prop_url_host(url, host, sizeof(host), err);
    if (rc < 0) {
        if (err)
            err->code = PROP_E_USAGE;
        (void)prop_err_hint(err, "write the key broker as https://host[:port]");
        return PROP_E_USAGE;
    }
    if (insecure_http || strncasecmp(url, "http://", 7) != 0 || prop_host_is_loopback(host))
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "plain-http", "plain HTTP to '%s' is refused",
                    prop_printable(host, strlen(host), shown, sizeof(shown)));
    return prop_err_hint(err, "use https://, or --insecure-http to send keys in the clear");
}

bool prop_kbs_same_host(const char *url, const char *host)
{
    char name[HOST_MAX];
    const char *scheme_end = strstr(url, "://");
    const char *bracket = strrchr(host, ']');
    bool port = strchr(bracket ? bracket : host, ':') != NULL;
    if (!scheme_end)
        return false;
    prop_auto_free char *theirs =
        prop_asprintf("%.*s://%s", (int)(scheme_end - url), url, host);
    if (!theirs)
        return false;
    if (port)
        return prop_url_same_origin(url, theirs);
    char other[HOST_MAX];
    return prop_url_host(url, name, sizeof(name), NULL) == 0 &&
           prop_url_host(theirs, other, sizeof(other), NULL) == 0 && strcmp(name, other) == 0;
}

int prop_kbs_resource_path(const struct prop_kbs *k, const struct prop_resource_id *id, char **ret,
                           struct prop_err *err)
{
    if (id->host[0] && !prop_kbs_same_host(k->url, id->host)) {
        prop_err_set_id(err, PROP_E_DENIED, "foreign-kbs",
                        "the resource names the key broker '%s', configured is '%s'", id->host,
                        k->url);
        (void)prop_err_hint(err, "leave the host out (kbs:///repo/type/tag), or name that key "
                                 "broker with --kbs");
        return PROP_E_DENIED;
    }
    *ret = prop_asprintf("/resource/%s/%s/%s", id->repo, id->type, id->tag);
    return *ret ? 0 : prop_err_nomem(err);
}

/* One file with certificate and key: libcurl finds both in it. */
static int check_both_in_one(const char *file, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    int rc = prop_file_read_secret(file, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_PRIVATE, &text, err);
    if (rc < 0)
        return prop_err_wrap(err, "client certificate and key");
    const char *pem = (const char *)prop_secret_data(text);
    if (strstr(pem, "CERTIFICATE-----") && strstr(pem, "PRIVATE KEY-----"))
        return 0;
    prop_err_set_id(err, PROP_E_INPUT, "bad-certificate",
                    "'%s' does not hold both a certificate and its private key (PEM)", file);
    return prop_err_hint(err, "name the key's file with --client-key");
}

/* Said here and not by TLS in the middle of a handshake: files that are no key or certificate, or
 * no pair, and a key that others can read. */
static int check_client_pair(const struct prop_kbs_config *c, struct prop_err *err)
{
    prop_auto_pkey struct prop_pkey *cert = NULL;
    prop_auto_pkey struct prop_pkey *key = NULL;
    const char *key_file = c->client_key ? c->client_key : c->client_cert;
    if (!c->client_cert && c->client_key)
        return prop_err_set_id(err, PROP_E_USAGE, "no-client-cert",
                               "--client-key needs the certificate, --client-cert");
    if (!c->client_cert)
        return 0;
    if (strcmp(key_file, c->client_cert) == 0)
        return check_both_in_one(key_file, err);
    int rc = prop_keyfile_private(key_file, NULL, &key, NULL, err);
    if (rc < 0)
        return prop_err_wrap(err, "client key");
    rc = prop_keyfile_public(c->client_cert, &cert, NULL, NULL, err);
    if (rc < 0)
        return prop_err_wrap(err, "client certificate");
    if (!prop_pkey_same_public(cert, key))
        return prop_err_set_id(err, PROP_E_INPUT, "client-cert-mismatch",
                               "the client key '%s' is not that of the certificate '%s'", key_file,
                               c->client_cert);
    return 0;
}

static int open_http(const struct prop_kbs_transport *t, struct prop_http **ret,
                     struct prop_err *err)
{
    struct prop_http_config hc = {
        .ca_cert = t->ca_cert,
        .client_cert = t->client_cert,
        .client_key = t->client_key,
        .tls_facts = t->tls_facts,
        .user_agent = "prop/" PROP_VERSION,
        .allow_http = t->insecure_http,
        .no_proxy = t->no_proxy,
        .any_time = t->no_proxy,
        .max_retries = RETRIES,
    };
    return prop_http_new(&hc, ret, err);
}

static int own(char **to, const char *from)
{
    *to = from ? prop_strdup(from) : NULL;
    return from && !*to ? -1 : 0;
}

static int transport_init(struct prop_kbs_transport *t, const struct prop_kbs_config *c,
                          struct prop_err *err)
{
    t->tls_facts = c->tls_facts;
    t->insecure_http = c->insecure_http;
    t->no_proxy = c->no_proxy;
    if (own(&t->ca_cert, c->ca_cert) < 0 || own(&t->client_cert, c->client_cert) < 0 ||
        own(&t->client_key, c->client_key) < 0)
        return prop_err_nomem(err);
    return 0;
}

/* The files of certificates are read once. When a server that was trusted before is not any more, they
 * may have been replaced together with its certificate: read them again. True when that was done. */
static bool reopen(struct prop_kbs *k, const struct prop_err *failure)
{
    struct prop_http *fresh = NULL;
    if (!k->answered || !k->transport.ca_cert || strcmp(prop_err_id(failure), "tls") != 0 ||
        open_http(&k->transport, &fresh, NULL) < 0)
        return false;
    prop_http_free(k->http);
    k->http = fresh;
    return true;
}

int prop_kbs_do(struct prop_kbs *k, const struct prop_http_request *rq, struct prop_http_answer *ret,
                struct prop_err *err)
{
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_http_do(k->http, rq, ret, &local);
    if (rc < 0 && reopen(k, &local)) {
        prop_err_clear(&local);
        rc = prop_http_do(k->http, rq, ret, &local);
    }
    k->answered = k->answered || rc == 0;
    if (rc < 0 && err)
        *err = local;
    return rc;
}

/* One spelling for one server, since the ledger looks things up by it: scheme and host in lower
 * case, no default port, no "/" at the end. */
static char *plain_url(const char *url)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    char *out = prop_strndup(url, len);
    if (!out)
        return NULL;
    char *host = strstr(out, "://") + 3;
    char *end = host + strcspn(host, "/");
    for (char *p = out; p < end; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    const char *port = prop_starts_with(out, "https") ? ":443" : ":80";
    size_t n = strlen(port);
    if ((size_t)(end - host) > n && memcmp(end - n, port, n) == 0)
        memmove(end - n, end, strlen(end) + 1);
    return out;
}

int prop_kbs_new(const struct prop_kbs_config *config, struct prop_kbs **ret, struct prop_err *err)
{
    int rc = check_url(config->url, config->insecure_http, err);
    if (rc < 0)
        return rc;
    prop_auto_kbs struct prop_kbs *k = prop_zalloc(sizeof(*k));
    if (!k)
        return prop_err_nomem(err);
    k->url = plain_url(config->url);
    if (!k->url)
        return prop_err_nomem(err);
    rc = check_client_pair(config, err);
    if (rc == 0)
        rc = prop_kbs_admin_init(k, config, err);
    if (rc == 0)
        rc = transport_init(&k->transport, config, err);
    if (rc == 0)
        rc = open_http(&k->transport, &k->http, err);
    if (rc == 0)
        *ret = PROP_TAKE(k);
    return rc;
}

void prop_kbs_free(struct prop_kbs *k)
{
    if (!k)
        return;
    prop_kbs_session_release(&k->session);
    prop_kbs_admin_release(k);
    prop_http_free(k->http);
    prop_free(k->transport.ca_cert);
    prop_free(k->transport.client_cert);
    prop_free(k->transport.client_key);
    prop_free(k->url);
    prop_free(k);
}

const char *prop_kbs_url(const struct prop_kbs *k)
{
    return k->url;
}

void prop_kbs_note_clock(struct prop_kbs *k, const struct prop_http_answer *a)
{
    time_t theirs;
    if (!prop_http_date_of(a, &theirs))
        return;
    k->clock_known = true;
    k->clock_ahead_s = (long)(theirs - prop_wall_time());
}

/* What is known of the server's state when it closed the connection instead of answering: a request
 * that reached it may have been carried out. */
static const char *state_unknown(enum prop_kbs_call call)
{
    switch (call) {
    case PROP_KBS_SET_RESOURCE:
    case PROP_KBS_SET_POLICY:
    case PROP_KBS_SET_ATTESTATION_POLICY:
    case PROP_KBS_SET_REFERENCE:
        return "whether the change took effect is not known; making it again does no harm";
    case PROP_KBS_DELETE_RESOURCE:
        return "whether it is deleted is not known; deleting again tells";
    case PROP_KBS_ATTEST:
        return "nothing was changed; Trustee does this when its attestation policy names an "
               "unknown claim (propkey attestation-policy lint)";
    case PROP_KBS_AUTH:
    case PROP_KBS_GET_RESOURCE:
    case PROP_KBS_GET_POLICY:
    case PROP_KBS_GET_REFERENCE:
        break;
    }
    return "nothing was changed; the server's log may tell why";
}

int prop_kbs_broken(enum prop_kbs_call call, int rc, struct prop_err *err)
{
    if (rc != PROP_E_NETWORK && rc != PROP_E_REMOTE)
        return rc;
    const char *id = prop_err_id(err);
    if (strcmp(id, "reset") == 0 || strcmp(id, "truncated") == 0) {
        err->code = PROP_E_NETWORK;
        err->id = "connection-closed";
        err->hint[0] = 0;
        (void)prop_err_hint(err, "%s", state_unknown(call));
        return PROP_E_NETWORK;
    }
    if (strcmp(id, "tls") == 0 && (strstr(err->message, "local issuer") ||
                                   strstr(err->message, "self-signed") ||
                                   strstr(err->message, "self signed"))) {
        err->hint[0] = 0;
        (void)prop_err_hint(err, "the server's CA is not known here: give its certificate with "
                                 "--ca-cert FILE");
    }
    if (strcmp(id, "timeout") == 0 && strstr(err->message, "silent")) /* it has the request */
        (void)prop_err_hint(err, "%s", state_unknown(call));
    else if (rc == PROP_E_NETWORK)
        (void)prop_err_hint(err, "is that the key broker, and is it running?");
    return rc;
}

int prop_kbs_send(struct prop_kbs *k, const struct prop_kbs_request *rq,
                  struct prop_http_answer *ret, struct prop_err *err)
{
    char type[128], cookie[COOKIE_HEADER_MAX];
    const char *headers[MAX_HEADERS] = { "Accept: */*" };
    size_t n = 1;
    prop_auto_free char *url = prop_asprintf("%s/kbs/v0%s", k->url, rq->path);
    if (!url)
        return prop_err_nomem(err);
    if (rq->content_type) {
        (void)snprintf(type, sizeof(type), "Content-Type: %s", rq->content_type);
        headers[n++] = type;
    }
    if (rq->cookie) {
        (void)snprintf(cookie, sizeof(cookie), "Cookie: %.*s", (int)prop_secret_len(rq->cookie),
                       (const char *)prop_secret_data(rq->cookie));
        headers[n++] = cookie;
    }
    bool changes = rq->call != PROP_KBS_AUTH && rq->call != PROP_KBS_ATTEST &&
                   strcmp(rq->method, "GET") != 0;
    struct prop_http_request hr = {
        .method = rq->method,
        .url = url,
        .headers = headers,
        .authorization = rq->authorization,
        .body = rq->body,
        .body_len = rq->body_len,
        .body_total = rq->body_len,
        .max_body = PROP_LIMIT_KBS_ANSWER,
        .idempotent = strcmp(rq->method, "GET") == 0,
        .once = changes,
        .grace_ms = changes ? CHANGE_GRACE_MS : 0,
    };
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_kbs_do(k, &hr, &a, &local);
    prop_wipe(cookie, sizeof(cookie));
    if (rc < 0) {
        rc = prop_kbs_broken(rq->call, rc, &local);
        if (err)
            *err = local;
        return rc;
    }
    prop_kbs_note_clock(k, &a);
    if (a.status < 200 || a.status > 299)
        return prop_kbs_refusal(rq->call, a.status, prop_buf_str(&a.body), a.body.len, err);
    *ret = a;
    a = (struct prop_http_answer)PROP_HTTP_ANSWER_INIT;
    return 0;
}
