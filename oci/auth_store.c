/* Keeping and forgetting registry credentials, in the form podman writes: tab indentation, no final
 * newline, 0600, other members untouched. */
#include "oci/auth.h"
#include "oci/auth_internal.h"

#include "util/buf.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>
#include <unistd.h>

/* jansson indents by spaces only: those that begin a line become tabs. */
struct tabbed {
    struct prop_buf text;
    bool line_start;
};

static int put_tabbed(const char *data, size_t len, void *ctx)
{
    struct tabbed *t = ctx;

    for (size_t i = 0; i < len; i++) {
        char c = data[i] == ' ' && t->line_start ? '\t' : data[i];

        if (prop_buf_add(&t->text, &c, 1, NULL) < 0)
            return -1;
        t->line_start = c == '\n' || c == '\t';
    }
    return 0;
}

static int make_folder(const char *path, struct prop_err *err)
{
    prop_auto_free char *folder = prop_strdup(path);
    char *slash = folder != NULL ? strrchr(folder, '/') : NULL;

    if (folder == NULL)
        return prop_err_nomem(err);
    if (slash == NULL || slash == folder)
        return 0;
    *slash = '\0';
    return prop_mkdir_p(folder, 0700, err);
}

static int save(const char *path, const json_t *file, struct prop_err *err)
{
    struct tabbed t = { PROP_BUF_INIT(PROP_LIMIT_CRED_FILE), false };
    int rc = make_folder(path, err);

    if (rc == 0 && json_dump_callback(file, put_tabbed, &t, JSON_INDENT(1)) < 0)
        rc = prop_err_set(err, PROP_E_LIMIT, "'%s' grows over %u bytes", path,
                          PROP_LIMIT_CRED_FILE);
    if (rc == 0)
        rc = prop_file_write(path, t.text.data, t.text.len, 0600, true, err);
    if (t.text.data != NULL)
        prop_wipe(t.text.data, t.text.cap);
    prop_buf_release(&t.text);
    return rc;
}

static int set_auth(json_t *file, const char *domain, const struct prop_credentials *cred,
                    struct prop_err *err)
{
    prop_auto_secret struct prop_secret *pair = NULL;
    json_t *auths = json_object_get(file, "auths"), *text;
    int rc = prop_auth_encode(cred, "", &pair, err);

    if (rc < 0)
        return rc;
    if (!json_is_object(auths)) {
        auths = json_object();
        if (auths == NULL || json_object_set_new(file, "auths", auths) < 0)
            return prop_err_nomem(err);
    }
    text = json_stringn((const char *)prop_secret_data(pair), prop_secret_len(pair));
    if (text == NULL || json_object_set_new(auths, domain, json_pack("{s:o}", "auth", text)) < 0)
        return prop_err_nomem(err);
    return 0;
}

static int load_or_new(const char *path, json_t **ret, struct prop_err *err)
{
    if (access(path, F_OK) == 0)
        return prop_auth_load(path, ret, err);
    *ret = json_object();
    return *ret == NULL ? prop_err_nomem(err) : 0;
}

int prop_auth_store(const char *authfile, const char *domain, const struct prop_credentials *cred,
                    char **ret_where, struct prop_err *err)
{
    auto_auth_places struct prop_auth_places p = { .n = 0 };
    int rc = prop_credentials_check(cred, err);
    bool own = false;

    if (rc == 0)
        rc = prop_auth_places(authfile, &p, err);
    for (size_t i = 0; rc == 0 && i < p.n; i++) {
        prop_auto_json json_t *file = NULL;
        const char *helper;

        if (access(p.path[i], F_OK) != 0 || p.old_form[i])
            continue;
        rc = prop_auth_load(p.path[i], &file, err);
        helper = rc == 0 ? prop_auth_helper(file, domain, &own) : NULL;
        /* a store for everything counts only in the file that is written anyway */
        if (helper == NULL || (!own && i != 0))
            continue;
        rc = prop_helper_store(helper, prop_auth_helper_server(domain), cred, err);
        if (rc == 0)
            *ret_where = prop_asprintf("docker-credential-%s", helper);
        return rc == 0 && *ret_where == NULL ? prop_err_nomem(err) : rc;
    }
    if (rc == 0) {
        prop_auto_json json_t *file = NULL;

        rc = load_or_new(p.path[0], &file, err);
        if (rc == 0)
            rc = set_auth(file, domain, cred, err);
        if (rc == 0)
            rc = save(p.path[0], file, err);
    }
    if (rc == 0)
        *ret_where = PROP_TAKE(p.path[0]);
    return rc;
}

static bool erase_keys(json_t *auths, const char *domain)
{
    const char *name;
    json_t *entry;
    void *next;
    bool any = false;

    json_object_foreach_safe(auths, next, name, entry) {
        if ((strchr(name, '/') == NULL || strstr(name, "://") != NULL) &&
            prop_auth_key_is_host(name, domain)) {
            json_object_del(auths, name);
            any = true;
        }
    }
    return any;
}

static int erase_in(const char *path, const char *domain, bool *any, struct prop_err *err)
{
    prop_auto_json json_t *file = NULL;
    bool own = false;
    const char *helper;
    int rc = prop_auth_load(path, &file, err);

    if (rc < 0)
        return rc;
    helper = prop_auth_helper(file, domain, &own);
    if (helper != NULL) {
        rc = prop_helper_erase(helper, prop_auth_helper_server(domain), err);
        if (rc < 0 && rc != PROP_E_NOTFOUND)
            return rc;
        *any = *any || rc == 0;
    }
    if (!erase_keys(json_object_get(file, "auths"), domain))
        return 0;
    *any = true;
    return save(path, file, err);
}

int prop_auth_erase(const char *authfile, const char *domain, struct prop_err *err)
{
    auto_auth_places struct prop_auth_places p = { .n = 0 };
    bool any = false;
    int rc = prop_auth_places(authfile, &p, err);

    for (size_t i = 0; rc == 0 && i < p.n; i++) {
        if (access(p.path[i], F_OK) == 0 && !p.old_form[i])
            rc = erase_in(p.path[i], domain, &any, err);
    }
    if (rc == 0 && !any)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "not-logged-in", "not logged into '%s'",
                               domain);
    return rc;
}
