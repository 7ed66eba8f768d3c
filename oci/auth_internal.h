/* Inside the oci room: what looking credentials up and keeping them share. */
#ifndef PROP_OCI_AUTH_INTERNAL_H
#define PROP_OCI_AUTH_INTERNAL_H

#include "oci/auth.h"

#include <stdbool.h>
#include <stddef.h>

#define PROP_AUTH_FILES_MAX 5

/* Where credentials may be, first the one that login writes. */
struct prop_auth_places {
    char *path[PROP_AUTH_FILES_MAX];
    bool old_form[PROP_AUTH_FILES_MAX]; /* ~/.dockercfg: the map itself */
    size_t n;
};

/* `authfile` or $REGISTRY_AUTH_FILE alone, else the usual places. */
int prop_auth_places(const char *authfile, struct prop_auth_places *p, struct prop_err *err);
void prop_auth_places_release(struct prop_auth_places *p);
#define auto_auth_places __attribute__((cleanup(prop_auth_places_release)))

/* Parse one file; it must be an object. */
int prop_auth_load(const char *path, json_t **ret, struct prop_err *err);
/* Does a key of "auths" or "credHelpers" name this registry? Scheme and path do not count. */
bool prop_auth_key_is_host(const char *key, const char *domain);
/* The helper in charge of a host: its own (ret_own true), else the file's store; NULL = none.
 * Borrowed from `file`. */
const char *prop_auth_helper(const json_t *file, const char *domain, bool *ret_own);
/* What helpers are asked for. */
const char *prop_auth_helper_server(const char *domain);
/* base64 of user:password behind `head`, in guarded memory. */
int prop_auth_encode(const struct prop_credentials *c, const char *head, struct prop_secret **ret,
                     struct prop_err *err);

#endif
