/* The annotations of an encrypted layer (ocicrypt.md 2): comma lists of base64 blocks. */
#ifndef PROP_OCICRYPT_ANNOT_H
#define PROP_OCICRYPT_ANNOT_H

#include "oci/manifest.h"
#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

#define PROP_ENC_PREFIX "org.opencontainers.image.enc"
#define PROP_ENC_PUBOPTS PROP_ENC_PREFIX ".pubopts"
#define PROP_ENC_KEYS PROP_ENC_PREFIX ".keys."
#define PROP_SCHEME_JWE "jwe"
#define PROP_SCHEME_PKCS7 "pkcs7"
#define PROP_SCHEME_PGP "pgp"
#define PROP_SCHEME_PKCS11 "pkcs11"
#define PROP_SCHEME_PROVIDER "provider."
#define PROP_SCHEME_AGENT "provider.attestation-agent"

/* One block after the other: `cursor` starts at the annotation's value; false at the end. An empty
 * value has no blocks; an empty block between commas is one of length 0. */
bool prop_enc_next_block(const char **cursor, const char **ret, size_t *ret_len);
/* How many there are. PROP_E_LIMIT for too long a value or too many blocks. */
int prop_enc_count_blocks(const char *value, size_t *ret, struct prop_err *err);
/* The bytes of a block. PROP_E_INPUT (id "bad-annotation"); `scheme` names it. */
int prop_enc_decode_block(const char *scheme, const char *text, size_t len, struct prop_buf *out,
                          struct prop_err *err);
/* The public options text, NULL-terminated, owned. PROP_E_INPUT (id "bad-annotation") when the
 * layer has none or they are not base64. */
int prop_enc_pubopts(const struct prop_descriptor *layer, char **ret, struct prop_err *err);

/* Append a block to the list under `key`, or begin it. */
int prop_enc_append_block(json_t *descriptor, const char *key, const void *data, size_t len,
                          struct prop_err *err);
/* Remove every annotation of ours, and the annotations object when nothing else is in it. */
void prop_enc_strip(json_t *descriptor);

#endif
