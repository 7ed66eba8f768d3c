/* Digests and HMAC (FIPS 180-4, RFC 2104), streaming and in one go, on OpenSSL. */
#ifndef PROP_CRYPTO_DIGEST_H
#define PROP_CRYPTO_DIGEST_H

#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum prop_hash_alg { PROP_SHA1, PROP_SHA256, PROP_SHA384, PROP_SHA512 };

#define PROP_HASH_MAX 64 /* bytes of the longest digest */

/* A digest by value, as OCI names it: "sha256:<hex>". */
struct prop_digest {
    enum prop_hash_alg alg;
    uint8_t len; /* 32, 48, 64; 20 for SHA-1; 0 = no digest */
    uint8_t bytes[PROP_HASH_MAX];
};

#define PROP_DIGEST_TEXT 140 /* "sha512:" + 128 hex digits + 0, with room */

size_t prop_hash_len(enum prop_hash_alg alg);
/* "sha256", "sha384", "sha512", "sha1". */
const char *prop_hash_name(enum prop_hash_alg alg);

/* "sha256:<64 hex>" or "sha512:<128 hex>", lower case only (registry.md 6).
 * Fails: PROP_E_INPUT malformed; PROP_E_UNSUPPORTED another algorithm. */
int prop_digest_parse(const char *text, struct prop_digest *ret, struct prop_err *err);
/* Text form into `out`; returns out. */
const char *prop_digest_format(const struct prop_digest *d, char out[PROP_DIGEST_TEXT]);
/* Only the hex digits into `out`. */
const char *prop_digest_hex(const struct prop_digest *d, char out[PROP_DIGEST_TEXT]);
bool prop_digest_equal(const struct prop_digest *a, const struct prop_digest *b);

/* Hash of a byte string in one go. Fails only with PROP_E_NOMEM / PROP_E_BUG. */
int prop_digest_of(enum prop_hash_alg alg, const void *data, size_t len, struct prop_digest *ret,
                   struct prop_err *err);
/* PROP_E_VERIFY (id "digest-mismatch") "digest of <what> is <got>, expected <want>" unless equal. */
int prop_digest_check(const struct prop_digest *got, const struct prop_digest *want,
                      const char *what, struct prop_err *err);

/* Streaming digest or HMAC: new, update..., final once, free. */
struct prop_hash;
int prop_hash_new(enum prop_hash_alg alg, struct prop_hash **ret, struct prop_err *err);
/* HMAC with `key` (borrowed during the call only). */
int prop_hmac_new(enum prop_hash_alg alg, const struct prop_secret *key, struct prop_hash **ret,
                  struct prop_err *err);
int prop_hash_update(struct prop_hash *h, const void *data, size_t len, struct prop_err *err);
int prop_hash_final(struct prop_hash *h, struct prop_digest *ret, struct prop_err *err);
void prop_hash_free(struct prop_hash *h);
PROP_DEFINE_AUTO(struct prop_hash *, prop_hash_free)
#define prop_auto_hash __attribute__((cleanup(prop_hash_free_p)))

#endif
