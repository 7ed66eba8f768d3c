/* Certificates of our own: a CA and leaves for TLS servers on a developer's machine (RFC 5280).
 * Nothing here checks foreign certificates: that is TLS's business.
 */
#ifndef PROP_CRYPTO_X509_H
#define PROP_CRYPTO_X509_H

#include "crypto/pkey.h"
#include "util/buf.h"
#include "util/err.h"

#include <stddef.h>

#define PROP_X509_CA_DAYS 3650
#define PROP_X509_LEAF_DAYS 365

/* A self-signed CA certificate (CA:TRUE, may sign certificates only) for `key` under a common name,
 * valid for `days` from a day ago, appended to `out` as PEM. */
int prop_x509_make_ca(const struct prop_pkey *key, const char *common_name, unsigned days,
                      struct prop_buf *out, struct prop_err *err);

/* A certificate for a TLS server (CA:FALSE, serverAuth) with the public half of `key`, signed by
 * the CA, appended to `out` as PEM. Each of `names` is an IP address or a host name and becomes a
 * subject alternative name of its kind.
 * Fails: PROP_E_INPUT `ca_pem` is no certificate, or (id "ca-mismatch") not the one of `ca_key`. */
int prop_x509_make_leaf(const struct prop_pkey *ca_key, const void *ca_pem, size_t ca_pem_len,
                        const struct prop_pkey *key, const char *const *names, size_t n_names,
                        unsigned days, struct prop_buf *out, struct prop_err *err);

#endif
