/* Where gRPC goes over: unix sockets and loopback ports, nothing else. */
#ifndef PROP_KEYPROVIDER_ADDRESS_H
#define PROP_KEYPROVIDER_ADDRESS_H

#include "util/err.h"

#include <stdint.h>

/* Connect to a gRPC target (remote.h lists the forms) before `deadline` (prop_now_ms).
 * ret_authority is what HTTP/2 calls the other end. The descriptor is non-blocking, owned by the
 * caller.
 * Fails: as prop_kp_remote_call. */
int prop_kp_connect(const char *target, uint64_t deadline, int *ret_fd, char **ret_authority,
                    struct prop_err *err);

/* Listen on "unix:PATH" (the socket is made 0600; one that nobody listens on any more is replaced)
 * or "HOST:PORT". ret_address is the same with the port that was picked; ret_path, NULL for a port,
 * is the file to remove at the end.
 * Fails: PROP_E_USAGE (id "listen", "listen-not-loopback"), PROP_E_NETWORK (id "listen"). */
int prop_kp_listen(const char *where, int *ret_fd, char **ret_address, char **ret_path,
                   struct prop_err *err);

#endif
