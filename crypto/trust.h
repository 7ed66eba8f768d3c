/* Foreign certificate chains that come inside messages (the x5c of a token), checked against roots
 * the user named. (RFC 5280 section 6; TLS has its own way, in http/.) */
#ifndef PROP_CRYPTO_TRUST_H
#define PROP_CRYPTO_TRUST_H

#include "crypto/pkey.h"
#include "util/buf.h"
#include "util/err.h"

#include <stddef.h>

#define PROP_TRUST_CHAIN_MAX 16 /* certificates in one chain */

/* Check that `chain` (DER, the leaf first) leads to one of the certificates in `roots_pem`, which
 * are all trusted as they stand, also where one of them is no root. Times are checked against now.
 * ret_leaf receives the leaf's public key, owned by the caller. `what` names the chain.
 * Fails: PROP_E_INPUT (id "bad-certificate") something is no certificate, or the chain is empty or
 * too long; PROP_E_VERIFY (id "untrusted-chain") it does not lead there, one of it is too old or
 * too weak (less than 112 bits), or the leaf's key usage leaves out signatures. */
int prop_trust_check_chain(const struct prop_buf *chain, size_t n, const void *roots_pem,
                           size_t roots_len, const char *what, struct prop_pkey **ret_leaf,
                           struct prop_err *err);

#endif
