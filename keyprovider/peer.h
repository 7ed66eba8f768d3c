/* Whose process is at the other end: a loopback port is open to every user of the machine. */
#ifndef PROP_KEYPROVIDER_PEER_H
#define PROP_KEYPROVIDER_PEER_H

#include "util/err.h"

/* 0 when the other end of this connection (unix, or TCP over loopback) is a process of our own user
 * or of root, by what the kernel says (SO_PEERCRED; sock_diag, or /proc/net/tcp and tcp6).
 * Fails: PROP_E_DENIED another user, or one that cannot be told. */
int prop_kp_peer_check(int fd, struct prop_err *err);

#endif
