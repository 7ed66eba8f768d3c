/* Image references and transports as people type them (registry.md 6). Refuses what no client
 * would agree on: upper-case repositories, bare image ids, names over 255 characters. */
#include "oci/ref.h"

#include "util/mem.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_LEN 255
#define TAG_MAX_LEN 128

static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alnum(char c) { return is_lower(c) || is_upper(c) || is_digit(c); }

static int bad(struct prop_err *err, const char *text, const char *why)
{
    char shown[300];

    return prop_err_set_id(err, PROP_E_INPUT, "bad-reference", "'%s' is no image reference: %s",
                           prop_printable(text, strlen(text), shown, sizeof(shown)), why);
}

/* [a-z0-9]+ ( ("." | "_" | "__" | "-"+) [a-z0-9]+ )* */
static bool good_component(const char *s, size_t len)
{
    size_t i = 0;

    for (;;) {
        size_t start = i;

        while (i < len && (is_lower(s[i]) || is_digit(s[i])))
            i++;
        if (i == start)
            return false;
        if (i == len)
            return true;
        if (s[i] == '.') {
            i++;
        } else if (s[i] == '_') {
            i += i + 1 < len && s[i + 1] == '_' ? 2 : 1;
        } else if (s[i] == '-') {
            while (i < len && s[i] == '-')
                i++;
        } else {
            return false;
        }
    }
}

static bool good_label(const char *s, size_t len)
{
    if (len == 0 || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(s[i]) && s[i] != '-')
            return false;
    }
    return true;
}

static bool good_port(const char *s)
{
    size_t n = 0;
    unsigned long value = 0;

    for (; is_digit(s[n]); n++) {
        value = value * 10 + (unsigned long)(s[n] - '0');
        if (n > 5)
            return false;
    }
    return n > 0 && s[n] == '\0' && value > 0 && value < 65536;
}

static bool good_domain(const char *domain)
{
    const char *p = domain;
    size_t len;

    if (*p == '[') {
        char host[64];
        struct in6_addr a;
        const char *end = strchr(p, ']');

        len = end == NULL ? 0 : (size_t)(end - p - 1);
        if (len == 0 || len >= sizeof(host))
            return false;
        memcpy(host, p + 1, len);
        host[len] = '\0';
        p = end + 1;
        if (inet_pton(AF_INET6, host, &a) != 1)
            return false;
    } else {
        for (;;) {
            len = strcspn(p, ".:");
            if (!good_label(p, len))
                return false;
            p += len;
            if (*p != '.')
                break;
            p++;
        }
    }
    return *p == '\0' || (*p == ':' && good_port(p + 1));
}

static bool good_tag(const char *tag)
{
    size_t len = strlen(tag);

    if (len == 0 || len > TAG_MAX_LEN || tag[0] == '.' || tag[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(tag[i]) && tag[i] != '_' && tag[i] != '.' && tag[i] != '-')
            return false;
    }
    return true;
}

static int check_path(const char *text, const char *path, struct prop_err *err)
{
    const char *p = path;
    size_t len;
    bool upper = false;

    for (const char *c = path; *c != '\0'; c++)
        upper = upper || is_upper(*c);
    if (upper) {
        bad(err, text, "repository name must be lowercase");
        return prop_err_hint(err, "write the repository in lower case");
    }
    for (;;) {
        len = strcspn(p, "/");
        if (!good_component(p, len))
            return bad(err, text, "malformed repository name");
        p += len;
        if (*p == '\0')
            return 0;
        p++;
    }
}

static bool is_image_id(const char *name)
{
    size_t len = strlen(name);

    return len == 64 && strspn(name, "0123456789abcdef") == len;
}

