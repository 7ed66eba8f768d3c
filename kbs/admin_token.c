/* Who we are to the admin API: a ready token, or a key that signs one (kbs.md 1.2). */
#include "kbs/internal.h"

#include "jose/jws.h"
#include "keys/keyfile.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

enum { LIFETIME_S = 7200, TOKEN_MAX = 16 << 10, LEEWAY_S = 60 };

int prop_kbs_admin_token_at(const struct prop_pkey *ed25519, const struct prop_kbs_config *config,
                            time_t iat, struct prop_buf *out, struct prop_err *err)
{
    uint64_t life = config->lifetime_s ? config->lifetime_s : LIFETIME_S;
    if (life > INT32_MAX * (uint64_t)2)
        return prop_err_set(err, PROP_E_USAGE, "a lifetime of %llu seconds is too long",
                            (unsigned long long)life);
    if (prop_pkey_get_type(ed25519) != PROP_PKEY_ED25519 || !prop_pkey_is_private(ed25519))
        return prop_err_set_id(err, PROP_E_INPUT, "admin-key-type",
                               "admin tokens are signed with an Ed25519 private key");
    prop_auto_json json_t *claims = json_object();
    bool ok = claims &&
        json_object_set_new(claims, "iss",
                            json_string(config->issuer ? config->issuer : "propkey")) == 0 &&
        json_object_set_new(claims, "sub", json_string("admin")) == 0 &&
        (!config->audience ||
         json_object_set_new(claims, "aud", json_string(config->audience)) == 0) &&
        json_object_set_new(claims, "role",
                            json_string(config->role ? config->role : "admin")) == 0 &&
        json_object_set_new(claims, "iat", json_integer((json_int_t)iat)) == 0 &&
        json_object_set_new(claims, "exp", json_integer((json_int_t)iat + (json_int_t)life)) == 0;
    if (!ok)
        return prop_err_set(err, PROP_E_INPUT, "issuer, audience and role must be UTF-8 text");
    return prop_jws_sign(ed25519, NULL, claims, out, err);
}

int prop_kbs_admin_token(const struct prop_pkey *ed25519, const struct prop_kbs_config *config,
                         struct prop_buf *out, struct prop_err *err)
{
    return prop_kbs_admin_token_at(ed25519, config, prop_wall_time(), out, err);
}

static int bearer_of(const void *token, size_t len, struct prop_secret **ret, struct prop_err *err)
{
    static const char prefix[] = "Bearer ";
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_secret_new(sizeof(prefix) - 1 + len, &s, err);
    if (rc < 0)
        return rc;
    memcpy(prop_secret_bytes(s), prefix, sizeof(prefix) - 1);
    memcpy(prop_secret_bytes(s) + sizeof(prefix) - 1, token, len);
    *ret = PROP_TAKE(s);
    return 0;
}

static bool is_token_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           strchr("-._~+/=", c) != NULL;
}

/* What servers will say to a ready token, told before it is sent. What is no JWT goes out as it is:
 * a proxy may want it. */
static int check_token(struct prop_kbs *k, const char *path, const char *token, size_t len,
                       struct prop_err *err)
{
    prop_auto_json json_t *header = NULL;
    prop_auto_json json_t *claims = NULL;
    if (prop_jws_decode(token, len, &header, &claims, NULL) < 0)
        return 0;
    const json_t *exp = json_object_get(claims, "exp");
    const char *role = json_string_value(json_object_get(claims, "role"));
    k->token_role = role ? prop_strdup(role) : NULL;
    if (role && !k->token_role)
        return prop_err_nomem(err);
    if (json_is_number(exp) && json_number_value(exp) + LEEWAY_S < (double)prop_wall_time()) {
        char when[21];
        prop_rfc3339((time_t)json_number_value(exp), when);
        prop_err_set_id(err, PROP_E_AUTH, "admin-token-expired",
                        "the admin token in '%s' expired at %s", path, when);
        return prop_err_hint(err, "no server takes it any more: get a new one (propkey admin-token "
                                  "signs one), or check this machine's clock");
    }
    if (!exp)
        k->token_warning = "the admin token has no 'exp': servers refuse such a token";
    else if (!json_is_integer(exp))
        k->token_warning = "the admin token's 'exp' is no whole number: servers since v0.21 refuse "
                           "it";
    else if (!role)
        k->token_warning = "the admin token names no 'role': servers since v0.21 refuse it "
                           "(Missing required `role` claim in JWT)";
    return 0;
}

/* A file's text without blanks around it; it goes into a header, so nothing but a token may be in
 * it. */
static int read_token(struct prop_kbs *k, const char *path, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *file = NULL;
    int rc = prop_file_read_secret(path, TOKEN_MAX, PROP_SECRET_FILE_PRIVATE, &file, err);
    if (rc < 0)
        return PROP_KBS_WRAP(rc, err, "admin token");
    const char *p = (const char *)prop_secret_data(file);
    size_t len = prop_secret_len(file);
    while (len && strchr(" \t\r\n", p[len - 1]))
        len--;
    while (len && strchr(" \t\r\n", *p)) {
        p++;
        len--;
    }
    bool good = len > 0;
    for (size_t i = 0; i < len; i++)
        good = good && p[i] && is_token_char(p[i]);
    if (!good) {
        prop_err_set_id(err, PROP_E_INPUT, "admin-token", "'%s' holds no token", path);
        return prop_err_hint(err, "propkey admin-token prints one; a key goes to --admin-key");
    }
    rc = check_token(k, path, p, len, err);
    return rc < 0 ? rc : bearer_of(p, len, &k->bearer, err);
}

