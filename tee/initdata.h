/* Init-data: configuration that the launch binds (attestation.md 7.1). A TOML document with a
 * version, the name of a hash and a table [data] of texts; its hash, over the exact bytes, goes into
 * HOSTDATA of an SNP guest or MRCONFIGID of a TD, where the guest and the key broker look for it.
 *
 * The reader here is a strict one for exactly that shape: `version` and `algorithm` on top, then one
 * table [data] whose values are strings. It finds out what is to be hashed and how; it does not hand
 * the texts out.
 */
#ifndef PROP_TEE_INITDATA_H
#define PROP_TEE_INITDATA_H

#include "crypto/digest.h"
#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

#define PROP_SNP_HOST_DATA 32
#define PROP_TDX_MR_CONFIG_ID 48
#define PROP_TEE_INITDATA_MAX (256u << 10) /* bytes of a document */

struct prop_initdata {
    struct prop_digest digest;                     /* by the algorithm the document names */
    uint8_t host_data[PROP_SNP_HOST_DATA];         /* its first 32 bytes */
    uint8_t mr_config_id[PROP_TDX_MR_CONFIG_ID];   /* cut, or filled up with zeros */
};

/* Check a document and compute its three values. `what` names it in errors.
 * Fails: PROP_E_INPUT (id "bad-init-data") not of that shape; PROP_E_UNSUPPORTED (id
 * "init-data-algorithm") another algorithm or spelling than sha256, sha384, sha512. */
int prop_initdata_read(const void *toml, size_t len, const char *what, struct prop_initdata *ret,
                       struct prop_err *err);

/* The same values for bytes whose `algorithm` is known already ("sha384"); the bytes may be anything. */
int prop_initdata_pins(const void *data, size_t len, const char *algorithm,
                       struct prop_initdata *ret, struct prop_err *err);

#endif
