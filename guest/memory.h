/* Where the decrypted module lies: pages of their own, guarded on both sides, left out of core
 * dumps and child processes, locked against swap where the limit allows, read-only once sealed,
 * wiped before they are given back. Larger than util/secret.h's memory goes. */
#ifndef PROP_GUEST_MEMORY_H
#define PROP_GUEST_MEMORY_H

#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

struct prop_guest_memory {
    uint8_t *map;    /* with the guard pages */
    size_t map_size;
    uint8_t *data;
    size_t size;     /* bytes there is room for */
    size_t len;      /* bytes written */
};
#define PROP_GUEST_MEMORY_INIT { NULL, 0, NULL, 0, 0 }

/* Room for exactly `size` bytes. Fails: PROP_E_NOMEM; PROP_E_LIMIT over PROP_LIMIT_WASM_MODULE. */
int prop_guest_memory_init(struct prop_guest_memory *m, uint64_t size, struct prop_err *err);
/* Append; a prop_sink_fn with the memory as ctx. Fails: PROP_E_LIMIT past the size. */
int prop_guest_memory_append(void *ctx, const void *data, size_t len, struct prop_err *err);
/* No more writes. */
int prop_guest_memory_seal(struct prop_guest_memory *m, struct prop_err *err);
/* Wipe and give back. Fine after init and twice. */
void prop_guest_memory_release(struct prop_guest_memory *m);
#define prop_auto_guest_memory __attribute__((cleanup(prop_guest_memory_release)))

/* Keep all of this process out of swap from now on, where the system lets us: what the guest makes
 * of its plaintext lies in the engine's memory. Quietly nothing where it does not. */
void prop_guest_memory_lock_process(void);

#endif
