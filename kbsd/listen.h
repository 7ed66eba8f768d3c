/* The listening socket. */
#ifndef PROP_KBSD_LISTEN_H
#define PROP_KBSD_LISTEN_H

#include "util/err.h"

#include <stdbool.h>

/* Listen on "host:port" ("[::1]:0" for IPv6; port 0 picks one). `beyond_loopback` permits addresses
 * that other machines can reach. *ret_host (without brackets) and *ret_url_host ("host:port" as a
 * URL has it, real port) are owned by the caller.
 * Fails: as prop_kbsd_http_start. */
int prop_kbsd_listen(const char *where, bool beyond_loopback, int *ret_fd, char **ret_host,
                     char **ret_url_host, struct prop_err *err);

#endif
