/* Trust roots, read once and shared: libcurl on its own makes OpenSSL parse the system's bundle anew
 * for every connection, two megabytes each. */
#ifndef PROP_HTTP_ROOTS_H
#define PROP_HTTP_ROOTS_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_roots;

/* The roots of these PEM files, and the system's with them (libcurl's folder; $SSL_CERT_FILE, else
 * libcurl's file, which is read when nothing else has what a connection needs). The same files are the same object until one of them changes;
 * what a pipe gave is kept. For all threads; give it back with prop_roots_put (NULL is fine).
 * Fails: PROP_E_INPUT (id "bad-certificate"), as prop_file_read. */
int prop_roots_get(const char *const *files, size_t n, bool system, struct prop_roots **ret,
                   struct prop_err *err);
void prop_roots_put(struct prop_roots *r);
/* Make an SSL_CTX trust them, and nothing else. Fails: PROP_E_NOMEM. */
int prop_roots_apply(struct prop_roots *r, void *ssl_ctx, struct prop_err *err);
/* 0, or why the system's could not be read when they were needed, as prop_roots_get. */
int prop_roots_failure(struct prop_roots *r, struct prop_err *err);
/* Make an SSL_CTX take certificates whatever the clock says. */
void prop_roots_ignore_clock(void *ssl_ctx);

#endif
