/* Finding registry credentials. Refuses files that are no strict JSON; an entry that is empty counts
 * as absent (docker leaves one when a helper holds the secret). */
#include "oci/auth.h"

#include "oci/auth_internal.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void prop_credentials_release(struct prop_credentials *c)
{
    prop_free(c->user);
    prop_secret_free(c->secret);
    c->kind = PROP_CRED_NONE;
    c->user = NULL;
    c->secret = NULL;
}

int prop_credentials_check(const struct prop_credentials *c, struct prop_err *err)
{
    const uint8_t *s = prop_secret_data(c->secret);

    for (const char *u = c->user; u != NULL && *u != '\0'; u++) {
        if (*u == ':' || (unsigned char)*u < 0x20 || *u == 0x7f)
            return prop_err_set_id(err, PROP_E_INPUT, "bad-credentials",
                                   "the user name holds a ':' or a control character");
    }
    for (size_t i = 0; i < prop_secret_len(c->secret); i++) {
        if (s[i] < 0x20 || s[i] == 0x7f)
            return prop_err_set_id(err, PROP_E_INPUT, "bad-credentials",
                                   "the password holds a control character");
    }
    return 0;
}

/* base64 of user:password behind `head`, in guarded memory. */
int prop_auth_encode(const struct prop_credentials *c, const char *head, struct prop_secret **ret,
                     struct prop_err *err)
{
    prop_auto_secret struct prop_secret *pair = NULL;
    size_t user = strlen(c->user), pass = prop_secret_len(c->secret), head_len = strlen(head);
    char *text;
    int rc = prop_secret_new(user + 1 + pass, &pair, err);

    if (rc < 0)
        return rc;
    memcpy(prop_secret_bytes(pair), c->user, user);
    prop_secret_bytes(pair)[user] = ':';
    memcpy(prop_secret_bytes(pair) + user + 1, prop_secret_data(c->secret), pass);
    text = prop_b64_encode(PROP_B64_STD, prop_secret_data(pair), user + 1 + pass);
    if (text == NULL)
        return prop_err_nomem(err);
    rc = prop_secret_new(head_len + strlen(text), ret, err);
    if (rc == 0) {
        memcpy(prop_secret_bytes(*ret), head, head_len);
        memcpy(prop_secret_bytes(*ret) + head_len, text, strlen(text));
    }
    prop_wipe(text, strlen(text));
    prop_free(text);
    return rc;
}

int prop_credentials_basic(const struct prop_credentials *c, struct prop_secret **ret,
                           struct prop_err *err)
{
    int rc = prop_credentials_check(c, err);

    return rc == 0 ? prop_auth_encode(c, "Basic ", ret, err) : rc;
}

/* --- places --- */

void prop_auth_places_release(struct prop_auth_places *p)
{
    for (size_t i = 0; i < p->n; i++)
        prop_free(p->path[i]);
}
static int add_place(struct prop_auth_places *p, char *path, bool old_form, struct prop_err *err)
{
    if (path == NULL)
        return prop_err_nomem(err);
    p->path[p->n] = path;
    p->old_form[p->n++] = old_form;
    return 0;
}

static const char *env(const char *name)
{
    const char *v = getenv(name);

    return v != NULL && v[0] != '\0' ? v : NULL;
}

static int usual_places(struct prop_auth_places *p, struct prop_err *err)
{
    const char *run = env("XDG_RUNTIME_DIR"), *config = env("XDG_CONFIG_HOME");
    const char *docker = env("DOCKER_CONFIG"), *home = env("HOME");
    int rc = add_place(p,
                       run != NULL ? prop_asprintf("%s/containers/auth.json", run)
                                   : prop_asprintf("/run/containers/%ld/auth.json", (long)getuid()),
                       false, err);

    if (rc == 0 && config != NULL)
        rc = add_place(p, prop_asprintf("%s/containers/auth.json", config), false, err);
    else if (rc == 0 && home != NULL)
        rc = add_place(p, prop_asprintf("%s/.config/containers/auth.json", home), false, err);
    if (rc == 0 && docker != NULL)
        rc = add_place(p, prop_asprintf("%s/config.json", docker), false, err);
    else if (rc == 0 && home != NULL)
        rc = add_place(p, prop_asprintf("%s/.docker/config.json", home), false, err);
    if (rc == 0 && home != NULL)
        rc = add_place(p, prop_asprintf("%s/.dockercfg", home), true, err);
    return rc;
}

