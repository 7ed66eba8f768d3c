/* One answer as the routes make it, free of the HTTP library. */
#ifndef PROP_KBSD_REPLY_H
#define PROP_KBSD_REPLY_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>

#define PROP_KBSD_REPLY_MAX (16u << 20) /* a JWE of the largest resource is under 3 MiB */

struct prop_kbsd_reply {
    unsigned status;
    const char *content_type; /* static; NULL = no such header */
    const char *allow;        /* static value of the Allow header, or NULL */
    char *cookie;             /* value of Set-Cookie, or NULL */
    struct prop_buf body;
    bool drop;                /* close the connection without an answer */
    const char *error_name;   /* static; last segment of the error's type, or NULL */
    char cause[512];          /* for the log only; never sent */
};

void prop_kbsd_reply_init(struct prop_kbsd_reply *r);
void prop_kbsd_reply_release(struct prop_kbsd_reply *r);
#define prop_auto_kbsd_reply __attribute__((cleanup(prop_kbsd_reply_release)))

/* 200 with a body of `len` bytes (NULL and 0: empty) and a content type or none. */
void prop_kbsd_reply_ok(struct prop_kbsd_reply *r, const char *content_type, const void *body,
                        size_t len);
/* A status with an empty body. */
void prop_kbsd_reply_empty(struct prop_kbsd_reply *r, unsigned status, const char *allow);
/* A status with a line of plain text, as the real server's HTTP library answers. */
void prop_kbsd_reply_text(struct prop_kbsd_reply *r, unsigned status, const char *text);
/* An error of the protocol (kbs.md 1.1): {"type":".../<name>","detail":...}, no content type, 404
 * for PluginNotFound and 401 for everything else. `name` is static, `cause` (may be NULL) is kept
 * for the log. What was in the answer before is dropped. */
void prop_kbsd_refuse(struct prop_kbsd_reply *r, const char *name, const struct prop_err *cause,
                      const char *detail, ...) __attribute__((format(printf, 4, 5)));

#endif
