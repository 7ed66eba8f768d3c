/* Registry credentials: the files and helpers that podman, skopeo and docker share (registry.md 4). */
#ifndef PROP_OCI_AUTH_H
#define PROP_OCI_AUTH_H

#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

enum prop_cred_kind {
    PROP_CRED_NONE,
    PROP_CRED_PASSWORD,       /* user and password */
    PROP_CRED_IDENTITY_TOKEN, /* an OAuth2 refresh token */
    PROP_CRED_REGISTRY_TOKEN  /* a ready bearer token */
};

struct prop_credentials {
    enum prop_cred_kind kind;
    char *user; /* may be NULL for tokens */
    struct prop_secret *secret;
};
#define PROP_CREDENTIALS_INIT { PROP_CRED_NONE, NULL, NULL }
void prop_credentials_release(struct prop_credentials *c);
#define prop_auto_credentials __attribute__((cleanup(prop_credentials_release)))

/* What is known for "domain/path" (path may be NULL). `authfile` NULL = the usual places. Nothing
 * known is success with kind NONE.
 * Fails: PROP_E_INPUT (a file is malformed), PROP_E_IO, PROP_E_REMOTE (id "credential-helper"). */
int prop_auth_lookup(const char *authfile, const char *domain, const char *path,
                     struct prop_credentials *ret, struct prop_err *err);
/* Keep user and password for a registry, in the file that login writes or through its helper.
 * ret_where names it (owned). */
int prop_auth_store(const char *authfile, const char *domain, const struct prop_credentials *cred,
                    char **ret_where, struct prop_err *err);
/* Forget them everywhere they are kept. PROP_E_NOTFOUND (id "not-logged-in") when nowhere. */
int prop_auth_erase(const char *authfile, const char *domain, struct prop_err *err);

/* No control characters, and no ':' in the user name: PROP_E_INPUT (id "bad-credentials"). */
int prop_credentials_check(const struct prop_credentials *c, struct prop_err *err);
/* The value of "Authorization: Basic ..."; owned. */
int prop_credentials_basic(const struct prop_credentials *c, struct prop_secret **ret,
                           struct prop_err *err);

/* --- helpers (auth_helper.c): docker-credential-NAME --- */

/* Ask for `server`; kind NONE when the helper knows nothing. */
int prop_helper_get(const char *name, const char *server, struct prop_credentials *ret,
                    struct prop_err *err);
int prop_helper_store(const char *name, const char *server, const struct prop_credentials *cred,
                      struct prop_err *err);
/* PROP_E_NOTFOUND when it had nothing. */
int prop_helper_erase(const char *name, const char *server, struct prop_err *err);

#endif