/* Take "domain/path" apart; short names belong to docker.io. */
static int split_name(const char *text, const char *name, struct prop_ref *r, struct prop_err *err)
{
    size_t first = strcspn(name, "/");
    bool has_domain = name[first] == '/' &&
                      (memchr(name, '.', first) != NULL || memchr(name, ':', first) != NULL ||
                       (first == 9 && memcmp(name, "localhost", 9) == 0));

    if (is_image_id(name))
        return bad(err, text, "it looks like an image id");
    if (has_domain) {
        r->domain = prop_strndup(name, first);
        name += first + 1;
        if (r->domain != NULL && strcmp(r->domain, "index.docker.io") == 0) {
            prop_free(r->domain);
            r->domain = prop_strdup("docker.io");
        }
    } else {
        r->domain = prop_strdup("docker.io");
    }
    if (r->domain == NULL)
        return prop_err_nomem(err);
    if (!good_domain(r->domain))
        return bad(err, text, "malformed host name");
    if (strcmp(r->domain, "docker.io") == 0 && strchr(name, '/') == NULL)
        r->path = prop_asprintf("library/%s", name);
    else
        r->path = prop_strdup(name);
    if (r->path == NULL)
        return prop_err_nomem(err);
    if (strlen(r->domain) + 1 + strlen(r->path) > NAME_MAX_LEN)
        return bad(err, text, "the name is longer than 255 characters");
    return check_path(text, r->path, err);
}

static int parse(const char *text, char *work, struct prop_ref *r, struct prop_err *err)
{
    char *at = strchr(work, '@');
    char *slash, *colon;

    if (at != NULL && strchr(at, '/') != NULL) {
        /* the text may hold a password: it is not repeated */
        prop_err_set_id(err, PROP_E_INPUT, "bad-reference",
                        "a reference must not hold a user name or password");
        return prop_err_hint(err, "proppush login HOST, then HOST/NAME:TAG");
    }
    if (at != NULL) {
        *at = '\0';
        if (prop_digest_parse(at + 1, &r->digest, err) < 0)
            return prop_err_wrap(err, "reference");
    }
    slash = strrchr(work, '/');
    colon = strrchr(slash != NULL ? slash : work, ':');
    if (colon != NULL) {
        *colon = '\0';
        if (!good_tag(colon + 1))
            return bad(err, text, "malformed tag");
    }
    if (work[0] == '\0')
        return bad(err, text, "empty name");
    if (colon != NULL || at == NULL) {
        r->tag = prop_strdup(colon != NULL ? colon + 1 : "latest");
        if (r->tag == NULL)
            return prop_err_nomem(err);
    }
    return split_name(text, work, r, err);
}

int prop_ref_parse(const char *text, struct prop_ref *ret, struct prop_err *err)
{
    prop_auto_free char *work = prop_strdup(text);
    struct prop_ref r = { 0 };
    int rc;

    if (work == NULL)
        return prop_err_nomem(err);
    rc = parse(text, work, &r, err);
    if (rc < 0) {
        prop_ref_release(&r);
        return rc;
    }
    *ret = r;
    return 0;
}

void prop_ref_release(struct prop_ref *r)
{
    prop_free(r->domain);
    prop_free(r->path);
    prop_free(r->tag);
    memset(r, 0, sizeof(*r));
}

char *prop_ref_format(const struct prop_ref *r)
{
    char digest[PROP_DIGEST_TEXT] = "";

    if (r->digest.len > 0)
        prop_digest_format(&r->digest, digest);
    return prop_asprintf("%s/%s%s%s%s%s", r->domain, r->path, r->tag != NULL ? ":" : "",
                         r->tag != NULL ? r->tag : "", digest[0] != '\0' ? "@" : "", digest);
}

static int take_path(struct prop_location *l, const char *rest, bool with_name,
                     struct prop_err *err)
{
    size_t len = with_name ? strcspn(rest, ":") : strlen(rest);

    if (len == 0) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-location", "'%s' names no folder or file", l->text);
        return prop_err_hint(err, "write oci:FOLDER:TAG, dir:FOLDER or docker://HOST/NAME:TAG");
    }
    l->path = prop_strndup(rest, len);
    if (l->path == NULL)
        return prop_err_nomem(err);
    if (rest[len] == ':' && rest[len + 1] != '\0') {
        l->name = prop_strdup(rest + len + 1);
        if (l->name == NULL)
            return prop_err_nomem(err);
    }
    return 0;
}

