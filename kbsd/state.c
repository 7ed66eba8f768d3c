/* Opening the state folder: lock, keys, tables. Whatever a killed first start left half done is
 * finished by the next one: files appear whole, private keys before what is derived from them. */
#include "kbsd/state.h"

#include "kbsd/admin.h"
#include "kbsd/defaults.h"
#include "kbsd/policy.h"
#include "kbsd/token.h"
#include "util/file.h"
#include "util/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define DEFAULT_MINUTES 5

static int open_lock(struct prop_kbsd *k, const char *dir, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(dir, "lock");

    if (path == NULL)
        return prop_err_nomem(err);
    k->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (k->lock_fd < 0)
        return prop_err_sys(err, PROP_E_IO, "open '%s'", path);
    if (flock(k->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return prop_err_sys(err, PROP_E_IO, "lock '%s'", path);
    (void)prop_err_set_id(err, PROP_E_EXISTS, "kbs-in-use",
                          "another propkbs serves from '%s'", dir);
    return prop_err_hint(err, "stop it, or give this one its own folder with --state");
}

int prop_kbsd_key_file(const char *path, enum prop_pkey_type type, struct prop_pkey **ret,
                       struct prop_err *err)
{
    prop_auto_secret struct prop_secret *pem = NULL;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_free char *what = prop_asprintf("'%s'", path);
    int rc;

    if (what == NULL)
        return prop_err_nomem(err);
    if (access(path, F_OK) != 0) {
        rc = prop_pkey_generate(type, 0, &key, err);
        if (rc == 0)
            rc = prop_pkey_private_pem(key, &pem, err);
        if (rc == 0)
            rc = prop_file_write(path, prop_secret_data(pem), prop_secret_len(pem), 0600, false,
                                 err);
    } else {
        rc = prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_PRIVATE, &pem, err);
        if (rc == 0)
            rc = prop_pkey_load_private(pem, NULL, what, &key, err);
    }
    if (rc == 0)
        *ret = PROP_TAKE(key);
    return rc;
}

/* ... that must be of this kind also when somebody put it there. */
static int open_key(const char *path, enum prop_pkey_type type, struct prop_pkey **ret,
                    struct prop_err *err)
{
    prop_auto_pkey struct prop_pkey *key = NULL;
    int rc = prop_kbsd_key_file(path, type, &key, err);

    if (rc == 0 && prop_pkey_get_type(key) != type)
        rc = prop_err_set_id(err, PROP_E_INPUT, "key-type", "'%s' is not a key of kind %s", path,
                             type == PROP_PKEY_ED25519 ? "Ed25519" : "EC P-256");
    if (rc == 0)
        *ret = PROP_TAKE(key);
    return rc;
}

static int read_public(const char *path, struct prop_pkey **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf pem = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_free char *what = prop_asprintf("'%s'", path);

    if (what == NULL)
        return prop_err_nomem(err);
    int rc = prop_file_read(path, &pem, err);

    if (rc == 0)
        rc = prop_pkey_load_public(pem.data, pem.len, what, &key, err);
    if (rc == 0 && prop_pkey_get_type(key) != PROP_PKEY_ED25519)
        rc = prop_err_set_id(err, PROP_E_INPUT, "key-type", "'%s' is not a key of kind Ed25519",
                             path);
    if (rc == 0)
        *ret = PROP_TAKE(key);
    return rc;
}

static int open_admin_key(struct prop_kbsd *k, const char *dir, struct prop_err *err)
{
    prop_auto_free char *priv_path = prop_path_join(dir, "admin.key");
    prop_auto_free char *pub_path = prop_path_join(dir, "admin.pub");
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_buf struct prop_buf pem = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    int rc;

    if (priv_path == NULL || pub_path == NULL)
        return prop_err_nomem(err);
    bool has_public = access(pub_path, F_OK) == 0;
    if (has_public) {
        rc = read_public(pub_path, &k->admin_pub, err);
        if (rc != 0 || access(priv_path, F_OK) != 0)
            return rc;
    }
    rc = open_key(priv_path, PROP_PKEY_ED25519, &key, err);
    if (rc != 0)
        return rc;
    if (has_public && !prop_pkey_same_public(key, k->admin_pub)) {
        (void)prop_err_set_id(err, PROP_E_INPUT, "key-mismatch",
                              "'%s' is not the public half of '%s'", pub_path, priv_path);
        return prop_err_hint(err, "remove the one that is out of date");
    }
    if (!has_public) {
        rc = prop_pkey_public_pem(key, &pem, err);
        if (rc == 0)
            rc = prop_file_write(pub_path, pem.data, pem.len, 0644, false, err);
        if (rc == 0)
            k->admin_pub = PROP_TAKE(key);
    }
    return rc;
}

static int open_token_key(struct prop_kbsd *k, const char *dir, struct prop_err *err)
{
    prop_auto_free char *path = k->config->token_key != NULL ? prop_strdup(k->config->token_key)
                                                             : prop_path_join(dir, "token.key");
    if (path == NULL)
        return prop_err_nomem(err);
    if (k->config->token_key != NULL && access(path, F_OK) != 0)
        return prop_err_sys(err, PROP_E_NOTFOUND, "token key '%s'", path);
    int rc = open_key(path, PROP_PKEY_P256, &k->token_key, err);
    return rc == 0 ? prop_kbsd_token_init(k, err) : rc;
}

static int open_tables(struct prop_kbsd *k, const char *dir, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(dir, "kbs.db");

    if (path == NULL)
        return prop_err_nomem(err);
    int rc = prop_kbsdb_open(path, &k->db, err);
    return rc == 0 ? prop_kbsd_policy_install_defaults(k, err) : rc;
}

int prop_kbsd_open(const struct prop_kbsd_config *config, struct prop_kbsd **ret,
                   struct prop_err *err)
{
    prop_auto_kbsd struct prop_kbsd *k = prop_zalloc(sizeof(*k));
    const char *dir = config->state_dir;

    if (k == NULL)
        return prop_err_nomem(err);
    k->config = config;
    k->lock_fd = -1;
    k->session_minutes = config->session_minutes != 0 ? config->session_minutes : DEFAULT_MINUTES;
    int rc = prop_kbsd_admin_init(k, err);
    if (rc == 0)
        rc = prop_mkdir_p(dir, 0700, err);
    if (rc == 0)
        rc = open_lock(k, dir, err);
    if (rc == 0)
        rc = open_admin_key(k, dir, err);
    if (rc == 0)
        rc = open_token_key(k, dir, err);
    if (rc == 0)
        rc = open_tables(k, dir, err);
    if (rc != 0)
        return rc;
    prop_kbsd_policy_warm(k);
    *ret = PROP_TAKE(k);
    return 0;
}

void prop_kbsd_close(struct prop_kbsd *k)
{
    if (k == NULL)
        return;
    prop_rego_free(k->resource_policy);
    for (size_t i = 0; i < PROP_KBSD_CLASSES; i++)
        prop_rego_free(k->attestation_policy[i]);
    prop_rego_free(k->acl);
    json_decref(k->acl_rules);
    json_decref(k->token_header);
    prop_pkey_free(k->admin_pub);
    prop_pkey_free(k->token_key);
    prop_kbsd_metrics_release(&k->metrics);
    prop_kbsdb_close(k->db);
    if (k->lock_fd >= 0)
        (void)close(k->lock_fd);
    prop_free(k);
}
