/* Who a kbs-client is to the server: the admin's token, found where that tool looks for it or
 * signed with a key as up to v0.20; the guest's TEE key. */
#include "cmd/propkey/kbs_client.h"

#include "cmd/propkey/kbs_client_guest.h"
#include "kbs/kbs.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOKEN_MAX = 256 << 10 };

static const char prefix[] = "Bearer ";

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* "Bearer " and the text without blanks around it. */
static int bearer_of(const uint8_t *text, size_t len, struct prop_secret **ret,
                     struct prop_err *err)
{
    while (len && is_blank(text[len - 1]))
        len--;
    while (len && is_blank(*text)) {
        text++;
        len--;
    }
    for (size_t i = 0; i < len; i++)
        if ((text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return propkey_kc_error("failed to parse header value", NULL);
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_secret_new(strlen(prefix) + len, &s, err);
    if (rc < 0)
        return rc;
    memcpy(prop_secret_bytes(s), prefix, strlen(prefix));
    if (len)
        memcpy(prop_secret_bytes(s) + strlen(prefix), text, len);
    *ret = PROP_TAKE(s);
    return 0;
}

static int from_file(const char *path, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *file = NULL;
    int rc = propkey_kc_read_secret(path, TOKEN_MAX, &file);
    return rc < 0 ? rc : bearer_of(prop_secret_data(file), prop_secret_len(file), ret, err);
}

static int signed_with(const char *path, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *file = NULL;
    prop_auto_pkey struct prop_pkey *key = NULL;
    struct prop_buf token = PROP_BUF_INIT(TOKEN_MAX);
    const struct prop_kbs_config portable = { .url = NULL };
    int rc = propkey_kc_read_secret(path, PROP_LIMIT_KEY_FILE, &file);
    if (rc == 0)
        rc = prop_pkey_load_private(file, NULL, path, &key, err);
    if (rc == 0)
        rc = prop_kbs_admin_token(key, &portable, &token, err);
    if (rc == 0)
        rc = bearer_of(token.data, token.len, ret, err);
    if (token.data)
        prop_wipe(token.data, token.len);
    prop_buf_release(&token);
    return rc;
}

/* The two places where a token may lie. */
static int from_usual_place(struct prop_secret **ret, struct prop_err *err)
{
    static const char here[] = "kbs/config/docker-compose/admin-token";
    const char *home = getenv("HOME");
    if (access(here, R_OK) == 0)
        return from_file(here, ret, err);
    (void)fprintf(stderr, "Failed to read: %s\n", here);
    prop_auto_free char *there = prop_asprintf("%s/.trustee/admin-token", home ? home : "");
    if (!there)
        return prop_err_nomem(err);
    if (home && access(there, R_OK) == 0)
        return from_file(there, ret, err);
    propkey_kc_warn("no admin token: the request goes out without one, which only a KBS that asks "
                    "nobody takes");
    return 0;
}

int propkey_kc_bearer(const struct propkey_kbs_client *c, struct prop_secret **ret,
                      struct prop_err *err)
{
    if (c->auth_private_key)
        return signed_with(c->auth_private_key, ret, err);
    if (!c->admin_token_file)
        return from_usual_place(ret, err);
    if (access(c->admin_token_file, R_OK) != 0)
        (void)fprintf(stderr, "Failed to read: %s\n", c->admin_token_file);
    return from_file(c->admin_token_file, ret, err);
}

/* RSA in PKCS#1 or an EC key of two curves in PKCS#8 is what that tool takes. */
static bool is_tee_key(const struct prop_secret *file, const struct prop_pkey *key)
{
    const char *text = (const char *)prop_secret_data(file);
    enum prop_pkey_type type = prop_pkey_get_type(key);
    if (type == PROP_PKEY_RSA)
        return strstr(text, "-----BEGIN RSA PRIVATE KEY-----") != NULL;
    return (type == PROP_PKEY_P256 || type == PROP_PKEY_P521) &&
           strstr(text, "-----BEGIN PRIVATE KEY-----") != NULL;
}

int propkey_kc_tee_key(const char *path, struct prop_pkey **ret)
{
    static const char *const causes[] = {
        "private key is not RSA (PKCS#1) nor EC P256/P521 (PKCS#8)", "invalid key type", NULL
    };
    prop_auto_secret struct prop_secret *file = NULL;
    prop_auto_pkey struct prop_pkey *key = NULL;
    int rc = propkey_kc_read_secret(path, PROP_LIMIT_KEY_FILE, &file);
    if (rc < 0)
        return rc;
    if (prop_pkey_load_private(file, NULL, path, &key, NULL) < 0 || !is_tee_key(file, key))
        return propkey_kc_error("read tee public key", causes);
    *ret = PROP_TAKE(key);
    return 0;
}
