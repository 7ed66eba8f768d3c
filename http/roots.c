/* One X509_STORE per set of root files and process, counted; OpenSSL locks it between connections. */
#include "http/roots.h"

#include "util/buf.h"
#include "util/file.h"
#include "util/mem.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (16u << 20)
#define KEY_MAX (1u << 20)
#define UNUSED_MAX 4 /* a process that runs for long outlives many versions of its files */

struct prop_roots {
    struct prop_roots *next;
    char *key;
    unsigned users;
    X509_STORE *store;
    bool system, attached;
    bool loaded;             /* the system's file was read, or failed to be */
    struct prop_err failure; /* of that */
};

static struct prop_roots *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over the list and what is in it */
static X509_LOOKUP_METHOD *last_resort;

static void release(struct prop_roots *r)
{
    X509_STORE_free(r->store);
    prop_free(r->key);
    prop_free(r);
}

/* --- reading --- */

static int bad(const char *path, const char *why, struct prop_err *err)
{
    ERR_clear_error();
    return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate", "'%s' %s", path, why);
}

/* All certificates of a text; keys between them are skipped. */
static int add_text(X509_STORE *store, const struct prop_buf *text, const char *path,
                    struct prop_err *err)
{
    BIO *bio = BIO_new_mem_buf(text->data, (int)text->len);
    X509 *cert;
    size_t n = 0;
    int rc = bio == NULL ? prop_err_nomem(err) : 0;

