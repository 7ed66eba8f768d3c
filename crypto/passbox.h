/* Data sealed under a passphrase (libsodium): Argon2id makes the key, XChaCha20-Poly1305 in its
 * stream form seals it in pieces.
 *
 *     "prop sealed 1\n" and two 0 bytes            16 bytes; another version is another text
 *     passes, KiB of memory                        two 32-bit numbers, little-endian
 *     salt                                         16 bytes
 *     stream header                                24 bytes
 *     an empty piece, authenticated with all of the above: tells a wrong passphrase from damage
 *     pieces of 64 KiB of plaintext, 17 bytes more each; the last one is marked final
 */
#ifndef PROP_CRYPTO_PASSBOX_H
#define PROP_CRYPTO_PASSBOX_H

#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdint.h>

/* Memory Argon2id fills, by default: as libsodium's "moderate" (256 MiB, three passes). */
#define PROP_PASSBOX_MEMORY (256u << 20)

/* Seal `data` under `passphrase`. memory_bytes 8 MiB to 1 GiB. */
int prop_passbox_seal(const struct prop_secret *passphrase, uint64_t memory_bytes,
                      const struct prop_secret *data, struct prop_buf *out, struct prop_err *err);

/* Open what prop_passbox_seal made. `what` names it in messages.
 * Fails: PROP_E_INPUT (id "not-sealed"); PROP_E_UNSUPPORTED (id "sealed-version"); PROP_E_LIMIT (id
 * "sealed-cost") it asks for more memory or passes than we would ever write; PROP_E_VERIFY (id
 * "wrong-passphrase", or "sealed-damaged" behind the head). */
int prop_passbox_open(const struct prop_secret *passphrase, const void *sealed, size_t len,
                      const char *what, struct prop_secret **ret, struct prop_err *err);

#endif
