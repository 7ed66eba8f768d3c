/* The key derivation of ECDH-ES (RFC 7518 section 4.6.2: the one-step KDF of SP 800-56A with
 * SHA-256). */
#ifndef PROP_JOSE_KDF_H
#define PROP_JOSE_KDF_H

#include "util/err.h"
#include "util/secret.h"

#include <stddef.h>

/* Key of `key_bytes` (1 to 32: one round of SHA-256) from the shared secret `z`.
 * alg_id      the "alg", or "enc" for direct agreement, as AlgorithmID
 * apu, apv    PartyUInfo and PartyVInfo, decoded; NULL with length 0 when absent
 * Fails: PROP_E_BUG key_bytes out of range; PROP_E_NOMEM. */
int prop_kdf_concat(const struct prop_secret *z, const char *alg_id, const void *apu,
                    size_t apu_len, const void *apv, size_t apv_len, size_t key_bytes,
                    struct prop_secret **ret, struct prop_err *err);

#endif
