/* Inside the http room: one exchange (request and answer) driven over a shared multi handle. */
#ifndef PROP_HTTP_INTERNAL_H
#define PROP_HTTP_INTERNAL_H

#include "http/http.h"
#include "http/roots.h"
#include "util/buf.h"
#include "util/err.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_http {
    CURLM *multi;      /* owns the connection pool */
    CURL *easy;        /* reset for every plain request */
    char *user_agent;
    char *client_cert, *client_key;
    const char **root_files;   /* owned, and the texts; beside the system's roots or instead of them */
    size_t n_root_files;
    struct prop_roots *roots;
    bool allow_http, no_proxy;
    long connect_timeout_ms;
    uint64_t stall_timeout_ms;
    unsigned max_retries;
    uint64_t deadline_ms;
    const atomic_bool *cancel;
    bool tls_facts;
    bool any_time;
    struct prop_http_tls tls;
};

struct prop_exchange {
    struct prop_http *h;
    const struct prop_http_request *rq;
    CURL *easy;
    struct curl_slist *headers;
    char curl_error[CURL_ERROR_SIZE];
    struct prop_http_answer answer;
    size_t header_bytes;
    bool head_ended;         /* the empty line after the headers came */
    struct prop_err cb_err;  /* what a callback failed with */
    int cb_rc;
    bool enough;             /* a refusal's body was cut on purpose */
    bool body_read_started, sink_started;
    bool done;
    uint64_t grace_end_ms;   /* 0 = nobody asked to stop */
    CURLcode result;
    uint64_t active_ms;      /* last time something moved */
    curl_off_t moved;
    /* a pushed body: what read callbacks take from */
    bool pushed, push_end, paused;
    const uint8_t *push;
    size_t push_len;
};

/* Prepare `ex->easy` for rq at `url`; `same_origin` false leaves credentials out. */
int prop_exchange_setup(struct prop_exchange *ex, const char *url, bool same_origin,
                        struct prop_err *err);
/* Drive until the exchange is done, or, for a pushed body, until all of ex->push was taken. */
int prop_exchange_drive(struct prop_exchange *ex, struct prop_err *err);
/* The verdict after ex->done: 0 with ex->answer complete, or the failure. */
int prop_exchange_verdict(struct prop_exchange *ex, struct prop_err *err);
void prop_exchange_release(struct prop_exchange *ex);

/* 0, or what ends everything: a signal, a failure elsewhere (both PROP_E_INTERRUPTED), the deadline. */
int prop_http_may_go_on(const struct prop_http *h, struct prop_err *err);
/* How long to wait for the network before that is asked again. */
int prop_http_poll_ms(const struct prop_http *h);

/* Trust roots, client certificate, TLS version and proxy rules for one easy handle. */
int prop_tls_load(struct prop_http *h, const struct prop_http_config *config,
                  struct prop_err *err);
void prop_tls_release(struct prop_http *h);
int prop_tls_apply(struct prop_exchange *ex, struct prop_err *err);
/* With tls_facts: what libcurl says of the connection, and what its certificate says. */
int prop_tls_overhear(CURL *easy, curl_infotype type, char *data, size_t len, void *h);
void prop_tls_collect(struct prop_http *h, CURL *easy);
/* More than "TLS failed": what to do about what libcurl says. */
const char *prop_tls_hint(const char *curl_text);

/* What a URL is made of; refuses what is no http(s) URL and user names in URLs. */
struct prop_url {
    bool https;
    char host[256];  /* lower case, IPv6 without brackets */
    unsigned port;
};
int prop_url_read(const char *url, struct prop_url *ret, struct prop_err *err);
/* PROP_E_USAGE (id "plain-http") when this handle may not talk plain HTTP to the URL's host. */
int prop_url_allowed(const struct prop_http *h, const struct prop_url *u, struct prop_err *err);
/* A proxy of the environment, or none. Never to loopback. */
void prop_proxy_apply(const struct prop_http *h, CURL *easy, const struct prop_url *u);
/* The URL up to its query, printable, without a user's name and password, for messages. */
const char *prop_url_brief(const char *url, char *out, size_t size);

#endif
