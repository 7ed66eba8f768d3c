/* What the files of this room share: the client's state, and one way to send a request. */
#ifndef PROP_KBS_INTERNAL_H
#define PROP_KBS_INTERNAL_H

#include "http/http.h"
#include "kbs/kbs.h"
#include "kbs/refusal.h"
#include "util/limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Context in front of a failure's message; the code stays, also where nobody wants the message. */
#define PROP_KBS_WRAP(rc, err, ...) ((rc) < 0 ? ((void)prop_err_wrap(err, __VA_ARGS__), (rc)) : 0)

/* An attested session: the cookie, and what it was attested with. */
struct prop_kbs_session {
    struct prop_secret *cookie;      /* "kbs-session-id=..." */
    struct prop_pkey *own_key;       /* made here, when the caller named none */
    char thumbprint[44];             /* of the TEE key */
    enum prop_tee tee;
    char *init_data;
    bool attested;
};

struct prop_kbs {
    struct prop_http *http;
    char *url;                       /* see prop_kbs_url */
    struct prop_pkey *admin_key;     /* or NULL */
    struct prop_kbs_config claims;   /* issuer, audience, role, lifetime; strings owned */
    struct prop_secret *bearer;      /* "Bearer ..." once there is one */
    time_t bearer_until;             /* a signed one is made anew after this; 0 = given, keep */
    char *token_role;                /* of a given token; NULL = it names none */
    const char *token_warning;       /* what servers will not like in a given token; static */
    bool drop_audience;              /* the server takes no token with one */
    bool clock_known;                /* an answer had a Date */
    long clock_ahead_s;              /* the server's clock minus ours, at its last answer */
    struct prop_kbs_session session;
};

/* One request to /kbs/v0<path>. Any 2xx fills `ret`; everything else goes through
 * prop_kbs_refusal. The body stays the caller's. */
struct prop_kbs_request {
    enum prop_kbs_call call;
    const char *method, *path;
    const char *content_type;        /* NULL = no body */
    const void *body;
    size_t body_len;
    const struct prop_secret *cookie, *authorization;
};
int prop_kbs_send(struct prop_kbs *k, const struct prop_kbs_request *rq,
                  struct prop_http_answer *ret, struct prop_err *err);

/* A request that got no answer, or half of one (`rc` and `err` of prop_http_do): what that means for
 * the call. Returns the code, which may be another. */
int prop_kbs_broken(enum prop_kbs_call call, int rc, struct prop_err *err);
/* What the server's answer tells of its clock. */
void prop_kbs_note_clock(struct prop_kbs *k, const struct prop_http_answer *a);

/* The admin's Authorization value, signed when it is time; NULL in *ret when none is configured
 * (a server that allows all asks for none). Borrowed. */
int prop_kbs_bearer(struct prop_kbs *k, const struct prop_secret **ret, struct prop_err *err);
/* After a refusal of the token: true when there is another form to be tried, and from then on
 * prop_kbs_bearer gives that one. */
bool prop_kbs_admin_next_form(struct prop_kbs *k, const struct prop_err *refusal);
void prop_kbs_admin_first_form(struct prop_kbs *k);
/* Read key or token file of the configuration; free both. */
int prop_kbs_admin_init(struct prop_kbs *k, const struct prop_kbs_config *c, struct prop_err *err);
void prop_kbs_admin_release(struct prop_kbs *k);

void prop_kbs_session_release(struct prop_kbs_session *s);

/* prop_kbs_admin_token with the time of signing said. */
int prop_kbs_admin_token_at(const struct prop_pkey *ed25519, const struct prop_kbs_config *config,
                            time_t iat, struct prop_buf *out, struct prop_err *err);
/* The path of a resource under /kbs/v0. A host in the id must be this key broker's:
 * PROP_E_DENIED (id "foreign-kbs"). */
int prop_kbs_resource_path(const struct prop_kbs *k, const struct prop_resource_id *id, char **ret,
                           struct prop_err *err);
/* Does a resource id's host mean the server behind `url`? */
bool prop_kbs_same_host(const char *url, const char *host);

#endif
