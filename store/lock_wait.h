/* How long this machine's publishers wait for each other, and who holds a lock. */
#ifndef PROP_STORE_LOCK_WAIT_H
#define PROP_STORE_LOCK_WAIT_H

#include <stddef.h>
#include <stdint.h>

/* Told once, two seconds into a wait. `holder` is "process 4711 (proppush)", or NULL when it did not
 * say. */
typedef void (*prop_lock_wait_fn)(void *ctx, const char *holder);

/* $PROP_LOCK_TIMEOUT in seconds (0 = do not wait), else `usual_ms`. */
uint64_t prop_lock_wait_ms(uint64_t usual_ms);

/* The holder of a lock writes who it is into the lock's file; what it cannot write nobody reads. */
void prop_lock_sign(int fd);
/* Who signed; "" when nobody did. Returns out. */
const char *prop_lock_holder(int fd, char out[80]);

/* One wait: begin with the time it may take, then ask after every failed try. */
struct prop_lock_wait {
    uint64_t begun_ms, limit_ms;
    prop_lock_wait_fn tell; /* may be NULL */
    void *ctx;
    int told;
};
void prop_lock_wait_begin(struct prop_lock_wait *w, uint64_t usual_ms, prop_lock_wait_fn tell,
                          void *ctx);
/* Sleep a little and return 1; 0 when the time is over. Tells, when it is time to. */
int prop_lock_wait_more(struct prop_lock_wait *w, int fd);

#endif
