/* Random bytes from the operating system (libsodium's randombytes, getrandom). Never fails. */
#ifndef PROP_CRYPTO_RANDOM_H
#define PROP_CRYPTO_RANDOM_H

#include "util/err.h"
#include "util/secret.h"

#include <stddef.h>

void prop_random(void *out, size_t len);
/* A fresh secret of `len` random bytes; owned by the caller. */
int prop_random_secret(size_t len, struct prop_secret **ret, struct prop_err *err);

/* "OpenSSL 3.0.20 ..., libsodium 1.0.18", for --version; static. */
const char *prop_crypto_version(void);

#endif