int prop_auth_places(const char *authfile, struct prop_auth_places *p, struct prop_err *err)
{
    if (authfile == NULL)
        authfile = env("REGISTRY_AUTH_FILE");
    if (authfile != NULL)
        return add_place(p, prop_strdup(authfile), false, err);
    return usual_places(p, err);
}

/* --- reading --- */

static bool is_docker_hub(const char *host)
{
    return strcmp(host, "docker.io") == 0 || strcmp(host, "index.docker.io") == 0 ||
           strcmp(host, "registry-1.docker.io") == 0;
}

static bool same_host(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || (is_docker_hub(a) && is_docker_hub(b));
}

/* Cut "https://" and everything from the first '/'. */
bool prop_auth_key_is_host(const char *key, const char *domain)
{
    char host[300];
    size_t len;

    if (prop_starts_with(key, "https://"))
        key += 8;
    else if (prop_starts_with(key, "http://"))
        key += 7;
    len = strcspn(key, "/");
    if (len >= sizeof(host))
        return false;
    memcpy(host, key, len);
    host[len] = '\0';
    return same_host(host, domain);
}

static bool usable(const json_t *entry)
{
    static const char *const members[] = { "auth", "identitytoken", "registrytoken", "username" };

    for (size_t i = 0; i < PROP_ARRAY_LEN(members); i++) {
        const char *v = json_string_value(json_object_get(entry, members[i]));

        if (v != NULL && v[0] != '\0')
            return true;
    }
    return false;
}

/* The entry for domain/path: the longest namespace first, then any key of that host. */
static json_t *match_entry(json_t *auths, const char *domain, const char *path)
{
    prop_auto_free char *key = path != NULL ? prop_asprintf("%s/%s", domain, path)
                                            : prop_strdup(domain);
    const char *name;
    json_t *entry;
    char *slash;

    while (key != NULL) {
        entry = json_object_get(auths, key);
        if (usable(entry))
            return entry;
        slash = strrchr(key, '/');
        if (slash == NULL)
            break;
        *slash = '\0';
    }
    json_object_foreach(auths, name, entry) {
        if ((strchr(name, '/') == NULL || strstr(name, "://") != NULL) &&
            prop_auth_key_is_host(name, domain) && usable(entry))
            return entry;
    }
    return NULL;
}

static int decode_pair(const char *text, struct prop_credentials *c, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *pair = NULL;
    const uint8_t *p, *colon;
    size_t len;
    int rc = prop_b64_decode_secret(PROP_B64_STD, text, strlen(text), "'auth'", &pair, err);

    if (rc < 0)
        return rc;
    p = prop_secret_data(pair);
    len = prop_secret_len(pair);
    while (len > 0 && p[len - 1] == '\0')
        len--;
    colon = memchr(p, ':', len);
    if (colon == NULL)
        return prop_err_set(err, PROP_E_INPUT, "'auth' holds no user:password");
    c->user = prop_strndup((const char *)p, (size_t)(colon - p));
    if (c->user == NULL)
        return prop_err_nomem(err);
    return prop_secret_copy(colon + 1, len - (size_t)(colon - p) - 1, &c->secret, err);
}

static int take_text(const char *text, enum prop_cred_kind kind, struct prop_credentials *c,
                     struct prop_err *err)
{
    prop_secret_free(c->secret);
    c->secret = NULL;
    c->kind = kind;
    return prop_secret_copy(text, strlen(text), &c->secret, err);
}

