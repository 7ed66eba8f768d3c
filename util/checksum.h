/* SHA-256 for rooms below crypto: names for texts that are kept (the ledger's policies). What
 * decides about trust is hashed by crypto/digest.h. */
#ifndef PROP_UTIL_CHECKSUM_H
#define PROP_UTIL_CHECKSUM_H

#include <stddef.h>

/* Lower-case hex of the SHA-256 of `data`: 64 digits and a 0. */
void prop_checksum_hex(const void *data, size_t len, char out[65]);

#endif
