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

/* An attested session: cookie and token, and what they were attested with. Times are those of
 * prop_kbs_clock_ms. */
struct prop_kbs_session {
    struct prop_secret *cookie;      /* "kbs-session-id=..." */
    uint64_t cookie_until;           /* UINT64_MAX = the server did not say */
    struct prop_secret *bearer;      /* "Bearer <token>" */
    uint64_t token_until;            /* 0 = not known */
    struct prop_pkey *own_key;       /* made here, when the caller named none */
    char thumbprint[44];             /* of the TEE key */
    struct prop_kbs_attest how;      /* its pointers are only compared with NULL */
    char *init_data;
    bool attested;
};

/* How the server is reached; strings owned. */
struct prop_kbs_transport {
    char *ca_cert, *client_cert, *client_key;
    bool insecure_http, no_proxy, tls_facts;
};

struct prop_kbs {
    struct prop_http *http;
    struct prop_kbs_transport transport;
    bool answered;                   /* the server did once */
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

/* prop_http_do on the client's connection; certificates that were replaced are found out. */
int prop_kbs_do(struct prop_kbs *k, const struct prop_http_request *rq, struct prop_http_answer *ret,
                struct prop_err *err);

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

/* kbs/session.c: the state of one attestation. */
void prop_kbs_session_release(struct prop_kbs_session *s);
/* A new one, not attested yet; the TEE key is the same for all of it. */
int prop_kbs_session_begin(struct prop_kbs_session *s, const struct prop_kbs_attest *how,
                           struct prop_err *err);
const struct prop_pkey *prop_kbs_session_key(const struct prop_kbs_session *s,
                                             const struct prop_kbs_attest *how);
/* The name of what the server does with that key; NULL = it does nothing with this kind. */
const char *prop_kbs_key_alg(const struct prop_pkey *key);
/* Is it attested as this caller wants it, and not over as far as we know? */
bool prop_kbs_session_fits(const struct prop_kbs_session *s, const struct prop_kbs_attest *how);
/* Exactly one of them for the next request: the cookie while it is good, then the token. */
void prop_kbs_session_proof(const struct prop_kbs_session *s, const struct prop_secret **ret_cookie,
                            const struct prop_secret **ret_bearer);
/* Cookie of the answer to /auth, token of the answer to /attest; sent_ms is the time of the request. */
int prop_kbs_session_take_cookie(struct prop_kbs_session *s, const struct prop_http_answer *a,
                                 uint64_t sent_ms, struct prop_err *err);
int prop_kbs_session_take_token(struct prop_kbs_session *s, const char *token, uint64_t sent_ms,
                                struct prop_err *err);
/* Milliseconds of a clock that also runs while the machine sleeps, and that nobody sets. */
uint64_t prop_kbs_clock_ms(void);

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
