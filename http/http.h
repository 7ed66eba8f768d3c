/* HTTP requests over one reused connection pool, with limits, a TLS policy and retries (libcurl).
 *
 * A struct prop_http belongs to one thread and keeps its connections open between requests. A
 * request is a struct filled by the caller; an answer holds status, headers and either a capped
 * body or what a sink made of it.
 */
#ifndef PROP_HTTP_HTTP_H
#define PROP_HTTP_HTTP_H

#include "util/buf.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct prop_http;
struct prop_http_answer;

struct prop_http_config {
    const char *ca_cert;     /* PEM file; only these roots are trusted. NULL = the system's */
    const char *extra_ca_dir;/* registry certs.d folder: *.crt added to the system's, X.cert + X.key */
    const char *extra_ca;    /* PEM file added to the system's roots */
    const char *client_cert, *client_key;
    const char *user_agent;
    bool allow_http;         /* plain HTTP to any host; loopback is always allowed */
    bool no_proxy;           /* ignore proxies of the environment (the guest does) */
    uint64_t connect_timeout_ms; /* 0 = 10 s */
    uint64_t stall_timeout_ms;   /* no byte for so long = broken; 0 = 60 s */
    unsigned max_retries;        /* 0 = none; for requests marked idempotent */
    uint64_t deadline_ms;        /* of prop_now_ms: all requests have failed by then, id "timeout";
                                    0 = none */
    const atomic_bool *cancel;   /* borrowed, or NULL: once true all requests end with
                                    PROP_E_INTERRUPTED, id "cancelled" */
    bool tls_facts;              /* keep what prop_http_tls tells; costs a little per connection */
    bool any_time;               /* with ca_cert: certificates count whatever the clock says (a guest's
                                    clock is its host's) */
};

int prop_http_new(const struct prop_http_config *config, struct prop_http **ret,
                  struct prop_err *err);
void prop_http_free(struct prop_http *h);
PROP_DEFINE_AUTO(struct prop_http *, prop_http_free)

struct prop_http_request {
    const char *method;           /* "GET" ... */
    const char *url;
    const char *const *headers;   /* "Name: value", NULL-terminated; may be NULL */
    const struct prop_secret *authorization; /* value of Authorization ("Bearer ..."), or NULL;
                                                never follows a redirect to another origin */
    const void *body;             /* whole body, or NULL */
    size_t body_len;
    /* A streamed body instead: called for up to `size` bytes; returns bytes, 0 = end, -1 = failed
     * (fill err). body_total is its length, or UINT64_MAX for chunked coding. */
    int64_t (*body_read)(void *ctx, void *out, size_t size, struct prop_err *err);
    void *body_ctx;
    uint64_t body_total;
    /* Where a 2xx body goes; NULL = into answer.body (capped at max_body). */
    int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err);
    void *sink_ctx;
    /* Called once, before the first byte reaches the sink: status and headers are there (the body
     * is not). A failure ends the request. May be NULL. */
    int (*begin)(void *sink_ctx, const struct prop_http_answer *head, struct prop_err *err);
    size_t max_body;              /* for answer.body of a 2xx; 0 = PROP_LIMIT_ERROR_BODY. Of other
                                     answers at most PROP_LIMIT_ERROR_BODY is kept, the rest cut */
    bool idempotent;              /* may be sent again on connect error, reset, 408, 429, 5xx */
    bool follow;                  /* follow redirects (GET and HEAD only) */
    uint64_t grace_ms;            /* its answer must not be lost: once sent, it is waited for so long
                                     after a signal or a failure elsewhere; 0 = not at all */
    bool once;                    /* never sent twice, also not by libcurl, which sends a request again
                                     when the server closes a reused connection without an answer */
};

struct prop_http_header { char *name, *value; }; /* names in lower case */
struct prop_http_answer {
    int status;
    struct prop_http_header *headers;
    size_t n_headers;
    struct prop_buf body;
    char *effective_url;
};
#define PROP_HTTP_ANSWER_INIT { 0, NULL, 0, { NULL, 0, 0, 0 }, NULL }
void prop_http_answer_release(struct prop_http_answer *a);
#define prop_auto_answer __attribute__((cleanup(prop_http_answer_release)))

