/* Which requests go through a proxy of the environment. libcurl reads most of it; what other clients of
 * registries understand beyond that is added here: HTTP_PROXY in upper case, and ports in NO_PROXY. */
#include "http/internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool same_address(const char *a, const char *b)
{
    struct in6_addr x, y;

    return inet_pton(AF_INET6, a, &x) == 1 && inet_pton(AF_INET6, b, &y) == 1 &&
           memcmp(&x, &y, sizeof(x)) == 0;
}

/* "example.com" and ".example.com" are that host and those below it. */
static bool names_host(const char *pattern, const char *host)
{
    size_t len, all = strlen(host);

    if (pattern[0] == '.')
        pattern++;
    len = strlen(pattern);
    while (len > 0 && pattern[len - 1] == '.')
        len--;
    if (len == 0 || len > all || strncasecmp(host + all - len, pattern, len) != 0)
        return false;
    return len == all || host[all - len - 1] == '.';
}

/* "address/bits"? */
static bool in_network(const char *pattern, const char *host)
{
    uint8_t net[16], addr[16];
    char text[64];
    const char *slash = strchr(pattern, '/');
    int family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET;
    unsigned bits, most = family == AF_INET6 ? 128 : 32;
    char *end;

    if (slash == NULL || (size_t)(slash - pattern) >= sizeof(text))
        return false;
    (void)snprintf(text, sizeof(text), "%.*s", (int)(slash - pattern), pattern);
    bits = (unsigned)strtoul(slash + 1, &end, 10);
    if (*end != '\0' || end == slash + 1 || bits > most || inet_pton(family, text, net) != 1 ||
        inet_pton(family, host, addr) != 1)
        return false;
    for (unsigned i = 0; i < bits; i++)
        if (((net[i / 8] ^ addr[i / 8]) >> (7 - i % 8) & 1) != 0)
            return false;
    return true;
}

/* One entry: "*", a network, or a host with or without its port. */
static bool entry_fits(char *entry, const struct prop_url *u)
{
    char *colon = strrchr(entry, ':'), *end;
    unsigned long port = 0;

    if (strcmp(entry, "*") == 0 || in_network(entry, u->host) || same_address(entry, u->host))
        return true;
    if (colon != NULL && (colon == strchr(entry, ':') || colon[-1] == ']')) {
        port = strtoul(colon + 1, &end, 10);
        if (*end != '\0' || end == colon + 1 || port != u->port)
            return false;
        *colon = '\0';
    }
    if (entry[0] == '[' && entry[strlen(entry) - 1] == ']') {
        entry[strlen(entry) - 1] = '\0';
        return same_address(entry + 1, u->host);
    }
    return names_host(entry, u->host);
}

static bool is_separator(char c)
{
    return c == ',' || isspace((unsigned char)c);
}

static bool goes_direct(const struct prop_url *u)
{
    const char *p = getenv("no_proxy");
    char entry[300];

    if (p == NULL)
        p = getenv("NO_PROXY");
    while (p != NULL && *p != '\0') {
        size_t len = 0;

        while (p[len] != '\0' && !is_separator(p[len]))
            len++;
        if (len > 0 && len < sizeof(entry)) {
            (void)snprintf(entry, sizeof(entry), "%.*s", (int)len, p);
            if (entry_fits(entry, u))
                return true;
        }
        p += len + (p[len] != '\0');
    }
    return false;
}

void prop_proxy_apply(const struct prop_http *h, CURL *easy, const struct prop_url *u)
{
    const char *upper = getenv("HTTP_PROXY");

    if (h->no_proxy || prop_host_is_loopback(u->host) || goes_direct(u))
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    else if (!u->https && getenv("http_proxy") == NULL && upper != NULL &&
             getenv("REQUEST_METHOD") == NULL) /* in a CGI program it is a header of a stranger's */
        curl_easy_setopt(easy, CURLOPT_PROXY, upper);
}
