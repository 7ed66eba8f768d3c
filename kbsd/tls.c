/* The CA of --tls. Clients are given ca.pem as their trust root. */
#include "kbsd/tls.h"

#include "crypto/x509.h"
#include "kbsd/state.h"
#include "util/file.h"
#include "util/limits.h"

#include <string.h>
#include <unistd.h>

static int ca_cert(const char *path, const struct prop_pkey *key, struct prop_buf *pem,
                   struct prop_err *err)
{
    if (access(path, F_OK) == 0)
        return prop_file_read(path, pem, err);
    int rc = prop_x509_make_ca(key, "propkbs development CA", PROP_X509_CA_DAYS, pem, err);
    return rc == 0 ? prop_file_write(path, pem->data, pem->len, 0644, false, err) : rc;
}

int prop_kbsd_tls_identity(const char *dir, const char *host, struct prop_buf *chain,
                           struct prop_secret **ret_key, struct prop_err *err)
{
    /* The last is what a VM calls this loopback interface, on QEMU's user network. */
    static const char *const own[] = { "localhost", "127.0.0.1", "::1", "10.0.2.2" };
    const char *names[PROP_ARRAY_LEN(own) + 1] = { own[0], own[1], own[2], own[3], host };
    size_t n = PROP_ARRAY_LEN(own) + 1;
    prop_auto_free char *key_path = prop_path_join(dir, "ca.key");
    prop_auto_free char *cert_path = prop_path_join(dir, "ca.pem");
    prop_auto_pkey struct prop_pkey *ca = NULL;
    prop_auto_pkey struct prop_pkey *leaf = NULL;
    prop_auto_buf struct prop_buf pem = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);

    if (key_path == NULL || cert_path == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(own); i++)
        if (strcmp(host, own[i]) == 0)
            n = PROP_ARRAY_LEN(own);
    int rc = prop_kbsd_key_file(key_path, PROP_PKEY_P256, &ca, err);
    if (rc == 0)
        rc = ca_cert(cert_path, ca, &pem, err);
    if (rc == 0)
        rc = prop_pkey_generate(PROP_PKEY_P256, 0, &leaf, err);
    if (rc == 0) {
        rc = prop_x509_make_leaf(ca, pem.data, pem.len, leaf, names, n, PROP_X509_LEAF_DAYS, chain,
                                 err);
        if (rc != 0)
            (void)prop_err_wrap(err, "'%s'", cert_path);
    }
    if (rc == 0)
        rc = prop_buf_add(chain, pem.data, pem.len, err);
    return rc == 0 ? prop_pkey_private_pem(leaf, ret_key, err) : rc;
}