static int read_key(struct prop_kbs *k, const char *path, struct prop_err *err)
{
    int rc = prop_keyfile_private(path, NULL, &k->admin_key, NULL, err);
    if (rc < 0)
        return PROP_KBS_WRAP(rc, err, "admin key");
    if (prop_pkey_get_type(k->admin_key) == PROP_PKEY_ED25519)
        return 0;
    prop_err_set_id(err, PROP_E_INPUT, "admin-key-type", "admin key '%s' is no Ed25519 key", path);
    return prop_err_hint(err, "propkey admin-keygen makes one");
}

static int copy_text(const char *from, const char **to, struct prop_err *err)
{
    *to = from ? prop_strdup(from) : NULL;
    return from && !*to ? prop_err_nomem(err) : 0;
}

int prop_kbs_admin_init(struct prop_kbs *k, const struct prop_kbs_config *c, struct prop_err *err)
{
    if (c->admin_key && c->admin_token)
        return prop_err_set_id(err, PROP_E_USAGE, "two-admins",
                               "an admin key and an admin token are both named");
    k->claims.lifetime_s = c->lifetime_s;
    int rc = copy_text(c->issuer, &k->claims.issuer, err);
    if (rc == 0)
        rc = copy_text(c->audience, &k->claims.audience, err);
    if (rc == 0)
        rc = copy_text(c->role, &k->claims.role, err);
    if (rc == 0 && c->admin_key)
        rc = read_key(k, c->admin_key, err);
    if (rc == 0 && c->admin_token)
        rc = read_token(k, c->admin_token, err);
    return rc;
}

static void free_text(const char **s)
{
    char *p = NULL;
    memcpy(&p, s, sizeof(p)); /* the config's strings are const for its readers, ours to free */
    prop_free(p);
    *s = NULL;
}

void prop_kbs_admin_release(struct prop_kbs *k)
{
    free_text(&k->claims.issuer);
    free_text(&k->claims.audience);
    free_text(&k->claims.role);
    prop_pkey_free(k->admin_key);
    prop_secret_free(k->bearer);
    prop_free(k->token_role);
    k->token_role = NULL;
    k->admin_key = NULL;
    k->bearer = NULL;
}

static int sign_bearer(struct prop_kbs *k, time_t now, struct prop_err *err)
{
    uint64_t life = k->claims.lifetime_s ? k->claims.lifetime_s : LIFETIME_S;
    struct prop_buf token = PROP_BUF_INIT(TOKEN_MAX);
    struct prop_secret *fresh = NULL;
    struct prop_kbs_config claims = k->claims;
    if (k->drop_audience)
        claims.audience = NULL;
    int rc = prop_kbs_admin_token_at(k->admin_key, &claims, now, &token, err);
    if (rc == 0)
        rc = bearer_of(token.data, token.len, &fresh, err);
    if (rc == 0) {
        prop_secret_free(k->bearer);
        k->bearer = fresh;
        k->bearer_until = now + (time_t)(life / 2);
    }
    if (token.data)
        prop_wipe(token.data, token.len);
    prop_buf_release(&token);
    return rc;
}

int prop_kbs_bearer(struct prop_kbs *k, const struct prop_secret **ret, struct prop_err *err)
{
    time_t now = prop_wall_time();
    if (k->admin_key && (!k->bearer || now >= k->bearer_until)) {
        int rc = sign_bearer(k, now, err);
        if (rc < 0)
            return rc;
    }
    *ret = k->bearer;
    return 0;
}

/* Servers before v0.21 name every refusal of the administrator alike, and of these some refuse any
 * token with an audience. Later ones say more, and leaving the audience out would not help
 * there. */
bool prop_kbs_admin_next_form(struct prop_kbs *k, const struct prop_err *refusal)
{
    if (!k->admin_key || !k->claims.audience || k->drop_audience ||
        strcmp(prop_err_id(refusal), "admin-auth") != 0)
        return false;
    k->drop_audience = true;
    k->bearer_until = 0;
    return true;
}

void prop_kbs_admin_first_form(struct prop_kbs *k)
{
    k->drop_audience = false;
    k->bearer_until = 0;
}

const char *prop_kbs_admin_form(const struct prop_kbs *k)
{
    if (!k->admin_key)
        return k->bearer ? "given" : "none";
    return k->claims.audience && !k->drop_audience ? "audience" : "portable";
}

const char *prop_kbs_admin_role(const struct prop_kbs *k)
{
    if (!k->admin_key)
        return k->token_role ? k->token_role : "";
    return k->claims.role ? k->claims.role : "admin";
}

bool prop_kbs_admin_audience_dropped(const struct prop_kbs *k)
{
    return k->drop_audience;
}

const char *prop_kbs_admin_warning(const struct prop_kbs *k)
{
    return k->token_warning;
}
