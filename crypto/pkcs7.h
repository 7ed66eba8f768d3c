/* PKCS#7 EnvelopedData as ocicrypt has it (RFC 2315 section 10, ocicrypt.md 5.3): RSA PKCS#1 v1.5
 * key transport, AES-GCM content, whose parameters are encoded in a way that OpenSSL refuses. DER
 * is read and written by hand; every length is checked, nothing is recursive. */
#ifndef PROP_CRYPTO_PKCS7_H
#define PROP_CRYPTO_PKCS7_H

#include "crypto/cert.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_PKCS7_NONCE 12

/* Somebody the content key is wrapped for; all borrowed from the message. */
struct prop_pkcs7_recipient {
    const uint8_t *issuer, *serial; /* DER with tags, as prop_cert_issuer; NULL: named otherwise */
    size_t issuer_len, serial_len;
    const uint8_t *key;             /* the wrapped content key; NULL: not RSA PKCS#1 v1.5 */
    size_t key_len;
};

struct prop_pkcs7 {
    struct prop_pkcs7_recipient *recipients; /* owned */
    size_t n;
    const char *enc;      /* "A128GCM", "A256GCM"; NULL: a cipher not read here */
    size_t key_bytes;     /* of `enc` */
    const uint8_t *nonce; /* PROP_PKCS7_NONCE bytes; borrowed */
    struct prop_buf data; /* ciphertext and tag */
};
#define PROP_PKCS7_INIT { NULL, 0, NULL, 0, NULL, PROP_BUF_INIT(1u << 20) }

/* Take a message apart; `der` must outlive it. Recipients and ciphers of other kinds are no error
 * here: they are told by `key` and `enc` being NULL.
 * Fails: PROP_E_INPUT (id "bad-pkcs7") not a DER EnvelopedData, bytes behind it; PROP_E_LIMIT. */
int prop_pkcs7_parse(const void *der, size_t len, struct prop_pkcs7 *ret, struct prop_err *err);
void prop_pkcs7_release(struct prop_pkcs7 *p);
#define prop_auto_pkcs7 __attribute__((cleanup(prop_pkcs7_release)))

/* Is the certificate among the recipients? */
bool prop_pkcs7_names(const struct prop_pkcs7 *p, const struct prop_cert *cert);

/* Decrypt with a certificate and its private key.
 * Fails: PROP_E_VERIFY (id "pkcs7-no-key") not for this certificate, the key does not open it, or
 * the tag is wrong (not told apart, on purpose); PROP_E_UNSUPPORTED (id "pkcs7-cipher"). */
int prop_pkcs7_open(const struct prop_pkcs7 *p, const struct prop_cert *cert,
                    const struct prop_pkey *key, struct prop_secret **ret, struct prop_err *err);

/* Encrypt for one certificate: AES-128-GCM, the bytes that skopeo writes and reads.
 * Fails: PROP_E_UNSUPPORTED (id "recipient-key") a key that is not RSA. */
int prop_pkcs7_seal(const struct prop_secret *plaintext, const struct prop_cert *cert,
                    struct prop_buf *out, struct prop_err *err);

#endif
