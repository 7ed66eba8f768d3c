/* SNP ID block and ID authentication (SEV-SNP firmware ABI, tables 75 and 76; attestation.md 5.8): with
 * them the processor's firmware refuses to start anything but the one launch that was signed. */
#ifndef PROP_TEE_IDBLOCK_H
#define PROP_TEE_IDBLOCK_H

#include "crypto/pkey.h"
#include "util/err.h"

#include <stdint.h>

#define PROP_ID_BLOCK 96
#define PROP_ID_AUTH 4096
#define PROP_SNP_POLICY_DEFAULT UINT64_C(0x30000) /* SMT allowed; no debugging, no migration */

struct prop_id_block {
    uint8_t launch_digest[48], family_id[16], image_id[16];
    uint32_t guest_svn;
    uint64_t policy;
};

void prop_id_block_bytes(const struct prop_id_block *b, uint8_t ret[PROP_ID_BLOCK]);

/* Sign a block. `author` (NULL: none) signs the id key. Both are private P-384 keys.
 * Fails: PROP_E_INPUT (id "id-key") another kind of key. */
int prop_id_auth(const uint8_t block[PROP_ID_BLOCK], const struct prop_pkey *id_key,
                 const struct prop_pkey *author, uint8_t ret[PROP_ID_AUTH], struct prop_err *err);

/* What the report shows of a key: SHA-384 over its structure. */
int prop_id_key_digest(const struct prop_pkey *key, uint8_t ret[48], struct prop_err *err);

#endif
