/* Broker addresses as people write them. */
#include "mqtt/mqtt.h"

#include "util/text.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *prefix;
    bool tls;
} schemes[] = {
    { "tcp://", false }, { "mqtt://", false }, { "ssl://", true }, { "tls://", true },
    { "mqtts://", true },
};

static int bad(struct prop_err *err, const char *text, const char *why)
{
    prop_err_set_id(err, PROP_E_INPUT, "mqtt-address", "'%s' is no broker's address: %s", text, why);
    return prop_err_hint(err, "such as tls://mqtt.example.com:8883 or tcp://localhost:1883");
}

/* Cut "host[:port]" or "[v6][:port]"; *port is NULL when there is none. */
static const char *cut(const char *rest, size_t *host_len, const char **port)
{
    const char *end = rest + strcspn(rest, "/");

    if (*rest == '[') {
        const char *close = strchr(rest, ']');
        if (!close || close > end || (close[1] && close[1] != ':' && close[1] != '/'))
            return NULL;
        *host_len = (size_t)(close - rest) - 1;
        *port = close[1] == ':' ? close + 2 : NULL;
        return rest + 1;
    }
    const char *colon = memchr(rest, ':', (size_t)(end - rest));
    *host_len = (size_t)((colon ? colon : end) - rest);
    *port = colon ? colon + 1 : NULL;
    return rest;
}

int prop_mqtt_address_parse(const char *text, struct prop_mqtt_address *ret, struct prop_err *err)
{
    struct prop_mqtt_address a = { .port = 0, .tls = false };
    const char *rest = text, *port = NULL;
    size_t len = 0;
    bool scheme = false;

    for (size_t i = 0; !scheme && i < PROP_ARRAY_LEN(schemes); i++)
        if (strncasecmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
            rest = text + strlen(schemes[i].prefix);
            a.tls = schemes[i].tls;
            scheme = true;
        }
    if (!scheme && strstr(text, "://"))
        return bad(err, text, "only tcp, mqtt, ssl, tls and mqtts are known");
    const char *slash = strchr(rest, '/');
    if (slash && slash[1])
        return bad(err, text, "nothing may stand behind the port");
    const char *host = cut(rest, &len, &port);
    if (!host || len == 0 || len >= sizeof a.host || memchr(host, '@', len) || memchr(host, ' ', len))
        return bad(err, text, "there is no host in it");
    memcpy(a.host, host, len);
    a.port = a.tls ? 8883 : 1883;
    if (port) {
        uint64_t n = 0;
        prop_auto_free char *digits = prop_strndup(port, strcspn(port, "/"));
        if (!digits)
            return prop_err_nomem(err);
        if (prop_parse_u64(digits, "port", &n, NULL) || n == 0 || n > 65535)
            return bad(err, text, "the port is not 1 to 65535");
        a.port = (unsigned)n;
    }
    *ret = a;
    return 0;
}

bool prop_mqtt_address_is_loopback(const struct prop_mqtt_address *a)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcasecmp(a->host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, a->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, a->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
