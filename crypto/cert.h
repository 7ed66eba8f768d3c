/* X.509 certificates that others hand over as the name and key of a recipient. Nothing here checks
 * who signed them: trust in a recipient comes from the person who names the file. */
#ifndef PROP_CRYPTO_CERT_H
#define PROP_CRYPTO_CERT_H

#include "crypto/pkey.h"
#include "util/err.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_cert;

/* Is there a certificate in these bytes (PEM, or DER by its shape)? */
bool prop_cert_is(const void *data, size_t len);
/* The first certificate in PEM, or one in DER. `what` names the source.
 * Fails: PROP_E_INPUT (id "not-a-certificate"), PROP_E_UNSUPPORTED (id "key-type", "key-size"). */
int prop_cert_load(const void *data, size_t len, const char *what, struct prop_cert **ret,
                   struct prop_err *err);
void prop_cert_free(struct prop_cert *c);
PROP_DEFINE_AUTO(struct prop_cert *, prop_cert_free)
#define prop_auto_cert __attribute__((cleanup(prop_cert_free_p)))

/* The public key; borrowed. */
const struct prop_pkey *prop_cert_key(const struct prop_cert *c);
/* What somebody who encrypts to an RSA certificate should know: that it has expired, is not valid yet
 * or not made for it; NULL for none of these. */
const char *prop_cert_remark(const struct prop_cert *c);
/* DER of IssuerAndSerialNumber's two members, tags included; borrowed. */
const uint8_t *prop_cert_issuer(const struct prop_cert *c, size_t *ret_len);
const uint8_t *prop_cert_serial(const struct prop_cert *c, size_t *ret_len);

/* A DER Name as one line ("CN=alice,O=example", RFC 2253 order), cut to `size`; "?" when it is
 * none. Returns out. */
const char *prop_cert_name_text(const uint8_t *name, size_t len, char *out, size_t size);

#endif
