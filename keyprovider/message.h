/* The JSON of ocicrypt's key provider protocol (ocicrypt.md 6.3): requests and replies, read and
 * written. Everything is in guarded memory. */
#ifndef PROP_KEYPROVIDER_MESSAGE_H
#define PROP_KEYPROVIDER_MESSAGE_H

#include "keyprovider/keyprovider.h"
#include "util/err.h"
#include "util/secret.h"

#include <stddef.h>

#define PROP_KP_LIMIT_MESSAGE (4u << 20) /* gRPC's own default for a message */
#define PROP_KP_LIMIT_PARAMS 64          /* "provider:NAME:PARAMS" of one name */

/* What a request asks, as far as it concerns one provider. */
struct prop_kp_request {
    enum prop_kp_op op;
    struct prop_secret **params; /* each without a NUL inside, so that it can be read as text */
    size_t n_params;
    struct prop_secret *data;    /* wrap: the private options; unwrap: the annotation's bytes */
};
#define PROP_KP_REQUEST_INIT { PROP_KP_ANY, NULL, 0, NULL }
/* Read a request; `provider` is the name whose parameters are meant, `only` what it must ask (ANY:
 * "op" says). Fails: PROP_E_INPUT (id "keyprovider-request"). */
int prop_kp_request_read(const struct prop_secret *text, const char *provider, enum prop_kp_op only,
                         struct prop_kp_request *ret, struct prop_err *err);
void prop_kp_request_release(struct prop_kp_request *r);
#define prop_auto_kp_request __attribute__((cleanup(prop_kp_request_release)))

/* Write a request, byte for byte as the Go library does, which providers in Rust read too. No
 * params: the word "Enabled", as there. */
int prop_kp_request_write(enum prop_kp_op op, const char *provider, const char *const *params,
                          size_t n_params, const void *data, size_t len, struct prop_secret **ret,
                          struct prop_err *err);

/* The one result member that `op` has, as an array of numbers. */
int prop_kp_reply_write(enum prop_kp_op op, const void *data, size_t len, struct prop_secret **ret,
                        struct prop_err *err);
/* The bytes of that member. Fails: PROP_E_REMOTE (id "provider-failed"). */
int prop_kp_reply_read(const struct prop_secret *text, enum prop_kp_op op, struct prop_secret **ret,
                       struct prop_err *err);

#endif