/* Transports other tools know and this one does not; never mistaken for a reference. */
static int refuse_foreign(const char *text, struct prop_err *err)
{
    static const char *const foreign[] = { "docker-archive:", "docker-daemon:", "sif:", "ostree:",
                                           "containers-storage:", "tarball:", "http:", "https:" };

    for (size_t i = 0; i < PROP_ARRAY_LEN(foreign); i++) {
        if (prop_starts_with(text, foreign[i])) {
            prop_err_set_id(err, PROP_E_UNSUPPORTED, "transport", "'%s' is not handled",
                            foreign[i]);
            return prop_err_hint(err, "use docker://, oci:, oci-archive: or dir:");
        }
    }
    if (prop_starts_with(text, "docker:")) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-location", "'%s' lacks the two slashes", text);
        return prop_err_hint(err, "write docker://HOST/NAME:TAG");
    }
    return 0;
}

static bool looks_like_file(const char *text)
{
    return strcmp(text, "-") == 0 || text[0] == '/' || text[0] == '.' ||
           prop_ends_with(text, ".wasm") || access(text, F_OK) == 0;
}

static int parse_bare(struct prop_location *l, struct prop_err *err)
{
    const char *text = l->text;
    size_t first = strcspn(text, "/");
    int rc;

    if (looks_like_file(text)) {
        l->transport = PROP_T_FILE;
        l->path = prop_strdup(text);
        return l->path == NULL ? prop_err_nomem(err) : 0;
    }
    rc = refuse_foreign(text, err);
    if (rc < 0)
        return rc;
    /* a misspelt file name must not go out to docker.io: a bare reference names its host */
    if (text[first] != '/' || (memchr(text, '.', first) == NULL && memchr(text, ':', first) == NULL &&
                               strncmp(text, "localhost/", 10) != 0)) {
        prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-source",
                        "'%s' is neither a file nor a reference with a registry's host", text);
        return prop_err_hint(err, "write docker://%s for Docker Hub", text);
    }
    l->transport = PROP_T_DOCKER;
    return prop_ref_parse(text, &l->ref, err);
}

static int parse_location(struct prop_location *l, struct prop_err *err)
{
    const char *t = l->text;

    if (prop_starts_with(t, "docker://")) {
        l->transport = PROP_T_DOCKER;
        return prop_ref_parse(t + strlen("docker://"), &l->ref, err);
    }
    if (prop_starts_with(t, "oci:")) {
        l->transport = PROP_T_OCI;
        return take_path(l, t + strlen("oci:"), true, err);
    }
    if (prop_starts_with(t, "oci-archive:")) {
        l->transport = PROP_T_OCI_ARCHIVE;
        return take_path(l, t + strlen("oci-archive:"), true, err);
    }
    if (prop_starts_with(t, "dir:")) {
        l->transport = PROP_T_DIR;
        return take_path(l, t + strlen("dir:"), false, err);
    }
    if (strcmp(t, "sink:") == 0) {
        l->transport = PROP_T_SINK;
        return 0;
    }
    return parse_bare(l, err);
}

int prop_location_parse(const char *text, struct prop_location *ret, struct prop_err *err)
{
    struct prop_location l = { PROP_T_FILE, NULL, NULL, { 0 }, NULL };
    int rc;

    l.text = prop_strdup(text);
    rc = l.text == NULL ? prop_err_nomem(err) : parse_location(&l, err);
    if (rc < 0) {
        prop_location_release(&l);
        return rc;
    }
    *ret = l;
    return 0;
}

void prop_location_release(struct prop_location *l)
{
    prop_free(l->path);
    prop_free(l->name);
    prop_free(l->text);
    prop_ref_release(&l->ref);
    memset(l, 0, sizeof(*l));
}
