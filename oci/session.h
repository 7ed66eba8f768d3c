/* A conversation with one registry: where it is, how it is reached, who we are there. */
#ifndef PROP_OCI_SESSION_H
#define PROP_OCI_SESSION_H

#include "http/http.h"
#include "oci/auth.h"
#include "oci/challenge.h"
#include "oci/image.h"
#include "oci/ref.h"
#include "util/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_token {
    char *scope;
    struct prop_secret *authorization; /* "Bearer ..." */
    uint64_t expires_ms;
};

enum prop_single { PROP_SINGLE_UNKNOWN, PROP_SINGLE_YES, PROP_SINGLE_NO };

/* Several threads may do requests at once. */
struct prop_session {
    char *domain;   /* as in references */
    char *origin;   /* "https://host[:port]" on the wire */
    char *path;     /* repository that credentials are looked up for; may be NULL */
    char *authfile;
    struct prop_http_config config; /* of new handles */
    char *cert_dir, *ca_cert, *user_agent;
    atomic_bool cancelled;     /* set: everything under way ends */
    atomic_int single;         /* enum prop_single: does it take a blob with the first request? */
    atomic_uint stalls;        /* silences in a row that uploads took for a broken connection */
    atomic_bool deaf;          /* it did not answer when an upload was taken back */
    pthread_mutex_t pool_lock; /* over the idle handles and the warnings */
    struct prop_http **idle;
    size_t n_idle;
    void (*warn)(void *ctx, const char *registry, const char *text);
    void *warn_ctx;
    char **warned;
    size_t n_warned;
    pthread_mutex_t auth_lock; /* over what follows */
    struct prop_credentials cred;
    bool cred_loaded;
    struct prop_secret *basic; /* "Basic ...", once the registry asked for it */
    struct prop_token *tokens;
    size_t n_tokens;
    struct prop_http *via; /* whose connections token requests take, or NULL */
    struct prop_secret **retired;
    size_t n_retired;
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
/* Answer the 401 of a request that sent `sent` (may be NULL): ret true when the next one of that scope
 * sends something else and is worth a try. Other answers are left alone. */
int prop_session_renew(struct prop_session *s, const struct prop_http_answer *a,
                       const struct prop_secret *sent, const char *scope, bool *ret,
                       struct prop_err *err);
/* The same, a token being asked for over `h`, which the caller holds: for what is done after everything
 * else was cancelled. */
int prop_session_renew_by(struct prop_session *s, struct prop_http *h,
                          const struct prop_http_answer *a, const struct prop_secret *sent,
                          const char *scope, bool *ret, struct prop_err *err);
/* What the next request of that scope would send as Authorization, or NULL; borrowed from the
 * session. */
const struct prop_secret *prop_session_authorization(struct prop_session *s, const char *scope);
/* Use these credentials instead of what files and helpers know. */
int prop_session_set_credentials(struct prop_session *s, const char *user,
                                 const struct prop_secret *password, struct prop_err *err);

/* Turn a refusal into an error: "<what>: registry says 404 MANIFEST_UNKNOWN: ...". `not_found` is
 * the id for 404. Returns the code, never 0. */
int prop_session_refused(const struct prop_session *s, const struct prop_http_answer *a,
                         const char *what, const char *not_found, struct prop_err *err);

/* --- connect.c: the connections --- */

/* From the options to an origin and a first handle; and the end of all that. */
int prop_session_connect(struct prop_session *s, const struct prop_oci_options *opts,
                         struct prop_err *err);
void prop_session_disconnect(struct prop_session *s);
/* A handle for one thread at a time, and back (NULL is fine). */
int prop_session_take_http(struct prop_session *s, struct prop_http **ret, struct prop_err *err);
void prop_session_give_http(struct prop_session *s, struct prop_http *h);
/* Pass on what an answer warns of, once per text. */
void prop_session_heed(struct prop_session *s, const struct prop_http_answer *a);

/* token.c: get a token that a Bearer challenge asks for. */
int prop_session_fetch_token(struct prop_session *s, const struct prop_challenge *c,
                             const char *scope, struct prop_secret **ret, uint64_t *ret_expires_ms,
                             struct prop_err *err);

#endif
