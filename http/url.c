/* URLs: which hosts are loopback, resolving a Location, comparing origins. Parsing is libcurl's
 * own, so that what is judged here is what it connects to. */
#include "http/internal.h"

#include "util/mem.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int bad_url(struct prop_err *err, const char *url, const char *why)
{
    char brief[256];

    return prop_err_set_id(err, PROP_E_INPUT, "bad-url", "'%s' is no http or https URL: %s",
                           prop_url_brief(url, brief, sizeof(brief)), why);
}

bool prop_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* What stands before an '@' may be a password, in whatever sort of URL it was meant to be. */
const char *prop_url_brief(const char *url, char *out, size_t size)
{
    const char *scheme = strstr(url, "://"), *at = strrchr(url, '@');
    size_t head = scheme != NULL ? (size_t)(scheme - url) + 3 : 0, len;

    if (at == NULL)
        return prop_printable(url, strcspn(url, "?#"), out, size);
    if (head > (size_t)(at - url) || head > 16)
        head = 0;
    (void)prop_printable(url, head, out, size);
    len = strlen(out);
    if (len + 4 < size) {
        memcpy(out + len, "***", 4);
        (void)prop_printable(at, strcspn(at, "?#"), out + len + 3, size - len - 3);
    }
    return out;
}

static int read_host(CURLU *u, char *out, size_t size)
{
    char *host = NULL;
    const char *p;
    size_t len;

    if (curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return -1;
    p = host;
    len = strlen(host);
    if (len >= 2 && p[0] == '[' && p[len - 1] == ']') {
        p++;
        len -= 2;
    }
    if (len == 0 || len >= size) {
        curl_free(host);
        return -1;
    }
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)p[i]);
    out[len] = '\0';
    curl_free(host);
    return 0;
}

static int read_parts(CURLU *u, const char *url, struct prop_url *ret, struct prop_err *err)
{
    struct prop_url r = { false, { 0 }, 0 };
    char *part = NULL;

    if (curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
        return bad_url(err, url, "malformed");
    if (curl_url_get(u, CURLUPART_SCHEME, &part, 0) != CURLUE_OK)
        return bad_url(err, url, "no scheme");
    r.https = strcmp(part, "https") == 0;
    if (!r.https && strcmp(part, "http") != 0) {
        curl_free(part);
        return bad_url(err, url, "another scheme");
    }
    curl_free(part);
    if (curl_url_get(u, CURLUPART_USER, &part, 0) == CURLUE_OK) {
        curl_free(part);
        /* the text may hold a password: it is not repeated */
        return prop_err_set_id(err, PROP_E_INPUT, "bad-url", "a URL must not hold a user name");
    }
    if (read_host(u, r.host, sizeof(r.host)) < 0)
        return bad_url(err, url, "no host");
    if (curl_url_get(u, CURLUPART_PORT, &part, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return bad_url(err, url, "no port");
    r.port = (unsigned)strtoul(part, NULL, 10);
    curl_free(part);
    *ret = r;
    return 0;
}

int prop_url_read(const char *url, struct prop_url *ret, struct prop_err *err)
{
    CURLU *u;
    int rc;

    /* libcurl would guess a scheme; a URL must bring its own */
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return bad_url(err, url, "it does not begin with http:// or https://");
    u = curl_url();
    if (u == NULL)
        return prop_err_nomem(err);
    rc = read_parts(u, url, ret, err);
    curl_url_cleanup(u);
    return rc;
}

int prop_url_allowed(const struct prop_http *h, const struct prop_url *u, struct prop_err *err)
{
    if (u->https || h->allow_http || prop_host_is_loopback(u->host))
        return 0;
    return prop_err_set_id(err, PROP_E_USAGE, "plain-http",
                           "plain HTTP to '%s' is refused: it is neither loopback nor allowed",
                           u->host);
}

int prop_url_host(const char *url, char *out, size_t size, struct prop_err *err)
{
    struct prop_url u;
    int rc = prop_url_read(url, &u, err);
    size_t len;

    if (rc < 0)
        return rc;
    len = strlen(u.host);
    if (len >= size)
        return prop_err_set(err, PROP_E_INPUT, "host name too long");
    memcpy(out, u.host, len + 1);
    return 0;
}

int prop_url_resolve(const char *base, const char *location, char **ret, struct prop_err *err)
{
    CURLU *u = curl_url();
    char *text = NULL, *copy;
    char shown[160];

    if (u == NULL)
        return prop_err_nomem(err);
    if (curl_url_set(u, CURLUPART_URL, base, 0) != CURLUE_OK ||
        curl_url_set(u, CURLUPART_URL, location, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_URL, &text, 0) != CURLUE_OK) {
        curl_url_cleanup(u);
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-location",
                               "the server sent a Location that is no URL: '%s'",
                               prop_url_brief(location, shown, sizeof(shown)));
    }
    curl_url_cleanup(u);
    copy = prop_strdup(text);
    curl_free(text);
    if (copy == NULL)
        return prop_err_nomem(err);
    *ret = copy;
    return 0;
}

bool prop_url_same_origin(const char *a, const char *b)
{
    struct prop_url x, y;

    return prop_url_read(a, &x, NULL) == 0 && prop_url_read(b, &y, NULL) == 0 &&
           x.https == y.https && x.port == y.port && strcmp(x.host, y.host) == 0;
}

char *prop_url_escape(const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = strlen(text);
    char *out, *p;

    if (len > SIZE_MAX / 4)
        return NULL;
    out = p = prop_alloc(3 * len + 1);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            (c != '\0' && strchr("-._~", c) != NULL)) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    *p = '\0';
    return out;
}
