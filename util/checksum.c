#include "util/checksum.h"

#include "util/encode.h"

#include <sodium.h>

void prop_checksum_hex(const void *data, size_t len, char out[65])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    (void)crypto_hash_sha256(digest, data, len); /* cannot fail, needs no sodium_init */
    prop_hex_encode(digest, sizeof digest, out);
}
