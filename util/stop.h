/* One flag for the whole process: a signal asked us to stop. Set by the command line's handlers,
 * read by loops that wait or copy. */
#ifndef PROP_UTIL_STOP_H
#define PROP_UTIL_STOP_H

#include "util/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Ask everything to stop; safe in a signal handler. */
void prop_stop_request(int signal_number);
bool prop_stop_requested(void);
/* 0, or PROP_E_INTERRUPTED ("interrupted by signal N") once a stop was asked for. */
int prop_stop_check(struct prop_err *err);

/* Between hold and release prop_stop_check lets things pass: what a failed run takes back must not be
 * stopped by the signal that ended it. (A second signal still ends the process.) */
void prop_stop_hold(void);
void prop_stop_release(void);

/* For one thread, where many work on things of their own: prop_stop_check in this thread fails too
 * (PROP_E_INTERRUPTED, id "stopped") while `flag` is set. Borrowed until it is called with NULL. */
void prop_stop_watch(const atomic_bool *flag);

/* How far a transfer got; rooms call it when it is not NULL. `total` 0 = unknown. */
struct prop_progress {
    void (*report)(void *ctx, const char *what, uint64_t done, uint64_t total);
    void *ctx;
};
void prop_progress_report(const struct prop_progress *p, const char *what, uint64_t done,
                          uint64_t total);

#endif
