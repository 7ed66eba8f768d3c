/* A conversation with one registry: where it is, how it is reached, who we are there. */
#ifndef PROP_OCI_SESSION_H
#define PROP_OCI_SESSION_H

#include "http/http.h"
#include "oci/auth.h"
#include "oci/challenge.h"
#include "oci/image.h"
#include "oci/ref.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_token {
    char *scope;
    struct prop_secret *authorization; /* "Bearer ..." */
    uint64_t expires_ms;
};

struct prop_session {
    struct prop_http *http;
    char *domain;   /* as in references */
    char *origin;   /* "https://host[:port]" on the wire */
    char *path;     /* repository that credentials are looked up for; may be NULL */
    char *authfile;
    struct prop_credentials cred;
    bool cred_loaded;
    struct prop_secret *basic; /* "Basic ...", once the registry asked for it */
    struct prop_token *tokens;
    size_t n_tokens;
};

/* `path` may be NULL (login, list of nothing). Nothing is sent yet. */
int prop_session_new(const char *domain, const char *path, const struct prop_oci_options *opts,
                     struct prop_session **ret, struct prop_err *err);
void prop_session_free(struct prop_session *s);
PROP_DEFINE_AUTO(struct prop_session *, prop_session_free)
#define prop_auto_session __attribute__((cleanup(prop_session_free_p)))

/* "<origin>/v2/<repository>/<rest>"; NULL when memory is out. */
char *prop_session_url(const struct prop_session *s, const char *repository, const char *rest);
/* Do a request that can be sent twice; a 401 is answered once with a token or Basic credentials
 * for `scope` ("repository:NAME:pull", or NULL). */
int prop_session_do(struct prop_session *s, struct prop_http_request *rq, const char *scope,
                    struct prop_http_answer *ret, struct prop_err *err);
/* What the next request of that scope would send as Authorization, or NULL; borrowed. */
const struct prop_secret *prop_session_authorization(struct prop_session *s, const char *scope);
/* Use these credentials instead of what files and helpers know. */
int prop_session_set_credentials(struct prop_session *s, const char *user,
                                 const struct prop_secret *password, struct prop_err *err);

/* Turn a refusal into an error: "<what>: registry says 404 MANIFEST_UNKNOWN: ...". `not_found` is
 * the id for 404. Returns the code, never 0. */
int prop_session_refused(const struct prop_session *s, const struct prop_http_answer *a,
                         const char *what, const char *not_found, struct prop_err *err);

/* token.c: get a token that a Bearer challenge asks for. */
int prop_session_fetch_token(struct prop_session *s, const struct prop_challenge *c,
                             const char *scope, struct prop_secret **ret, uint64_t *ret_expires_ms,
                             struct prop_err *err);

#endif
