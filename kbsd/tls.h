/* What the TLS listener needs: a CA of the state folder, and a leaf made fresh at every start whose
 * private key never touches the disk. */
#ifndef PROP_KBSD_TLS_H
#define PROP_KBSD_TLS_H

#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

/* Read DIR/ca.key and DIR/ca.pem (made when absent) and make a leaf for 127.0.0.1, ::1, localhost,
 * 10.0.2.2 (this loopback, seen from a VM) and `host`. `chain` receives leaf and CA as PEM, *ret_key the leaf's key as PEM text (a 0 byte
 * follows it), owned by the caller.
 * Fails: PROP_E_INPUT the two files do not belong together; PROP_E_DENIED others can read them. */
int prop_kbsd_tls_identity(const char *dir, const char *host, struct prop_buf *chain,
                           struct prop_secret **ret_key, struct prop_err *err);

#endif
