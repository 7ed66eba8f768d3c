/* Asymmetric keys: RSA, EC P-256/384/521, Ed25519, on OpenSSL; loading, making, using.
 *
 * A struct prop_pkey holds a public key, or a private one with its public half. OpenSSL keeps the
 * numbers in its own memory and clears them when freed.
 */
#ifndef PROP_CRYPTO_PKEY_H
#define PROP_CRYPTO_PKEY_H

#include "crypto/digest.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum prop_pkey_type { PROP_PKEY_RSA, PROP_PKEY_P256, PROP_PKEY_P384, PROP_PKEY_P521,
                      PROP_PKEY_ED25519 };

struct prop_pkey;

/* Make a key pair. `rsa_bits` (2048 to 8192) counts for RSA only. */
int prop_pkey_generate(enum prop_pkey_type type, unsigned rsa_bits, struct prop_pkey **ret,
                       struct prop_err *err);

/* Load from PEM or DER in memory. Public: SubjectPublicKeyInfo, PKCS#1 RSA PUBLIC KEY, or an X.509
 * certificate (its key). Private: PKCS#8 (also encrypted), PKCS#1, SEC1. `password` may be NULL.
 * `what` names the source in errors.
 * Fails: PROP_E_INPUT no such key in there; PROP_E_UNSUPPORTED key type; PROP_E_AUTH (id
 * "passphrase") password missing or wrong. */
int prop_pkey_load_public(const void *data, size_t len, const char *what, struct prop_pkey **ret,
                          struct prop_err *err);
int prop_pkey_load_private(const struct prop_secret *data, const struct prop_secret *password,
                           const char *what, struct prop_pkey **ret, struct prop_err *err);

enum prop_pkey_type prop_pkey_get_type(const struct prop_pkey *k);
bool prop_pkey_is_private(const struct prop_pkey *k);
/* Bits of an RSA modulus, of an EC field (256, 384, 521), or 256 for Ed25519. */
unsigned prop_pkey_bits(const struct prop_pkey *k);
/* Same public key. */
bool prop_pkey_same_public(const struct prop_pkey *a, const struct prop_pkey *b);
void prop_pkey_free(struct prop_pkey *k);
PROP_DEFINE_AUTO(struct prop_pkey *, prop_pkey_free)
#define prop_auto_pkey __attribute__((cleanup(prop_pkey_free_p)))

/* PKCS#8 PEM of the private key; SubjectPublicKeyInfo PEM of the public one. */
int prop_pkey_private_pem(const struct prop_pkey *k, struct prop_secret **ret,
                          struct prop_err *err);
int prop_pkey_public_pem(const struct prop_pkey *k, struct prop_buf *out, struct prop_err *err);
/* SubjectPublicKeyInfo DER (for thumbprints). */
int prop_pkey_public_der(const struct prop_pkey *k, struct prop_buf *out, struct prop_err *err);

/* The numbers of a key as JWK wants them (RFC 7518 section 6, RFC 8037): big-endian, EC numbers at
 * fixed width, RSA minimal. Unused ones are empty. `priv` is d of EC and RSA, the seed of Ed25519. */
struct prop_pkey_numbers {
    struct prop_buf x, y;    /* EC point; x = public key of Ed25519 */
    struct prop_buf n, e;    /* RSA public */
    struct prop_secret *d;   /* private, NULL for public keys */
    struct prop_secret *p, *q, *dp, *dq, *qi; /* RSA private */
};
void prop_pkey_numbers_init(struct prop_pkey_numbers *n);
void prop_pkey_numbers_release(struct prop_pkey_numbers *n);
/* Export (private ones only if with_private), and build. Build fails with PROP_E_INPUT for a point
 * that is not on its curve, numbers out of range, or a private half that does not match. */
int prop_pkey_get_numbers(const struct prop_pkey *k, bool with_private,
                          struct prop_pkey_numbers *ret, struct prop_err *err);
int prop_pkey_from_numbers(enum prop_pkey_type type, const struct prop_pkey_numbers *n,
                           struct prop_pkey **ret, struct prop_err *err);

/* RSA key transport of short secrets (RFC 8017 sections 7.1, 7.2): OAEP with SHA-1 or SHA-256 and
 * the same hash in MGF1, empty label; or PKCS#1 v1.5 (encryption only: kbs.md 2.6 needs the
 * server's side, and plain decryption would be an oracle). Decryption: PROP_E_VERIFY for every cause. */
enum prop_rsa_pad { PROP_RSA_OAEP_SHA1, PROP_RSA_OAEP_SHA256, PROP_RSA_PKCS1_V15 };
int prop_rsa_encrypt(const struct prop_pkey *pub, enum prop_rsa_pad pad,
                     const struct prop_secret *in, struct prop_buf *out, struct prop_err *err);
int prop_rsa_decrypt(const struct prop_pkey *priv, enum prop_rsa_pad pad, const void *in,
                     size_t len, struct prop_secret **ret, struct prop_err *err);

/* PKCS#1 v1.5 decryption that never says whether it worked: where the padding or the length is wrong
 * the result is `want` random bytes (RFC 3218 section 2.3.2), so that only the tag of what the key
 * opens can tell. Fails only for another kind of key, and with PROP_E_NOMEM. */
int prop_rsa_decrypt_or_random(const struct prop_pkey *priv, const void *in, size_t len,
                               size_t want, struct prop_secret **ret, struct prop_err *err);

/* ECDH: the x coordinate of the shared point at the field's width (32, 48, 66 bytes). */
int prop_ecdh(const struct prop_pkey *priv, const struct prop_pkey *peer,
              struct prop_secret **ret, struct prop_err *err);

/* Signatures in JOSE's form: Ed25519 64 bytes (RFC 8037); ECDSA r||s at fixed width with the
 * curve's hash (ES256, ES384, ES512: RFC 7518 section 3.4). RSA keys: PROP_E_UNSUPPORTED.
 * verify: PROP_E_VERIFY when it does not hold. */
int prop_sign(const struct prop_pkey *priv, const void *data, size_t len, struct prop_buf *sig,
              struct prop_err *err);
int prop_verify(const struct prop_pkey *pub, const void *data, size_t len, const void *sig,
                size_t sig_len, struct prop_err *err);

#endif
