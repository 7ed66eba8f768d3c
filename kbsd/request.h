/* One request as the routes see it, free of the HTTP library: the target taken apart and decoded,
 * the few headers that count, and the body. */
#ifndef PROP_KBSD_REQUEST_H
#define PROP_KBSD_REQUEST_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

#include <stddef.h>

enum prop_kbsd_area {
    PROP_KBSD_AREA_NONE,    /* nothing of ours: 404 */
    PROP_KBSD_AREA_KBS,     /* below /kbs/v0/ */
    PROP_KBSD_AREA_METRICS, /* /metrics */
    PROP_KBSD_AREA_HEALTHZ  /* /healthz */
};

struct prop_kbsd_request {
    char *method;
    char *target;          /* the request target as sent, query included; clean UTF-8 */
    enum prop_kbsd_area area;
    char *plugin;          /* first segment below /kbs/v0/, decoded; "" when empty */
    char *rest;            /* what follows it and its slash, decoded; "" when nothing does */
    json_t *segments;      /* array of the segments of `rest`; empty when no slash followed */
    json_t *query;         /* object of strings; of repeated names the last counts */
    char *authorization;   /* header value or NULL */
    char *session_id;      /* value of the session cookie or NULL */
    struct prop_buf body;
};

#define PROP_KBSD_COOKIE "kbs-session-id"

/* Make a request from the target of its first line. Percent-escapes are decoded once; bytes that
 * are not UTF-8, and NUL, become U+FFFD. Fails: PROP_E_NOMEM. */
int prop_kbsd_request_new(const char *method, const char *target, size_t max_body,
                          struct prop_kbsd_request **ret, struct prop_err *err);
/* The body is wiped: it may hold a resource. */
void prop_kbsd_request_free(struct prop_kbsd_request *q);
PROP_DEFINE_AUTO(struct prop_kbsd_request *, prop_kbsd_request_free)
#define prop_auto_kbsd_request __attribute__((cleanup(prop_kbsd_request_free_p)))

/* Look for the session cookie in one Cookie header; the first one found is kept. Its value may be
 * double-quoted. Fails: PROP_E_NOMEM. */
int prop_kbsd_request_add_cookies(struct prop_kbsd_request *q, const char *header,
                                  struct prop_err *err);

/* The token of "Bearer <token>", scheme in exactly this case, or NULL. Borrowed. */
const char *prop_kbsd_request_bearer(const struct prop_kbsd_request *q);

#endif
