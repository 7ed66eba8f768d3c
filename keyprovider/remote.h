/* Calling a key provider over gRPC: HTTP/2 with prior knowledge, plain text. */
#ifndef PROP_KEYPROVIDER_REMOTE_H
#define PROP_KEYPROVIDER_REMOTE_H

#include "keyprovider/keyprovider.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdint.h>

#define PROP_KP_REMOTE_MS 120000u

/* One unary call to `target`, as gRPC and the Rust library write it: "host:port",
 * "dns:///host:port", "http://host:port", "tcp://host:port", "unix:///path", "unix:path". The
 * request holds a layer's key and nothing encrypts it on the way, so that hosts other than this one
 * are refused.
 * Fails: PROP_E_REMOTE (id "provider-failed") with the status and its words; PROP_E_NETWORK (id
 * "provider-timeout" when time was up); PROP_E_DENIED (id "provider-plain") not a loopback address;
 * PROP_E_INPUT (id "keyprovider-config") no such target; PROP_E_INTERRUPTED. */
int prop_kp_remote_call(const char *target, enum prop_kp_op op, const struct prop_secret *request,
                        uint64_t timeout_ms, struct prop_secret **ret_reply, struct prop_err *err);

#endif
