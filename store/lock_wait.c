#include "store/lock_wait.h"

#include "util/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { tell_ms = 2000, first_nap_ms = 1, last_nap_ms = 20, timeout_max_s = 24 * 60 * 60 };

uint64_t prop_lock_wait_ms(uint64_t usual_ms)
{
    const char *text = getenv("PROP_LOCK_TIMEOUT");
    uint64_t seconds = 0;
    if (text == NULL || prop_parse_u64(text, "PROP_LOCK_TIMEOUT", &seconds, NULL) != 0 ||
        seconds > timeout_max_s)
        return usual_ms;
    return seconds * 1000;
}

void prop_lock_sign(int fd)
{
    char text[80];
    int n = snprintf(text, sizeof text, "process %ld (%.40s)\n", (long)getpid(),
                     program_invocation_short_name);
    bool whole = n > 0 && ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
    (void)whole; /* half a name has no line end, and is not read */
}

const char *prop_lock_holder(int fd, char out[80])
{
    char text[80];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    out[0] = 0;
    if (n <= 0 || text[n - 1] != '\n' || memchr(text, 0, (size_t)n) != NULL)
        return out;
    return prop_printable(text, (size_t)n - 1, out, 80);
}

void prop_lock_wait_begin(struct prop_lock_wait *w, uint64_t usual_ms, prop_lock_wait_fn tell,
                          void *ctx)
{
    *w = (struct prop_lock_wait){ .begun_ms = prop_now_ms(), .limit_ms = prop_lock_wait_ms(usual_ms),
                                  .tell = tell, .ctx = ctx };
}

/* Short naps first: most holders are done in milliseconds. */
int prop_lock_wait_more(struct prop_lock_wait *w, int fd)
{
    char holder[80];
    uint64_t waited = prop_now_ms() - w->begun_ms;
    if (waited >= w->limit_ms)
        return 0;
    if (waited >= tell_ms && !w->told) {
        w->told = 1;
        if (w->tell != NULL)
            w->tell(w->ctx, *prop_lock_holder(fd, holder) ? holder : NULL);
    }
    uint64_t nap_ms = waited / 4 < first_nap_ms ? first_nap_ms
                      : waited / 4 > last_nap_ms ? last_nap_ms
                                                 : waited / 4;
    const struct timespec nap = { 0, (long)nap_ms * 1000000L };
    (void)nanosleep(&nap, NULL);
    return 1;
}
