/* A socket with an HTTP/2 session on it (nghttp2), for both ends. DATA leaves from guarded memory
 * through a guarded buffer, and what comes in is wiped after nghttp2 handed it on. */
#ifndef PROP_KEYPROVIDER_LINK_H
#define PROP_KEYPROVIDER_LINK_H

#include "util/secret.h"

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Must be the session's user data. */
struct prop_kp_link {
    int fd; /* non-blocking; closed by release */
    nghttp2_session *h2;
    struct prop_secret *out; /* what the socket did not take yet; NULL before the first use */
    size_t out_start, out_end;
    uint64_t moved; /* bytes that came and went */
    bool starved;   /* it is broken because memory ran out */
};
#define PROP_KP_LINK_INIT { -1, NULL, NULL, 0, 0, 0, false }
void prop_kp_link_release(struct prop_kp_link *l);

/* The callbacks that write; the others are the caller's. */
void prop_kp_link_callbacks(nghttp2_session_callbacks *cb);
/* Read once and let the session act on it. 1: something came; 0: nothing there; -1: the other end
 * is gone, or speaks no HTTP/2. */
int prop_kp_link_read(struct prop_kp_link *l);
/* Write what there is and the socket takes. 0, or -1: gone. */
int prop_kp_link_write(struct prop_kp_link *l);
/* Is there something to write? */
bool prop_kp_link_wants_write(const struct prop_kp_link *l);

/* A message to be sent as the body of a stream; outlives the stream. */
struct prop_kp_body {
    struct prop_secret *bytes; /* owned by whoever owns this */
    size_t sent;
    const nghttp2_nv *trailers; /* after the last byte; none: the last byte ends the stream */
    size_t n_trailers;
};
nghttp2_data_provider prop_kp_link_provider(struct prop_kp_body *body);

/* A header whose strings are literals or outlive the call. */
nghttp2_nv prop_kp_link_nv(const char *name, const char *value);

#endif
