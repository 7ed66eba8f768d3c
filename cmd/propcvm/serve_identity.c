/* Credentials. The newer generation's names win where both are set. */
#include "cmd/propcvm/serve_identity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/toml.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

const char *propcvm_env(const char *name, const char *older)
{
    const char *v = getenv(name);

    if (v && *v)
        return v;
    v = older ? getenv(older) : NULL;
    return v && *v ? v : NULL;
}

/* ---- the key ---------------------------------------------------------------------------------------------- */

/* A key in a file may end in a line's end. */
static int key_from_file(const char *path, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_PRIVATE, &s, err);

    if (rc)
        return rc;
    size_t len = prop_secret_len(s);
    while (len && strchr("\r\n", prop_secret_data(s)[len - 1]))
        len--;
    prop_secret_truncate(s, len);
    if (len == 0 || memchr(prop_secret_data(s), 0, len))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-api-key", "'%s' holds no key as text", path);
    *ret = PROP_TAKE(s);
    return 0;
}

/* systemd's LoadCredential=proplet_api_key:... */
static int key_from_credentials(struct prop_secret **ret, struct prop_err *err)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    prop_auto_free char *path = dir ? prop_path_join(dir, "proplet_api_key") : NULL;

    if (!path)
        return dir ? prop_err_nomem(err) : 0;
    int rc = key_from_file(path, ret, err);
    if (rc == PROP_E_NOTFOUND) {
        prop_err_clear(err);
        rc = 0;
    }
    return rc;
}

static int find_key(const char *flag, struct prop_secret **ret, struct prop_err *err)
{
    const char *file = flag ? flag : propcvm_env("PROPLET_API_KEY_FILE", "PROPLET_CLIENT_KEY_FILE");
    const char *key = propcvm_env("PROPLET_API_KEY", "PROPLET_CLIENT_KEY");

    if (file)
        return key_from_file(file, ret, err);
    if (key)
        return prop_secret_copy(key, strlen(key), ret, err);
    return key_from_credentials(ret, err);
}

/* The kernel shows the memory that the environment came in, so it is overwritten where it lies. */
static void scrub(void)
{
    static const char *const names[] = { "PROPLET_API_KEY", "PROPLET_CLIENT_KEY" };

    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        char *v = getenv(names[i]);
        if (v)
            prop_wipe(v, strlen(v));
        (void)unsetenv(names[i]);
    }
}

/* ---- config.toml ---------------------------------------------------------------------------------------------- */

static int not_accessible(struct prop_err *err, const char *file, const char *why)
{
    return prop_err_set_id(err, PROP_E_NO, "config-file", "config file '%s' not accessible: %s", file,
                           why);
}

static int read_section(const char *file, const char *name, json_t **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    prop_auto_json json_t *doc = NULL;
    struct prop_err why = PROP_ERR_INIT;

    int rc = prop_file_read_secret(file, PROP_LIMIT_TASK_FILE, PROP_SECRET_FILE_ANY_MODE, &text, &why);
    if (rc)
        return not_accessible(err, file, why.sys_errno ? strerror(why.sys_errno) : why.message);
    rc = prop_toml_parse((const char *)prop_secret_data(text), prop_secret_len(text), file, &doc,
                         &why);
    if (rc)
        return prop_err_set_id(err, PROP_E_NO, "config-file", "%s", why.message);
    json_t *section = json_object_get(doc, name);
    if (!json_is_object(section))
        return prop_err_set_id(err, PROP_E_NO, "config-section",
                               "config section '%s' not found in TOML file", name);
    *ret = json_incref(section);
    return 0;
}

static const char *member(const json_t *section, const char *name, const char *older)
{
    const char *v = json_string_value(json_object_get(section, name));

    if (!v || !*v)
        v = json_string_value(json_object_get(section, older));
    return v && *v ? v : NULL;
}

static int fill(struct propcvm_identity *i, struct prop_err *err)
{
    if (!i->tenant)
        i->tenant = member(i->section, "tenant_id", "domain_id");
    if (!i->entity)
        i->entity = member(i->section, "entity_id", "client_id");
    if (!i->channel)
        i->channel = member(i->section, "channel_id", "channel_id");
    const char *key = i->api_key ? NULL : member(i->section, "api_key", "client_key");
    return key ? prop_secret_copy(key, strlen(key), &i->api_key, err) : 0;
}

/* What there is not, as a list. */
static bool missing(const struct propcvm_identity *i, char *out, size_t size)
{
    const struct {
        bool is;
        const char *name;
    } all[] = {
        { !i->tenant, "tenant_id/PROPLET_TENANT_ID" }, { !i->entity, "entity_id/PROPLET_ENTITY_ID" },
        { !i->api_key, "api_key/PROPLET_API_KEY" }, { !i->channel, "channel_id/PROPLET_CHANNEL_ID" },
    };
    size_t n = 0;

    out[0] = 0;
    for (size_t k = 0; k < PROP_ARRAY_LEN(all); k++)
        if (all[k].is && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", all[k].name);
    return n > 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static int from_file(const struct propcvm_identity_opts *o, struct propcvm_identity *i,
                     struct prop_err *err)
{
    const char *file = o->config_file ? o->config_file : "config.toml";
    const char *section = o->config_section ? o->config_section : "proplet";
    char what[256];

    int rc = read_section(file, section, &i->section, err);
    if (rc == 0)
        rc = fill(i, err);
    bool lacking = missing(i, what, sizeof what);
    if (rc == 0 && lacking)
        rc = prop_err_set_id(err, PROP_E_NO, "missing-config",
                             "missing required proplet configuration: %s", what);
    else if (rc)
        (void)prop_err_hint(err, "missing required proplet configuration: %s", what);
    return rc;
}

int propcvm_identity_read(const struct propcvm_identity_opts *o, struct propcvm_identity *ret,
                          struct prop_err *err)
{
    struct propcvm_identity i = {
        .tenant = o->tenant ? o->tenant : propcvm_env("PROPLET_TENANT_ID", "PROPLET_DOMAIN_ID"),
        .entity = o->entity ? o->entity : propcvm_env("PROPLET_ENTITY_ID", "PROPLET_CLIENT_ID"),
        .channel = o->channel ? o->channel : propcvm_env("PROPLET_CHANNEL_ID", NULL),
    };
    char what[256];

    int rc = find_key(o->api_key_file, &i.api_key, err);
    scrub();
    if (rc == 0 && missing(&i, what, sizeof what))
        rc = from_file(o, &i, err);
    if (rc) {
        propcvm_identity_release(&i);
        return rc;
    }
    *ret = i;
    return 0;
}

void propcvm_identity_release(struct propcvm_identity *i)
{
    prop_secret_free(i->api_key);
    json_decref(i->section);
    *i = (struct propcvm_identity){ .tenant = NULL };
}
