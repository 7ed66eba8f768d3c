/* Where the guest's layer keys come from: the one configured key broker, and only the one key that
 * the task names. */
#ifndef PROP_GUEST_KEYS_H
#define PROP_GUEST_KEYS_H

#include "guest/run.h"
#include "ocicrypt/recipient.h"

struct prop_guest_keys {
    const struct prop_guest_run *g;
    struct prop_resource_id kid; /* valid when g->kid is set */
    double attest_ms;            /* spent at the key broker */
};

/* Openers with the run's key files and its key broker; `k` must outlive them. */
int prop_guest_keys_open(struct prop_guest_keys *k, const struct prop_guest_run *g,
                         struct prop_openers **ret, struct prop_err *err);
/* Milliseconds of the monotonic clock, with their fraction. */
double prop_guest_clock_ms(void);

#endif