static int read_entry(const json_t *entry, struct prop_credentials *ret, struct prop_err *err)
{
    prop_auto_credentials struct prop_credentials c = PROP_CREDENTIALS_INIT;
    const char *auth = json_string_value(json_object_get(entry, "auth"));
    const char *identity = json_string_value(json_object_get(entry, "identitytoken"));
    const char *token = json_string_value(json_object_get(entry, "registrytoken"));
    const char *user = json_string_value(json_object_get(entry, "username"));
    const char *password = json_string_value(json_object_get(entry, "password"));
    int rc = 0;

    if (auth != NULL && auth[0] != '\0') {
        c.kind = PROP_CRED_PASSWORD;
        rc = decode_pair(auth, &c, err);
    } else if (user != NULL && password != NULL) {
        c.user = prop_strdup(user);
        rc = c.user == NULL ? prop_err_nomem(err) : take_text(password, PROP_CRED_PASSWORD, &c, err);
    }
    if (rc == 0 && identity != NULL && identity[0] != '\0')
        rc = take_text(identity, PROP_CRED_IDENTITY_TOKEN, &c, err);
    else if (rc == 0 && token != NULL && token[0] != '\0')
        rc = take_text(token, PROP_CRED_REGISTRY_TOKEN, &c, err);
    if (rc < 0)
        return rc;
    *ret = c;
    memset(&c, 0, sizeof(c));
    return 0;
}

/* What helpers are asked for. */
const char *prop_auth_helper_server(const char *domain)
{
    return is_docker_hub(domain) ? "https://index.docker.io/v1/" : domain;
}

/* The helper in charge of a host: its own, else the file's store; NULL = none, as an empty name says for
 * one host. Borrowed. */
const char *prop_auth_helper(const json_t *file, const char *domain, bool *ret_own)
{
    json_t *helpers = json_object_get(file, "credHelpers"), *v;
    const char *host, *store = json_string_value(json_object_get(file, "credsStore"));

    json_object_foreach(helpers, host, v) {
        if (prop_auth_key_is_host(host, domain) && json_is_string(v)) {
            *ret_own = true;
            return json_string_length(v) > 0 ? json_string_value(v) : NULL;
        }
    }
    *ret_own = false;
    return store != NULL && store[0] != '\0' ? store : NULL;
}

int prop_auth_load(const char *path, json_t **ret, struct prop_err *err)
{
    int rc = prop_json_parse_file(path, PROP_LIMIT_CRED_FILE, ret, err);

    if (rc == 0 && !json_is_object(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        rc = prop_err_set(err, PROP_E_INPUT, "'%s' is no JSON object", path);
    }
    if (rc == PROP_E_INPUT)
        prop_err_wrap(err, "registry credentials");
    return rc;
}

static int lookup_in(const json_t *file, bool old_form, const char *domain, const char *path,
                     struct prop_credentials *ret, struct prop_err *err)
{
    bool own = false;
    const char *helper = old_form ? NULL : prop_auth_helper(file, domain, &own);
    json_t *auths = old_form ? (json_t *)(uintptr_t)file : json_object_get(file, "auths");
    json_t *entry;
    int rc = 0;

    if (helper != NULL)
        rc = prop_helper_get(helper, prop_auth_helper_server(domain), ret, err);
    if (rc < 0 || ret->kind != PROP_CRED_NONE)
        return rc;
    entry = match_entry(auths, domain, path);
    return entry != NULL ? read_entry(entry, ret, err) : 0;
}

int prop_auth_lookup(const char *authfile, const char *domain, const char *path,
                     struct prop_credentials *ret, struct prop_err *err)
{
    auto_auth_places struct prop_auth_places p = { .n = 0 };
    prop_auto_credentials struct prop_credentials c = PROP_CREDENTIALS_INIT;
    int rc = prop_auth_places(authfile, &p, err);

    for (size_t i = 0; rc == 0 && i < p.n && c.kind == PROP_CRED_NONE; i++) {
        prop_auto_json json_t *file = NULL;

        if (access(p.path[i], F_OK) != 0 && authfile == NULL)
            continue;
        rc = prop_auth_load(p.path[i], &file, err);
        if (rc == 0)
            rc = lookup_in(file, p.old_form[i], domain, path, &c, err);
        if (rc < 0 && rc != PROP_E_NOTFOUND)
            prop_err_wrap(err, "'%s'", p.path[i]);
    }
    if (rc < 0)
        return rc;
    *ret = c;
    memset(&c, 0, sizeof(c));
    return 0;
}