/* Do one request. `ret` must be initialised (PROP_HTTP_ANSWER_INIT); what it held is released.
 * A complete answer of any status is success (0); the caller judges the status.
 * Fails: PROP_E_NETWORK (id "connect", "tls", "timeout", "reset", "proxy"), PROP_E_REMOTE (malformed or
 * truncated), PROP_E_LIMIT (body over max_body), PROP_E_USAGE (id "plain-http": refused scheme),
 * PROP_E_INTERRUPTED, or what the sink or body_read failed with. */
int prop_http_do(struct prop_http *h, const struct prop_http_request *rq,
                 struct prop_http_answer *ret, struct prop_err *err);

/* Is a failure (rc and err), or an answer (rc 0), one that a later try may not meet? Connect errors,
 * resets, cut answers, 408, 429, 500, 502, 503, 504. */
bool prop_http_transient(int rc, const struct prop_http_answer *a, const struct prop_err *err);
/* Wait before try number `attempt` + 2: as long as the answer's Retry-After says (at most 60 s), else
 * (a NULL, or no such header) 0.2 s, doubled each time up to 5 s, a quarter more or less.
 * Fails: PROP_E_INTERRUPTED, PROP_E_NETWORK (id "timeout") at the deadline. */
int prop_http_wait(const struct prop_http *h, unsigned attempt, const struct prop_http_answer *a,
                   struct prop_err *err);

/* What TLS agreed on, and the server's own certificate, of the last connection that was made (with
 * tls_facts); empty texts where there was none. Borrowed until the next request. */
struct prop_http_tls {
    char version[32];        /* "TLSv1.3" */
    char subject[256], issuer[256];
    char not_after[64];      /* as the certificate says it */
    int64_t not_after_time;  /* seconds of the epoch; 0 = not understood */
};
const struct prop_http_tls *prop_http_tls(const struct prop_http *h);

/* The answer's Date (RFC 9110 section 6.6.1); false when there is none. */
bool prop_http_date_of(const struct prop_http_answer *a, time_t *ret);

/* First header of that (lower-case) name, or NULL; `nth` counts from 0. */
const char *prop_http_header(const struct prop_http_answer *a, const char *name, size_t nth);

/* Is this host (without port, IPv6 without brackets) loopback: localhost, 127.0.0.0/8, ::1? */
bool prop_host_is_loopback(const char *host);
/* The URL's host, lower case, into `out`; PROP_E_INPUT if the URL is none. */
int prop_url_host(const char *url, char *out, size_t size, struct prop_err *err);
/* Resolve a Location against the request's URL (RFC 3986 section 5); owned by the caller. */
int prop_url_resolve(const char *base, const char *location, char **ret, struct prop_err *err);
/* Same scheme, host and port (defaults normalised)? */
bool prop_url_same_origin(const char *a, const char *b);
/* Percent-encode for a query value or path segment; NULL when memory is out. */
char *prop_url_escape(const char *text);

/* "libcurl 7.88.1", for --version; static. */
const char *prop_http_version(void);

/* A streamed upload that is written to instead of read from: begin, write..., finish.
 * Used where the bytes are made on the way (encrypt while uploading). */
struct prop_http_upload;
int prop_http_upload_begin(struct prop_http *h, const struct prop_http_request *rq,
                           struct prop_http_upload **ret, struct prop_err *err);
/* Fails as prop_http_do; and with PROP_E_REMOTE, id "early-answer" and http_status set, when the
 * server answered before it had all: prop_http_upload_finish then still gives that answer. */
int prop_http_upload_write(struct prop_http_upload *u, const void *data, size_t len,
                           struct prop_err *err);
/* End the body and collect the answer; frees the upload in every case. */
int prop_http_upload_finish(struct prop_http_upload *u, struct prop_http_answer *ret,
                            struct prop_err *err);
/* Give up; the connection is closed. NULL is fine. */
void prop_http_upload_abort(struct prop_http_upload *u);

#endif