    for (; rc == 0 && (cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL; n++) {
        if (X509_STORE_add_cert(store, cert) != 1)
            rc = prop_err_nomem(err);
        X509_free(cert);
    }
    BIO_free(bio);
    if (rc < 0)
        return rc;
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return bad(path, "holds a damaged certificate", err);
    if (n == 0)
        return bad(path, "holds no PEM certificate", err);
    ERR_clear_error();
    return 0;
}

static int add_file(X509_STORE *store, const char *path, bool may_be_empty, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(FILE_MAX);
    int rc = prop_file_read(path, &text, err);

    ERR_clear_error();
    if (rc < 0 || (text.len == 0 && may_be_empty))
        return rc;
    return add_text(store, &text, path, err);
}

static const char *system_file(void)
{
    const char *path = getenv("SSL_CERT_FILE");

    return path != NULL && path[0] != '\0' ? path : curl_version_info(CURLVERSION_NOW)->cainfo;
}

/* SSL_CERT_FILE=/dev/null is how people say "none". */
static void load_system_file(struct prop_roots *r)
{
    const char *file = system_file();

    (void)pthread_mutex_lock(&lock);
    if (!r->loaded && file != NULL && access(file, R_OK) == 0)
        (void)add_file(r->store, file, true, &r->failure);
    r->loaded = true;
    (void)pthread_mutex_unlock(&lock);
}

/* OpenSSL asks here for what neither the named files nor the system's folder hold: now the whole bundle
 * is read, which most connections never need. */
static int find_in_file(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name,
                        X509_OBJECT *ret)
{
    struct prop_roots *r = X509_LOOKUP_get_method_data(lookup);
    X509_OBJECT *found;
    int good = 0;

    if (type != X509_LU_X509)
        return 0;
    load_system_file(r);
    (void)X509_STORE_lock(r->store);
    found = X509_OBJECT_retrieve_by_subject(X509_STORE_get0_objects(r->store), type, name);
    if (found != NULL)
        good = X509_OBJECT_set1_X509(ret, X509_OBJECT_get0_X509(found));
    if (good) /* the store keeps it; the caller takes a reference of his own */
        X509_free(X509_OBJECT_get0_X509(ret));
    (void)X509_STORE_unlock(r->store);
    return good;
}

/* The folder's certificates are looked up by name, one by one, when they are needed. */
static int attach_system(struct prop_roots *r, struct prop_err *err)
{
    const char *dir = curl_version_info(CURLVERSION_NOW)->capath;
    X509_LOOKUP *lookup;

    if (dir != NULL && X509_STORE_load_path(r->store, dir) != 1)
        return prop_err_nomem(err);
    if (last_resort == NULL) {
        last_resort = X509_LOOKUP_meth_new("the system's file, when nothing else helps");
        if (last_resort == NULL ||
            X509_LOOKUP_meth_set_get_by_subject(last_resort, find_in_file) != 1)
            return prop_err_nomem(err);
    }
    lookup = X509_STORE_add_lookup(r->store, last_resort);
    if (lookup == NULL || X509_LOOKUP_set_method_data(lookup, r) != 1)
        return prop_err_nomem(err);
    return 0;
}

/* --- one of each --- */

/* What a file is now. A pipe is read once only, and its times say nothing. */
static int add_stamp(struct prop_buf *key, const char *path, struct prop_err *err)
{
    struct stat st;

    if (path == NULL || stat(path, &st) < 0)
        return prop_buf_printf(key, err, "%s\n", path != NULL ? path : "");
    if (!S_ISREG(st.st_mode))
        st.st_size = st.st_mtim.tv_sec = st.st_mtim.tv_nsec = 0;
    return prop_buf_printf(key, err, "%s %llx:%llx %lld %lld.%09ld\n", path,
                           (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
                           (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                           st.st_mtim.tv_nsec);
}

static int write_key(const char *const *files, size_t n, bool system, struct prop_buf *key,
                     struct prop_err *err)
{
    int rc = prop_buf_puts(key, system ? "system\n" : "alone\n", err);

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_stamp(key, files[i], err);
    return rc == 0 && system ? add_stamp(key, system_file(), err) : rc;
}

static struct prop_roots *find(const char *key)
{
    for (struct prop_roots *r = all; r != NULL; r = r->next)
        if (strcmp(r->key, key) == 0)
            return r;
    return NULL;
}

static void drop_unused(void)
{
    unsigned unused = 0;

    for (struct prop_roots **at = &all; *at != NULL;) {
        struct prop_roots *r = *at;

        if (r->users > 0 || ++unused <= UNUSED_MAX) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        release(r);
    }
}

static int make(const char *const *files, size_t n, bool system, const char *key,
                struct prop_roots **ret, struct prop_err *err)
{
    struct prop_roots *r = prop_zalloc(sizeof(*r));
    int rc = 0;

    if (r == NULL)
        return prop_err_nomem(err);
    r->system = system;
    r->key = prop_strdup(key);
    r->store = X509_STORE_new();
    /* as libcurl: what is named is trusted as it stands, also where it is no root */
    if (r->key == NULL || r->store == NULL ||
        X509_STORE_set_flags(r->store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN) != 1)
        rc = prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_file(r->store, files[i], false, err);
    if (rc < 0) {
        release(r);
        return rc;
    }
    r->next = all;
    all = *ret = r;
    return 0;
}

int prop_roots_get(const char *const *files, size_t n, bool system, struct prop_roots **ret,
                   struct prop_err *err)
{
    prop_auto_buf struct prop_buf key = PROP_BUF_INIT(KEY_MAX);
    struct prop_roots *r;
    int rc = write_key(files, n, system, &key, err);

    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&lock);
    r = find(prop_buf_str(&key));
    if (r == NULL)
        rc = make(files, n, system, prop_buf_str(&key), &r, err);
    if (rc == 0) {
        r->users++;
        *ret = r;
        drop_unused();
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

void prop_roots_put(struct prop_roots *r)
{
    if (r == NULL)
        return;
    (void)pthread_mutex_lock(&lock);
    r->users--;
    (void)pthread_mutex_unlock(&lock);
}

int prop_roots_apply(struct prop_roots *r, void *ssl_ctx, struct prop_err *err)
{
    SSL_CTX *ctx = ssl_ctx;
    int rc = 0;

    /* that of a proxy was filled by libcurl: the roots here are the server's */
    if (sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(ctx))) > 0)
        return 0;
    (void)pthread_mutex_lock(&lock);
    if (r->system && !r->attached) {
        rc = attach_system(r, err);
        r->attached = rc == 0;
    }
    (void)pthread_mutex_unlock(&lock);
    if (rc == 0)
        SSL_CTX_set1_cert_store(ctx, r->store);
    return rc;
}

int prop_roots_failure(struct prop_roots *r, struct prop_err *err)
{
    int rc;

    (void)pthread_mutex_lock(&lock);
    rc = (int)r->failure.code;
    if (rc < 0 && err != NULL)
        *err = r->failure;
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

void prop_roots_ignore_clock(void *ssl_ctx)
{
    (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl_ctx), X509_V_FLAG_NO_CHECK_TIME);
}
