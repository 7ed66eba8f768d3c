/* Whom a handle trusts: the system's roots, those of one file only, or the system's with a
 * registry's certs.d folder (registry.md 5) on top. TLS 1.2 is the oldest that is spoken. */
#include "http/internal.h"

#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int take_client_pair(struct prop_http *h, const char *dir, const char *name,
                            struct prop_err *err)
{
    prop_auto_free char *cert = prop_path_join(dir, name);
    prop_auto_free char *key = prop_path_join(dir, name);

    if (cert == NULL || key == NULL)
        return prop_err_nomem(err);
    memcpy(key + strlen(key) - 5, ".key", 5);
    if (access(key, R_OK) != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate",
                               "'%s' has no key beside it ('%s')", cert, key);
    /* of several pairs the first by name counts, whatever order the folder has */
    if (h->client_cert == NULL || strcmp(cert, h->client_cert) < 0) {
        prop_free(h->client_cert);
        prop_free(h->client_key);
        h->client_cert = PROP_TAKE(cert);
        h->client_key = PROP_TAKE(key);
    }
    return 0;
}

static int check_key_has_cert(const char *dir, const char *name, struct prop_err *err)
{
    prop_auto_free char *key = prop_path_join(dir, name);
    prop_auto_free char *cert = NULL;

    if (key == NULL)
        return prop_err_nomem(err);
    cert = prop_asprintf("%.*s.cert", (int)(strlen(key) - 4), key);
    if (cert == NULL)
        return prop_err_nomem(err);
    if (access(cert, R_OK) != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate",
                               "'%s' has no certificate beside it ('%s')", key, cert);
    return 0;
}

static int add_roots(struct prop_http *h, const char *path, struct prop_err *err)
{
    const char **grown = prop_realloc_array(h->root_files, h->n_root_files + 1, sizeof(*grown));
    char *copy = prop_strdup(path);

    if (grown != NULL)
        h->root_files = grown;
    if (grown == NULL || copy == NULL) {
        prop_free(copy);
        return prop_err_nomem(err);
    }
    h->root_files[h->n_root_files++] = copy;
    return 0;
}

static int load_entry(struct prop_http *h, const char *dir, const char *name, struct prop_err *err)
{
    if (prop_ends_with(name, ".crt")) {
        prop_auto_free char *path = prop_path_join(dir, name);

        return path == NULL ? prop_err_nomem(err) : add_roots(h, path, err);
    }
    if (prop_ends_with(name, ".cert"))
        return take_client_pair(h, dir, name, err);
    if (prop_ends_with(name, ".key"))
        return check_key_has_cert(dir, name, err);
    return 0;
}

/* Folders have no order of their own. */
static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int load_dir(struct prop_http *h, const char *dir, struct prop_err *err)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int rc = 0;

    if (d == NULL)
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "'%s'", dir);
    while (rc == 0 && (e = readdir(d)) != NULL)
        rc = load_entry(h, dir, e->d_name, err);
    (void)closedir(d);
    return rc;
}

static int load_roots(struct prop_http *h, const struct prop_http_config *config,
                      struct prop_err *err)
{
    int rc = 0;

    if (config->ca_cert != NULL)
        rc = add_roots(h, config->ca_cert, err);
    else if (config->extra_ca_dir != NULL)
        rc = load_dir(h, config->extra_ca_dir, err);
    if (rc == 0 && h->n_root_files > 1)
        qsort(h->root_files, h->n_root_files, sizeof(*h->root_files), compare_texts);
    if (rc == 0 && config->ca_cert == NULL && config->extra_ca != NULL)
        rc = add_roots(h, config->extra_ca, err);
    return rc == 0 ? prop_roots_get(h->root_files, h->n_root_files, config->ca_cert == NULL,
                                    &h->roots, err)
                   : rc;
}

int prop_tls_load(struct prop_http *h, const struct prop_http_config *config, struct prop_err *err)
{
    if (config->client_cert != NULL) {
        h->client_cert = prop_strdup(config->client_cert);
        h->client_key = prop_strdup(config->client_key != NULL ? config->client_key
                                                               : config->client_cert);
        if (h->client_cert == NULL || h->client_key == NULL)
            return prop_err_nomem(err);
    }
    return load_roots(h, config, err);
}

void prop_tls_release(struct prop_http *h)
{
    for (size_t i = 0; i < h->n_root_files; i++)
        prop_free((char *)(uintptr_t)h->root_files[i]);
    prop_free(h->root_files);
    prop_roots_put(h->roots);
    prop_free(h->client_cert);
    prop_free(h->client_key);
}

