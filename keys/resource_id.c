/* Names of key-broker resources: takes the URI apart by hand, because every part is held to one
 * small alphabet and percent-escapes, queries and user names are refused, not decoded. */
#include "keys/resource_id.h"

#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define SHOWN 120 /* bytes of a refused name that go into the message */

static int refuse(const char *text, const char *why, struct prop_err *err)
{
    char shown[SHOWN];
    int rc = prop_err_set_id(err, PROP_E_INPUT, "bad-resource-path", "resource '%s': %s",
                             prop_printable(text, strlen(text), shown, sizeof(shown)), why);
    (void)prop_err_hint(err, "write it as repo/type/tag or kbs:///repo/type/tag");
    return rc;
}

static bool is_word(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

/* kbs.md 3: [A-Za-z0-9_-][A-Za-z0-9_.-]* */
static const char *check_part(const char *s, size_t len)
{
    if (len == 0)
        return "a part is empty";
    if (len >= PROP_RESOURCE_PART)
        return "a part is longer than 255 characters";
    if (!is_word(s[0]))
        return s[0] == '.' ? "a part begins with a dot" : "only A-Z a-z 0-9 _ - . are allowed";
    for (size_t i = 1; i < len; i++)
        if (!is_word(s[i]) && s[i] != '.')
            return "only A-Z a-z 0-9 _ - . are allowed";
    return NULL;
}

/* Bytes of the name in front of a port: letters, digits, dots; or an IPv6 address in brackets. */
static size_t host_name_len(const char *s, size_t len)
{
    size_t n = 0;
    if (len && s[0] == '[') {
        while (n < len && s[n] != ']')
            n++;
        bool v6 = n > 1 && n < len && n == 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
        return v6 ? n + 1 : 0;
    }
    while (n < len && (is_word(s[n]) || s[n] == '.'))
        n++;
    return n;
}

/* "", host, host:port, [v6]:port; nothing that could carry a user name or an escape. */
static const char *check_host(const char *s, size_t len)
{
    if (len >= PROP_RESOURCE_PART)
        return "the host is longer than 255 characters";
    size_t n = host_name_len(s, len);
    if (n == len)
        return NULL;
    size_t digits = s[n] == ':' ? strspn(s + n + 1, "0123456789") : 0;
    if (n == 0 || digits == 0 || digits > 5 || n + 1 + digits != len)
        return "the host is not a name or address with an optional port";
    return NULL;
}

static void copy_part(char out[PROP_RESOURCE_PART], const char *s, size_t len)
{
    memcpy(out, s, len);
    out[len] = 0;
}

/* Exactly three parts. */
static const char *parse_path(const char *path, struct prop_resource_id *id)
{
    char *parts[3] = { id->repo, id->type, id->tag };
    for (size_t i = 0; i < 3; i++) {
        size_t len = strcspn(path, "/");
        const char *why = check_part(path, len);
        if (why)
            return why;
        copy_part(parts[i], path, len);
        path += len;
        if (i < 2 && *path == 0)
            return "it has fewer than the three parts repo/type/tag";
        if (i < 2)
            path++;
    }
    return *path == 0 ? NULL : "it has more than the three parts repo/type/tag";
}

static const char *parse_host_path(const char *rest, struct prop_resource_id *id)
{
    size_t len = strcspn(rest, "/");
    const char *why = check_host(rest, len);
    if (why)
        return why;
    if (rest[len] == 0)
        return "it has fewer than the three parts repo/type/tag";
    copy_part(id->host, rest, len);
    return parse_path(rest + len + 1, id);
}

static size_t count_slashes(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += *s == '/';
    return n;
}

static const char *parse_any(const char *text, bool allow_old, struct prop_resource_id *id)
{
    static const char *const schemes[] = { "kbs://", "kbs+resource://" }; /* kbs.md 3: the same */

    if (strchr(text, '?') || strchr(text, '#'))
        return "a query or fragment does not name a resource";
    for (size_t i = 0; i < PROP_ARRAY_LEN(schemes); i++)
        if (prop_starts_with(text, schemes[i]))
            return parse_host_path(text + strlen(schemes[i]), id);
    if (prop_starts_with(text, "kbs+"))
        return "only the plugin 'resource' holds keys";
    if (strstr(text, "://"))
        return "the scheme is not kbs";
    if (count_slashes(text) == 3 && allow_old)
        return parse_host_path(text, id);
    return parse_path(text, id);
}

int prop_resource_id_parse(const char *text, bool allow_old, struct prop_resource_id *ret,
                           struct prop_err *err)
{
    struct prop_resource_id id;
    memset(&id, 0, sizeof(id));
    const char *why = parse_any(text, allow_old, &id);
    if (why)
        return refuse(text, why, err);
    *ret = id;
    return 0;
}

char *prop_resource_id_path(const struct prop_resource_id *id)
{
    return prop_asprintf("%s/%s/%s", id->repo, id->type, id->tag);
}

char *prop_resource_id_uri(const struct prop_resource_id *id)
{
    return prop_asprintf("kbs://%s/%s/%s/%s", id->host, id->repo, id->type, id->tag);
}

bool prop_resource_id_same(const struct prop_resource_id *a, const struct prop_resource_id *b)
{
    return strcmp(a->repo, b->repo) == 0 && strcmp(a->type, b->type) == 0 &&
           strcmp(a->tag, b->tag) == 0;
}
