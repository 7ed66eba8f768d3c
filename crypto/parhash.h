/* Several hashes over the same bytes, computed beside the caller on a second thread.
 *
 * The caller fills chunks of a ring and submits them; each hash reads every chunk of its lane in
 * order, on whichever thread is free: a worker, started with the second chunk, or the caller
 * itself while it waits for a chunk to fill. The hash that lags most goes first, so two threads
 * stay busy with any number of hashes. Input of one chunk never starts a thread. Chunks live in
 * guarded memory (they may hold plaintext) and are made as they are needed.
 *
 *     prop_parhash_new, prop_parhash_add..., { prop_parhash_lane, fill, prop_parhash_submit }...
 *     (or prop_parhash_write...), prop_parhash_final for each hash, prop_parhash_free.
 */
#ifndef PROP_CRYPTO_PARHASH_H
#define PROP_CRYPTO_PARHASH_H

#include "crypto/digest.h"
#include "util/err.h"
#include "util/mem.h"

#include <stddef.h>
#include <stdint.h>

/* Measured over 1 GiB: chunks of 64 to 256 KiB and rings of 4 to 32 are equally fast, 32 KiB costs
 * 10 % more; so the ring that needs least memory of those. A publish has two of these rings at once,
 * with three lanes in all, while it reads back. */
#define PROP_PARHASH_CHUNK (64u << 10) /* bytes of one lane of one chunk */
#define PROP_PARHASH_CHUNKS 4           /* chunks of a ring */
#define PROP_PARHASH_LANES 2            /* at most: bytes before and after a cipher */
#define PROP_PARHASH_HASHES 4           /* at most */

struct prop_parhash;

/* A ring with 1 or 2 lanes. */
int prop_parhash_new(size_t lanes, struct prop_parhash **ret, struct prop_err *err);
/* Add a hash over one lane, before the first submit. Takes `hash` over, also on failure.
 * ret_index: its number for prop_parhash_final. */
int prop_parhash_add(struct prop_parhash *p, size_t lane, struct prop_hash *hash,
                     size_t *ret_index, struct prop_err *err);
/* The memory of one lane of the chunk to fill next, PROP_PARHASH_CHUNK bytes; waits until it is
 * free, hashing meanwhile. The same pointer until prop_parhash_submit. */
int prop_parhash_lane(struct prop_parhash *p, size_t lane, uint8_t **ret, struct prop_err *err);
/* Hand the chunk over, `len` bytes in each lane. The caller may go on reading it until it asks
 * for the next lane. Fails with what a hash failed with earlier. */
int prop_parhash_submit(struct prop_parhash *p, size_t len, struct prop_err *err);
/* Copy bytes into lane 0 and submit each chunk that is full; what is left goes with the first
 * prop_parhash_final. For rings of one lane; not to be mixed with prop_parhash_lane. */
int prop_parhash_write(struct prop_parhash *p, const void *data, size_t len, struct prop_err *err);
/* Wait for everything submitted and finish one hash. */
int prop_parhash_final(struct prop_parhash *p, size_t index, struct prop_digest *ret,
                       struct prop_err *err);
/* Stops the worker and wipes the chunks. NULL is fine. */
void prop_parhash_free(struct prop_parhash *p);
PROP_DEFINE_AUTO(struct prop_parhash *, prop_parhash_free)
#define prop_auto_parhash __attribute__((cleanup(prop_parhash_free_p)))

#endif