static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *ctx)
{
    struct prop_exchange *ex = ctx;

    (void)easy;
    ex->cb_rc = prop_roots_apply(ex->h->roots, ssl_ctx, &ex->cb_err);
    if (ex->h->any_time)
        prop_roots_ignore_clock(ssl_ctx);
    return ex->cb_rc == 0 ? CURLE_OK : CURLE_SSL_CACERT_BADFILE;
}

int prop_tls_apply(struct prop_exchange *ex, struct prop_err *err)
{
    const struct prop_http *h = ex->h;
    CURL *easy = ex->easy;

    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (h->client_cert != NULL) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, h->client_cert);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, h->client_key);
    }
    /* libcurl itself trusts nobody here: what is trusted is put in by on_ssl_ctx */
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, ex);
    if (curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) != CURLE_OK)
        return prop_err_set(err, PROP_E_UNSUPPORTED, "this libcurl does not use OpenSSL for TLS");
    return 0;
}

/* "SSL connection using TLSv1.3 / ..." is the only place where libcurl tells the version. */
int prop_tls_overhear(CURL *easy, curl_infotype type, char *data, size_t len, void *ctx)
{
    static const char lead[] = "SSL connection using ";
    struct prop_http *h = ctx;
    size_t skip = sizeof(lead) - 1, n = 0;

    (void)easy;
    if (type != CURLINFO_TEXT || len <= skip || memcmp(data, lead, skip) != 0)
        return 0;
    memset(&h->tls, 0, sizeof(h->tls)); /* a new connection */
    while (skip + n < len && n + 1 < sizeof(h->tls.version) &&
           strchr(" /\n", data[skip + n]) == NULL)
        n++;
    memcpy(h->tls.version, data + skip, n);
    return 0;
}

/* "Name:value" of the server's own certificate, the first of the chain. */
void prop_tls_collect(struct prop_http *h, CURL *easy)
{
    const struct curl_certinfo *info = NULL;
    struct prop_http_tls *t = &h->tls;

    if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &info) != CURLE_OK || info == NULL ||
        info->num_of_certs < 1)
        return;
    for (const struct curl_slist *l = info->certinfo[0]; l != NULL; l = l->next) {
        const char *colon = strchr(l->data, ':');
        if (colon == NULL)
            continue;
        size_t len = strlen(colon + 1);
        if (prop_starts_with(l->data, "Subject:"))
            (void)prop_printable(colon + 1, len, t->subject, sizeof(t->subject));
        else if (prop_starts_with(l->data, "Issuer:"))
            (void)prop_printable(colon + 1, len, t->issuer, sizeof(t->issuer));
        else if (prop_starts_with(l->data, "Expire date:")) {
            time_t when = curl_getdate(colon + 1, NULL);
            (void)prop_printable(colon + 1, len, t->not_after, sizeof(t->not_after));
            t->not_after_time = when == (time_t)-1 ? 0 : (int64_t)when;
        }
    }
}

const struct prop_http_tls *prop_http_tls(const struct prop_http *h)
{
    return &h->tls;
}

const char *prop_tls_hint(const char *curl_text)
{
    static const struct {
        const char *says, *hint;
    } hints[] = {
        { "subject name matches", "the certificate is for another name: reach the server by a name "
                                  "that is in it, or have that name put in" },
        { "does not match target host", "the certificate is for another name: reach the server by a "
                                        "name that is in it, or have that name put in" },
        { "unable to get local issuer", "the server's CA is not known here: give its certificate (PEM)" },
        { "self-signed", "the server's CA is not known here: give its certificate (PEM)" },
        { "self signed", "the server's CA is not known here: give its certificate (PEM)" },
        { "certificate has expired", "the server's certificate is too old: renew it there, or check "
                                     "this machine's clock" },
        { "not yet valid", "the server's certificate is not valid yet: check this machine's clock" },
        { "certificate required", "the server wants a client certificate" },
        { "handshake failure", "the two have no TLS version or cipher in common, or the server wants "
                               "a client certificate" },
        { "wrong version number", "that port does not speak TLS" },
    };

    for (size_t i = 0; i < PROP_ARRAY_LEN(hints); i++)
        if (strstr(curl_text, hints[i].says) != NULL)
            return hints[i].hint;
    return "check the server's name and give its CA certificate";
}

const char *prop_http_version(void)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "libcurl %s", curl_version_info(CURLVERSION_NOW)->version);
    return text;
}
