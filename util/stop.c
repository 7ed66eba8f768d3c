#include "util/stop.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t held;

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
    held = 1;
}

void prop_stop_release(void)
{
    held = 0;
}

int prop_stop_check(struct prop_err *err)
{
    if (!stop_signal || held)
        return 0;
    return prop_err_set(err, PROP_E_INTERRUPTED, "interrupted by signal %d", (int)stop_signal);
}

void prop_progress_report(const struct prop_progress *p, const char *what, uint64_t done,
                          uint64_t total)
{
    if (p && p->report)
        p->report(p->ctx, what, done, total);
}
