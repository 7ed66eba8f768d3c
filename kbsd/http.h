/* The HTTP side (libmicrohttpd): requests in, answers out, on the caller's thread. Limits: 128 KiB
 * of head (431), 2 MiB of body after inflating (413), as the real server (kbs.md 1). */
#ifndef PROP_KBSD_HTTP_H
#define PROP_KBSD_HTTP_H

#include "kbsd/state.h"
#include "util/err.h"
#include "util/mem.h"

struct prop_kbsd_http;

/* Bind, listen, and make ready to serve `k` (borrowed). *ret_url is "http(s)://host:port" with the
 * real port, owned by the caller.
 * Fails: PROP_E_USAGE (id "listen") no host:port, or (id "listen-not-loopback") an address that
 *        others can reach, without the configuration's test_ok; PROP_E_NETWORK (id "listen"). */
int prop_kbsd_http_start(struct prop_kbsd *k, struct prop_kbsd_http **ret, char **ret_url,
                         struct prop_err *err);
/* Wait at most `max_ms` for something to do, and do it. Returns early on a signal. */
int prop_kbsd_http_run(struct prop_kbsd_http *h, int max_ms, struct prop_err *err);
void prop_kbsd_http_stop(struct prop_kbsd_http *h);
PROP_DEFINE_AUTO(struct prop_kbsd_http *, prop_kbsd_http_stop)
#define prop_auto_kbsd_http __attribute__((cleanup(prop_kbsd_http_stop_p)))

#endif
