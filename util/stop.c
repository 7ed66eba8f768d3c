#include "util/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static volatile sig_atomic_t stop_signal;
static atomic_int held; /* they nest, and threads may hold at once */
static _Thread_local const atomic_bool *watched;

void prop_stop_request(int signal_number)
{
    stop_signal = signal_number;
}

bool prop_stop_requested(void)
{
    return stop_signal != 0;
}

void prop_stop_hold(void)
{
    (void)atomic_fetch_add(&held, 1);
}

void prop_stop_release(void)
{
    (void)atomic_fetch_sub(&held, 1);
}

void prop_stop_watch(const atomic_bool *flag)
{
    watched = flag;
}

int prop_stop_check(struct prop_err *err)
{
    if (watched && atomic_load(watched))
        return prop_err_set_id(err, PROP_E_INTERRUPTED, "stopped", "it was stopped");
    if (!stop_signal || atomic_load(&held) > 0)
        return 0;
    return prop_err_set(err, PROP_E_INTERRUPTED, "interrupted by signal %d", (int)stop_signal);
}

void prop_progress_report(const struct prop_progress *p, const char *what, uint64_t done,
                          uint64_t total)
{
    if (p && p->report)
        p->report(p->ctx, what, done, total);
}
